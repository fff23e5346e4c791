"""Suggestions: the nearest word, in the case of the one that was written, at a cost that no word explodes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.dockerfile.instructions import KEYWORDS
from imagesmith.dockerfile.suggest import suggest


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("EntryPont", "entrypoint"),
        ("ENTRYPONT", "ENTRYPOINT"),
        ("entrypont", "entrypoint"),
        ("Rum", "run"),
        ("RUM", "RUN"),
        ("rum", "run"),
    ],
)
def test_suggestion_is_in_the_word_s_case_and_in_lower_case_where_it_is_mixed(word: str, told: str) -> None:
    assert suggest(word, KEYWORDS, ignore_case=True) == f" (did you mean {told}?)"


def test_nothing_is_suggested_for_a_word_that_is_known_or_three_edits_away() -> None:
    assert suggest("run", KEYWORDS, ignore_case=True) == ""
    assert suggest("from", ["fr"]) != ""
    assert suggest("from", ["f"]) == ""


def edits(a: str, b: str) -> int:
    """The whole table, as textbooks have it."""
    table = {(i, 0): i for i in range(len(a) + 1)} | {(0, j): j for j in range(len(b) + 1)}
    for i, x in enumerate(a, 1):
        for j, y in enumerate(b, 1):
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (x != y))
    return table[len(a), len(b)]


@given(st.text("ab", max_size=7), st.lists(st.text("abc", min_size=1, max_size=7), max_size=4))
def test_nearest_of_the_options_is_told(word: str, options: list[str]) -> None:
    near = [(edits(word, o), n, o) for n, o in enumerate(options) if edits(word, o) < 3]
    want = "" if word in options or not near else f" (did you mean {min(near)[2]}?)"
    assert suggest(word, options) == want


def test_words_of_a_whole_line_cost_one_look_at_each() -> None:
    assert suggest("x" * 60_000, [*KEYWORDS, "x" * 59_999]) == f" (did you mean {'x' * 59_999}?)"
