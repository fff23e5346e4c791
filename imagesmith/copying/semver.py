"""Ranges of semantic versions, by which tags are chosen: `>=1.2 <2`, `^1.4`, `~1.2.3`, `1.x || 2.1`.

Why: a pattern of characters cannot say "from 1.10 on". A tag is a version with or without `v` before it, of
one to three numbers; what is none is not chosen. A version before a release (`1.0-rc1`) is chosen only by a
range that names one, as everywhere.
Spec: semver.org 2.0.0 for the order; Masterminds/semver for ranges, which skopeo has.
Trust: ranges are the user's own, tags are a registry's: numbers have at most nine digits.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from imagesmith.errors import UsageError
from imagesmith.values import frozen

__all__ = ["Range"]

_PRE = r"(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?"
_TAG = re.compile(rf"v?(\d{{1,9}})(?:\.(\d{{1,9}}))?(?:\.(\d{{1,9}}))?{_PRE}")
_PART = r"(\d{1,9}|[xX*])"
_TERM = re.compile(rf"(=|!=|>=|=>|<=|=<|>|<|~>?|\^)?\s*v?{_PART}(?:\.{_PART})?(?:\.{_PART})?{_PRE}")
_MOST = 64

#: A version in the order of versions: three numbers, then what comes before the release, which is last.
_Key = tuple[int, int, int, tuple[tuple[int, int, str], ...]]
_RELEASE = ((2, 0, ""),)
_FIRST: tuple[tuple[int, int, str], ...] = ()


def _pre(text: str | None) -> tuple[tuple[int, int, str], ...]:
    if not text:
        return _RELEASE
    return tuple((0, int(p), "") if p.isdecimal() and len(p) < 20 else (1, 0, p) for p in text.split("."))


@frozen
class _Term:
    """One comparison: the operator, the version with zeros for what is not said, and how much is said."""

    how: str
    numbers: tuple[int, int, int]
    said: int
    pre: tuple[tuple[int, int, str], ...]

    def takes(self, key: _Key) -> bool:
        """True for a version that it takes."""
        if key[3] != _RELEASE and self.pre == _RELEASE:
            return False  # only a range that names one takes what comes before a release
        low: _Key = (*self.numbers, self.pre)
        after: _Key = self._after()
        inside = low <= key < after if self.said < 3 else key == low
        known: dict[str, Callable[[], bool]] = {
            "=": lambda: inside,
            "!=": lambda: not inside,
            ">": lambda: key >= after if self.said < 3 else key > low,
            ">=": lambda: key >= low,
            "<": lambda: key < low,
            "<=": lambda: key < after if self.said < 3 else key <= low,
            "~": lambda: low <= key < self._bumped(min(2, self.said)),
            "^": lambda: low <= key < self._caret(),
        }
        return known[self.how]()

    def _after(self) -> _Key:
        return self._bumped(self.said)

    def _bumped(self, said: int) -> _Key:
        """The first version behind all that begin with so many of the numbers."""
        if said == 0:
            return (10**10, 0, 0, _FIRST)
        numbers = [*self.numbers[:said], 0, 0]
        numbers[said - 1] += 1
        return (numbers[0], numbers[1] if said > 1 else 0, numbers[2] if said > 2 else 0, _FIRST)

    def _caret(self) -> _Key:
        """Behind all that have the first number that is not zero."""
        first = next((n for n, number in enumerate(self.numbers[: self.said], 1) if number), self.said)
        return self._bumped(first)


@frozen
class Range:
    """Alternatives, each of comparisons that must all hold."""

    alternatives: tuple[tuple[_Term, ...], ...]

    @classmethod
    def parse(cls, text: str) -> Range:
        """Read a range.

        Raises:
            UsageError: it is none.
        """
        found = tuple(tuple(_terms(part, text)) for part in text.split("||"))
        if sum(map(len, found)) > _MOST:
            raise UsageError(f"semver:{text[:100]}…: more than {_MOST} comparisons")
        return cls(found)

    def takes(self, tag: str) -> bool:
        """True for a tag that is a version of the range."""
        m = _TAG.fullmatch(tag)
        if m is None:
            return False
        key: _Key = (int(m[1]), int(m[2] or 0), int(m[3] or 0), _pre(m[4]))
        return any(all(term.takes(key) for term in terms) for terms in self.alternatives)


def _terms(part: str, whole: str) -> list[_Term]:
    part = re.sub(r"(\S+)\s+-\s+(\S+)", r">=\1 <=\2", part.strip())
    terms, at = [], 0
    while at < len(part):
        m = _TERM.match(part, at)
        if m is None or (m.end() < len(part) and part[m.end()] not in ", \t"):
            break
        said = next((n for n in range(3) if not (m[n + 2] or "x").isdecimal()), 3)
        numbers = [int(m[n + 2]) if n < said else 0 for n in range(3)]
        how = {"=>": ">=", "=<": "<=", "~>": "~", None: "="}.get(m[1], m[1]) or "="
        terms.append(_Term(how, (numbers[0], numbers[1], numbers[2]), said, _pre(m[5])))
        at = m.end()
        while at < len(part) and part[at] in ", \t":
            at += 1
    if not terms or at < len(part):
        raise UsageError(f"semver:{whole}: no range of versions", hint="such as semver:>=1.2 <2")
    return terms
