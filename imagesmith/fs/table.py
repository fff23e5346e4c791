"""Entries by path: in memory while they are few, else sorted in a file without a name, found by bisection.

Why: an object for each file costs a kilobyte and more, and a layer may have millions. What is more than
room.py gives goes to a file in runs sorted as a layer is, in blocks of some dozens; in memory are the first
key of each block, what was read last and what came last. All who hold many entries (a draft, the differ, a
layer's index) go through them in that order, so that a block is read once for all that is in it. What comes
in order, as nearly everything does, makes one run; others are merged when they become many.
An entry that comes out of the file is a new object each time, and so is its content: contents are told apart
by equality, not by identity.
Trust: the file is written and read by this process alone, and has no name; paths are whatever a layer has.
Threads: one, until nothing is added any more; then any.
"""

from __future__ import annotations

import heapq
import itertools
import json
import os
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from typing import Any, BinaryIO

from imagesmith.fs.entry import Content, Entry, sort_key
from imagesmith.fs.room import CHUNK, FEW, Share, free

__all__ = ["Packing", "Spool", "Table"]

#: Makes the file for what is too much for memory: empty, open for reading and writing, without a name.
Spool = Callable[[], BinaryIO]

#: Of a table that has more, so many wait to be written.
_WAITING = 1 << 13
#: Entries of a block, and blocks that are kept when they were read.
_BLOCK, _KEPT = 64, 64
#: So many runs are looked through for a path.
_MOST_RUNS = 6

#: A key and the fields of its entry; a key alone says that there is none any more.
_Row = list[Any]


def _key(path: str) -> str:
    """What a path is sorted by: fs.entry.sort_key, each byte as a character."""
    return path.replace("/", "\0") if path.isascii() else sort_key(path).decode("latin-1")


def _path(key: str) -> str:
    path = key.replace("\0", "/")
    return path if path.isascii() else os.fsdecode(path.encode("latin-1"))


class Packing:
    """How entries are written down: what their contents are of is remembered once, all else is in the row."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[object, int], int] = {}
        self._of: list[tuple[Any, Any]] = []

    def row(self, e: Entry) -> _Row:
        """The row of an entry, of what JSON holds."""
        return [
            _key(e.path), e.kind, e.mode, e.uid, e.gid, e.size, e.mtime_ns, e.link, e.rdev,
            e.capability and e.capability.hex(), e.digest, e.content and self._packed(e.content),
        ]  # fmt: skip

    def entry(self, row: _Row) -> Entry:
        """The entry of a row, which is not one that was taken away."""
        key, kind, mode, uid, gid, size, mtime_ns, link, rdev, capability, digest, content = row
        return Entry(
            _path(key), kind, mode, uid, gid, size, mtime_ns, link, tuple(rdev),
            capability and bytes.fromhex(capability), digest, content and self._unpacked(content),
        )  # fmt: skip

    def _packed(self, content: Any) -> _Row:  # noqa: ANN401 - Content, or Packed
        plain = not hasattr(content, "packed")
        of, *parts = (content,) if plain else content.packed()
        key = type(content), id(of)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._of)
            self._of.append((None if plain else content.unpacked, of))
        return [number, *parts]

    def _unpacked(self, row: _Row) -> Content:
        number, *parts = row
        make, of = self._of[number]
        found: Content = of if make is None else make(of, *parts)
        return found


class _Run:
    """Sorted rows in the file: the first key and the place of each block are known."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._fd = file, file.fileno()
        self.keys: list[str] = []
        self._places = array("Q")
        self.last: str | None = None
        self.count = 0
        self._kept: dict[int, list[_Row]] = {}

    def extend(self, rows: Iterable[_Row]) -> None:
        """Append rows that come after all that are there."""
        file, rows = self._file, iter(rows)
        at = file.seek(0, os.SEEK_END)
        while block := list(itertools.islice(rows, _BLOCK)):
            data = json.dumps(block).encode()
            file.write(data)
            self.keys.append(block[0][0])
            self._places.extend((at, len(data)))
            at += len(data)
            self.count += len(block)
            self.last = block[-1][0]
        file.flush()

    def _read(self, n: int) -> list[_Row]:
        at, size = self._places[2 * n : 2 * n + 2]
        rows: list[_Row] = json.loads(os.pread(self._fd, size, at))
        return rows

    def _block(self, n: int) -> list[_Row]:
        rows = self._kept.get(n)
        if rows is None:
            rows = self._read(n)
            if len(self._kept) >= _KEPT:
                self._kept = {}
            self._kept[n] = rows
        return rows

    def find(self, key: str) -> _Row | None:
        """The row of a key."""
        n, at = self._place(key)
        if n == len(self.keys):
            return None
        rows = self._block(n)
        return rows[at] if at < len(rows) and rows[at][0] == key else None

    def _place(self, key: str) -> tuple[int, int]:
        """The block that a key is in, or would be, and its place there."""
        if self.last is None or key > self.last:
            return len(self.keys), 0
        n = max(bisect_right(self.keys, key) - 1, 0)
        return n, bisect_left(self._block(n), [key])

    def rows(self) -> Iterator[_Row]:
        """All rows."""
        for n in range(len(self.keys)):
            yield from self._read(n)

    def names(self, prefix: str) -> Iterator[tuple[str, bool]]:
        """The names that have rows of their own below a prefix, and whether there is an entry."""
        n, at = self._place(prefix)
        while n < len(self.keys):
            rows = self._block(n)
            if at == len(rows):
                n, at = n + 1, 0
                continue
            key = rows[at][0]
            if not key.startswith(prefix):
                return
            end = key.find("\0", len(prefix))
            if end >= 0:
                n, at = self._place(key[:end] + "\1")
                continue
            if key:
                yield _path(key[len(prefix) :]), len(rows[at]) > 1
            at += 1


