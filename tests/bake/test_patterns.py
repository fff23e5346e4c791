"""Patterns of names match as Go's path.Match does."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.bake.patterns import is_pattern, matching
from imagesmith.errors import UsageError

_NAMES = ["app", "app-dev", "web", "a", "b-", "^x"]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*", _NAMES),
        ("app", ["app"]),
        ("app*", ["app", "app-dev"]),
        ("*-*", ["app-dev", "b-"]),
        ("?", ["a"]),
        ("[a-b]", ["a"]),
        ("[^a]?", ["b-", "^x"]),
        ("[!a]", ["a"]),
        (r"\a*p", ["app"]),
        (r"[b\-][\-b]", ["b-"]),
        ("", []),
    ],
)
def test_patterns(pattern: str, names: list[str]) -> None:
    assert matching(pattern, _NAMES) == names


@pytest.mark.parametrize("pattern", ["[", "[]", "[a", "a\\", "[a-", "[^", "[\\"])
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(UsageError, match="syntax error in pattern"):
        matching(pattern, [])


def test_what_looks_like_one() -> None:
    assert [text for text in ("app", "a*", "a?", "[ab]", "a_b") if is_pattern(text)] == ["a*", "a?", "[ab]"]


@given(st.text("ab*?", max_size=10), st.text("ab", max_size=10))
def test_stars_and_question_marks_are_a_shells(pattern: str, name: str) -> None:
    assert bool(matching(pattern, [name])) == fnmatch.fnmatchcase(name, pattern)


def test_many_stars_are_quick() -> None:
    assert matching("*a" * 500 + "b", ["a" * 5000]) == []
