"""Files that people name on a command line: what is left there, whole or not at all, and `-`.

Why: a disk that is full, or a folder that may not be written, is told with the name that was given;
half a file is worse than none.
Trust: names are those of the user who runs the command, and links in them are followed, as any program does.
Threads: one for each file.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from imagesmith.errors import cannot_write
from imagesmith.fs.atomic import whole_file

__all__ = ["input_name", "output_file", "put_file", "refusal_of", "standard_output"]


def input_name(file: str) -> str:
    """What a file to be read is called in messages."""
    return "standard input" if file == "-" else file


@contextlib.contextmanager
def standard_output() -> Iterator[BinaryIO]:
    """Standard output, flushed at the end.

    Raises:
        ImagesmithError: what it goes to cannot be written.
        BrokenPipeError: whoever read it went away.
    """
    try:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as e:
        raise cannot_write(e, "to standard output") from e


@contextlib.contextmanager
def output_file(dest: str) -> Iterator[BinaryIO]:
    """A file that appears under its name when it is complete; `-` is standard output."""
    if dest == "-":
        with standard_output() as out:
            yield out
        return
    path = Path(dest).absolute()
    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as out:  # a pipe or a device
                yield out
            return
        with whole_file(path) as out:
            yield out
    except OSError as e:
        raise cannot_write(e, dest) from e


def put_file(path: str, data: bytes, what: str = "") -> None:
    """Write a small file, through a link or into a pipe too.

    Args:
        path: its name.
        data: its content.
        what: it is, before its name in messages.

    Raises:
        ImagesmithError: it cannot be written.
    """
    try:
        Path(path).write_bytes(data)
    except OSError as e:
        if Path(path).is_file():
            Path(path).unlink(missing_ok=True)
        raise cannot_write(e, f"{what} {path}" if what else path) from e


def refusal_of(path: str) -> str:
    """Why no file can be written at a path; empty if one can."""
    folder = os.path.dirname(path) or "."
    if path and os.path.isdir(path):
        return f"{path} is a folder"
    if path and not os.path.isdir(folder):
        return f"{path}: there is no folder {folder}"
    return ""
