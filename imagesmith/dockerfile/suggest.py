"""`(did you mean x?)`: the nearest of some words, as BuildKit suggests it."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["suggest"]


def _distance(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]


def suggest(word: str, options: Iterable[str], *, ignore_case: bool = False) -> str:
    """` (did you mean x?)` for an option less than three edits away; empty if there is none, or it is equal.

    With `ignore_case` the suggestion takes the word's own case where the word is all lower or upper.
    """
    wanted = word.lower() if ignore_case else word
    best, least = "", 3
    for option in options:
        have = option.lower() if ignore_case else option
        if have == wanted:
            return ""
        distance = _distance(wanted, have)
        if distance < least:
            best, least = option, distance
    if not best:
        return ""
    if ignore_case and word == word.lower():
        best = best.lower()
    return f" (did you mean {best}?)"
