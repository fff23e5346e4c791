"""A SQLite file that may be lost: whatever is wrong with it, there is one that works, and one warning.

Why: what is in it is memo. A file that is damaged anywhere, or was written by a later version, is set aside
and begun anew; where the file is locked for long or may not be written, a file of this process stands in.
SQLite finds broken pages but not a changed byte of a row, so each row holds a sum of its values.
Trust: our own file, but disks tear and flip; nothing of a row is used before its sum is right.
Threads: one connection a thread; each finds out by itself that the file was replaced.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from imagesmith.errors import StoreError

if TYPE_CHECKING:
    from imagesmith.store.work import WorkFolder

__all__ = ["Damaged", "Database", "Row"]

T = TypeVar("T")
Row = tuple[object, ...]

#: How long another process is waited for (seconds).
_WAIT_S = 30
#: How often something is tried with another file.
_TRIES = 3
_FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_NOMEM})
#: Of the errors of reading and writing those that a file gives that is shorter than it says.
_TORN = frozenset({sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ})
#: What tells of the machine, not of what is in the file.
_BARRED = frozenset(
    {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN,
     sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
)  # fmt: skip


class Damaged(Exception):
    """A row is not as it was written."""


class _Newer(Exception):
    """The file is of a later version."""


def _sum(table: str, values: Sequence[object]) -> int:
    """The sum of a row; of a row in another table, as whole pages may be, it is another."""
    text = "\0%s" * len(values) % tuple(values)
    return zlib.crc32((table + text).encode("utf-8", "surrogatepass"))


class Database:
    """Tables of rows with sums, in a file."""

    def __init__(
        self,
        path: Path,
        version: int,
        tables: Mapping[str, tuple[str, ...]],
        schema: str,
        warn: Callable[[str], None],
        *,
        alone: bool = False,
    ) -> None:
        """Open the file, or make it.

        Args:
            path: the file.
            version: of the schema; the tables of an older file are dropped.
            tables: the columns of each table that its sum is of.
            schema: makes the tables; each has a column `sum`.
            warn: is told, once, that the file was set aside or is not used.
            alone: no other process or thread has it; then reading it needs no room on the disk.

        Raises:
            StoreError: no file can be made at all.
        """
        self._path, self._version, self._tables, self._schema, self._warn = (
            path, version, tables, schema, warn,
        )  # fmt: skip
        self._local = threading.local()
        self._lock = threading.Lock()
        self._own: WorkFolder | None = None
        self._alone = alone
        self.attempt(lambda _db: None)

    # --- rows ----------------------------------------------------------------------------------

    def rows(self, table: str, where: str = "", values: Sequence[object] = ()) -> list[Row]:
        """Rows of a table in the order of its columns, their sums checked."""
        question = f"SELECT {', '.join(self._tables[table])}, sum FROM {table} {where}"  # noqa: S608 - ours

        def ask(db: sqlite3.Connection) -> list[Row]:
            found = []
            for *row, total in db.execute(question, values):
                if _sum(table, row) != total:
                    raise Damaged(f"a row of {table} is not as it was written")
                found.append(tuple(row))
            return found

        return self.attempt(ask)

    def asks(self, question: str, values: Sequence[object] = ()) -> bool:
        """Whether an answer has rows."""
        return self.attempt(lambda db: db.execute(question, values).fetchone() is not None)

    def put(self, table: str, rows: Iterable[Sequence[object]]) -> None:
        """Write rows over those of the same key."""
        rows = list(rows)
        self.write(lambda db: self.insert(db, table, rows))

    def insert(
        self, db: sqlite3.Connection, table: str, rows: Iterable[Sequence[object]], more: str = ""
    ) -> None:
        """Write rows inside `write`; `more` is a value of SQL for the column after the sum."""
        columns = len(self._tables[table])
        marks = ", ".join("?" * (columns + 1)) + (f", {more}" if more else "")
        question = f"INSERT OR REPLACE INTO {table} VALUES ({marks})"  # noqa: S608 - names of ours
        db.executemany(question, [(*row, _sum(table, row)) for row in rows])

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do something in one transaction; it is done again where the file has to be replaced for it."""

        def begun(db: sqlite3.Connection) -> T:
            db.execute("BEGIN IMMEDIATE")  # a deferred one fails at once where another process wrote between
            try:
                found = work(db)
                db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
                raise
            return found

        return self.attempt(begun)

    # --- the file ------------------------------------------------------------------------------

    def attempt(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do something with a connection, and where the file is at fault, with another file.

        Raises:
            StoreError: the disk is full, or nothing helps.
        """
        failure: Exception | None = None
        for _ in range(_TRIES):
            inode = self._inode()
            try:
                return work(self._connection())
            except (sqlite3.InterfaceError, sqlite3.ProgrammingError):
                raise  # a mistake of ours
            except (
                sqlite3.Error,
                UnicodeError,
                Damaged,
                _Newer,
            ) as e:  # of messages about damaged names, too
                failure = e
                code = _code(e)
                if code & 0xFF in _FULL or (code & 0xFF == sqlite3.SQLITE_IOERR and code not in _TORN):
                    break
                with self._lock:
                    known = getattr(self._local, "inode", None) or inode
                    self._replace(e, barred=self._is_barred(code), inode=known)
                self.close()
        raise StoreError(
            f"cannot use the cache database {self._path}: {failure}",
            hint="if its disk is full, `imagesmith prune` deletes what nothing in the store needs",
        ) from failure

    def _is_barred(self, code: int) -> bool:
        """Whether an error tells of the machine. A header can say as well that the file is read-only."""
        if code & 0xFF == sqlite3.SQLITE_READONLY:
            return not os.access(self._path, os.W_OK)
        return code & 0xFF in _BARRED

    def _inode(self) -> tuple[int, int] | None:
        with contextlib.suppress(OSError):
            st = os.stat(self._path)
            return st.st_dev, st.st_ino
        return None

    def _replace(self, e: Exception, *, barred: bool, inode: tuple[int, int] | None) -> None:
        """Have another file at `_path`, or another path, unless another thread has done it."""
        from imagesmith.store.work import WorkFolder

        if inode != self._inode():
            return
        path = self._path
        try:
            if not barred:
                aside = path.with_suffix(".newer" if isinstance(e, _Newer) else ".damaged")
                for end in ("-wal", "-shm", ""):  # a new file must not meet the log of the old one
                    with contextlib.suppress(FileNotFoundError):
                        os.replace(f"{path}{end}", f"{aside}{end}")
                self._warn(f"the cache database {path} {_said(e)}: set aside as {aside.name}, and begun anew")
                return
        except OSError as refused:
            e = refused
        if self._own is None:
            try:
                self._own = WorkFolder(path.parent / "work", "cache-")
            except OSError as refused:
                raise StoreError(f"cannot use the cache database {path}: {refused.strerror}") from refused
            self._path = self._own.path / path.name
            self._warn(f"the cache database {path} {_said(e)}: nothing is taken from it, and nothing kept")

    def _connection(self) -> sqlite3.Connection:
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is not None and self._local.inode != self._inode():
            self.close()
            db = None
        if db is None:
            db = sqlite3.connect(self._path, timeout=_WAIT_S, isolation_level=None)
            self._local.db, self._local.inode = db, self._inode()
            if self._alone:
                db.execute("PRAGMA locking_mode=EXCLUSIVE")  # before all else: no index in a file then
            self._prepare(db)
            self._local.inode = self._inode()  # SQLite makes a new file when it is first asked
        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        """Make a connection ready, and the tables where the file is new.

        Turning a file to WAL needs it for itself and fails at once where that is not so: first builds that
        begin together meet here, so this waits by its own clock.
        """
        deadline = time.monotonic() + _WAIT_S
        while True:
            try:
                if self._version_of(db) != self._version:
                    # A power cut here tears a file without rows, which is made anew.
                    db.execute("PRAGMA synchronous=OFF")
                    db.execute("PRAGMA journal_mode=WAL")
                    self._make(db)
                db.execute("PRAGMA synchronous=NORMAL")
                return
            except sqlite3.OperationalError as e:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                if _code(e) & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def _version_of(self, db: sqlite3.Connection) -> int:
        found = int(db.execute("PRAGMA user_version").fetchone()[0])
        if found > self._version:
            raise _Newer(f"is of a later version ({found})")
        return found

    def _make(self, db: sqlite3.Connection) -> None:
        """Make the tables, without those of an older version, unless another process was faster."""
        db.execute("BEGIN IMMEDIATE")
        found = self._version_of(db)
        if found != self._version:
            old = [f"DROP TABLE IF EXISTS {table}" for table in self._tables] if found else []
            for statement in (*old, *self._schema.split(";"), f"PRAGMA user_version = {self._version}"):
                db.execute(statement)
        db.execute("COMMIT")

    def close(self) -> None:
        """Close this thread's connection."""
        db = getattr(self._local, "db", None)
        if db is not None:
            self._local.db = None
            with contextlib.suppress(sqlite3.Error):
                db.close()

    def end(self) -> None:
        """Close this thread's connection, and delete a file that stood in."""
        self.close()
        if self._own is not None:
            with contextlib.suppress(OSError):  # what is left is swept
                self._own.close()


def _code(e: Exception) -> int:
    """SQLite's extended code of an error; 0 of those that Python's module makes itself."""
    return int(getattr(e, "sqlite_errorcode", 0))


def _said(e: Exception) -> str:
    return str(e) if isinstance(e, _Newer) else f"cannot be used ({e})"
