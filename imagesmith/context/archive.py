"""Contexts that come as a stream: a tar on standard input or behind a URL, unpacked to a folder of ours.

Trust: the tar is hostile; names are cleaned, and everything is made through fs/jail.py.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from imagesmith.errors import ContextError, ImagesmithError, UnsafeArchive, disk_fault
from imagesmith.fs.entry import Entry
from imagesmith.fs.folders import make_plain
from imagesmith.fs.materialise import materialise
from imagesmith.fs.view import LayerIndex
from imagesmith.layer.decompress import sniff
from imagesmith.layer.tarread import decompressed, is_tar, read_archive

__all__ = ["is_packed", "looks_like_archive", "unpack_context"]


def is_packed(content_open: Callable[[], BinaryIO]) -> bool:
    """True if a file begins like compressed data, which no Dockerfile does."""
    with content_open() as f:
        return bool(sniff(f.read(6)))


def looks_like_archive(content_open: Callable[[], BinaryIO]) -> bool:
    """True if a file is a tar, perhaps compressed."""
    try:
        with content_open() as f:
            return is_tar(decompressed(f).read(512))
    except ImagesmithError:
        return False


def unpack_context(source: BinaryIO, folder: Path) -> None:
    """Unpack a tar below an empty folder: files, folders and links, modes and times; no owners.

    Raises:
        UnsafeArchive: the tar is damaged or of a kind that is not known.
        ContextError: an entry cannot be made.
    """
    spool = folder.with_name(f"{folder.name}.tar")
    try:
        with spool.open("wb") as out:
            shutil.copyfileobj(decompressed(source), out, 1 << 20)
        make_plain(folder)
        with spool.open("rb") as tar:
            materialise(LayerIndex(_entries(tar, spool)).placed(), folder, owners=False)
    except OSError as e:
        doing = "unpack the context"
        raise disk_fault(e, doing, folder) or ContextError(
            f"cannot {doing}: {e.strerror}: {e.filename}"
        ) from e
    finally:
        spool.unlink(missing_ok=True)


class _Piece:
    """Content at a place of a file."""

    def __init__(self, file: Path, offset: int) -> None:
        self._file, self._offset = file, offset

    def open(self) -> BinaryIO:
        """Open it there; see fs.entry.Content."""
        f = self._file.open("rb", buffering=0)
        f.seek(self._offset)
        return f


def _entries(tar: BinaryIO, spool: Path) -> Iterator[Entry]:
    """What becomes files; folders stay open to who builds."""
    size = spool.stat().st_size
    for e, offset in read_archive(tar):
        if offset + e.size > size:
            raise UnsafeArchive(f"tar: unexpected EOF in {e.path[:200]!r}")
        if e.kind == "d":
            e.mode |= 0o700
        elif e.kind == "f" and e.size:
            e.content = _Piece(spool, offset)
        if e.kind not in "cb":
            yield e
