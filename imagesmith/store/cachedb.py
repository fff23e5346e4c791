"""The memory of earlier builds, in one SQLite file: step results, file digests, resolved tags.

Why: it is memo, never truth: every answer names blobs or files that are checked to be there, and the file
may be deleted at any time. WAL with NORMAL sync loses at most the last rows at a power cut.
Trust: our own file; what of it is damaged, or not ours, is found out below (store/database.py).
Threads: any.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from imagesmith.errors import StoreError
from imagesmith.store.database import Database
from imagesmith.values import frozen

if TYPE_CHECKING:
    from sqlite3 import Connection

__all__ = ["CacheDB", "FileStamp", "StepRecord"]

_VERSION = 4
#: The columns that a row's sum is of.
_TABLES = {
    "steps": ("key", "base", "parts", "diff_id", "layer", "created_ns"),
    "files": ("dev", "ino", "size", "mtime_ns", "ctime_ns", "sha256"),
    "tags": ("ref", "platform", "digest", "at_s"),
    "sources": ("blob", "repository"),
    "fetches": ("url", "record"),
    "notes": ("key", "note"),
    "builds": ("name", "summary"),
    "parsed": ("key", "text", "at_s"),
}
_SCHEMA = """
CREATE TABLE IF NOT EXISTS steps (
    key TEXT PRIMARY KEY, base TEXT NOT NULL, parts TEXT NOT NULL, diff_id TEXT NOT NULL,
    layer TEXT NOT NULL, created_ns INTEGER NOT NULL, sum INTEGER, used_s INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS steps_by_base ON steps (base);
CREATE TABLE IF NOT EXISTS files (
    dev INTEGER, ino INTEGER, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER, sha256 TEXT NOT NULL,
    sum INTEGER, PRIMARY KEY (dev, ino)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tags (
    ref TEXT NOT NULL, platform TEXT NOT NULL, digest TEXT NOT NULL, at_s INTEGER NOT NULL,
    sum INTEGER, PRIMARY KEY (ref, platform)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sources (
    blob TEXT NOT NULL, repository TEXT NOT NULL, sum INTEGER, PRIMARY KEY (blob, repository)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fetches (url TEXT PRIMARY KEY, record TEXT NOT NULL, sum INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notes (key TEXT PRIMARY KEY, note TEXT NOT NULL, sum INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS builds (name TEXT PRIMARY KEY, summary TEXT NOT NULL, sum INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS parsed (
    key TEXT PRIMARY KEY, text TEXT NOT NULL, at_s INTEGER NOT NULL, sum INTEGER) WITHOUT ROWID
"""

#: How many values a question has at most; older libraries take 999.
_VALUES = 900
#: A record's time of use is written again when it is older than this (seconds).
_TOUCH_S = 24 * 3600
#: Digests of files beyond this number are forgotten by `drop_unused`.
_MOST_FILES = 2_000_000

_log = logging.getLogger(__name__)


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

    def is_of(self, st: os.stat_result) -> bool:
        """True if that is the same file with the same bytes, whatever became of its names and mode."""
        return (self.size, self.mtime_ns, self.ino, self.dev) == (
            st.st_size,
            st.st_mtime_ns,
            st.st_ino,
            st.st_dev,
        )


def _held(stamp: FileStamp) -> bool:
    """Whether the database has numbers as large: a file's time may be of any year, an inode has 64 bits."""
    return min(stamp) >= -(1 << 63) and max(stamp) < 1 << 63


class CacheDB:
    """The cache database of a store."""

    def __init__(self, path: Path, warn: Callable[[str], None] = _log.warning) -> None:
        """Open it; `warn` is told if it cannot be used as it is."""
        self._db = Database(path, _VERSION, _TABLES, _SCHEMA, warn)

    @classmethod
    def of_one(cls, path: Path, warn: Callable[[str], None] = _log.warning) -> CacheDB:
        """Open it for a process that holds the store alone, and on a disk that may be full.

        Reading needs no room then. Where the file cannot be used for want of it even so, it is deleted: it
        is memo, and what it takes may be all that there is to free.
        """
        cache = cls.__new__(cls)
        for alone in (False, True):
            try:
                cache._db = Database(path, _VERSION, _TABLES, _SCHEMA, warn, alone=alone)
                return cache
            except StoreError as e:
                fault = e
        warn(f"{fault.message}: it is deleted, and its steps are forgotten")
        for end in ("", "-wal", "-shm"):
            Path(f"{path}{end}").unlink(missing_ok=True)
        cache._db = Database(Path(":memory:"), _VERSION, _TABLES, _SCHEMA, warn)
        return cache

    def step(self, key: str) -> StepRecord | None:
        """The record of a step's key."""
        return next(map(_record, self._db.rows("steps", "WHERE key = ?", (key,))), None)

    def steps_like(self, base: str) -> list[StepRecord]:
        """The records of the same instruction at the same place, newest first; for explaining a miss."""
        where = "WHERE base = ? ORDER BY created_ns DESC LIMIT 20"
        return [_record(r) for r in self._db.rows("steps", where, (base,))]

    def is_empty(self) -> bool:
        """True if no step is known."""
        return not self._db.asks("SELECT 1 FROM steps LIMIT 1")

    def knows_base(self, base: str) -> bool:
        """True if any record has this base: a hit is possible at all."""
        return self._db.asks("SELECT 1 FROM steps WHERE base = ? LIMIT 1", (base,))

    def put_steps(
        self, records: Iterable[StepRecord], notes: Mapping[str, Mapping[str, str]] | None = None
    ) -> None:
        """Remember steps, over older records of their keys; `notes` are for people, by key."""
        steps = [
            (r.key, r.base, json.dumps(r.parts), r.diff_id, json.dumps(r.layer), r.created_ns)
            for r in records
        ]
        written = [(key, json.dumps(note)) for key, note in (notes or {}).items()]

        def write(db: Connection) -> None:
            self._db.insert(db, "steps", steps, more=str(int(time.time())))
            self._db.insert(db, "notes", written)

        self._db.write(write)

    def note(self, key: str) -> dict[str, str]:
        """What was noted beside a step; empty where nothing was."""
        return {k: str(v) for k, v in self._object("notes", "key", key).items()}

    def _object(self, table: str, column: str, key: str) -> dict[str, object]:
        """The JSON object of a row; empty where there is none."""
        rows = self._db.rows(table, f"WHERE {column} = ?", (key,))
        return next((dict(json.loads(str(row[1]))) for row in rows), {})

    def touch_steps(self, keys: Iterable[str]) -> None:
        """Remember that steps were of use, where that was last written long ago."""
        now = int(time.time())
        rows = [(now, key, now - _TOUCH_S) for key in keys]
        question = "UPDATE steps SET used_s = ? WHERE key = ? AND used_s < ?"
        self._db.write(lambda db: db.executemany(question, rows))

    def drop_unused(self, unused_s: int) -> int:
        """Forget steps that were of no use for so many seconds, and digests of far too many files."""
        until = (int(time.time()) - unused_s,)

        def write(db: Connection) -> int:
            dropped = db.execute("DELETE FROM steps WHERE used_s < ?", until)
            db.execute("DELETE FROM parsed WHERE at_s < ?", until)
            if db.execute("SELECT COUNT(*) FROM files").fetchone()[0] > _MOST_FILES:
                db.execute("DELETE FROM files")
            return dropped.rowcount

        return self._db.write(write)

    def unused(self, unused_s: int) -> set[str]:
        """The keys of steps that were of no use for so many seconds."""
        where = "WHERE used_s < ?"
        return {str(row[0]) for row in self._db.rows("steps", where, (int(time.time()) - unused_s,))}

    def build(self, name: str) -> dict[str, object]:
        """The summary of the last build of a name; empty where there was none."""
        return self._object("builds", "name", name)

    def put_build(self, name: str, summary: Mapping[str, object]) -> None:
        """Remember what a build made, for the next one's report."""
        self._db.put("builds", [(name, json.dumps(summary))])

    def all_steps(self) -> list[StepRecord]:
        """Every record."""
        return [_record(r) for r in self._db.rows("steps")]

    def drop_steps(self, keys: Sequence[str] | None = None) -> None:
        """Forget steps; all of them without `keys`."""

        def write(db: Connection) -> None:
            if keys is None:
                db.execute("DELETE FROM steps")
            else:
                db.executemany("DELETE FROM steps WHERE key = ?", [(k,) for k in keys])
            db.execute("DELETE FROM notes WHERE key NOT IN (SELECT key FROM steps)")

        self._db.write(write)

    def file_digest(self, stamp: FileStamp) -> str:
        """The digest of an unchanged file, or ''."""
        return self.file_digests((stamp,)).get(stamp, "")

    def file_digests(self, stamps: Iterable[FileStamp]) -> dict[FileStamp, str]:
        """The digests of those among some files that are known and unchanged."""
        wanted: dict[int, dict[int, FileStamp]] = {}
        for s in filter(_held, stamps):
            wanted.setdefault(s.dev, {})[s.ino] = s
        out = {}
        for dev, by_ino in wanted.items():
            inos = list(by_ino)
            for at in range(0, len(inos), _VALUES):
                some = inos[at : at + _VALUES]
                where = f"WHERE dev = ? AND ino IN ({','.join('?' * len(some))})"
                for _, ino, size, mtime_ns, ctime_ns, digest in self._db.rows("files", where, (dev, *some)):
                    s = by_ino[int(str(ino))]
                    if (size, mtime_ns, ctime_ns) == s[2:]:
                        out[s] = str(digest)
        return out

    def put_file_digests(self, digests: Iterable[tuple[FileStamp, str]]) -> None:
        """Remember digests of files."""
        self._db.put("files", [(*s, d) for s, d in digests if _held(s)])

    def tag(self, ref: str, platform: str) -> tuple[str, int] | None:
        """The digest that a tag had, and when that was (seconds)."""
        rows = self._db.rows("tags", "WHERE ref = ? AND platform = ?", (ref, platform))
        return next(((str(digest), int(str(at_s))) for _, _, digest, at_s in rows), None)

    def put_tag(self, ref: str, platform: str, digest: str) -> None:
        """Remember what a tag was resolved to, now."""
        self._db.put("tags", [(ref, platform, digest, int(time.time()))])

    def blob_sources(self, blob: str) -> list[str]:
        """Repositories (`registry/path`) that are known to hold a blob, for mounts."""
        return [str(repository) for _, repository in self._db.rows("sources", "WHERE blob = ?", (blob,))]

    def put_blob_source(self, blob: str, repository: str) -> None:
        """Remember that a repository holds a blob."""
        self._db.put("sources", [(blob, repository)])

    def fetch(self, url: str) -> dict[str, object] | None:
        """What was remembered of an earlier download."""
        return self._object("fetches", "url", url) or None

    def put_fetch(self, url: str, record: Mapping[str, object]) -> None:
        """Remember a download."""
        self._db.put("fetches", [(url, json.dumps(record))])

    def parsed(self, key: str) -> str:
        """What was remembered of a parsed file; an empty text where nothing was."""
        return next((str(row[1]) for row in self._db.rows("parsed", "WHERE key = ?", (key,))), "")

    def put_parsed(self, key: str, text: str) -> None:
        """Remember what came of parsing a file."""
        self._db.put("parsed", [(key, text, int(time.time()))])

    def close(self) -> None:
        """Close this thread's connection."""
        self._db.end()


def _record(row: Sequence[object]) -> StepRecord:
    key, base, parts, diff_id, layer, created_ns = row
    return StepRecord(
        key=str(key),
        base=str(base),
        parts=json.loads(str(parts)),
        diff_id=str(diff_id),
        layer=json.loads(str(layer)),
        created_ns=int(str(created_ns)),
    )
