"""The files of a layout by name, in a folder or in a tar, through which it is read; blobs as files, or whole.

Trust: archives come from anywhere. They are read by layer/tarread.py; names are compared, never opened on
disk; links count only inside; numbers and sizes are bounded.
Threads: any; a tar is read at positions, without a shared offset.
"""

from __future__ import annotations

import io
import os
import posixpath
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from imagesmith.errors import InvalidDocument, LimitExceeded, NotFound, UnsafeArchive, UsageError
from imagesmith.fs.results import input_name
from imagesmith.interfaces import ImageSource
from imagesmith.layer.decompress import decompressed, sniff
from imagesmith.layer.tarread import Limits, read_archive
from imagesmith.oci.model import Descriptor
from imagesmith.store.disk import spool

__all__ = ["Files", "FolderFiles", "PieceFile", "TarFiles", "whole_blob"]

_CHUNK = 1 << 17
_MOST_MEMBERS = 200_000
_LINKS = 8


class Files(Protocol):
    """Files by name."""

    name: str

    @property
    def path(self) -> str:
        """Where they are on the machine: absolute, without links; empty for standard input."""

    def size(self, name: str) -> int:
        """The file's size in bytes; -1 if there is none."""

    def read(self, name: str, limit: int) -> bytes:
        """A small file whole.

        Raises:
            NotFound: there is none.
            LimitExceeded: it is longer than `limit`.
        """

    def pieces(self, name: str, offset: int = 0) -> Iterator[bytes]:
        """A file's bytes from an offset on."""


class FolderFiles:
    """A folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, str(folder)

    @property
    def path(self) -> str:
        """See Files."""
        return os.path.realpath(self.folder)

    def size(self, name: str) -> int:
        """See Files."""
        try:
            return (self.folder / name).stat().st_size
        except OSError:
            return -1

    def read(self, name: str, limit: int) -> bytes:
        """See Files."""
        return _whole(self, name, limit)

    def pieces(self, name: str, offset: int = 0) -> Iterator[bytes]:
        """See Files."""
        try:
            f = (self.folder / name).open("rb")
        except OSError as e:
            raise NotFound(f"{self.folder}: {name}: {e.strerror}") from e
        with f:
            f.seek(offset)
            while data := f.read(_CHUNK):
                yield data


class _Passing:
    """A file that passes over the bytes of members, which may be gigabytes, without reading them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._size = file, os.fstat(file.fileno()).st_size

    def read(self, size: int, /) -> bytes:
        return self._file.read(size)

    def skip(self, size: int, /) -> bool:
        if self._file.tell() + size > self._size:
            return False
        self._file.seek(size, os.SEEK_CUR)
        return True


