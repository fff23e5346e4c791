"""Patterns of names, as --set and the targets of a command line have them: `*`, `?`, `[a-c]`, `[^x]`.

Spec: Go's path.Match. Names have no slash, so `*` is any characters.
"""

from __future__ import annotations

from collections.abc import Iterable

from imagesmith.errors import UsageError

__all__ = ["is_pattern", "matching"]

#: One character of a name: which characters it may be (None for any), and whether those are the wrong ones.
_Token = tuple[tuple[tuple[str, str], ...] | None, bool]
_STAR: _Token = (None, True)


def is_pattern(text: str) -> bool:
    """True of words that are no name by themselves."""
    return any(c in text for c in "*?[]")


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that it matches.

    Raises:
        UsageError: a class that is not closed, or nothing after a backslash.
    """
    tokens = _tokens(pattern)
    return [name for name in names if _matches(tokens, name)]


def _tokens(pattern: str) -> list[_Token]:
    out: list[_Token] = []
    left = list(reversed(pattern))

    def character() -> str:
        c = left.pop()
        return left.pop() if c == "\\" else c

    try:
        while left:
            if left[-1] == "*":
                left.pop()
                if not out or out[-1] != _STAR:
                    out.append(_STAR)
            elif left[-1] == "?":
                left.pop()
                out.append((None, False))
            elif left[-1] == "[":
                left.pop()
                wrong = left[-1] == "^"
                if wrong:
                    left.pop()
                ranges: list[tuple[str, str]] = []
                while left[-1] != "]" or not ranges:
                    low = character()
                    if left[-1] == "-":
                        left.pop()
                        ranges.append((low, character()))
                    else:
                        ranges.append((low, low))
                left.pop()
                out.append((tuple(ranges), wrong))
            else:
                c = character()
                out.append((((c, c),), False))
    except IndexError:
        raise UsageError(f"{pattern}: syntax error in pattern") from None
    return out


def _fits(token: _Token, c: str) -> bool:
    ranges, wrong = token
    return ranges is None or any(low <= c <= high for low, high in ranges) != wrong


def _matches(tokens: list[_Token], name: str) -> bool:
    """Go back to the last star only: each earlier one has taken as little as it could."""
    at = token = 0
    star, taken = -1, 0
    while at < len(name):
        if token < len(tokens) and tokens[token] == _STAR:
            star, taken = token, at
            token += 1
        elif token < len(tokens) and _fits(tokens[token], name[at]):
            at, token = at + 1, token + 1
        elif star >= 0:
            taken += 1
            at, token = taken, star + 1
        else:
            return False
    return all(left == _STAR for left in tokens[token:])
