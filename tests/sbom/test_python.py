"""Python's packages as installers note them."""

from __future__ import annotations

import pytest

from imagesmith.sbom import python
from tests.sbom.looking import purls, read_all

SITE = "usr/lib/python3.11/site-packages"
METADATA = b"""Metadata-Version: 2.1
Name: Foo_Bar.baz
Version: 1.2
Summary: Does things
Author: Ann Smith
Author-email: ann@example.org, bob@example.org
License: UNKNOWN
Project-URL: Source Code, https://code.example
Classifier: License :: OSI Approved
Classifier: License :: OSI Approved :: MIT License

Name: wrong
"""


def one(files):
    (package,), warnings = read_all(files)
    assert warnings == []
    return package


def test_a_wheel():
    record = (
        b'foo/__init__.py,sha256=x,10\r\n../../../bin/foo,,\n"foo/a,b.py",,\n../../../../../../../etc/x,,\n\n'
    )
    info = f"{SITE}/Foo_Bar.baz-1.2.dist-info"
    package = one({f"{info}/METADATA": METADATA, f"{info}/RECORD": record})
    assert package.purl == "pkg:pypi/foo-bar-baz@1.2"
    assert package.name == "Foo_Bar.baz"
    assert package.licenses == ("MIT License",)
    assert package.supplier == "Person: Ann Smith (ann@example.org)"
    assert package.homepage == "https://code.example"
    assert package.files == (
        f"{SITE}/foo/__init__.py", "usr/bin/foo", f"{SITE}/foo/a,b.py", "etc/x",
    )  # fmt: skip


@pytest.mark.parametrize(
    "path",
    [
        f"{SITE}/foo.egg-info", f"{SITE}/foo.egg-info/PKG-INFO", "app/foo.egg/EGG-INFO/PKG-INFO",
        f"{SITE}/foo.DIST-INFO/METADATA", "foo.dist-info/METADATA",
    ],
)  # fmt: skip
def test_the_places_of_descriptions(path):
    assert purls({path: METADATA}) == ["pkg:pypi/foo-bar-baz@1.2"]


@pytest.mark.parametrize(
    "path",
    [
        f"{SITE}/foo/METADATA",
        f"{SITE}/PKG-INFO",
        "requirements.txt",
        "app/poetry.lock",
        "x.egg-info/top_level.txt",
    ],
)
def test_other_files_are_none(path):
    assert not python.wants(path)


def test_files_of_an_egg():
    info = f"{SITE}/foo.egg-info"
    package = one({f"{info}/PKG-INFO": METADATA, f"{info}/installed-files.txt": b"../foo.py\nPKG-INFO\n"})
    assert package.files == (f"{SITE}/foo.py", f"{info}/PKG-INFO")


@pytest.mark.parametrize(
    ("lines", "licenses"),
    [
        (b"License-Expression: MIT OR Apache-2.0\nLicense: x\n", ("MIT OR Apache-2.0",)),
        (b"License: BSD\n", ("BSD",)),
        (b"License: MIT License\n  Permission is granted\n", ("MIT License",)),
        (b"License: " + b"long " * 100 + b"\nClassifier: License :: OSI Approved :: ISC\n", ("ISC",)),
        (b"", ()),
    ],
)
def test_licences(lines, licenses):
    assert one({f"{SITE}/a.egg-info": b"Name: a\nVersion: 1\n" + lines}).licenses == licenses


def test_what_was_installed_from_a_repository():
    info = f"{SITE}/a-1.dist-info"
    said = b'{"url": "https://github.com/a/a.git", "vcs_info": {"vcs": "git", "commit_id": "01ab"}}'
    package = one({f"{info}/METADATA": b"Name: a\nVersion: 1\n", f"{info}/direct_url.json": said})
    assert package.purl == "pkg:pypi/a@1?vcs_url=git%2Bhttps://github.com/a/a.git%4001ab"
    assert package.source == "https://github.com/a/a.git"


@pytest.mark.parametrize("said", [b"[", b"[]", b'{"vcs_info": 7}', b"[" * 100_000])
def test_an_origin_that_is_damaged(said):
    info = f"{SITE}/a-1.dist-info"
    assert purls({f"{info}/METADATA": b"Name: a\nVersion: 1\n", f"{info}/direct_url.json": said}) == [
        "pkg:pypi/a@1"
    ]


def test_pythons_own_description_is_none():
    assert (
        purls({f"{SITE}/Python-3.11.egg-info": b"Name: Python\nVersion: 3.11\n", f"{SITE}/x.egg-info": b""})
        == []
    )


def test_the_mail_names_the_author():
    mail = b'Name: a\nVersion: 1\nAuthor-email: "Core Team" <core@example.org>, Bob <b@example.org>\n'
    assert one({f"{SITE}/a.egg-info": mail}).supplier == "Organization: Core Team (core@example.org)"
