"""A blob that is read while it arrives: its download and its decompression take the time of the longer one.

Why by the file: what has arrived is read from the disk's cache, so that neither side waits for the other
longer than it must, and nothing is kept in memory.
Trust: what is read is not verified before its end; whoever reads keeps nothing before `settle` has returned.
Threads: one writes, one reads, and one more fetches.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from imagesmith.concurrency import Background

__all__ = ["Arriving"]


#: The reader is woken for so many bytes, and for the last ones.
_STEP = 1 << 18


class Arriving(io.RawIOBase):
    """The bytes of a blob from its first one on, as they come; a file, to be closed."""

    def __init__(self, fetch: Callable[[], None], whole: Callable[[], BinaryIO]) -> None:
        """Prepare; `fetch` brings the blob into the store, and `whole` opens it there."""
        super().__init__()
        self._fetch, self._open_whole = fetch, whole
        self._file: BinaryIO | None = None
        self._at = self._size = 0
        self._over = False
        self._changed = threading.Condition()
        self._thread: Background | None = None

    def start(self) -> None:
        """Begin to fetch."""
        self._thread = Background(self._bring, "arriving")

    def _bring(self) -> None:
        try:
            self._fetch()
        finally:
            with self._changed:
                self._over = True
                self._changed.notify_all()

    # --- who writes ----------------------------------------------------------------------------

    def begun(self, path: Path) -> bool:
        """A file was begun; False if there is another one, which goes on being read."""
        with self._changed:
            if self._file is not None or self.closed:
                return False
            self._file = path.open("rb", buffering=0)
            return True

    def grew(self, size: int) -> None:
        """So many bytes are in the file; the reader is told some pieces at a time."""
        if size - self._size >= _STEP:
            with self._changed:
                self._size = size
                self._changed.notify_all()

    # --- who reads -----------------------------------------------------------------------------

    def readable(self) -> bool:
        """See io."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        """See io; waits for some bytes.

        Raises:
            BaseException: the blob could not be fetched.
        """
        with self._changed:
            while self._at >= self._size and not self._over:
                self._changed.wait()
            if self._over:
                self._finish()
            file = self._file
        assert file is not None
        count = os.preadv(file.fileno(), [buffer], self._at)
        self._at += count
        return count

    def _finish(self) -> None:
        """Go on with the blob as it is in the store."""
        if self._thread is not None:
            self.settle()
            if self._file is not None:
                self._file.close()
            self._file = self._open_whole()

    def settle(self) -> None:
        """Wait until the blob is in the store.

        Raises:
            BaseException: it could not be fetched.
        """
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def close(self) -> None:
        """See io; the blob goes on arriving."""
        super().close()
        with self._changed, contextlib.suppress(OSError):
            if self._file is not None:
                self._file.close()
