"""`(did you mean x?)`: the nearest of some words, as BuildKit suggests it.

Spec: BuildKit's util/suggest.
Trust: words of a Dockerfile or command line, of any length: what is compared is a band about the diagonal, so
that a word of 60 kB costs what one look at it costs.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["suggest"]

#: Words so many edits apart are no spelling of each other.
_TOO_FAR = 3


def _distance(a: str, b: str) -> int:
    """The number of edits from one word to the other, if there are fewer than _TOO_FAR."""
    band = _TOO_FAR - 1
    if abs(len(a) - len(b)) > band or len({*a} - {*b}) > band or len({*b} - {*a}) > band:
        return _TOO_FAR
    row = {j: j for j in range(min(band, len(b)) + 1)}
    for i, x in enumerate(a, 1):
        above, row = row, {}
        for j in range(max(0, i - band), min(len(b), i + band) + 1):
            edits = [above[j] + 1] if j in above else []
            if j > 0:
                edits.append(above[j - 1] + (x != b[j - 1]))
                if j - 1 in row:
                    edits.append(row[j - 1] + 1)
            row[j] = min(edits)
        if min(row.values()) > band:
            return _TOO_FAR
    return min(row[len(b)], _TOO_FAR)


def suggest(word: str, options: Iterable[str], *, ignore_case: bool = False) -> str:
    """` (did you mean x?)` for an option less than three edits away; empty if there is none, or it is equal.

    With `ignore_case` the suggestion is in upper case where the word is, in lower case else.
    """
    wanted = word.lower() if ignore_case else word
    best, least = "", _TOO_FAR
    for option in options:
        have = option.lower() if ignore_case else option
        if have == wanted:
            return ""
        distance = _distance(wanted, have)
        if distance < least:
            best, least = have, distance
    if not best:
        return ""
    if ignore_case and word == word.upper() and word != word.lower():
        best = best.upper()
    return f" (did you mean {best}?)"
