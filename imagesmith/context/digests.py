"""Digests of a context's files, remembered while they do not change, and how much was read for them.

Why: the digest of a file that has not changed (device, inode, size, times) is remembered, so a warm context
costs one stat a file. Files are read when a step needs their digests, or while its layer is made, so there is
no one time at which the context is sent, as BuildKit's `load build context` is. It is one vertex all the
same, which begins again where much more is read; what is remembered is not read, and not told.
Trust: files are anybody's; each is read to the size that it had, and no further (context/local.py).
Threads: methods may be called from any.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterable
from typing import Self

from imagesmith.context.localfile import LocalContent
from imagesmith.errors import ContextError
from imagesmith.events import EventSink, Progress, Vertex, nobody
from imagesmith.fs.entry import Entry
from imagesmith.store.cachedb import CacheDB, FileStamp

__all__ = ["FileDigests", "Reading"]

_NAME, _WHAT = "[internal] load build context", "transferring context:"
#: How often (seconds) it is told how far it is.
_TELL_EVERY_S = 0.1
#: So many more bytes make the vertex begin again.
_MUCH = 1 << 20
#: A file younger than this (nanoseconds) when it was hashed may change again within the clock's tick.
_YOUNG_NS = 2_000_000_000
#: A file that was written less than this (nanoseconds) before the build, or since, may have changed after it
#: was read and have the same time: it is read again.
_TICK_NS = 20_000_000
#: So many new digests are kept at most before the database takes them.
_MANY = 10_000
#: So many of files that are too young for it stay in memory, until a key is made of them.
_KEPT = 1 << 16
#: So much (bytes) is read of small files before it is counted.
_TOLD_BYTES = 1 << 16


class Reading:
    """Counts bytes. A `with` is for one who knows when the reading ends."""

    def __init__(self, events: EventSink, number: int) -> None:
        self._events, self._number = events, number
        self._vertex: Vertex | None = None
        self._lock = threading.Lock()
        self._bytes, self._readers, self._told = 0, 0, 0.0
        self._untold = _MUCH  # so that the first is told, however small

    def __enter__(self) -> Self:
        with self._lock:
            self._readers += 1
        self.read(0)
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._readers -= 1
        self.rest()

    def read(self, count: int) -> None:
        """So many bytes were read."""
        with self._lock:
            self._bytes += count
            self._untold += count
            now = time.monotonic()
            if self._vertex is None:
                if self._untold < _MUCH:
                    return
                self._vertex, self._told = Vertex(self._events, self._number, _NAME), now
                self._vertex.__enter__()
            elif now - self._told >= _TELL_EVERY_S:
                self._told = now
                self._events(Progress(step=self._number, id=_WHAT, current=self._bytes))

    def rest(self) -> None:
        """Nothing is read for now, unless another reads."""
        with self._lock:
            if self._vertex is not None and not self._readers:
                self._vertex.did(_WHAT, self._bytes)
                self._vertex.__exit__(None, None, None)
                self._vertex, self._untold = None, 0


class FileDigests:
    """sha256 of entries' contents, remembered for files of this machine that have not changed."""

    def __init__(self, cache: CacheDB, now_ns: int, reading: Reading | None = None) -> None:
        """Prepare.

        Args:
            cache: where digests are remembered.
            now_ns: when the build began.
            reading: counts what is read.
        """
        self._cache, self._old_ns, self._began_ns = cache, now_ns - _YOUNG_NS, now_ns - _TICK_NS
        self._reading = reading or Reading(nobody, 0)
        #: What the database will have, and what it will not, for it may change again.
        self._fresh: dict[FileStamp, str] = {}
        self._young: dict[FileStamp, str] = {}
        self._untold = 0
        self._lock = threading.Lock()

    def __call__(self, e: Entry) -> str:
        """The digest of a file's content as hex."""
        self.fill((e,))
        return e.digest

    def fill(self, files: Iterable[Entry]) -> None:
        """Fill in the digests of files; those of many are looked up at once, and each is hashed once."""
        unknown: dict[FileStamp, list[Entry]] = {}
        for e in files:
            stamp = e.content.stamp if isinstance(e.content, LocalContent) else None
            if stamp is not None:
                e.digest = e.digest or self._fresh.get(stamp) or self._young.get(stamp, "")
                if not e.digest:
                    unknown.setdefault(stamp, []).append(e)
            elif not e.digest:
                e.digest = _hash(e)
        known = self._cache.file_digests(unknown)
        if len(known) < len(unknown):
            with self._reading:
                for stamp, names in unknown.items():
                    if stamp not in known:
                        known[stamp] = _hash(names[0], self._reading.read)
                        self._remember(stamp, known[stamp])
        for stamp, names in unknown.items():
            for e in names:
                e.digest = known[stamp]

    def learn(self, e: Entry) -> None:
        """Take the digest of an entry whose bytes were read anyway, so that they are not read again."""
        if not isinstance(e.content, LocalContent) or not e.digest:
            return
        stamp = e.content.stamp
        if (
            not self._remember(stamp, e.digest)
            and stamp.mtime_ns < self._began_ns
            and stamp.ctime_ns < self._began_ns
            and len(self._young) < _KEPT
        ):
            self._young[stamp] = e.digest
        self._untold += e.size
        if self._untold >= _TOLD_BYTES:
            self._tell()

    def learnt(self) -> None:
        """No more is learnt for now."""
        self._tell()
        self._reading.rest()

    def _tell(self) -> None:
        untold, self._untold = self._untold, 0
        self._reading.read(untold)

    def _remember(self, stamp: FileStamp, digest: str) -> bool:
        """Have the database know a file's digest; False for a file that is too young."""
        if stamp.mtime_ns >= self._old_ns or stamp.ctime_ns >= self._old_ns:
            return False
        with self._lock:
            self._fresh[stamp] = digest
            many = len(self._fresh) >= _MANY
        if many:
            self.flush()
        return True

    def flush(self) -> None:
        """Remember what was hashed."""
        with self._lock:
            fresh, self._fresh = self._fresh, {}
        if fresh:
            self._cache.put_file_digests(fresh.items())


def _hash(e: Entry, read: Callable[[int], None] = lambda _count: None) -> str:
    hasher = hashlib.sha256()
    left = e.size
    if e.content is not None and left:
        with e.content.open() as f:
            while left:
                data = f.read(min(left, 1 << 20))
                if not data:
                    raise ContextError(f"/{e.path}: became shorter while it was read")
                hasher.update(data)
                read(len(data))
                left -= len(data)
    return hasher.hexdigest()
