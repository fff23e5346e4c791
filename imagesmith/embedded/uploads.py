"""Upload sessions: bytes are hashed while they are written, and kept when the connection breaks.

Why: a client that was cut off asks for the offset and goes on; nothing is read twice. A session lives in
memory with its file in `uploads`; after a restart the client begins anew, as the specification allows.
Trust: the bytes are a stranger's until `finish` has seen the promised digest. Idle sessions are dropped.
Threads: `_lock` guards the table; a session's own lock is held by the request that feeds it. A request that
finds it held breaks off the other connection: that client has given up and come back.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from imagesmith.embedded.storage import Storage
from imagesmith.embedded.wire import CHUNK, Request
from imagesmith.oci.digest import Digest

__all__ = ["Upload", "Uploads"]


class Upload:
    """One session. `size` is the number of bytes that have arrived."""

    def __init__(self, name: str, path: Path, algorithm: str) -> None:
        self.name, self.path, self.size = name, path, 0
        self.key = path.name
        self.used = time.monotonic()
        self.lock = threading.Lock()
        self.feeder: socket.socket | None = None
        self.closed = False
        self._algorithm = algorithm
        self._hash = hashlib.new(algorithm)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)

    def receive(self, request: Request) -> None:
        """Append a request's body.

        Raises:
            Gone: the connection broke; what arrived until then stays.
            OSError: the disk is full.
        """
        view = memoryview(bytearray(CHUNK if request.body.length is None else _buffer(request.body.length)))
        while got := request.body.readinto(view):
            self.append(view[:got])

    def append(self, piece: memoryview) -> None:
        """Write bytes at the end and hash them."""
        while piece:
            written = os.pwrite(self._fd, piece, self.size)
            self._hash.update(piece[:written])
            self.size += written
            piece = piece[written:]

    def mark(self) -> tuple[int, hashlib._Hash]:
        """The present state, for `rewind`."""
        return self.size, self._hash.copy()

    def rewind(self, mark: tuple[int, hashlib._Hash]) -> None:
        """Go back to a marked state."""
        self.size, self._hash = mark
        os.ftruncate(self._fd, self.size)

    def has(self, digest: Digest) -> bool:
        """Whether the bytes that arrived have this digest."""
        if digest.algorithm == self._algorithm:
            return self._hash.hexdigest() == digest.hex
        fresh, offset = hashlib.new(digest.algorithm), 0
        while piece := os.pread(self._fd, CHUNK, offset):
            fresh.update(piece)
            offset += len(piece)
        return fresh.hexdigest() == digest.hex

    def sync(self) -> None:
        """Bring the bytes to the disk."""
        os.fsync(self._fd)

    def close(self) -> None:
        """Forget the session's file, unless it was adopted."""
        if not self.closed:
            self.closed = True
            os.close(self._fd)
            self.path.unlink(missing_ok=True)


class Uploads:
    """The open sessions of a registry; each has a descriptor, so there are at most `most`."""

    def __init__(
        self, storage: Storage, *, idle_s: float = 3600.0, busy_s: float = 1.0, most: int = 400
    ) -> None:
        self._storage, self._idle_s, self._busy_s, self._most = storage, idle_s, busy_s, most
        self._table: dict[str, Upload] = {}
        self._lock = threading.Lock()

    def begin(self, name: str, algorithm: str = "sha256") -> Upload:
        """Open a session for a repository."""
        self._sweep()
        upload = Upload(name, self._storage.uploads / secrets.token_hex(16), algorithm)
        with self._lock:
            self._table[upload.key] = upload
        return upload

    @contextlib.contextmanager
    def hold(self, name: str, key: str, request: Request) -> Iterator[Upload | None]:
        """A session for one request, None where there is none; a request that holds it is broken off."""
        with self._lock:
            upload = self._table.get(key)
        if upload is None or upload.name != name:
            yield None
            return
        if not upload.lock.acquire(timeout=self._busy_s):
            feeder = upload.feeder
            if feeder is not None:
                with contextlib.suppress(OSError):
                    feeder.shutdown(socket.SHUT_RDWR)
            upload.lock.acquire()
        try:
            upload.feeder = request.socket
            yield None if upload.closed else upload
        finally:
            upload.feeder, upload.used = None, time.monotonic()
            upload.lock.release()

    def finish(self, upload: Upload, digest: Digest) -> None:
        """Turn a session whose bytes have the digest into a blob of its repository."""
        upload.sync()
        self._storage.adopt(upload.path, digest)
        self._storage.link_blob(upload.name, digest)
        self.drop(upload)

    def drop(self, upload: Upload) -> None:
        """End a session."""
        with self._lock:
            self._table.pop(upload.key, None)
        upload.close()

    def close(self) -> None:
        """End all sessions."""
        with self._lock:
            left = list(self._table.values())
        for upload in left:
            self.drop(upload)

    def _sweep(self) -> None:
        """Drop sessions that nobody has fed for long; of too many, those that were not for the longest."""
        now = time.monotonic()
        with self._lock:
            oldest = sorted(self._table.values(), key=lambda u: u.used)
        spare = len(oldest) - self._most
        for upload in (u for n, u in enumerate(oldest) if n <= spare or now - u.used > self._idle_s):
            if upload.lock.acquire(blocking=False):
                try:
                    self.drop(upload)
                finally:
                    upload.lock.release()


def _buffer(length: int) -> int:
    return max(1, min(length, CHUNK))
