"""Contexts that come as a stream: a tar on standard input or behind a URL, unpacked to a folder of ours.

Trust: the tar is hostile; names are cleaned, and everything is made through fs/jail.py.
"""

from __future__ import annotations

import os
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
from imagesmith.store.disk import Spooled, spool

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
    doing = "unpack the context"
    try:
        with spool(folder.parent, doing) as tar:
            shutil.copyfileobj(decompressed(source), tar, 1 << 20)
            tar.seek(0)
            make_plain(folder)
            materialise(LayerIndex(_entries(tar)).placed(), folder, owners=False)
    except OSError as e:
        raise disk_fault(e, doing, folder) or ContextError(
            f"cannot {doing}: {e.strerror}: {e.filename}"
        ) from e


def _entries(tar: BinaryIO) -> Iterator[Entry]:
    """What becomes files; folders stay open to who builds."""
    size = os.fstat(tar.fileno()).st_size
    for e, offset in read_archive(tar):
        if offset + e.size > size:
            raise UnsafeArchive(f"tar: unexpected EOF in {e.path[:200]!r}")
        if e.kind == "d":
            e.mode |= 0o700
        elif e.kind == "f" and e.size:
            e.content = Spooled(tar, offset)
        if e.kind not in "cb":
            yield e
