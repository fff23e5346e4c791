"""Wildcards of paths, matched in time that does not explode.

Why: Go's engine never backtracks, Python's does, and `*a*a*a*b` or `**/a/**/b/**/c` would take for ever.
Where the first fit of a part is also its best, the expression commits to it (an atomic group) and nothing is
ever tried twice: between two stars of one path element, and between two `**` for what ends with a slash. A
pattern with any other choice is followed state by state, all of them at once, as bits of a number.
Spec: moby/patternmatcher's translation to regular expressions.
Trust: patterns and paths are a stranger's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

__all__ = ["FOLDERS", "REST", "STAR", "wildcards"]

#: What a pattern is made of, beside expressions of one character: any run within a path element, folders or
#: none (`**/`), and all that is left (`**` at the end).
STAR, FOLDERS, REST = "[^/]*", "(?:.*/)?", ".*"
_RUNS = (STAR, FOLDERS, REST)


def wildcards(tokens: Sequence[str]) -> Callable[[str], object]:
    """A function that tells by its truth if a path is matched as a whole.

    Raises:
        re.error: an expression that is none.
    """
    once = [t for n, t in enumerate(tokens) if not n or t not in _RUNS or tokens[n - 1] != t]
    segments: list[list[str]] = [[]]
    for token in once:
        if token == FOLDERS:
            segments.append([])
        else:
            segments[-1].append(token)
    choices = 0
    out = ""
    for n, segment in enumerate(segments):
        text, loose = _segment(segment)
        choices += loose
        inner, last = n > 0, n == len(segments) - 1
        if not inner:
            out += text
        elif last:
            out += FOLDERS + text
        elif segment and segment[-1] == "/":
            out += f"(?>(?:.*?/)??{text})"
        else:
            out += FOLDERS + text
            choices += 1
    return _States(once).match if choices else re.compile(out + r"\Z", re.DOTALL).match


def _segment(tokens: Sequence[str]) -> tuple[str, int]:
    """The expression of what stands between two `**`, and how many choices in it are not bounded."""
    out, part, loose, star = "", list[str](), 0, False
    for token in (*tokens, ""):
        if token and token not in (STAR, "/"):
            part.append(token)
            continue
        fixed = "".join(part)
        if star and any(t != REST and re.fullmatch(t, "/") for t in part):  # a class that takes a slash
            loose += 1
        elif star and token == STAR and part:
            out, star, fixed = f"{out}(?>{STAR}?{fixed})", False, ""
        out += (STAR if star else "") + fixed + (token if token == "/" else "")
        star, part = token == STAR, []
    return out, loose


class _States:
    """All places in a pattern that a path can have come to, one bit each."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._tokens = tokens
        self._single = [(1 << n, re.compile(t, re.DOTALL)) for n, t in enumerate(tokens) if t not in _RUNS]
        self._stars, self._folders, self._rests = (
            sum(1 << n for n, t in enumerate(tokens) if t == kind) for kind in _RUNS
        )
        self._skipped = self._stars | self._folders | self._rests
        self._taking: dict[str, int] = {}

    def match(self, path: str) -> bool:
        """True if the pattern matches the whole path."""
        here, inside = self._reach(1), 0
        for char in path:
            inside |= here & self._folders
            following = (here & self._takes(char)) << 1 | here & self._rests
            following |= inside << 1 if char == "/" else here & self._stars
            here = self._reach(following)
            if not here | inside:
                return False
        return bool(here >> len(self._tokens))

    def _reach(self, states: int) -> int:
        """The states, and those behind what may stand for nothing."""
        while (more := states | (states & self._skipped) << 1) != states:
            states = more
        return states

    def _takes(self, char: str) -> int:
        """The places that take a character."""
        found = self._taking.get(char)
        if found is None:
            found = self._taking[char] = sum(bit for bit, single in self._single if single.match(char))
        return found
