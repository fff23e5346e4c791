"""Lua's packages."""

from __future__ import annotations

from tests.sbom.looking import read_all

AT = "usr/local/lib/luarocks/rocks-5.1/lpeg/1.0.2-1/lpeg-1.0.2-1.rockspec"
ROCKSPEC = b"""package = "LPeg"
version = '1.0.2-1'
source = {
   url = "https://example.org/lpeg-1.0.2.tar.gz",
}
description = {
   summary = [[Parsing Expression Grammars]],
   homepage = "https://example.org/",
   maintainer = "Gary V. Vaughan <gary@vaughan.pe>",
   license = "MIT"
}
build = { type = "builtin", modules = { re = { version = "9" } } }
"""


def test_rockspec() -> None:
    (package,), warnings = read_all({AT: ROCKSPEC})
    assert (package.purl, warnings) == ("pkg:luarocks/LPeg@1.0.2-1", [])
    assert (package.licenses, package.supplier) == (("MIT",), "Person: Gary V. Vaughan (gary@vaughan.pe)")
    assert (package.source, package.homepage, package.description) == (
        "https://example.org/lpeg-1.0.2.tar.gz",
        "https://example.org/",
        "Parsing Expression Grammars",
    )


def test_what_is_no_rockspec_is_a_warning() -> None:
    packages, warnings = read_all({AT: b"package = name()\n"})
    assert packages == []
    assert warnings == [f"/{AT}: cannot be read as a list of packages: a rockspec without a name"]
