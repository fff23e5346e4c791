"""Licences: what is declared becomes an expression that SPDX's own grammar takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.sbom import licences as module
from imagesmith.sbom.licences import Licences, known


@pytest.mark.parametrize(
    ("declared", "expression"),
    [
        ("GPL-2+", "GPL-2.0-or-later"), ("GPL-2", "GPL-2.0-only"), ("GPLv2+", "GPL-2.0-or-later"),
        ("LGPL-2.1+", "LGPL-2.1-or-later"), ("LGPLv2+", "LGPL-2.0-or-later"),
        ("AGPL-3+", "AGPL-3.0-or-later"),
        ("GPL+", "GPL-1.0-or-later"), ("gpl-2.0", "GPL-2.0-only"),
        ("GFDL-NIV-1.3+", "GFDL-1.3-no-invariants-or-later"),
        ("GNU General Public License v2 or later (GPLv2+)", "GPL-2.0-or-later"),
        ("Expat", "MIT"), ("BSD-3-clause", "BSD-3-Clause"), ("ASL 2.0", "Apache-2.0"),
        ("Apache License, Version 2.0", "Apache-2.0"), ("mit", "MIT"),
        ("GPLv2+ and LGPLv2+ and MIT", "GPL-2.0-or-later AND LGPL-2.0-or-later AND MIT"),
        ("GPL-1+ or Artistic", "GPL-1.0-or-later OR Artistic-1.0-Perl"),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", "(MIT OR Apache-2.0) AND Unicode-3.0"),
        ("MIT OR Apache-2.0 AND ISC", "MIT OR (Apache-2.0 AND ISC)"),
        ("GPL-2 or MIT, and ISC", "GPL-2.0-only OR (MIT AND ISC)"),
        ("GPL-3+ with Bison exception", "GPL-3.0-or-later WITH Bison-exception-2.2"),
        ("GPL-3.0-only WITH GCC-exception-3.1", "GPL-3.0-only WITH GCC-exception-3.1"),
        ("LicenseRef-Fedora-Public-Domain", "LicenseRef-Fedora-Public-Domain"),
        ("MIT and BSD", "MIT AND LicenseRef-BSD"),
    ],
)  # fmt: skip
def test_expression(declared: str, expression: str) -> None:
    assert Licences().expression([declared]) == expression


def test_declarations_that_all_apply_are_joined_once_each() -> None:
    assert Licences().expression(["MIT or GPL-2", "ISC", "isc"]) == "(MIT OR GPL-2.0-only) AND ISC"
    assert Licences().expression([]) == ""
    assert Licences().expression(["", " "]) == ""


def test_unknown_names_are_references_to_the_text() -> None:
    licences = Licences()
    assert licences.expression(["GPL"]) == "LicenseRef-GPL"
    assert licences.expression(["a (b"]) == "LicenseRef-a-b"
    long = "Permission is hereby granted, free of charge, to any person " * 20
    reference = licences.expression([long])
    assert licences.texts == {"LicenseRef-GPL": "GPL", "LicenseRef-a-b": "a (b", reference: long.strip()}


def test_two_texts_that_shorten_to_one_name_stay_two() -> None:
    licences = Licences()
    one, two = licences.expression(["my licence!"]), licences.expression(["my/licence"])
    assert one != two
    assert {licences.texts[one], licences.texts[two]} == {"my licence!", "my/licence"}


@given(st.text(alphabet="()ANDORWITHandor +-.MITgpl2ä\n\x00", max_size=200))
def test_no_declaration_fails_or_makes_more_than_known_words(text: str) -> None:
    licences = Licences()
    for word in licences.expression([text]).replace("(", " ").replace(")", " ").split():
        base = word.removesuffix("+")
        assert word in ("AND", "OR", "WITH") or word in licences.texts or known(base) or known(word)


def test_depth_is_bounded() -> None:
    deep = "(" * 200 + "MIT" + ")" * 200
    assert Licences().expression([deep]).startswith("LicenseRef-")


def test_list_is_the_one_of_packaging() -> None:
    """Where packaging is there, our list has all of its names: it was made of them."""
    spdx = pytest.importorskip("packaging.licenses._spdx")
    lines = set(Path(module.__file__).with_name("licences.txt").read_text().splitlines())
    assert {v["id"] for v in spdx.LICENSES.values()} - lines == set()
