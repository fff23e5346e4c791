"""What the digest of a source's files is made of, row by row, where they are read while they are copied.

Why: a first COPY goes through its files once. Each row is added before the digest of its file is known, and
is finished when the layer is written: with what its entry has then, or of many files, whose rows wait in a
file without a name, with what the layer's index says of the path.
Trust: the file is written and read by this process alone; names and links are whatever a context has.
Threads: one.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, Protocol

from imagesmith.context.digests import FileDigests
from imagesmith.fs.entry import NAMES, Entry, sort_key
from imagesmith.fs.room import CHUNK, FEW, Share, free
from imagesmith.fs.table import Packing, Spool

__all__ = ["KnownDigests", "Rows", "head"]

#: Gives paths and digests of files, from the first one on.
KnownDigests = Callable[[], Iterator[tuple[str, str]]]

#: So many rows are written and read together.
_TOGETHER = 512
#: So many kinds of entries are known at once.
_HEADS = 1024

#: All of a row but the digest, and the entry that has it where there is one.
_Row = tuple[bytes, Entry | None]


class _Updates(Protocol):
    def update(self, data: bytes, /) -> None: ...


def head(e: Entry) -> str:
    """What a row says of an entry before its content."""
    capability = e.capability.hex() if e.capability else ""
    kind = "f" if e.kind == "h" else e.kind
    return f"{kind} {e.mode:o} {e.uid} {e.gid} {e.rdev[0]} {e.rdev[1]} {capability} "


class Rows:
    """Names, kinds, modes, owners, links and contents; not times.

    known   tells of more digests than the entries themselves: those of what was copied to each path
    """

    __slots__ = (
        "_ends",
        "_entries",
        "_file",
        "_heads",
        "_most",
        "_packing",
        "_share",
        "_sizes",
        "_spool",
        "_text",
        "known",
    )

    def __init__(self, spool: Spool | None = None) -> None:
        """Begin; `spool` makes the file for what is too much for memory."""
        self._text = bytearray()  # all rows but for digests, one after the other
        self._ends = array("q")
        self._entries: list[Entry | None] = []
        self._spool, self._most, self._share = spool, free(FEW), Share()
        self._heads: dict[object, str] = {}  # of entries that are alike, as most are
        self._file: BinaryIO | None = None
        self._sizes, self._packing = array("q"), Packing()
        self.known: KnownDigests | None = None

    def add(self, name: str, e: Entry, later: Entry | None = None) -> None:
        """Add an entry under a name; `later` is what will have the digest of its bytes, else `e` itself."""
        has_digest = e.kind in "fh"
        alike = (e.kind, e.mode, e.uid, e.gid, e.rdev, e.capability)
        begin = self._heads.get(alike)
        if begin is None:
            if len(self._heads) == _HEADS:
                self._heads.clear()
            begin = self._heads[alike] = head(e)
        self._text += f"{name}\0{begin}{'' if has_digest else e.link}".encode(*NAMES)
        self._ends.append(len(self._text))
        self._entries.append((later or e) if has_digest else None)
        if len(self._entries) >= self._most and self._spool is not None:
            if self._file is None and self._share.more(FEW):
                self._most += CHUNK
            else:
                self._put(self._spool)

    def _put(self, spool: Spool) -> None:
        """Write what is in memory to the file."""
        if self._file is None:
            self._file, self._most = spool(), _TOGETHER
            self._share.give_back()
        rows, row = self._here(), self._packing.row
        while some := list(itertools.islice(rows, _TOGETHER)):
            packed = [(text.decode("latin-1"), None if e is None else row(e)) for text, e in some]
            self._sizes.append(self._file.write(json.dumps(packed).encode()))
        self._text, self._ends, self._entries = bytearray(), array("q"), []

    def _here(self) -> Iterator[_Row]:
        """The rows in memory."""
        begin = 0
        for end, e in zip(self._ends, self._entries, strict=True):
            yield bytes(self._text[begin:end]), e
            begin = end

    def _written(self, file: BinaryIO) -> Iterator[list[_Row]]:
        """The rows in the file, some at a time, with the digests that are known."""
        known, entry = _Known(self.known), self._packing.entry
        file.seek(0)
        for size in self._sizes:
            packed = json.loads(file.read(size))
            some = [(text.encode("latin-1"), None if row is None else entry(row)) for text, row in packed]
            for _, e in some:
                if e is not None:
                    known.fill(e)
            yield some

    def digest(self, file_digest: FileDigests) -> str:
        """The digest of all rows."""
        whole = hashlib.sha256()
        for some in self._written(self._file) if self._file is not None else ():
            file_digest.fill(e for _, e in some if e is not None and not e.digest)
            _add(whole, some, file_digest)
        _add(whole, self._here(), file_digest)
        return whole.hexdigest()


class _Known:
    """Digests by path, gone through once: both sides come in the order of layers, or some are not found."""

    def __init__(self, source: KnownDigests | None) -> None:
        self._source = iter(()) if source is None else source()
        self._key, self._digest = b"", ""

    def fill(self, e: Entry) -> None:
        """Give an entry its digest, if it is known."""
        key = sort_key(e.path)
        while self._key < key:
            path, self._digest = next(self._source, ("", ""))
            self._key = sort_key(path) if self._digest else b"\xff"
        if self._key == key:
            e.digest = e.digest or self._digest


def _add(whole: _Updates, rows: Iterable[_Row], file_digest: FileDigests) -> None:
    """Hash rows."""
    for text, e in rows:
        whole.update(text)
        whole.update(b"\0" if e is None else f"{e.digest or file_digest(e)}\0".encode())
