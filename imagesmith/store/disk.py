"""Files of the store that grow: what the disk refuses becomes the store's error, whoever writes them.

Why: a layer, a download, an unpacked archive and an index are written by different hands, and from inside of
what reads a context, a registry or an archive: there an OSError would be taken for a fault of what is read.
Here it gets its name, its place and the store's status. Nothing large is ever put into TMPDIR, which may be
in memory, or small.
Threads: a file belongs to one.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from imagesmith.errors import disk_fault

__all__ = ["StoreFile", "new_file", "on_disk_fault", "spool"]

_BUFFER_BYTES = 1 << 18


@contextlib.contextmanager
def on_disk_fault(doing: str, at: Path) -> Iterator[None]:
    """Tell what the disk refuses meanwhile as `disk_fault` does; other errors pass.

    Raises:
        StoreError: the disk is full, read-only or broken.
    """
    try:
        yield
    except OSError as e:
        fault = disk_fault(e, doing, at)
        if fault is None:
            raise
        raise fault from e


class StoreFile(io.FileIO):
    """A file without a buffer whose writes fail with the store's errors."""

    def __init__(self, fd: int, mode: str, doing: str, folder: Path) -> None:
        super().__init__(fd, mode)
        self._doing, self._folder = doing, folder

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - whatever has bytes
        """Write what fits; see FileIO."""
        try:
            return super().write(data)
        except OSError as e:
            fault = disk_fault(e, self._doing, self._folder)
            if fault is None:
                raise
            raise fault from e


def new_file(folder: Path, doing: str = "write a blob") -> tuple[StoreFile, Path]:
    """A new file in a folder of the store, open for writing, and its path.

    Raises:
        StoreError: the disk is full, read-only or broken.
    """
    with on_disk_fault(doing, folder):
        fd, name = tempfile.mkstemp(dir=folder)
        return StoreFile(fd, "wb", doing, folder), Path(name)


def spool(folder: Path, doing: str) -> BinaryIO:
    """A file without a name in a folder of the store, for what is large and needed for a while.

    Raises:
        StoreError: the disk is full, read-only or broken.
    """
    with on_disk_fault(doing, folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder, buffering=0) as unnamed:
            fd = os.dup(unnamed.fileno())
    return io.BufferedRandom(StoreFile(fd, "r+b", doing, folder), _BUFFER_BYTES)
