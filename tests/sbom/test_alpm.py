"""Arch Linux packages."""

from __future__ import annotations

import pytest

from tests.sbom.looking import purls, read_all

AT = "var/lib/pacman/local/zlib-1:1.3.1-2"
DESC = """%NAME%
zlib

%VERSION%
1:1.3.1-2

%BASE%
zlib-source

%DESC%
Compresses

%URL%
https://www.zlib.net/

%ARCH%
x86_64

%PACKAGER%
Jane Doe <jane@archlinux.org>

%LICENSE%
Zlib
custom

"""
FILES = b"%FILES%\nusr/\nusr/lib/\nusr/lib/libz.so\n\n%BACKUP%\netc/z.conf\t0123\n"
RELEASE = b'NAME="Arch Linux"\nID=arch\nBUILD_ID=rolling\n'


@pytest.mark.parametrize("top", ["", "mnt/"])
def test_database(top: str) -> None:
    files = {f"{top}{AT}/desc": DESC.encode(), f"{top}{AT}/files": FILES, "etc/os-release": RELEASE}
    (package,), warnings = read_all(files)
    assert warnings == []
    assert package.purl == (
        "pkg:alpm/arch/zlib@1:1.3.1-2?arch=x86_64&distro=arch-rolling&upstream=zlib-source"
    )
    assert package.licenses == ("Zlib", "custom")
    assert (package.supplier, package.homepage) == (
        "Person: Jane Doe (jane@archlinux.org)",
        "https://www.zlib.net/",
    )
    assert (package.description, package.files) == ("Compresses", (f"{top}usr/lib/libz.so",))
    assert package.of_distribution


def test_damage() -> None:
    packages, warnings = read_all({f"{AT}/desc": b"%VERSION%\n1\n"})
    assert (packages, len(warnings)) == ([], 1)
    assert purls({"srv/pacman/local/x/desc": DESC.encode()}) == []
