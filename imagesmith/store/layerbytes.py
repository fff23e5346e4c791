"""The bytes of one file of a layer, from whatever lies in the layer's folder: a tar, or a tree.

Why apart: layers.py says what is kept of a layer and makes it; here it is read, by few calls, for a step may
copy hundreds of thousands of files.
Trust: trees hold what steps left: files in them are opened through fs/jail.py.
Threads: any.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import BinaryIO

__all__ = ["first_bytes", "in_tar", "in_tree"]

#: Where files of a layer lie extracted: its trees, and what steps left of which they are made
#: (worker/snapshot/trees.py).
_TREES = ("tree", "tree-subid", "tree-single", "tree-left", "tree-subid-left", "tree-single-left")


def first_bytes(folder: Path, offset: int, size: int) -> bytes | None:
    """So many bytes at most of a layer's tar from an offset on; None where its folder has no tar."""
    for name, begin in _tars():
        try:
            fd = os.open(f"{folder}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            return os.pread(fd, size, begin + offset)
        finally:
            os.close(fd)
    return None


def in_tar(folder: Path, offset: int) -> BinaryIO | None:
    """A layer's tar, opened at an offset; None where its folder has none."""
    for name, begin in _tars():
        with contextlib.suppress(FileNotFoundError):
            f = (folder / name).open("rb", buffering=0)
            f.seek(begin + offset)
            return f
    return None


def in_tree(folder: Path, path: str, size: int) -> BinaryIO | None:
    """A file of that size in one of a layer's trees; None where there is none."""
    from imagesmith.fs.jail import Jail

    for name in _TREES:
        with contextlib.suppress(OSError), Jail(folder / name) as jail:
            fd = jail.open(path, os.O_RDONLY | os.O_NONBLOCK)
            st = os.fstat(fd)
            if stat.S_ISREG(st.st_mode) and st.st_size == size:
                return os.fdopen(fd, "rb", buffering=0)
            os.close(fd)
    return None


def _tars() -> tuple[tuple[str, int], ...]:
    """The files that hold a layer's tar, and where it begins in them."""
    from imagesmith.layer.erofs import TAR_AT

    return ("tar", 0), ("erofs", TAR_AT)
