"""Columns of a terminal: what each character of a text takes, so that a line is cut before it would wrap.

Why: terminals differ in what an emoji of several characters takes. Here it counts as the most that any gives
it: a line may end a column early, and is never too long.
Trust: texts are others'. What turns the direction of writing or joins characters is left out, or shown by its
number where a text is quoted.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

__all__ = ["columns", "cut", "marked_cells"]

#: Where tabs stand: in quoted lines of a file, and in what programs print.
_TAB, _TERMINAL_TAB = 4, 8
#: Ask for another picture of the character before them, a wider one perhaps.
_VARIATIONS = "\ufe00", "\ufe0f"


def columns(text: str) -> int:
    """The columns that a text takes, which has no control characters but tabs."""
    return len(text) if _narrow(text) else sum(width for _, width in _cells(text))


def cut(text: str, most: int) -> str:
    """As much of a text as fits into so many columns, its tabs expanded; one that is cut ends with `…`."""
    if most <= 0:
        return ""
    if _narrow(text):
        return text if len(text) <= most else f"{text[: most - 1]}…"
    shown: list[str] = []
    used = fits = 0
    for cell, width in _cells(text):
        used += width
        if used > most:
            return "".join(shown[:fits]) + "…"
        shown.append(cell)
        if used < most:
            fits = len(shown)
    return "".join(shown)


def _narrow(text: str) -> bool:
    return text.isascii() and "\t" not in text


def _cells(text: str) -> Iterator[tuple[str, int]]:
    """The characters of what a program printed, each with the most columns that a terminal gives it."""
    column = 0
    for char in text:
        shown, width = char, 1
        if char == "\t":
            width = _TERMINAL_TAB - column % _TERMINAL_TAB
            shown = " " * width
        elif not "\x20" <= char < "\x7f":
            shown, width = _printed(char)
        column += width
        yield shown, width


def _printed(char: str) -> tuple[str, int]:
    kind = unicodedata.category(char)
    if kind in ("Cc", "Cf", "Zl", "Zp") or _VARIATIONS[0] <= char <= _VARIATIONS[1]:
        return "", 0
    if kind in ("Mn", "Me"):
        return char, 0
    if kind == "Cs":
        return "\ufffd", 1
    if kind in ("Cn", "Co") or "\U0001f1e6" <= char <= "\U0001f1ff":  # newer than Python's table; flags
        return char, 2
    return char, 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def marked_cells(text: str) -> Iterator[tuple[str, int]]:
    """The characters of a line of a file as they are quoted, each with the columns that it takes."""
    column = 0
    for char in text:
        shown, width = char, 1
        if char == "\t":
            width = _TAB - column % _TAB
            shown = " " * width
        elif not "\x20" <= char < "\x7f":
            shown, width = _foreign(char)
        column += width
        yield shown, width


def _foreign(char: str) -> tuple[str, int]:
    """What is shown for a character beyond ASCII, and its columns."""
    code, kind = ord(char), unicodedata.category(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}", 4
    if kind[0] == "C" or kind in ("Zl", "Zp"):
        shown = f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
        return shown, len(shown)
    if kind in ("Mn", "Me"):
        return char, 0
    return char, 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1
