"""`semvercmp`: whether a version meets a constraint such as `>= 1.2, < 2` or `^1.4 || ~2.1`.

Spec: semver.org 2.0.0; the constraints of Masterminds/semver 3, which buildx uses: a part that is missing, or
is x, X or *, stands for any; a version with a pre-release meets only what names one.
"""

from __future__ import annotations

import re

from imagesmith.bake.functions.calling import CallError, Function, Parameter, string
from imagesmith.values import frozen

__all__ = ["FUNCTIONS", "satisfies"]

_MORE = r"(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
_VERSION = re.compile(rf"v?(\d{{1,18}})(?:\.(\d{{1,18}}))?(?:\.(\d{{1,18}}))?{_MORE}", re.ASCII)
_PART = r"(\d{1,18}|[xX*])"
_WANTED = rf"v?{_PART}(?:\.{_PART})?(?:\.{_PART})?{_MORE}"
_TERM = re.compile(rf"\s*(=|!=|>=|=>|<=|=<|>|<|~>|~|\^|)\s*{_WANTED}(?=\s|,|\Z)", re.ASCII)
_HYPHEN = re.compile(rf"(?<![^\s,])({_WANTED})\s+-\s+({_WANTED})(?=\s|,|\Z)", re.ASCII)
_COMMA = re.compile(r"\s*,(?=\s*\S)")
_MOST_CHARACTERS = 1024


@frozen
class _Version:
    """A version: its three numbers, and the parts of its pre-release."""

    numbers: tuple[int, int, int]
    pre: tuple[str, ...]

    @property
    def rank(self) -> tuple[object, ...]:
        """What orders versions."""
        parts = tuple((0, int(p), "") if p.isdecimal() else (1, 0, p) for p in self.pre)
        return (self.numbers, not self.pre, parts)


@frozen
class _Term:
    """An operator and a version; `known` is how many of its numbers are given."""

    operator: str
    version: _Version
    known: int


def satisfies(version: str, constraint: str) -> bool:
    """Whether a version meets a constraint.

    Raises:
        CallError: one of them is none.
    """
    found = _VERSION.fullmatch(version) if len(version) <= _MOST_CHARACTERS else None
    if found is None:
        raise CallError(f"version: {version!r:.60} is no version such as 1.2.3", 0)
    if len(constraint) > _MOST_CHARACTERS:
        raise CallError(f"constraint: it is longer than {_MOST_CHARACTERS} characters", 1)
    wanted = [_terms(text, constraint) for text in constraint.split("||")]
    numbers = (int(found[1]), int(found[2] or 0), int(found[3] or 0))
    given = _Version(numbers, tuple(found[4].split(".")) if found[4] else ())
    return any(_all_met(given, terms) for terms in wanted)


def _terms(text: str, whole: str) -> list[_Term]:
    text = _HYPHEN.sub(_from_to, text)
    terms: list[_Term] = []
    at = 0
    while text[at:].strip():
        found = _TERM.match(text, at)
        if found is None:
            terms = []
            break
        given = [int(p) if p and p.isdecimal() else None for p in found.group(2, 3, 4)]
        known = next((n for n, p in enumerate(given) if p is None), 3)
        numbers = [p or 0 for p in given[:known]] + [0] * (3 - known)
        pre = tuple(found[5].split(".")) if found[5] else ()
        terms.append(_Term(found[1], _Version((numbers[0], numbers[1], numbers[2]), pre), known))
        at = found.end()
        comma = _COMMA.match(text, at)
        at = comma.end() if comma else at
    if not terms:
        raise CallError(f"constraint: {whole!r:.60} is none such as >= 1.2.3", 1)
    return terms


def _from_to(found: re.Match[str]) -> str:
    return f">={found[1]}, <={found[6]}"


def _all_met(given: _Version, terms: list[_Term]) -> bool:
    if given.pre and not any(term.version.pre for term in terms):
        return False
    return all(_met(given, term) for term in terms)


def _met(given: _Version, term: _Term) -> bool:
    wanted, known = term.version, term.known
    mine, its = given.numbers[:known], wanted.numbers[:known]
    match term.operator:
        case "" | "=" if known == 3:
            return given.rank == wanted.rank
        case "" | "=" | "~" | "~>":
            # a tilde keeps the first two numbers, and ~0.0.0 none, as with Masterminds
            kept = 0 if its == (0, 0, 0) else min(known, 2)
            return given.rank >= wanted.rank and mine[:kept] == its[:kept]
        case "!=":
            return mine != its or (known > 1 and given.pre != wanted.pre)
        case ">":
            return mine > its if known < 3 else given.rank > wanted.rank
        case "<":
            return given.rank < wanted.rank
        case ">=" | "=>":
            return given.rank >= wanted.rank
        case "<=" | "=<":
            return mine <= its if known < 3 else given.rank <= wanted.rank
    # a caret keeps the first number that is not zero
    kept = next((n for n, p in enumerate(its, 1) if p), known)
    return given.rank >= wanted.rank and mine[:kept] == its[:kept]


FUNCTIONS = (
    Function("semvercmp", satisfies, (Parameter("version", string), Parameter("constraint", string))),
)
