"""npm's packages."""

from __future__ import annotations

import json

import pytest

from imagesmith.sbom import npm
from tests.sbom.looking import read_all


def one(**told):
    data = json.dumps({"name": "a", "version": "1", **told}).encode()
    (package,), warnings = read_all({"app/node_modules/a/package.json": data})
    assert warnings == []
    return package


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("package.json", True), ("app/package.json", True), ("usr/lib/node_modules/npm/package.json", True),
        ("a/node_modules/@s/n/package.json", True), ("a/node_modules/b/node_modules/c/package.json", True),
        ("a/node_modules/.pnpm/b@1/node_modules/b/package.json", True),
        ("a/node_modules/next/dist/compiled/zod/package.json", True),
        ("a/node_modules/test/package.json", True), ("a/node_modules/@test/spec/package.json", True),
        ("a/node_modules/b/test/x/package.json", True),
        ("a/package-lock.json", False), ("a/node_modules/.package-lock.json", False),
        ("a/xpackage.json", False),
    ],
)  # fmt: skip
def test_which_files_describe_packages(path, wanted):
    assert npm.wants(path) is wanted


def test_a_scope():
    assert one(name="@acme/left", version="2.0.0").purl == "pkg:npm/%40acme/left@2.0.0"


@pytest.mark.parametrize(
    ("told", "licenses"),
    [
        ({"license": "MIT"}, ("MIT",)),
        ({"license": {"type": "BSD", "url": "x"}}, ("BSD",)),
        ({"licenses": [{"type": "MIT"}, {"type": "ISC"}, 7]}, ("MIT", "ISC")),
        ({"licenses": "MIT"}, ("MIT",)),
        ({"license": ["MIT"]}, ()),
        ({"license": None}, ()),
    ],
)
def test_licences(told, licenses):
    assert one(**told).licenses == licenses


@pytest.mark.parametrize(
    ("told", "supplier"),
    [
        ({"author": "Ann <ann@example.org> (https://ann.example)"}, "Person: Ann (ann@example.org)"),
        ({"author": {"name": "Ann", "email": "ann@example.org"}}, "Person: Ann (ann@example.org)"),
        ({"author": {"name": "Acme Inc."}}, "Organization: Acme Inc."),
        ({"author": 7, "maintainers": [{"name": "Bob"}]}, "Person: Bob"),
        (
            {"maintainers": [], "contributors": ["Eve <eve@example.org>", "Bob"]},
            "Person: Eve (eve@example.org)",
        ),
        ({}, ""),
    ],
)
def test_suppliers(told, supplier):
    assert one(**told).supplier == supplier


def test_where_it_is_from():
    assert one(repository={"url": "git+https://x.example/a.git"}).source == "git+https://x.example/a.git"
    assert one(repository="acme/a").source == "https://github.com/acme/a"
    assert one(repository={"url": "bitbucket:acme/a"}).source == "https://bitbucket.org/acme/a"
    assert one(repository="git@x.example:acme/a").source == ""
    assert (
        one(_resolved="https://r.example/a.tgz", repository="https://x.example").source
        == "https://r.example/a.tgz"
    )


def test_a_package_without_a_version_is_one():
    packages, warnings = read_all({"app/node_modules/a/package.json": b'{"name": "@b/a", "version": 7}'})
    assert ([p.purl for p in packages], warnings) == (["pkg:npm/%40b/a"], [])


@pytest.mark.parametrize("data", [b'{"version": "1"}', b"[]", b'{"name": 1, "version": "1"}'])
def test_parts_of_packages_are_none(data):
    assert read_all({"app/node_modules/a/package.json": data}) == ([], [])


@pytest.mark.parametrize("data", [b"{", b"[" * 100_000, b'{"name": NaN'])
def test_damage_is_a_warning(data):
    packages, warnings = read_all({"app/package.json": data})
    assert (packages, len(warnings)) == ([], 1)


def test_a_byte_order_mark():
    packages, warnings = read_all({"package.json": b'\xef\xbb\xbf{"name": "a", "version": "1"}'})
    assert [p.purl for p in packages] == ["pkg:npm/a@1"]
    assert warnings == []