class TarFiles:
    """A tar, plain or compressed; `-` is standard input. Close it: a compressed one is spread out on disk."""

    def __init__(self, file: str, scratch: Path) -> None:
        """Read the tar's table.

        Args:
            file: its path, or `-`.
            scratch: a folder for a temporary copy where it cannot be read at positions.

        Raises:
            UsageError: the file cannot be read.
            InvalidDocument: it is no tar.
            LimitExceeded: it has too many members, or one that is longer than fs/limits.py has it.
        """
        self.name, self._path = input_name(file), file
        self._file = self._seekable(file, scratch)
        self._members: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        try:
            self._read_table()
        except BaseException:
            self._file.close()
            raise

    @property
    def path(self) -> str:
        """See Files."""
        return "" if self._path == "-" else os.path.realpath(self._path)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _seekable(self, file: str, scratch: Path) -> BinaryIO:
        if file == "-":
            if sys.stdin.isatty():
                raise UsageError(
                    "refusing to read an archive from the terminal", hint="give a file, or pipe it in"
                )
            raw: BinaryIO = sys.stdin.buffer
        else:
            try:
                raw = Path(file).open("rb")
            except OSError as e:
                raise UsageError(f"cannot read {file}: {e.strerror}") from e
            if os.path.isfile(file) and not sniff(raw.read(6)):
                raw.seek(0)
                return raw
            if os.path.isfile(file):
                raw.seek(0)
        spread = spool(scratch, f"unpack {self.name}")
        with raw:
            try:
                shutil.copyfileobj(decompressed(raw), spread, 1 << 20)
            except InvalidDocument as e:
                spread.close()
                raise e.of(self.name) from e.__cause__
        spread.flush()
        return spread

    def _read_table(self) -> None:
        self._file.seek(0)
        if not os.fstat(self._file.fileno()).st_size:
            raise InvalidDocument(f"{self.name}: not a readable tar: it is empty")
        try:
            for e, offset in read_archive(_Passing(self._file), Limits(entries=_MOST_MEMBERS), sparse=True):
                if e.kind == "f" and e.content is None:
                    self._members[e.path] = (offset, e.size)
                elif e.kind == "h":
                    self._links[e.path] = e.link
                elif e.kind == "l":
                    folder = posixpath.dirname(e.path)
                    self._links[e.path] = posixpath.normpath(posixpath.join("/", folder, e.link))[1:]
        except LimitExceeded as error:
            raise LimitExceeded(f"{self.name}: {error.message}") from error
        except UnsafeArchive as error:
            raise InvalidDocument(f"{self.name}: not a readable tar: {error.message}") from error

    def _place(self, name: str) -> tuple[int, int] | None:
        for _ in range(_LINKS):
            if name in self._members:
                return self._members[name]
            if name not in self._links:
                return None
            name = self._links[name]
        return None

    def size(self, name: str) -> int:
        """See Files."""
        place = self._place(name)
        return -1 if place is None else place[1]

    def read(self, name: str, limit: int) -> bytes:
        """See Files."""
        return _whole(self, name, limit)

    def pieces(self, name: str, offset: int = 0) -> Iterator[bytes]:
        """See Files."""
        place = self._place(name)
        if place is None:
            raise NotFound(f"{self.name}: no {name} in the archive")
        at, left = place[0] + offset, place[1] - offset
        while left > 0:
            data = os.pread(self._file.fileno(), min(left, _CHUNK), at)
            if not data:
                raise InvalidDocument(f"{self.name}: ends within {name}")
            yield data
            at, left = at + len(data), left - len(data)


def _whole(files: Files, name: str, limit: int) -> bytes:
    size = files.size(name)
    if size > limit:
        raise LimitExceeded(f"{files.name}: {name}: {size} bytes, more than {limit}")
    return b"".join(files.pieces(name))


def whole_blob(source: ImageSource, d: Descriptor, most_bytes: int, what: str) -> bytes:
    """A blob of bounded size in memory, verified; `what` is its name in messages.

    Raises:
        LimitExceeded: it is larger than `most_bytes`.
        InvalidDocument: it is larger than its descriptor says.
    """
    if d.size > most_bytes:
        raise LimitExceeded(f"{what} has {d.size} bytes, more than {most_bytes}")
    out = bytearray()
    for piece in source.pieces(d):
        out += piece
        if len(out) > d.size:
            raise InvalidDocument(f"{what} has more than its {d.size} bytes")
    return bytes(out)


class PieceFile(io.RawIOBase):
    """Pieces as a file; `seen` is how many bytes of them were taken."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces, self._left, self.seen = pieces, b"", 0

    def readable(self) -> bool:
        """See io.RawIOBase."""
        return True

    def peek(self, size: int) -> bytes:
        """The next bytes, fewer at the end only; they are still to be read."""
        while len(self._left) < size and (data := self._next()):
            self._left += data
        return self._left[:size]

    def read(self, size: int = -1) -> bytes:
        """At most so many bytes, or all."""
        if size < 0:
            return b"".join(iter(lambda: self.read(1 << 20), b""))
        self._left = self._left or self._next()
        out, self._left = self._left[:size], self._left[size:]
        return out

    def readinto(self, buffer: object) -> int:
        """See io.RawIOBase."""
        view = memoryview(buffer)  # type: ignore[arg-type]  # any writable buffer
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def _next(self) -> bytes:
        data = next(self._pieces, b"")
        self.seen += len(data)
        return data
