"""Contexts that come as a stream: a tar on standard input or behind a URL, unpacked to a folder of ours.

Trust: the tar is hostile; names are cleaned, links are made but never followed while files are written.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from imagesmith.errors import ContextError, ImagesmithError, UnsafeArchive
from imagesmith.fs.entry import Entry
from imagesmith.layer.tarread import decompressed, is_tar, read_archive

__all__ = ["looks_like_archive", "unpack_context"]


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
        folder.mkdir()
        with spool.open("rb") as tar, spool.open("rb") as data:
            for e, offset in read_archive(tar):
                if e.path:
                    _make(folder, e, data, offset)
    except OSError as e:
        raise ContextError(f"cannot unpack the context: {e.strerror}: {e.filename}") from e
    finally:
        spool.unlink(missing_ok=True)


def _make(folder: Path, e: Entry, data: BinaryIO, offset: int) -> None:
    target = folder / e.path
    parent = target.parent
    for step in [*reversed(parent.relative_to(folder).parents), parent.relative_to(folder)]:
        place = folder / step
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            place.unlink()
        place.mkdir(exist_ok=True)
    if e.kind == "d":
        if target.is_symlink() or (target.exists() and not target.is_dir()):
            target.unlink()
        target.mkdir(exist_ok=True)
        target.chmod(e.mode | 0o700)
        os.utime(target, ns=(e.mtime_ns, e.mtime_ns))
        return
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    target.unlink(missing_ok=True)
    if e.kind == "f":
        with target.open("xb") as out:
            data.seek(offset)
            left = e.size
            while left:
                chunk = data.read(min(left, 1 << 20))
                if not chunk:
                    raise UnsafeArchive(f"tar: unexpected EOF in {e.path[:200]!r}")
                out.write(chunk)
                left -= len(chunk)
        target.chmod(e.mode)
    elif e.kind == "l":
        target.symlink_to(e.link)
    elif e.kind == "h":
        first = folder / e.link
        if first.is_symlink() or not first.is_file() or not first.resolve().is_relative_to(folder.resolve()):
            raise ContextError(f"the context's hard link {e.path} names {e.link}, which is no file of it")
        os.link(first, target)
        return
    elif e.kind == "p":
        os.mkfifo(target, e.mode)
    else:
        return
    with contextlib.suppress(OSError):
        os.utime(target, ns=(e.mtime_ns, e.mtime_ns), follow_symlinks=False)
