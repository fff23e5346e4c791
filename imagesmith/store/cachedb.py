"""The memory of earlier builds, in one SQLite file: step results, file digests, resolved tags.

Why: it is memo, never truth: every answer names blobs or files that are checked to be there, and the file
may be deleted at any time. WAL with NORMAL sync loses at most the last rows at a power cut.
Trust: our own file; a damaged one is set aside and begun anew.
Threads: one connection a thread; writers use BEGIN IMMEDIATE, for a deferred one fails at once where
another process wrote in between.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from imagesmith.errors import StoreError
from imagesmith.values import frozen

__all__ = ["CacheDB", "FileStamp", "StepRecord"]

_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS steps (
    key TEXT PRIMARY KEY, base TEXT NOT NULL, parts TEXT NOT NULL, diff_id TEXT NOT NULL,
    layer TEXT NOT NULL, created_ns INTEGER NOT NULL, used_s INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS steps_by_base ON steps (base);
CREATE TABLE IF NOT EXISTS files (
    dev INTEGER, ino INTEGER, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER, sha256 TEXT NOT NULL,
    PRIMARY KEY (dev, ino)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tags (
    ref TEXT NOT NULL, platform TEXT NOT NULL, digest TEXT NOT NULL, at_s INTEGER NOT NULL,
    PRIMARY KEY (ref, platform)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sources (
    blob TEXT NOT NULL, repository TEXT NOT NULL, PRIMARY KEY (blob, repository)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fetches (url TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notes (key TEXT PRIMARY KEY, note TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS builds (name TEXT PRIMARY KEY, summary TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS parsed (
    key TEXT PRIMARY KEY, text TEXT NOT NULL, at_s INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA user_version = 3;
COMMIT;
"""
_VERSION = 3
_FILES = "SELECT ino, size, mtime_ns, ctime_ns, sha256 FROM files WHERE dev = ? AND ino IN (INOS)"

#: How many values a question has at most; older libraries take 999.
_VALUES = 900
#: How long another process is waited for (seconds).
_WAIT_S = 30
#: A record's time of use is written again when it is older than this (seconds).
_TOUCH_S = 24 * 3600
#: Digests of files beyond this number are forgotten by `drop_unused`.
_MOST_FILES = 2_000_000


@frozen(kw_only=True)
class StepRecord:
    """What a step made. `layer` is its descriptor as JSON; `parts` is what its key was made of."""

    key: str
    base: str
    parts: Mapping[str, object]
    diff_id: str
    layer: Mapping[str, object]
    created_ns: int


class FileStamp(NamedTuple):
    """What tells that a file was not changed since it was hashed."""

    dev: int
    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int


