"""The headers in rpm's database: SQLite, rpm's own `ndb`, and the hash table of Berkeley DB.

Why: nothing of rpm is needed to read them. Only SQLite's must be a file on the disk; the others are read
where they lie in the layer. Tables other than the one of packages are indexes over it.
Spec: rpm's lib/backend/sqlite.c, ndb/rpmpkg.c; Berkeley DB's dbinc/db_page.h (hash pages, overflow pages).
Trust: databases come from images: SQLite runs one statement over one plain table, with limits; pages and
chains are counted, lengths bounded.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from imagesmith.errors import InvalidDocument

if TYPE_CHECKING:
    import sqlite3

    from imagesmith.sbom.reading import Files

__all__ = ["headers"]

#: Of a database that is copied, of one header, and of all headers of one database.
_DATABASE_BYTES, _HEADER_BYTES, _ALL_BYTES = 1 << 30, 64 << 20, 2 << 30


def headers(path: str, image: Files) -> Iterator[bytes]:
    """The header of each package in a database, told from the name of its file.

    Raises:
        InvalidDocument: it is damaged; what came before is whole.
    """
    left = _ALL_BYTES
    if path.endswith(".sqlite"):
        found = _sqlite(path, image)
    elif path.endswith(".db"):
        found = _ndb(path, image)
    else:
        found = _bdb(path, image)
    for raw in found:
        left -= len(raw)
        if left < 0:
            raise InvalidDocument(f"more than {_ALL_BYTES} bytes of headers")
        yield raw


def _sqlite(path: str, image: Files) -> Iterator[bytes]:
    """What the table Packages holds; with what its log has not brought into it yet."""
    import sqlite3

    log = f"{path}-wal"
    e = image.stat(log)
    paths = (path, log) if e is not None and e.kind == "f" and e.size else (path,)
    with image.on_disk(*paths, limit_bytes=_DATABASE_BYTES) as folder:
        at = folder / path.rpartition("/")[2]
        try:
            db = _opened(at, whole=len(paths) == 1)
            try:
                (sql,) = db.execute(
                    "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = 'Packages'"
                ).fetchone() or ("",)
                if not str(sql).lstrip().upper().startswith("CREATE TABLE"):
                    raise InvalidDocument("it has no table of packages")
                for (raw,) in db.execute("SELECT blob FROM Packages"):
                    if isinstance(raw, bytes):
                        yield raw
            finally:
                db.close()
        except sqlite3.Error as e:
            raise InvalidDocument(f"SQLite says: {e}") from e


def _opened(at: Path, *, whole: bool) -> sqlite3.Connection:
    """A database that only reads, calls no function, and stops when it takes too long."""
    import sqlite3

    allowed = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ)
    uri = at.absolute().as_uri()
    db = sqlite3.connect(f"{uri}?mode={'ro&immutable=1' if whole else 'rw'}", uri=True, isolation_level=None)
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("PRAGMA cell_size_check = ON")
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _HEADER_BYTES)
    steps = iter(range(10_000))
    db.set_progress_handler(lambda: next(steps, None) is None, 100_000)
    db.set_authorizer(lambda what, *_: sqlite3.SQLITE_OK if what in allowed else sqlite3.SQLITE_DENY)
    return db


_NDB_PAGE = 4096
_NDB_SLOT = struct.Struct("<4sIII")


def _ndb(path: str, image: Files) -> Iterator[bytes]:
    """The blobs that the slots name."""
    with image.open(path) as f:
        magic, version, _, pages = struct.unpack("<4sIII", f.read(16))
        if magic != b"RpmP" or version != 0:
            raise InvalidDocument("no database of rpm's ndb")
        if pages > 1 << 14:
            raise InvalidDocument(f"{pages} pages of slots")
        f.seek(32)
        slots = f.read(pages * _NDB_PAGE - 32)
        for magic, number, offset, _ in _NDB_SLOT.iter_unpack(slots[: len(slots) // 16 * 16]):
            if magic != b"Slot":
                raise InvalidDocument("a slot without its mark")
            if number == 0:
                continue
            f.seek(offset * 16)
            magic, own, _, length = struct.unpack("<4sIII", f.read(16))
            if magic != b"BlbS" or own != number or length > _HEADER_BYTES:
                raise InvalidDocument(f"package {number} is damaged")
            yield _exactly(f, length)


_BDB_MAGIC = 0x00061561
_BDB_HASH_UNSORTED, _BDB_OVERFLOW, _BDB_HASH = 2, 7, 13
_BDB_PAGE = 26  # bytes of a page's header
_OFF_PAGE = 3


class _Berkeley:
    """The pages of a hash database."""

    def __init__(self, f: BinaryIO) -> None:
        self._f = f
        head = f.read(72)
        self.order = "<" if head[12:16] == _BDB_MAGIC.to_bytes(4, "little") else ">"
        magic, _, self.size = struct.unpack_from(f"{self.order}III", head, 12)
        if magic != _BDB_MAGIC:
            raise InvalidDocument("no hash database of Berkeley DB")
        if self.size not in (1 << n for n in range(9, 17)):
            raise InvalidDocument(f"pages of {self.size} bytes")
        self.pages = f.seek(0, 2) // self.size
        self.last = struct.unpack_from(f"{self.order}I", head, 32)[0]

    def page(self, number: int) -> bytes:
        """A whole page."""
        if number >= self.pages:
            raise InvalidDocument(f"there is no page {number}")
        self._f.seek(number * self.size)
        return _exactly(self._f, self.size)

    def head(self, page: bytes) -> tuple[int, int, int, int]:
        """Of a page: the next one, its entries, the number beside them, and its type."""
        following, entries, offset, _, kind = struct.unpack_from(f"{self.order}IHHBB", page, 16)
        return following, entries, offset, kind

    def chain(self, number: int, length: int) -> bytes:
        """What lies on overflow pages, from one on."""
        parts, left, turns = [], length, 0
        while left > 0:
            page = self.page(number)
            following, _, used, kind = self.head(page)
            part = page[_BDB_PAGE : _BDB_PAGE + min(used, left)]
            turns += 1
            if kind != _BDB_OVERFLOW or not part or turns > self.pages:
                raise InvalidDocument(f"page {number} is no part of a value")
            parts.append(part)
            left -= len(part)
            number = following
        return b"".join(parts)


def _bdb(path: str, image: Files) -> Iterator[bytes]:
    """The values of a hash table that lie off its pages: no header is so small that one lies on them."""
    with image.open(path) as f:
        db = _Berkeley(f)
        budget = _ALL_BYTES
        for number in range(1, db.pages):
            page = db.page(number)
            _, entries, _, kind = db.head(page)
            if kind not in (_BDB_HASH_UNSORTED, _BDB_HASH):
                continue
            if _BDB_PAGE + 2 * entries > db.size:
                raise InvalidDocument(f"page {number} has {entries} entries")
            places = struct.unpack_from(f"{db.order}{entries}H", page, _BDB_PAGE)
            for place in places[1::2]:
                if place + 12 > db.size or page[place] != _OFF_PAGE:
                    continue
                first, length = struct.unpack_from(f"{db.order}II", page, place + 4)
                budget -= length
                if length > _HEADER_BYTES or budget < 0:
                    raise InvalidDocument(f"a value of {length} bytes on page {number}")
                yield db.chain(first, length)
        if db.last >= db.pages:
            raise InvalidDocument("the file ends too early")


def _exactly(f: BinaryIO, length: int) -> bytes:
    data = f.read(length)
    if len(data) < length:
        raise InvalidDocument("the file ends too early")
    return data
