"""Who supplies a package that names nobody, and which addresses a document may hold."""

from __future__ import annotations

import pytest

from imagesmith.sbom.bill import Bill, is_address
from imagesmith.sbom.package import Package


def bill(supplier: str = "", **release: str) -> Bill:
    return Bill(name="a", created="", packages=(), supplier=supplier, release=release)


@pytest.mark.parametrize(
    ("kind", "namespace", "name", "homepage", "owner"),
    [
        ("golang", "github.com/spf13", "cobra", "", "spf13"),
        ("golang", "golang.org/x", "sys", "", "golang.org"),
        ("golang", "", "stdlib", "", "The Go Authors"),
        ("golang", "cmd", "vet", "", "The Go Authors"),
        ("golang", "", "app", "", ""),
        ("npm", "@acme", "left", "https://github.com/other/left", "acme"),
        ("npm", "", "left", "https://github.com/acme/left", "acme"),
        ("npm", "", "left", "git+ssh://git@github.com/acme/left.git", "acme"),
        ("npm", "", "left", "https://example.org/acme/left", ""),
        ("npm", "", "left", "https://github.com/acme", ""),
        ("npm", "", "left", "https://github.com.example.org/acme/left", ""),
        ("maven", "com.acme", "x", "", "com.acme"),
        ("composer", "psr", "log", "", "psr"),
        ("deb", "debian", "x", "", ""),
    ],
)
def test_supplier_of_a_package_that_names_none(
    kind: str, namespace: str, name: str, homepage: str, owner: str
) -> None:
    package = Package(kind=kind, namespace=namespace, name=name, version="1", homepage=homepage)
    assert bill().supplier_of(package) == (f"Organization: {owner}" if owner else "")
    assert bill("Organization: ACME").supplier_of(package) == f"Organization: {owner or 'ACME'}"


def test_own_word_comes_first() -> None:
    package = Package(kind="npm", namespace="@acme", name="a", version="1", supplier="Person: Jane")
    assert bill("Organization: ACME").supplier_of(package) == "Person: Jane"


def test_distribution_supplies_what_its_package_manager_installed() -> None:
    alpine = bill("Organization: ACME", NAME="Alpine\x1b Linux")
    home = "https://github.com/other/a"
    apk = Package(kind="apk", name="a", version="1", homepage=home)
    npm = Package(kind="npm", name="a", version="1")
    assert alpine.supplier_of(apk) == "Organization: Alpine  Linux"
    assert alpine.supplier_of(npm) == "Organization: ACME"


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("https://example.org", True), ("http://example.org/a?b=c#d", True),
        ("git+https://github.com/a/b", True),
        ("ftp://x", False), ("https://", False), ("https://a b", False), ("https://a<b>", False), ("", False),
        ("javascript:alert(1)", False), ("https://a\n", False),
    ],
)  # fmt: skip
def test_address(text: str, good: bool) -> None:
    assert is_address(text) is good
