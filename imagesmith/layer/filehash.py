"""sha256 of files while their bytes go into a tar: of large ones on a thread of its own.

Why: who writes a layer reads its files, and reads nothing else meanwhile; to hash a gigabyte takes as long
as to read it from memory. Small files are not worth a thread's turn.
Threads: a FileHash belongs to one thread, and has one of its own from the first large piece on.
"""

from __future__ import annotations

import hashlib
import queue
import threading

__all__ = ["FileHash"]

#: How many pieces may wait to be hashed.
_AHEAD = 4
#: Pieces that are smaller are hashed at once.
_LARGE_BYTES = 256 << 10


class FileHash:
    """Digests of one file after the other. End it with `close`."""

    def __init__(self) -> None:
        self._hash, self._beside = hashlib.sha256(), False
        self._pieces: queue.Queue[bytes | None] = queue.Queue(_AHEAD)
        self._digests: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def update(self, data: bytes, /) -> None:
        """Append bytes of the file, not none."""
        if not self._beside and len(data) < _LARGE_BYTES:
            self._hash.update(data)
            return
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="file-hash", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the machine gives none
                self._hash.update(data)
                return
            self._thread = thread
        self._beside = True
        self._pieces.put(data)

    def hexdigest(self) -> str:
        """The digest of the file, which ends here; what comes next is another one."""
        if self._beside:
            self._beside = False
            self._pieces.put(b"")
            return self._digests.get()
        digest = self._hash.hexdigest()
        self._hash = hashlib.sha256()
        return digest

    def close(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._pieces.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (data := self._pieces.get()) is not None:
            if data:
                self._hash.update(data)
            else:
                digest, self._hash = self._hash.hexdigest(), hashlib.sha256()
                self._digests.put(digest)
