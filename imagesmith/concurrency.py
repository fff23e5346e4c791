"""Stopping what runs: one token that every long loop looks at.

Why: threads cannot be interrupted from outside. A build's first failure, or the user, sets the token; loops
that read, write or wait check it once a chunk, and children are told through its callbacks.
Threads: all methods may be called from any.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from imagesmith.errors import Cancelled

__all__ = ["Cancel"]


class Cancel:
    """A request to stop."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []

    @property
    def is_set(self) -> bool:
        """True once somebody asked to stop."""
        return self._event.is_set()

    def set(self) -> None:
        """Ask to stop, and call whoever registered, once each."""
        with self._lock:
            first = not self._event.is_set()
            self._event.set()
            callbacks = list(self._callbacks) if first else []
        for callback in callbacks:
            callback()

    def set_if_failed(self, error: BaseException) -> None:
        """Stop the others because of an error, unless it is itself the stop."""
        if not isinstance(error, Cancelled):
            self.set()

    def check(self) -> None:
        """Raise Cancelled if somebody asked to stop."""
        if self._event.is_set():
            raise Cancelled("stopped")

    def on_set(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` when the token is set (now, if it is); return a function that takes it back."""
        with self._lock:
            now = self._event.is_set()
            if not now:
                self._callbacks.append(callback)
        if now:
            callback()

        def forget() -> None:
            with self._lock:
                if callback in self._callbacks:
                    self._callbacks.remove(callback)

        return forget
