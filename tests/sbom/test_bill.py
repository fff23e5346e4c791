"""Who supplies a package that names nobody, and which addresses a document may hold."""

from __future__ import annotations

import pytest

from imagesmith.sbom.bill import is_address, supplier_or_none
from imagesmith.sbom.package import Package


@pytest.mark.parametrize(
    ("kind", "namespace", "name", "homepage", "owner"),
    [
        ("golang", "github.com/spf13", "cobra", "", "spf13"),
        ("golang", "golang.org/x", "sys", "", "golang.org"),
        ("golang", "", "stdlib", "", "The Go Authors"),
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
    assert supplier_or_none(package) == (f"Organization: {owner}" if owner else "")


def test_own_word_comes_first() -> None:
    package = Package(kind="npm", namespace="@acme", name="a", version="1", supplier="Person: Jane")
    assert supplier_or_none(package) == "Person: Jane"


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