class Table:
    """Entries by path; see the module's docstring. Without a spool it is never `large`."""

    def __init__(self, spool: Spool | None = None, entries: Iterable[Entry] = ()) -> None:
        """Take entries, with more to be added; `spool` is called when it becomes large."""
        self._spool, self._most = spool, free(FEW) if spool is not None else 1 << 62
        self._share = Share()
        self._recent: dict[str, Entry | None] = {}
        self._names: dict[str, dict[str, None]] | None = None
        self._file: BinaryIO | None = None
        self._runs: list[_Run] = []
        self._packing = Packing()
        #: Whether a further name of a file was among the entries.
        self.has_links = False
        for e in entries:
            self[e.path] = e

    @property
    def large(self) -> bool:
        """True if most of it is not in memory."""
        return self._file is not None

    # --- one path ------------------------------------------------------------------------------

    def get(self, path: str, /) -> Entry | None:
        """The entry at a path."""
        e = self._recent.get(path)
        if e is None and self._runs and path not in self._recent:
            return self._written(path)
        return e

    def _written(self, path: str) -> Entry | None:
        key = _key(path)
        for run in reversed(self._runs):
            row = run.find(key)
            if row is not None:
                return self._packing.entry(row) if len(row) > 1 else None
        return None

    def __getitem__(self, path: str) -> Entry:
        e = self.get(path)
        if e is None:
            raise KeyError(path)
        return e

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and self.get(path) is not None

    def __setitem__(self, path: str, entry: Entry) -> None:
        if entry.kind == "h":
            self.has_links = True
        if self._names is not None or len(self._recent) >= self._most:
            self._set(path, entry)
        else:
            self._recent[path] = entry

    def _set(self, path: str, entry: Entry | None) -> None:
        self._recent[path] = entry
        if self._names is not None:
            folder, _, name = path.rpartition("/")
            self._names.setdefault(folder, {})[name] = None
        if len(self._recent) > self._most:
            if self._file is None and self._share.more(FEW):
                self._most += CHUNK
            else:
                self._write()

    def setdefault(self, path: str, entry: Entry, /) -> Entry:
        """The entry at a path: the given one if there was none."""
        e = self.get(path)
        if e is None:
            self[path] = e = entry
        return e

    def pop(self, path: str) -> None:
        """Take the entry at a path away, if there is one."""
        if self._runs:
            self._set(path, None)
        else:
            self._recent.pop(path, None)

    # --- all of them ---------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Entry]:
        """The entries in the order of layers."""
        if self.large:
            return map(self._packing.entry, self._rows())
        recent: Any = self._recent  # holds no gap then
        return iter([recent[path] for path in sorted(recent, key=sort_key)])

    def __len__(self) -> int:
        return sum(1 for _ in self._rows()) if self.large else len(self._recent)

    def __bool__(self) -> bool:
        return self.large or bool(self._recent)

    def values(self) -> Iterable[Entry]:
        """The entries in an order that costs nothing: that in which they came, or that of layers."""
        recent: Any = self._recent
        return iter(self) if self.large else recent.values()

    def children(self, folder: str) -> list[str]:
        """The names that there are entries of in a folder, in no particular order."""
        if self._names is None:
            self._names = {}
            for path in self._recent:
                above, _, name = path.rpartition("/")
                self._names.setdefault(above, {})[name] = None
        prefix = f"{folder}/" if folder else ""
        found = {
            name: self._recent.get(prefix + name) is not None
            for name in self._names.get(folder, ())
            if name and prefix + name in self._recent
        }
        key = _key(prefix)
        for run in reversed(self._runs):
            for name, there in run.names(key):
                found.setdefault(name, there)
        return [name for name, there in found.items() if there]

    # --- the file ------------------------------------------------------------------------------

    def finish(self) -> None:
        """Nothing is added any more: what is large is one run then."""
        if self.large:
            self._write()
            if len(self._runs) > 1:
                self._merge()

    def _rows(self) -> Iterator[_Row]:
        """All rows in order, what was taken away not among them."""
        if len(self._runs) == 1 and not self._recent:
            return self._runs[0].rows()
        recent = [self._row(path, e) for path, e in self._recent.items()]
        recent.sort(key=itemgetter(0))
        runs = [run.rows() for run in self._runs]
        merged = heapq.merge(*map(_aged, (recent, *reversed(runs)), itertools.count()))
        newest = (next(same)[2] for _, same in itertools.groupby(merged, itemgetter(0)))
        return (row for row in newest if len(row) > 1)

    def _write(self) -> None:
        """Write what came last."""
        assert self._spool is not None
        if self._file is None:
            self._file, self._most = self._spool(), _WAITING
            self._share.give_back()
        recent, self._recent, self._names = self._recent, {}, None
        if not recent:
            return
        paths = sorted((_key(path), path) for path in recent)
        top = self._runs[-1].last if self._runs else None
        if top is None or paths[0][0] <= top:
            self._runs.append(_Run(self._file))
        self._runs[-1].extend(self._row(path, recent[path]) for _, path in paths)
        if len(self._runs) > _MOST_RUNS:
            self._merge()

    def _merge(self) -> None:
        """Make one run of all that is written."""
        assert self._spool is not None
        assert self._file is not None
        file = self._spool()
        whole = _Run(file)
        whole.extend(self._rows())
        self._file.close()
        self._file, self._runs = file, [whole]

    def _row(self, path: str, e: Entry | None) -> _Row:
        return [_key(path)] if e is None else self._packing.row(e)


def _aged(rows: Iterable[_Row], age: int) -> Iterator[tuple[str, int, _Row]]:
    """Rows for merging: of several with one key that of the smallest age comes first."""
    return ((row[0], age, row) for row in rows)