class CacheDB:
    """The cache database of a store."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        try:
            self._connection()
        except sqlite3.OperationalError as e:  # locked, not ours, a full disk: nothing is wrong with the file
            raise StoreError(f"cannot use the cache database {path}: {e}") from e
        except sqlite3.DatabaseError:
            with contextlib.suppress(OSError):
                path.rename(path.with_suffix(".damaged"))
            try:
                self._connection()
            except sqlite3.Error as e:
                raise StoreError(f"cannot use the cache database {path}: {e}") from e

    def _connection(self) -> sqlite3.Connection:
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is None:
            db = sqlite3.connect(self._path, timeout=_WAIT_S, isolation_level=None)
            _prepare(db)
            self._local.db = db
        return db

    @contextlib.contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        db = self._connection()
        try:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")
        except sqlite3.Error as e:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise StoreError(f"cannot write the cache database {self._path}: {e}") from e

    def _read(self, question: str, values: Sequence[object] = ()) -> list[Sequence[object]]:
        """The rows of an answer; none where the file is damaged, for it is memo and no more."""
        try:
            return self._connection().execute(question, values).fetchall()
        except sqlite3.DatabaseError as e:
            if isinstance(e, sqlite3.OperationalError):  # locked for long, or a full disk
                raise StoreError(f"cannot read the cache database {self._path}: {e}") from e
            return []

    def step(self, key: str) -> StepRecord | None:
        """The record of a step's key."""
        return next(map(_record, self._read("SELECT * FROM steps WHERE key = ?", (key,))), None)

    def steps_like(self, base: str) -> list[StepRecord]:
        """The records of the same instruction at the same place, newest first; for explaining a miss."""
        question = "SELECT * FROM steps WHERE base = ? ORDER BY created_ns DESC LIMIT 20"
        return [_record(r) for r in self._read(question, (base,))]

    def knows_base(self, base: str) -> bool:
        """True if any record has this base: a hit is possible at all."""
        return bool(self._read("SELECT 1 FROM steps WHERE base = ? LIMIT 1", (base,)))

    def put_steps(
        self, records: Iterable[StepRecord], notes: Mapping[str, Mapping[str, str]] | None = None
    ) -> None:
        """Remember steps, over older records of their keys; `notes` are for people, by key."""
        now = int(time.time())
        with self._write() as db:
            db.executemany(
                "INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (r.key, r.base, json.dumps(r.parts), r.diff_id, json.dumps(r.layer), r.created_ns, now)
                    for r in records
                ],
            )
            if notes:
                db.executemany(
                    "INSERT OR REPLACE INTO notes VALUES (?, ?)",
                    [(key, json.dumps(note)) for key, note in notes.items()],
                )

    def note(self, key: str) -> dict[str, str]:
        """What was noted beside a step; empty where nothing was."""
        rows = self._read("SELECT note FROM notes WHERE key = ?", (key,))
        return next((dict(json.loads(str(row[0]))) for row in rows), {})

    def touch_steps(self, keys: Iterable[str]) -> None:
        """Remember that steps were of use, where that was last written long ago."""
        now = int(time.time())
        with self._write() as db:
            db.executemany(
                "UPDATE steps SET used_s = ? WHERE key = ? AND used_s < ?",
                [(now, key, now - _TOUCH_S) for key in keys],
            )

    def drop_unused(self, unused_s: int) -> int:
        """Forget steps that were of no use for so many seconds, and digests of far too many files."""
        with self._write() as db:
            dropped = db.execute("DELETE FROM steps WHERE used_s < ?", (int(time.time()) - unused_s,))
            db.execute("DELETE FROM parsed WHERE at_s < ?", (int(time.time()) - unused_s,))
            if db.execute("SELECT COUNT(*) FROM files").fetchone()[0] > _MOST_FILES:
                db.execute("DELETE FROM files")
            return dropped.rowcount

    def build(self, name: str) -> dict[str, object]:
        """The summary of the last build of a name; empty where there was none."""
        rows = self._read("SELECT summary FROM builds WHERE name = ?", (name,))
        return next((dict(json.loads(str(row[0]))) for row in rows), {})

    def put_build(self, name: str, summary: Mapping[str, object]) -> None:
        """Remember what a build made, for the next one's report."""
        with self._write() as db:
            db.execute("INSERT OR REPLACE INTO builds VALUES (?, ?)", (name, json.dumps(summary)))

    def all_steps(self) -> list[StepRecord]:
        """Every record."""
        return [_record(r) for r in self._read("SELECT * FROM steps")]

    def drop_steps(self, keys: Sequence[str] | None = None) -> None:
        """Forget steps; all of them without `keys`."""
        with self._write() as db:
            if keys is None:
                db.execute("DELETE FROM steps")
            else:
                db.executemany("DELETE FROM steps WHERE key = ?", [(k,) for k in keys])
            db.execute("DELETE FROM notes WHERE key NOT IN (SELECT key FROM steps)")

    def file_digest(self, stamp: FileStamp) -> str:
        """The digest of an unchanged file, or ''."""
        return self.file_digests((stamp,)).get(stamp, "")

    def file_digests(self, stamps: Iterable[FileStamp]) -> dict[FileStamp, str]:
        """The digests of those among some files that are known and unchanged."""
        wanted: dict[int, dict[int, FileStamp]] = {}
        for s in stamps:
            wanted.setdefault(s.dev, {})[s.ino] = s
        out = {}
        for dev, by_ino in wanted.items():
            inos = list(by_ino)
            for at in range(0, len(inos), _VALUES):
                some = inos[at : at + _VALUES]
                question = _FILES.replace("INOS", ",".join("?" * len(some)))
                for ino, size, mtime_ns, ctime_ns, digest in self._read(question, (dev, *some)):
                    s = by_ino[int(str(ino))]
                    if (size, mtime_ns, ctime_ns) == s[2:]:
                        out[s] = str(digest)
        return out

    def put_file_digests(self, digests: Iterable[tuple[FileStamp, str]]) -> None:
        """Remember digests of files."""
        with self._write() as db:
            db.executemany(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)",
                [(s.dev, s.ino, s.size, s.mtime_ns, s.ctime_ns, d) for s, d in digests],
            )

    def tag(self, ref: str, platform: str) -> tuple[str, int] | None:
        """The digest that a tag had, and when that was (seconds)."""
        rows = self._read("SELECT digest, at_s FROM tags WHERE ref = ? AND platform = ?", (ref, platform))
        return next(((str(digest), int(str(at_s))) for digest, at_s in rows), None)

    def put_tag(self, ref: str, platform: str, digest: str) -> None:
        """Remember what a tag was resolved to, now."""
        with self._write() as db:
            db.execute(
                "INSERT OR REPLACE INTO tags VALUES (?, ?, ?, ?)", (ref, platform, digest, int(time.time()))
            )

    def blob_sources(self, blob: str) -> list[str]:
        """Repositories (`registry/path`) that are known to hold a blob, for mounts."""
        return [str(r[0]) for r in self._read("SELECT repository FROM sources WHERE blob = ?", (blob,))]

    def put_blob_source(self, blob: str, repository: str) -> None:
        """Remember that a repository holds a blob."""
        with self._write() as db:
            db.execute("INSERT OR IGNORE INTO sources VALUES (?, ?)", (blob, repository))

    def fetch(self, url: str) -> dict[str, object] | None:
        """What was remembered of an earlier download."""
        rows = self._read("SELECT record FROM fetches WHERE url = ?", (url,))
        return next((dict(json.loads(str(row[0]))) for row in rows), None)

    def put_fetch(self, url: str, record: Mapping[str, object]) -> None:
        """Remember a download."""
        with self._write() as db:
            db.execute("INSERT OR REPLACE INTO fetches VALUES (?, ?)", (url, json.dumps(record)))

    def parsed(self, key: str) -> str:
        """What was remembered of a parsed file; an empty text where nothing was."""
        return next((str(row[0]) for row in self._read("SELECT text FROM parsed WHERE key = ?", (key,))), "")

    def put_parsed(self, key: str, text: str) -> None:
        """Remember what came of parsing a file."""
        with self._write() as db:
            db.execute("INSERT OR REPLACE INTO parsed VALUES (?, ?, ?)", (key, text, int(time.time())))

    def close(self) -> None:
        """Close this thread's connection."""
        db = getattr(self._local, "db", None)
        if db is not None:
            db.close()
            self._local.db = None


def _prepare(db: sqlite3.Connection) -> None:
    """Make a connection ready, and the tables where the file is new.

    Turning a file to WAL needs it for itself and fails at once where that is not so: first builds that begin
    together meet here, so this waits by its own clock.
    """
    deadline = time.monotonic() + _WAIT_S
    while True:
        try:
            if db.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
                # A power cut here tears a file without rows, which is made anew.
                db.execute("PRAGMA synchronous=OFF")
                db.execute("PRAGMA journal_mode=WAL")
                db.executescript(_SCHEMA)
            db.execute("PRAGMA synchronous=NORMAL")
            return
        except sqlite3.OperationalError as e:
            if db.in_transaction:
                db.execute("ROLLBACK")
            if e.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _record(row: Sequence[object]) -> StepRecord:
    key, base, parts, diff_id, layer, created_ns, _ = row
    return StepRecord(
        key=str(key),
        base=str(base),
        parts=json.loads(str(parts)),
        diff_id=str(diff_id),
        layer=json.loads(str(layer)),
        created_ns=int(str(created_ns)),
    )
