"""Errors on the screen: the place in the Dockerfile with a caret, then one line that says what is wrong.

Why: the caret must stand under the word whatever is before it: tabs, characters of two columns or of none,
and what a terminal would take as an order. So a line is laid out cell by cell, and of one that is wider than
the screen the part around the word is shown.
Trust: the lines are somebody's Dockerfile: what is no printable character, or turns the direction of writing,
is shown by its number.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TextIO

from imagesmith.cli.cells import marked_cells
from imagesmith.cli.lines import harmless, one_line
from imagesmith.errors import ImagesmithError

__all__ = ["excerpt", "show_error", "width_of"]

#: How wide an excerpt is where it goes to no terminal.
_WIDTH = 160
#: The columns before a line's text beside its number; the fewest that are left for the text.
_MARGIN, _LEAST = 8, 20
#: An instruction of more lines is shown in part.
_MOST_LINES = 40


def show_error(error: ImagesmithError, out: TextIO) -> None:
    """Write the error's step and place, if it has them, its message and its hint."""
    lines = [f" > {one_line(error.step)}:"] if error.step else []
    lines += _place(error, width_of(out))
    lines.append(f"error: {one_line(error.message)}")
    if error.hint:
        lines.append(f"hint: {one_line(error.hint)}")
    out.write("".join(f"{harmless(line)}\n" for line in lines))
    out.flush()


def width_of(out: TextIO) -> int:
    """The columns of the terminal that the text goes to; those of COLUMNS, or a fixed number, elsewhere."""
    try:
        return os.get_terminal_size(out.fileno()).columns
    except (OSError, ValueError):
        given = os.environ.get("COLUMNS", "")
        return int(given) if given.isdecimal() and len(given) < 6 else _WIDTH


def _place(error: ImagesmithError, width: int) -> list[str]:
    """The lines around the mistake, marked, in BuildKit's picture."""
    if not error.first or not error.source:
        return []
    caret = (error.line, error.column, error.end) if error.column >= 0 else (error.first, 0, -1)
    return excerpt(error.source, error.file, error.first, error.last, caret=caret, width=width)


def excerpt(
    source: str | Sequence[str],
    file: str,
    first: int,
    last: int,
    *,
    caret: tuple[int, int, int] | None = None,
    width: int = _WIDTH,
) -> list[str]:
    """Lines of a Dockerfile with two more around them.

    Args:
        source: the Dockerfile's text, or its lines.
        file: its name.
        first, last: the lines that are meant, from 1.
        caret: a line, and the columns from and up to which to point; up to -1 is the whole line.
        width: of the screen.
    """
    physical = source.split("\n") if isinstance(source, str) else source
    last = min(max(first, last), len(physical))
    before, after = max(1, first - 2), min(len(physical), last + 2)
    if after == len(physical) and not physical[-1]:
        after = max(last, after - 1)
    digits = max(3, len(str(after)))
    room, blank = max(_LEAST, width - _MARGIN - digits), " " * (digits + 2)
    lines = [f"{one_line(file) or 'Dockerfile'}:{first}", "-" * 20]
    shown = 0
    for n in _chosen(before, after, caret[0] if caret else first):
        if shown and n != shown + 1:
            lines.append(f"{blank}|     …")
        shown = n
        text = physical[n - 1].rstrip("\r")
        start, end = (caret[1], caret[2]) if caret and n == caret[0] else (-1, -1)
        if start >= 0 and end < 0:
            start, end = len(text) - len(text.lstrip()), len(text.rstrip())
        row, pointer = _laid_out(text, start, end, room)
        mark = ">>>" if first <= n <= last else "   "
        lines.append(f" {n:{digits}d} | {mark} {row}".rstrip())
        if pointer:
            lines.append(f"{blank}|     {pointer}")
    return [*lines, "-" * 20]


def _chosen(before: int, after: int, caret: int) -> Iterable[int]:
    """The lines to show: all of them, or of very many the first, the last and those about the caret."""
    if after - before < _MOST_LINES:
        return range(before, after + 1)
    near = range(max(before, caret - 5), min(after, caret + 5) + 1)
    return sorted({*range(before, before + 15), *near, *range(after - 5, after + 1)})


def _laid_out(text: str, start: int, end: int, room: int) -> tuple[str, str]:
    """A line as it is shown, and the line below it that points at some of its characters, if they are any."""
    cells = list(marked_cells(text))
    places = [0]
    for _, width in cells:
        places.append(places[-1] + width)
    left, right = (places[min(max(n, start, 0), len(cells))] for n in (start, end))
    begin = 0
    pointed = max(left + 1, right)  # a caret may stand behind the last character
    if max(places[-1], pointed) > room and pointed >= room:
        begin = max(0, left - room // 4)
    dots = "…" * (begin > 0)
    limit = begin + room - len(dots)
    more = "…" * (places[-1] > limit)
    limit -= len(more)
    whole = [
        (at, cell)
        for (cell, width), at in zip(cells, places, strict=False)
        if at >= begin and at + width <= limit
    ]
    row = dots + "".join(cell for _, cell in whole) + more
    if start < 0:
        return row, ""
    began = whole[0][0] if whole else left  # a wide character may have been cut before it
    return row, " " * (len(dots) + left - began) + "^" * max(1, min(right, limit) - left)
