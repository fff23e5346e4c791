"""Which tags of a repository are meant: shell patterns, `regex:` expressions, `semver:` ranges.

Why: nobody wants to list the tags of a repository by hand. A pattern is for the whole tag; `*` takes every
character, for tags have no folders.
Trust: patterns are the user's own, tags are a registry's. A regular expression can take for ever on a tag
that was chosen for it, so one that repeats what can be read in several ways is refused.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Sequence

from imagesmith.errors import UsageError
from imagesmith.values import frozen

__all__ = ["Tags", "is_pattern"]

_REGEX, _SEMVER = "regex:", "semver:"
_MOST = 1024


def is_pattern(text: str) -> bool:
    """True for a word in the place of a tag that is none: no tag has these characters."""
    return text.startswith((_REGEX, _SEMVER)) or any(c in text for c in "*?[")


@frozen
class Tags:
    """A choice of tags: those that one of the patterns takes, and none of the others leaves out."""

    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()

    def checked(self) -> Tags:
        """The same.

        Raises:
            UsageError: one is no pattern.
        """
        for text in (*self.include, *self.exclude):
            _taker(text)
        return self

    def chosen(self, tags: Iterable[str]) -> list[str]:
        """Those of some tags, in their order.

        Raises:
            UsageError: one is no pattern.
        """
        include, exclude = _all(self.include), _all(self.exclude)
        return [
            tag
            for tag in tags
            if any(takes(tag) for takes in include) and not any(takes(tag) for takes in exclude)
        ]

    def __str__(self) -> str:
        return ", ".join([*self.include, *(f"not {text}" for text in self.exclude)])


def _all(texts: Sequence[str]) -> list[Callable[[str], object]]:
    return [_taker(text) for text in texts]


def _taker(text: str) -> Callable[[str], object]:
    """What takes a tag, or not."""
    if text.startswith(_SEMVER) and len(text) <= _MOST:
        from imagesmith.copying.semver import Range

        return Range.parse(text.removeprefix(_SEMVER)).takes
    return _compiled(text).fullmatch


def _compiled(text: str) -> re.Pattern[str]:
    if not text or len(text) > _MOST:
        raise UsageError(f"a pattern of {len(text)} characters: 1 to {_MOST} are taken")
    if not text.startswith(_REGEX):
        return re.compile(fnmatch.translate(text))
    written = text.removeprefix(_REGEX)
    if _nested(written):
        raise UsageError(
            f"regex:{written}: repeats what can be read in several ways, which may take for ever",
            hint="(a+)* is a*, (a|b)* is [ab]*",
        )
    try:
        return re.compile(written)
    except (re.error, RecursionError, OverflowError) as e:
        raise UsageError(f"regex:{written}: {e}") from e


def _nested(written: str) -> bool:
    """True if a group that has a quantifier or a choice in it is repeated: it may take exponential time."""
    repeats = [False]
    one = r"\\.|\[\^?\]?(?:\\.|[^]\\])*\]|\(\?|[()*+?{|]|[^()*+?{|\\[]+|."
    pieces = list(re.finditer(one, written, re.DOTALL))
    for n, piece in enumerate(pieces):
        text = piece[0]
        if text in ("(", "(?"):
            repeats.append(False)
        elif text == ")" and len(repeats) > 1:
            inner = repeats.pop()
            after = pieces[n + 1][0] if n + 1 < len(pieces) else ""
            if inner and after in ("*", "+", "{"):
                return True
            repeats[-1] = repeats[-1] or inner
        elif text in ("*", "+", "?", "{", "|"):
            repeats[-1] = True
    return False
