"""R's packages."""

from __future__ import annotations

import pytest

from tests.sbom.looking import purls, read_all

DESCRIPTION = b"""Package: stringr
Title: Simple, Consistent Wrappers for
    Strings
Version: 1.5.0.9000
Maintainer: Hadley Wickham <hadley@rstudio.com>
License: MIT + file LICENSE
URL: https://stringr.tidyverse.org, https://github.com/tidyverse/stringr
"""


def test_description() -> None:
    (package,), warnings = read_all({"usr/lib/R/library/stringr/DESCRIPTION": DESCRIPTION})
    assert (package.purl, warnings) == ("pkg:cran/stringr@1.5.0.9000", [])
    assert package.licenses == ("MIT",)
    assert package.supplier == "Person: Hadley Wickham (hadley@rstudio.com)"
    assert (package.homepage, package.description) == (
        "https://stringr.tidyverse.org",
        "Simple, Consistent Wrappers for Strings",
    )


@pytest.mark.parametrize(
    ("said", "licenses"),
    [(b"GPL-2 | GPL-3", ("GPL-2 OR GPL-3",)), (b"file LICENSE", ()), (b"GPL (>= 2)", ("GPL (>= 2)",))],
)
def test_licences(said: bytes, licenses: tuple[str, ...]) -> None:
    (package,), _ = read_all({"x/DESCRIPTION": b"Package: a\nVersion: 1\nLicense: " + said})
    assert package.licenses == licenses


@pytest.mark.parametrize("data", [b"", b"This folder holds\n", b"Package: a\n", b"\xff\0: x"])
def test_other_files_of_that_name(data: bytes) -> None:
    assert purls({"srv/DESCRIPTION": data}) == []
