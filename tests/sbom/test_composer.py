"""PHP's packages."""

from __future__ import annotations

import json

import pytest

from imagesmith.sbom import composer
from tests.sbom.looking import read_all

AT = "app/vendor/composer/installed.json"
PACKAGE = {
    "name": "Acme/Left.Pad", "version": "v1.2.0", "license": ["MIT", "GPL-2.0-only"], "homepage": "https://left.example",
    "authors": [{"name": "Ann", "email": "ann@example.org"}], "description": "Pads",
    "dist": {"url": "https://dist.example/x.zip", "shasum": "0" * 40}, "source": {"url": "https://git.example/x"},
}  # fmt: skip


@pytest.mark.parametrize("told", [[PACKAGE], {"packages": [PACKAGE], "dev": False}])
def test_both_forms(told):
    (package,), warnings = read_all({AT: json.dumps(told).encode()})
    assert warnings == []
    assert package.purl == "pkg:composer/acme/left.pad@v1.2.0"
    assert package.licenses == ("MIT", "GPL-2.0-only")
    assert package.supplier == "Person: Ann (ann@example.org)"
    assert package.source == "https://dist.example/x.zip"
    assert package.checksums == {"SHA1": "0" * 40}


def test_values_of_other_types():
    odd = [
        {"name": "a/b", "version": 1, "license": "MIT", "authors": 7, "dist": [], "source": None},
        7,
        {"name": None},
    ]
    packages, warnings = read_all({AT: json.dumps(odd).encode()})
    assert [(p.purl, p.licenses, p.supplier) for p in packages] == [
        ("pkg:composer/a/b", ("MIT",), "Organization: a")
    ]
    assert warnings == [f"/{AT}: a package without a usable name is left out"]


@pytest.mark.parametrize("data", [b"7", b"{}", b"[", b""])
def test_no_list(data):
    packages, warnings = read_all({AT: data})
    assert (packages, len(warnings)) == ([], 1)


def test_where_it_is():
    assert composer.wants(AT)
    assert composer.wants("lib/composer/installed.json")
    assert not composer.wants("app/installed.json")
    assert not composer.wants("app/composer.lock")
