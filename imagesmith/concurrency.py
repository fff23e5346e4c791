"""Stopping what runs, and waiting for what another thread makes.

Why: threads cannot be interrupted from outside. A build's first failure, or the user, sets the token; loops
that read, write or wait check it once a chunk.
A Promise is what concurrent.futures has as Future, without the modules that come with that (10 ms).
Threads: all methods may be called from any.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from imagesmith.errors import Cancelled

__all__ = ["Background", "Cancel", "Once", "Promise"]

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Cancel:
    """A request to stop."""

    def __init__(self) -> None:
        self._event = threading.Event()

    @property
    def is_set(self) -> bool:
        """True once somebody asked to stop."""
        return self._event.is_set()

    def set(self) -> None:
        """Ask to stop."""
        self._event.set()

    def set_if_failed(self, error: BaseException) -> None:
        """Stop the others because of an error, unless it is itself the stop."""
        if not isinstance(error, Cancelled):
            self.set()

    def check(self) -> None:
        """Raise Cancelled if somebody asked to stop."""
        if self._event.is_set():
            raise Cancelled("stopped")


class Promise(Generic[T]):
    """A value, or a failure, that a thread will bring; set once."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._value: T | None = None
        self._failure: BaseException | None = None

    def bring(self, value: T) -> None:
        """Give the value to all who wait."""
        self._value = value
        self._done.set()

    def fail(self, error: BaseException) -> None:
        """Raise an error in all who wait."""
        self._failure = error
        self._done.set()

    def result(self) -> T:
        """Wait for the value.

        Raises:
            BaseException: the failure.
        """
        self._done.wait()
        if self._failure is not None:
            raise self._failure
        return self._value  # type: ignore[return-value]  # brought, for there is no failure


class Once(Generic[K, T]):
    """Values by key, each made once: by the first who asks, for whom only those of the same key wait.

    Why: a lock over all of them would let one download wait for another.
    """

    def __init__(self) -> None:
        self._promises: dict[K, Promise[T]] = {}
        self._lock = threading.Lock()

    def get(self, key: K, make: Callable[[], T]) -> T:
        """The value of a key.

        Raises:
            BaseException: it could not be made; all who wait are told, and the next one tries again.
        """
        with self._lock:
            found = self._promises.get(key)
            if found is None:
                mine = self._promises[key] = Promise()
        if found is not None:
            return found.result()
        try:
            mine.bring(make())
        except BaseException as e:  # the promise carries it to whoever waits
            with self._lock:
                del self._promises[key]
            mine.fail(e)
        return mine.result()


class Background:
    """Work on a thread of its own; whoever began it waits for it, and is told what it raised."""

    def __init__(self, work: Callable[[], None], name: str) -> None:
        """Begin."""
        self._work, self._failure = work, list[BaseException]()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as e:  # raised again by who waits
            self._failure.append(e)

    def join(self) -> None:
        """Wait for its end.

        Raises:
            BaseException: what it raised.
        """
        self._thread.join()
        if self._failure:
            raise self._failure.pop()
