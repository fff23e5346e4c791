"""apk: the database of an Alpine image."""

from __future__ import annotations

import pytest

from tests.sbom.trees import packages

RELEASE = b'NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.20.1\n'
INSTALLED = b"""C:Q1pAiE5sNlwkVmCZ6V3Hn6oXe2BDA=
P:libcrypto3
V:3.3.1-r0
A:x86_64
S:1805327
I:4530176
T:Crypto library from openssl
U:https://www.openssl.org/
L:Apache-2.0
o:openssl
m:Ariadne Conill <ariadne@dereferenced.org>
t:1717500000
c:1
D:so:libc.musl-x86_64.so.1
p:so:libcrypto.so.3=3
F:etc
F:etc/ssl
R:openssl.cnf
Z:Q1wGuxVEOK9iGLj1i8D3BSBnT7MJA=
F:lib
R:libcrypto.so.3
a:0:0:755

C:Q1
P:musl
V:1.2.5-r0
A:x86_64
L:MIT
o:musl
F:
R:root
F:lib
R:ld-musl-x86_64.so.1

P:broken

"""


@pytest.mark.parametrize("path", ["lib/apk/db/installed", "usr/lib/apk/db/installed"])
def test_database(path: str) -> None:
    broken, crypto, musl = packages({path: INSTALLED, "etc/os-release": RELEASE})
    assert crypto.purl == (
        "pkg:apk/alpine/libcrypto3@3.3.1-r0?arch=x86_64&distro=alpine-3.20.1&upstream=openssl"
    )
    assert musl.purl == "pkg:apk/alpine/musl@1.2.5-r0?arch=x86_64&distro=alpine-3.20.1"
    assert broken.purl == "pkg:apk/alpine/broken?distro=alpine-3.20.1"  # scanners list it, too
    assert crypto.files == ("etc/ssl/openssl.cnf", "lib/libcrypto.so.3")
    assert musl.files == ("root", "lib/ld-musl-x86_64.so.1")
    assert crypto.licenses == ("Apache-2.0",)
    assert crypto.supplier == "Person: Ariadne Conill (ariadne@dereferenced.org)"
    assert (crypto.homepage, crypto.description) == (
        "https://www.openssl.org/",
        "Crypto library from openssl",
    )
    assert (crypto.source, musl.supplier, crypto.path) == ("openssl", "", path)


def test_other_distributions_have_their_own_namespace() -> None:
    wolfi = b"ID=wolfi\nVERSION_ID=20230201\n"
    *_, musl = packages({"lib/apk/db/installed": INSTALLED, "etc/os-release": wolfi})
    assert musl.purl == "pkg:apk/wolfi/musl@1.2.5-r0?arch=x86_64&distro=wolfi-20230201"


def test_other_files_of_that_name_are_not_read() -> None:
    assert packages({"srv/xlib/apk/db/installed": INSTALLED}) == []


def test_crlf_and_damage() -> None:
    assert len(packages({"lib/apk/db/installed": INSTALLED.replace(b"\n", b"\r\n")})) == 3
    assert packages({"lib/apk/db/installed": b"\xff\0P:\n\nV:1\n"}) == []
