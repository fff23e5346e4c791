"""Arguments that are several texts, where a program gives one.

Why: a text is a list of its characters to Python, and `tags="app"` would name an image `a` and two `p`. One
text, path or output stands for a list of it; a command in one text could be for a shell, and is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath
from typing import TypeVar, cast

from imagesmith.errors import UsageError

__all__ = ["several", "words_of"]

T = TypeVar("T")


def several(given: Iterable[T]) -> tuple[T, ...]:
    """What was given, or the one that was.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(given, str | PurePath):
        return (cast(T, given),)
    try:
        return tuple(given)
    except TypeError as e:
        raise UsageError(f"a list of texts is expected, not {type(given).__name__}") from e


def words_of(name: str, given: Iterable[str]) -> tuple[str, ...]:
    """The words of a command.

    Args:
        name: of the argument, for messages.
        given: what was given.

    Raises:
        UsageError: it is one text, or no list.
    """
    if isinstance(given, str):
        raise UsageError(f"{name}: a list of words is expected, not a text", hint='as ["sh", "-c", TEXT]')
    return several(given)
