"""ADD of an archive: its entries below the destination, as Docker's chrooted untar puts them.

Why: the destination is the archive's root: `..` and absolute links stay inside it, whiteouts are files like
any other, a folder that exists takes the entry's mode and owner, what is in the way is replaced. Whether a
file is an archive is told by its content alone; what cannot be read as one is copied as it is.
Trust: archives are hostile; layer/tarread.py reads them, and entries only ever reach a draft.
Spec: BuildKit's solver/llbsolver/file/unpack.go, moby/pkg/archive.
"""

from __future__ import annotations

import posixpath
import tempfile
from typing import TYPE_CHECKING, BinaryIO

from imagesmith.errors import ContextError, InvalidDocument, UnsafeArchive
from imagesmith.fs.draft import Draft
from imagesmith.fs.entry import Content, Entry, replace
from imagesmith.fs.tree import Tree, resolve
from imagesmith.fs.view import parent_of
from imagesmith.layer.tarread import decompressed, is_tar, read_archive

if TYPE_CHECKING:
    from imagesmith.steps.copy import CopySourceJob

__all__ = ["is_archive", "unpack"]

_HEAD = 512


class _Slice:
    """The bytes of a tar's member in a spooled file."""

    __slots__ = ("offset", "spool")

    def __init__(self, spool: _Spool, offset: int) -> None:
        self.spool, self.offset = spool, offset

    def open(self) -> BinaryIO:
        """Open at the member's first byte."""
        return self.spool.open_at(self.offset)


class _Spool:
    """The uncompressed archive in a file without a name, gone with the last content that needs it."""

    def __init__(self, source: BinaryIO) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as its contents
        while chunk := source.read(1 << 20):
            self._file.write(chunk)
        self._file.flush()

    def open_at(self, offset: int) -> BinaryIO:
        f = open(f"/proc/self/fd/{self._file.fileno()}", "rb", buffering=0)
        f.seek(offset)
        return f


def is_archive(content: Content | None, size: int) -> bool:
    """True for a tar, perhaps compressed, whose first header reads well."""
    if content is None or size == 0:
        return False
    try:
        with content.open() as raw, decompressed(_Limited(raw, size)) as plain:
            return is_tar(plain.read(_HEAD))
    except (InvalidDocument, UnsafeArchive, EOFError):
        return False


class _Limited:
    """The first bytes of a stream, as a stream."""

    def __init__(self, source: BinaryIO, size: int) -> None:
        self._source, self._left = source, size

    def read(self, size: int = -1) -> bytes:
        want = self._left if size < 0 else min(size, self._left)
        data = self._source.read(want) if want else b""
        self._left -= len(data)
        return data

    def close(self) -> None:
        self._source.close()
