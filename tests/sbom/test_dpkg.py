"""dpkg: its database, distroless's folder of stanzas, licences from copyright files; dpkg-query agrees."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from imagesmith.sbom.dpkg import wants
from tests.sbom.trees import RELEASE, Told, packages
from tests.support import need_program

STATUS = b"""Package: libc6
Status: install ok installed
Multi-Arch: same
Architecture: amd64
Source: glibc (2.36-9)
Version: 2.36-9+deb12u4
Maintainer: GNU Libc Maintainers <debian-glibc@lists.debian.org>
Homepage: https://www.gnu.org/software/libc/libc.html
Description: GNU C Library: Shared libraries
 Contains the standard libraries
 .
 Package: not-one

Package: half
Status: install reinstreq half-installed
Architecture: all
Version: 1

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 2

Package: never
Status: unknown ok not-installed
Architecture: all

Package: trig
Status: install ok triggers-pending
Triggers-Pending: ldconfig
Architecture: amd64
Version: 3:1.0~rc1-1
Maintainer: Jane <jane@example.org>

"""
LISTS = {
    "var/lib/dpkg/info/libc6:amd64.list": b"/.\n/lib\n/lib/libc.so.6\n",
    "var/lib/dpkg/info/trig.list": b"/.\n/usr/bin/tr\xefg\n",
}
DEP5 = b"""Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: x

Files: *
Copyright: A
License: GPL-2+ and Expat
 Text.

Files: b
License: BSD-3-clause

License: GPL-2+
 On Debian: /usr/share/common-licenses/GPL-2
"""


def test_database(tmp_path: Path) -> None:
    found = packages({"var/lib/dpkg/status": STATUS, "etc/os-release": RELEASE, **LISTS})
    assert [p.purl for p in found] == [
        "pkg:deb/debian/half@1?arch=all&distro=debian-12",
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u4?arch=amd64&distro=debian-12&upstream=glibc%402.36-9",
        "pkg:deb/debian/trig@3:1.0~rc1-1?arch=amd64&distro=debian-12",
    ]
    half, libc, trig = found
    assert libc.supplier == "Organization: GNU Libc Maintainers (debian-glibc@lists.debian.org)"
    assert libc.homepage == "https://www.gnu.org/software/libc/libc.html"
    assert libc.description == "GNU C Library: Shared libraries"
    assert (libc.source, libc.path) == ("glibc", "var/lib/dpkg/status")
    assert libc.files == ("lib", "lib/libc.so.6")
    assert trig.files == ("usr/bin/tr\udcefg",)
    assert (half.files, half.supplier) == ((), "")


def test_dpkg_query_says_the_same(tmp_path: Path) -> None:
    program = need_program("dpkg-query")
    (tmp_path / "status").write_bytes(STATUS)
    form = "${Package} ${Version} ${Architecture} ${db:Status-Status}\n"
    done = subprocess.run(
        [program, f"--admindir={tmp_path}", "-W", "-f", form], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in done.stdout.splitlines()]
    wanted = {tuple(row[:3]) for row in rows if row[-1] not in ("config-files", "not-installed")}
    found = packages({"var/lib/dpkg/status": STATUS, **LISTS})
    assert {(p.name, p.version, p.qualifiers["arch"]) for p in found} == wanted
    assert len(found) == len(wanted) == 3


def test_this_machines_own_database_is_read_as_dpkg_query_reads_it(tmp_path: Path) -> None:
    program = need_program("dpkg-query")
    raw = Path("/var/lib/dpkg/status").read_bytes()
    (tmp_path / "status").write_bytes(raw)
    form = "${db:Status-Status} ${Package} ${Version} ${Architecture}\n"
    command = [program, f"--admindir={tmp_path}", "-W", "-f", form]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [tuple(line.split()) for line in done.stdout.splitlines()]
    wanted = {row[1:] for row in rows if row[0] not in ("config-files", "not-installed")}
    found = packages({"var/lib/dpkg/status": raw})
    assert {(p.name, p.version, p.qualifiers["arch"]) for p in found} == wanted


def test_distroless_has_a_stanza_a_file() -> None:
    folder = "var/lib/dpkg/status.d"
    found = packages(
        {
            f"{folder}/base": b"Package: base-files\nVersion: 12\nArchitecture: all\nMaintainer: A <a@b>\n",
            f"{folder}/base.md5sums": b"0123  etc/x\n4567  usr/y z\n",
            f"{folder}/tz": b"Package: tzdata\nVersion: 2024a\nArchitecture: all\n",
            "usr/share/doc/tzdata/copyright": DEP5,
        }
    )
    assert [(p.name, p.files, p.path) for p in found] == [
        ("base-files", ("etc/x", "usr/y z"), f"{folder}/base"),
        ("tzdata", (), f"{folder}/tz"),
    ]
    assert found[1].licenses == ("GPL-2+ and Expat", "BSD-3-clause")


@pytest.mark.parametrize(
    ("copyright_", "licenses"),
    [
        (DEP5, ("GPL-2+ and Expat", "BSD-3-clause")),
        (DEP5.replace(b"\n", b"\r\n"), ("GPL-2+ and Expat", "BSD-3-clause")),
        (b"/usr/share/common-licenses/GPL-2 `/usr/share/common-licenses/LGPL-2.1'.\n", ("GPL-2", "LGPL-2.1")),
        (b"Do what you like.\n", ()),
        (b"\xff\xfe", ()),
    ],
)  # fmt: skip
def test_licences(copyright_: bytes, licenses: tuple[str, ...]) -> None:
    files = {
        "usr/share/doc/half/copyright": "../other/copyright",
        "usr/share/doc/other/copyright": copyright_,
    }
    found = packages({"var/lib/dpkg/status": STATUS, **files})
    assert next(p for p in found if p.name == "half").licenses == licenses


def test_root_may_lie_deeper() -> None:
    found = packages(
        {
            "srv/root/var/lib/dpkg/status": STATUS,
            "srv/root/var/lib/dpkg/info/trig.list": b"/a\n",
            "srv/root/usr/share/doc/trig/copyright": DEP5,
        }
    )
    trig = found[-1]
    assert (trig.files, trig.licenses[1]) == (("srv/root/a",), "BSD-3-clause")


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("var/lib/dpkg/status", True), ("var/lib/dpkg/status-old", False), ("lib/dpkg/status", True),
        ("var/lib/dpkg/status.d/a", True), ("var/lib/dpkg/status.d/a.md5sums", False),
        ("xlib/dpkg/status", False),
        ("var/lib/dpkg/status.d/a/b", False),
    ],
)  # fmt: skip
def test_wants(path: str, wanted: bool) -> None:
    assert wants(path) == wanted


def test_names_that_lead_elsewhere_are_left_out() -> None:
    told = Told()
    status = b"Package: ../../etc\nVersion: 1\nStatus: install ok installed\n\nPackage: ok\nVersion: 1\n"
    assert [p.name for p in packages({"var/lib/dpkg/status": status}, told=told)] == ["ok"]
    assert "no name of a package" in told[0]


@pytest.mark.parametrize("raw", [b"", b"\0" * 100, b"Package: x", b"\n\n\n:\n", b"Package: x\nVersion:\n"])
def test_damage_is_no_package(raw: bytes) -> None:
    assert packages({"var/lib/dpkg/status": raw}) == []
