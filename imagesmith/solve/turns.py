"""Different steps that come to one key: they are worked on in turn, and may have one another's layer.

Threads: any.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from imagesmith.solve.key import StepKeys, key_of

__all__ = ["Turns"]


class Turns:
    """A turn for each step of a key."""

    def __init__(self) -> None:
        self._making: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def of(self, keys: StepKeys | None) -> Iterator[bool]:
        """Let one step of a key be worked on; True if another one was, whose layer may be taken."""
        if keys is None or keys.parts is None:
            yield False
            return
        with self._lock:
            lock = self._making.setdefault(key_of(keys.parts), threading.Lock())
        waited = not lock.acquire(blocking=False)
        if waited:
            lock.acquire()
        try:
            yield waited
        finally:
            lock.release()
