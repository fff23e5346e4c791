"""The content of a file of a folder of this machine (context/local.py), as one of hundreds of thousands.

Trust: see context/local.py, whose tree opens it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import BinaryIO, Protocol

from imagesmith.store.cachedb import FileStamp

__all__ = ["LocalContent"]


class _Tree(Protocol):
    def open(self, path: str, stamp: FileStamp) -> BinaryIO: ...

    def whole(self, path: str, stamp: FileStamp) -> bytes: ...


class LocalContent:
    """A file of a folder; opened below it without following links.

    `file` is the same for all names of one file, None if it has but one. `kept`: its bytes are elsewhere.
    """

    __slots__ = ("file", "path", "stamp", "tree")
    kept = False

    def __init__(self, tree: _Tree, path: str, stamp: FileStamp, file: tuple[int, int] | None = None) -> None:
        self.tree, self.path, self.stamp, self.file = tree, path, stamp, file

    def packed(self) -> tuple[_Tree, str, tuple[int, ...], tuple[int, int] | None]:
        """See fs.entry.Packed."""
        return self.tree, self.path, tuple(self.stamp), self.file

    @classmethod
    def unpacked(
        cls, tree: _Tree, path: str, stamp: Iterable[int], file: Sequence[int] | None
    ) -> LocalContent:
        """See fs.entry.Packed."""
        return cls(tree, path, FileStamp._make(stamp), (file[0], file[1]) if file else None)

    def open(self) -> BinaryIO:
        """Open the file as it was when it was looked at.

        Raises:
            ContextError: it is gone, unreadable, or another one by now.
        """
        return self.tree.open(self.path, self.stamp)

    def whole(self, size: int) -> bytes:
        """See fs.entry.Whole, and `open`."""
        return self.tree.whole(self.path, self.stamp)[:size]
