"""Where in a Dockerfile a word stands: the physical line and the columns that a caret goes under.

Why: an instruction is checked as one joined line, its words by many modules that know nothing of lines. They
say which word is wrong; here it is looked for, once, when there is an error to show. A build without errors
pays for nothing but the offsets at which the pieces of a continued line begin.
Trust: text of a Dockerfile; a word that is not found leaves the whole instruction marked.
"""

from __future__ import annotations

import re
from typing import TypeVar

from imagesmith.dockerfile.grammar import BLANKS
from imagesmith.dockerfile.nodes import Span
from imagesmith.errors import ImagesmithError

__all__ = ["find", "locate", "mark", "place"]

E = TypeVar("E", bound=ImagesmithError)

#: What may stand before and after a part of a word that is a word in its own right.
_BEFORE, _AFTER = frozenset("=,:\"'[<(/"), frozenset("=,:\"']>)/")


def locate(error: E, file: str, span: Span, text: str, source: str) -> E:
    """Give an error the place of an instruction and, if it says which word is wrong, of that word.

    Args:
        error: it is changed, and returned.
        file: the Dockerfile's name.
        span, text: the instruction's lines, and its joined line.
        source: the Dockerfile's text.
    """
    known = error.first > 0
    error.located(file, span.first, span.last, source)
    if not known:
        mark(error, span, text)
    return error


def mark(error: ImagesmithError, span: Span, text: str) -> None:
    """Find the word of an instruction that an error is about, if it says so."""
    if not error.word or error.column >= 0:
        return
    at = find(text, error.word, which=error.which)
    start, end = error.part
    if at < 0 and error.word.startswith("--"):  # quotes or escapes stand in it: its name will do
        word = error.word.partition("=")[0]
        at, start, end = find(text, word), 0, len(word)
    if at >= 0:
        error.line, error.column, error.end = _columns(span, at + start, at + end, len(text))


def place(span: Span, text: str, word: str) -> tuple[int, int, int] | None:
    """The line of a word of an instruction, and its columns; None for no word, or one that is not there."""
    at = 0 if text.startswith(word) and word else find(text, word) if word else -1
    return _columns(span, at, at + len(word), len(text)) if at >= 0 else None


def find(text: str, word: str, *, which: int = 0) -> int:
    """The offset of a word in a joined line, or -1; one that stands for itself goes before a part of another.

    The keyword counts only where nothing behind it is like it; of equals `which` is the first or the last.
    """
    found: dict[tuple[bool, int], list[int]] = {}
    for match in re.finditer(re.escape(word), text):
        first, last = match.span()
        before, after = text[first - 1 : first], text[last : last + 1]
        alone = (not before or before in BLANKS) + (not after or after in BLANKS)
        apart = (before in _BEFORE) + (after in _AFTER)
        found.setdefault((first > 0, 2 * alone + apart), []).append(first)
    return found[max(found)][which] if found else -1


def _columns(span: Span, start: int, end: int, length: int) -> tuple[int, int, int]:
    """The physical line of an offset, and the columns up to another, or to where that line is continued."""
    pieces = span.pieces or ((0, span.first, 0),)
    n = max(n for n, piece in enumerate(pieces) if piece[0] <= start)
    offset, line, column = pieces[n]
    until = pieces[n + 1][0] if n + 1 < len(pieces) else length
    left = column + start - offset
    return line, left, max(left + 1, column + min(end, until) - offset)
