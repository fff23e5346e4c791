"""Packages: their purls, suppliers, and what is cut from hostile ones."""

from __future__ import annotations

import pytest

from imagesmith.sbom.package import LONGEST, Package, checked, clean, supplier_of


@pytest.mark.parametrize(
    ("fields", "purl"),
    [
        (
            {"kind": "deb", "name": "bsdutils", "version": "1:2.38.1-5+deb12u3", "namespace": "debian",
             "qualifiers": {"upstream": "util-linux@2.38.1-5+deb12u3", "distro": "debian-12", "arch": "x"}},
            "pkg:deb/debian/bsdutils@1:2.38.1-5%2Bdeb12u3?arch=x&distro=debian-12"
            "&upstream=util-linux%402.38.1-5%2Bdeb12u3",
        ),
        ({"kind": "npm", "name": "left", "version": "2", "namespace": "@acme"}, "pkg:npm/%40acme/left@2"),
        ({"kind": "pypi", "name": "Foo_Bar.baz", "version": "1.2"}, "pkg:pypi/foo-bar-baz@1.2"),
        (
            {"kind": "golang", "name": "toml", "version": "v1.3.2", "namespace": "github.com/BurntSushi"},
            "pkg:golang/github.com/BurntSushi/toml@v1.3.2",
        ),
        (
            {"kind": "golang", "name": "api", "version": "", "namespace": "a.b/c", "subpath": "/x/../y z/"},
            "pkg:golang/a.b/c/api#x/y%20z",
        ),
        ({"kind": "composer", "name": "Log", "version": "3", "namespace": "PSR"}, "pkg:composer/psr/log@3"),
        ({"kind": "maven", "name": "x", "version": "1", "namespace": "com.acme"}, "pkg:maven/com.acme/x@1"),
        (
            {"kind": "rpm", "name": "A", "version": "2~rc-1", "namespace": "RedHat", "qualifiers": {"a": ""}},
            "pkg:rpm/redhat/A@2~rc-1",
        ),
        ({"kind": "gem", "name": "é", "version": "1?#@/"}, "pkg:gem/%C3%A9@1%3F%23%40%2F"),
    ],
)  # fmt: skip
def test_purl(fields: dict[str, object], purl: str) -> None:
    assert Package(**fields).purl == purl  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "supplier"),
    [
        ("APT Development Team <apt@example.org>", "Organization: APT Development Team (apt@example.org)"),
        ("Jane Doe <jane@example.org>", "Person: Jane Doe (jane@example.org)"),
        ("Jane Doe (jane@example.org)", "Person: Jane Doe (jane@example.org)"),
        ("Jane Doe <jane@example.org> (https://example.org)", "Person: Jane Doe (jane@example.org)"),
        ("Red Hat, Inc.", "Organization: Red Hat, Inc."),
        ("jane@example.org", "Person: jane@example.org"),
        ("The Foo Authors", "Organization: The Foo Authors"),
        ("A <a@b.c>, B <d@e.f>", "Person: A (a@b.c)"),
        ("", ""), ("UNKNOWN", ""), ("<>", ""), ("\n", ""),
    ],
)  # fmt: skip
def test_supplier(text: str, supplier: str) -> None:
    assert supplier_of(text) == supplier


def test_vendor_is_an_organization_whatever_its_name() -> None:
    assert supplier_of("Fedora", organization=True) == "Organization: Fedora"


def test_what_is_too_long_is_cut_or_refused() -> None:
    whole = Package(kind="deb", name="a", version="1", description="d" * 10_000, licenses=("x" * 5000,) * 300)
    cut = checked(whole)
    assert cut is not None
    assert len(cut.description) < 5000
    assert len(cut.licenses) == 200
    assert len(cut.licenses[0]) == LONGEST
    assert checked(Package(kind="deb", name="a" * 2000, version="1")) is None
    assert checked(Package(kind="deb", name="\x00 ", version="1")) is None


def test_texts_are_without_control_characters_and_halves() -> None:
    assert clean("a\x1b[31mb\ud800\x9bc\n") == "a [31mb? c"


def test_version_of_an_rpm_is_shown_with_its_epoch() -> None:
    package = Package(kind="rpm", name="a", version="1-2", qualifiers={"epoch": "3"})
    assert package.version_info == "3:1-2"
    assert package.purl == "pkg:rpm/a@1-2?epoch=3"
