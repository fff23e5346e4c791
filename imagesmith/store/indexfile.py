"""The file that holds a layer's entries: JSON lines between one that names the format and one that ends it.

Why: views of a large base need its entries and nothing else, so they are kept in a form that is read some
hundreds at a time. A row's fields are in the order of fs.entry.Entry, with the offset of the bytes in the
uncompressed tar after the time, and devices, capability and digest only where there is one.
Trust: our own file, but a power cut may have torn it: without its last line it is none.
Threads: a NewIndex belongs to one.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
from collections.abc import Callable, Iterator
from json.encoder import encode_basestring_ascii as quoted
from pathlib import Path
from typing import BinaryIO

from imagesmith.errors import StoreError
from imagesmith.fs.entry import Entry
from imagesmith.oci.digest import Digest
from imagesmith.store.disk import Arrivals, on_disk_fault

__all__ = ["END", "HEAD", "NewIndex", "Temporary", "is_whole", "read_index"]

#: The first line and the last one.
HEAD, END = b'"imagesmith-index-3"\n', b'"end"\n'
_NONE = '""'


class Temporary:
    """A file that is written under another name; without `keep` it goes away."""

    def __init__(self, arrivals: Arrivals) -> None:
        raw, path = arrivals.new("keep what a layer holds")
        self.file: BinaryIO = io.BufferedWriter(raw, 1 << 18)
        self._arrivals, self._path = arrivals, path
        self._kept = False

    def keep(self, path: Path) -> None:
        """Give it its name."""
        self.file.close()
        with on_disk_fault("keep what a layer holds", path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._path.replace(path)
        self._arrivals.arrived(self._path)
        self._kept = True

    def __enter__(self) -> Temporary:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._kept:
            self._arrivals.drop(self._path)
            with contextlib.suppress(StoreError):  # what a full disk did not take is not wanted any more
                self.file.close()


class NewIndex:
    """A layer's index while the layer is written or read: row by row, so that it is never in memory.

    Becomes the index by `keep`, nothing otherwise.
    """

    def __init__(self, arrivals: Arrivals, path_of: Callable[[Digest], Path]) -> None:
        """Begin one; `path_of` tells where the index of a layer is."""
        self._path_of = path_of
        self._out = Temporary(arrivals)
        self._out.file.write(HEAD)

    def add(self, entry: Entry, offset: int, mtime_ns: int) -> None:
        """Add an entry, with the offset of its bytes in the uncompressed tar and the time it has there."""
        self._out.file.write(_row(entry, offset, mtime_ns))

    def keep(self, diff_id: Digest) -> bool:
        """All entries are there: make it that layer's index, and return True.

        False where the layer has one: it says the same, for an index holds what the tar does.
        """
        path = self._path_of(diff_id)
        if path.exists() and is_whole(path):
            return False
        self._out.file.write(END)
        self._out.keep(path)
        return True

    def __enter__(self) -> NewIndex:
        return self

    def __exit__(self, *what: object) -> None:
        self._out.__exit__(*what)


def _row(e: Entry, offset: int, mtime_ns: int) -> bytes:
    """A line of the index; made by hand, for there may be hundreds of thousands."""
    rest = ""
    if e.kind in "cb" or e.capability:
        major, minor = e.rdev
        rest = f',{major},{minor},"{base64.b64encode(e.capability or b"").decode()}","{e.digest}"'
    elif e.digest:
        rest = f',0,0,"","{e.digest}"'
    return (
        f'[{quoted(e.path)},"{e.kind}",{e.mode},{e.uid},{e.gid},{e.size},{mtime_ns},{offset},'
        f"{quoted(e.link) if e.link else _NONE}{rest}]\n"
    ).encode("ascii")


def is_whole(path: Path) -> bool:
    """True if an index has its first and its last line: one that a power cut tore has not."""
    with path.open("rb") as f:
        if f.readline() != HEAD:
            return False
        f.seek(-len(END), os.SEEK_END)
        return f.read() == END


def read_index(path: Path) -> Iterator[tuple[Entry, int]]:
    """The entries of an index and their offsets, some hundreds at a time: no more of it is in memory.

    Raises:
        StoreError: it is damaged.
    """
    try:
        with path.open("rb") as f:
            if f.readline() != HEAD:
                raise ValueError("another format")
            while lines := f.readlines(1 << 16):
                if lines[-1] == END:
                    lines.pop()
                for row in json.loads(b"[" + b",".join(lines) + b"]"):
                    yield _entry(*row)
    except (ValueError, TypeError, IndexError, OSError) as e:
        raise StoreError(
            f"the layer index {path} is damaged ({e})", hint="remove its folder and build again"
        ) from e


def _entry(
    path: str, kind: str, mode: int, uid: int, gid: int, size: int, mtime_ns: int, offset: int,
    link: str, major: int = 0, minor: int = 0, capability: str = "", digest: str = "",
) -> tuple[Entry, int]:  # fmt: skip
    """The entry of a row."""
    known = base64.b64decode(capability) if capability else None
    return Entry(path, kind, mode, uid, gid, size, mtime_ns, link, (major, minor), known, digest), offset
