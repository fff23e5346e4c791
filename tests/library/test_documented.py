"""Arguments that many functions have stand in the docstring of each."""

from __future__ import annotations

import pydoc

import imagesmith
from imagesmith.library.documented import documented


def test_arguments_are_added_at_the_end_of_those_that_are_told() -> None:
    @documented
    def one(name: str, *, root: str = "", platform: str = "") -> None:
        """Do it.

        Args:
            name: of it.
            platform: told here.

        Raises:
            ValueError: never.
        """

    lines = (one.__doc__ or "").splitlines()
    assert lines[:5] == ["Do it.", "", "Args:", "    name: of it.", "    platform: told here."]
    assert lines[5].startswith("    root: the store's folder")
    assert lines[6:] == ["", "Raises:", "    ValueError: never."]


def test_section_is_made_where_there_is_none() -> None:
    @documented
    def one(*, root: str = "") -> None:
        """Do it."""

    @documented
    def two(*, root: str = "") -> None:
        """Do it.

        Returns:
            Nothing.
        """

    assert "\nArgs:\n    root: " in (one.__doc__ or "")
    assert (two.__doc__ or "").index("Args:") < (two.__doc__ or "").index("\n\nReturns:")


def test_help_of_one_function_is_enough() -> None:
    text = pydoc.plain(pydoc.render_doc(imagesmith.copy))
    for word in ("oci-archive:FILE", "source_credentials", "insecure: ", "NotFound: ", ">>> imagesmith."):
        assert word in text
