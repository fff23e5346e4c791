"""Errors on the screen: the place in the Dockerfile with a caret, then one line that says what is wrong."""

from __future__ import annotations

from typing import TextIO

from imagesmith.cli.progress import clean
from imagesmith.errors import ImagesmithError

__all__ = ["excerpt", "show_error"]


def show_error(error: ImagesmithError, out: TextIO) -> None:
    """Write the error's place, if it has one, its message and its hint."""
    lines = _place(error)
    lines.append(f"error: {clean(error.message)}")
    if error.hint:
        lines.append(f"hint: {clean(error.hint)}")
    out.write("".join(f"{line}\n" for line in lines))
    out.flush()


def _place(error: ImagesmithError) -> list[str]:
    """The lines around the mistake, marked, in BuildKit's picture."""
    if not error.first or not error.source:
        return []
    return excerpt(error.source, error.file, error.first, error.last, caret=error.column)


def excerpt(source: str, file: str, first: int, last: int, *, caret: int | None = None) -> list[str]:
    """Lines of a Dockerfile with two more around them; `caret` is a column to point at, -1 the whole line."""
    physical = source.split("\n")
    last = min(max(first, last), len(physical))
    before, after = max(1, first - 2), min(len(physical), last + 2)
    if after == len(physical) and not physical[-1]:
        after = max(last, after - 1)
    lines = [f"{file or 'Dockerfile'}:{first}", "-" * 20]
    for n in range(before, after + 1):
        text = clean(physical[n - 1].rstrip("\r")).expandtabs(4)
        mark = ">>>" if first <= n <= last else "   "
        lines.append(f" {n:3d} | {mark} {text}".rstrip())
        if n == first and caret is not None:
            lines.append(_caret(text, caret))
    return [*lines, "-" * 20]


def _caret(text: str, column: int) -> str:
    start = column if column >= 0 else len(text) - len(text.lstrip())
    length = 1 if column >= 0 else max(1, len(text.strip()))
    return f"     |     {' ' * start}{'^' * length}"
