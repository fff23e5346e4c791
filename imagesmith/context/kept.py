"""What a folder was like when a build began to wait: its small files, for the steps that take them later.

Why: files are read when a step takes them. While a RUN works, its user goes on editing; BuildKit takes the
context at the start, so its image holds one state of it. To copy a context first would double what is read;
what a RUN keeps waiting is looked at meanwhile instead, and what is small is kept with its bytes. What is
large is known by its stamp: if it is another file when it is taken, that is told.
Trust: the folder's content may be anybody's; it is read through LocalTree alone.
Threads: one adds while others read.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterable
from typing import BinaryIO

from imagesmith.context.local import LocalContent, LocalTree
from imagesmith.errors import ContextError, StoreError
from imagesmith.fs.entry import Entry, replace

__all__ = ["Kept"]

#: So much is kept at most of one file, and of all, and so many entries: what users edit by hand.
_ONE_BYTES, _ALL_BYTES, _ENTRIES = 1 << 20, 16 << 20, 2000


class _Bytes(LocalContent):
    """A file as it was."""

    __slots__ = ("at", "size", "spool")
    kept = True

    def __init__(self, was: LocalContent, spool: BinaryIO, at: int, size: int) -> None:
        super().__init__(was.tree, was.path, was.stamp, was.file)
        self.spool, self.at, self.size = spool, at, size

    def packed(self) -> tuple[_Bytes]:  # type: ignore[override]  # there are few
        """See fs.entry.Packed."""
        return (self,)

    @classmethod
    def unpacked(cls, content: _Bytes) -> _Bytes:  # type: ignore[override]
        """See fs.entry.Packed."""
        return content

    def open(self) -> BinaryIO:
        """The bytes that were read then."""
        return io.BytesIO(self.whole(self.size))

    def whole(self, size: int) -> bytes:
        """See fs.entry.Whole."""
        return os.pread(self.spool.fileno(), min(size, self.size), self.at)


class Kept:
    """The first state of some paths of a folder. See context.local.FirstState."""

    def __init__(self, tree: LocalTree, spool: BinaryIO) -> None:
        """Keep nothing yet; bytes will go to the end of `spool`, which stays the caller's."""
        self._tree, self._spool = tree, spool
        self._entries: dict[str, Entry] = {}
        self._names: dict[str, list[str]] = {}
        self._bytes = 0

    def get(self, path: str) -> Entry | None:
        """The entry that was at a path; None if it is not known."""
        return self._entries.get(path)

    def names(self, folder: str) -> list[str] | None:
        """What was in a folder; None if it is not known."""
        return self._names.get(folder)

    def add(self, entries: Iterable[Entry], stopped: Callable[[], bool]) -> None:
        """Keep entries as they come, until it is enough or `stopped` says so."""
        with contextlib.suppress(ContextError, StoreError):  # whoever takes them is told, or need not be
            for e in entries:
                if stopped() or len(self._entries) >= _ENTRIES:
                    return
                with contextlib.suppress(ContextError):
                    self._add(e)

    def _add(self, e: Entry) -> None:
        if e.path in self._entries:
            return
        if e.kind == "d":
            self._names[e.path] = self._tree.names(e.path)
        if not e.path:
            return
        if e.kind not in "fh" or e.content is None:
            self._entries[e.path] = e
            return
        assert isinstance(e.content, LocalContent)
        content = e.content
        if e.size <= _ONE_BYTES and self._bytes + e.size <= _ALL_BYTES:
            with content.open() as f:
                data = f.read(e.size)
                if len(data) != e.size or not content.stamp.is_of(os.fstat(f.fileno())):
                    return
            at = self._spool.seek(0, os.SEEK_END)
            self._spool.write(data)
            self._spool.flush()
            self._bytes += e.size
            content = _Bytes(content, self._spool, at, e.size)
        self._entries[e.path] = replace(e, kind="f", link="", content=content)
