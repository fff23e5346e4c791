"""Files of the store that grow: what the disk refuses becomes the store's error, whoever writes them.

Why: a layer, a download, an unpacked archive and an index are written by different hands, and from inside of
what reads a context, a registry or an archive: there an OSError would be taken for a fault of what is read.
Here it gets its name, its place and the store's status. Nothing large is ever put into TMPDIR, which may be
in memory, or small.
Trust: files are made anew, under names that nobody knows, through no link; folder.py has who may be there.
Threads: a file belongs to one.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from imagesmith.errors import disk_fault

__all__ = ["Arrivals", "Spooled", "StoreFile", "on_disk_fault", "spool"]

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


class Arrivals:
    """Files on their way in a folder of the store, `ingest`: each gets another name, or goes.

    Why they are known before they are there: an interrupt may come between the making of a file and the care
    of whoever makes it. What is left then goes with `close`; what a killed process leaves is swept by the
    next prune, which takes only files that nobody holds a lock on.
    Threads: methods may be called from any.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._here: set[Path] = set()

    def new(self, doing: str) -> tuple[StoreFile, Path]:
        """A new file, open for writing and locked, and its path.

        Raises:
            FileNotFoundError: the folder is gone.
            StoreError: the disk is full, read-only or broken.
        """
        path = self.folder / f"tmp{os.urandom(8).hex()}"
        self._here.add(path)
        with on_disk_fault(doing, self.folder):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            file = StoreFile(fd, "wb", doing, self.folder)
            fcntl.flock(file, fcntl.LOCK_SH)
            return file, path

    def arrived(self, path: Path) -> None:
        """A file has its name now."""
        self._here.discard(path)

    def drop(self, path: Path) -> None:
        """Delete a file."""
        path.unlink(missing_ok=True)
        self._here.discard(path)

    def close(self) -> None:
        """Delete what nobody has taken care of."""
        for path in list(self._here):
            with contextlib.suppress(OSError):
                self.drop(path)


def spool(folder: Path, doing: str) -> BinaryIO:
    """A file without a name in a folder of the store, for what is large and needed for a while.

    Raises:
        StoreError: the disk is full, read-only or broken.
    """
    import tempfile

    with on_disk_fault(doing, folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder, buffering=0) as unnamed:
            fd = os.dup(unnamed.fileno())
    return io.BufferedRandom(StoreFile(fd, "r+b", doing, folder), _BUFFER_BYTES)


class Spooled:
    """The bytes of a tar's member in a spool, which lives as long; see fs.entry.Content."""

    __slots__ = ("offset", "spool")

    def __init__(self, spool: BinaryIO, offset: int) -> None:
        self.spool, self.offset = spool, offset

    def open(self) -> BinaryIO:
        """Open at the member's first byte."""
        f = open(f"/proc/self/fd/{self.spool.fileno()}", "rb", buffering=0)
        f.seek(self.offset)
        return f
