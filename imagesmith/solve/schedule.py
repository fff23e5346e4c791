"""Work through what needs one another's results: on few threads, and however long the chains are.

Why: a stage may have thousands of steps and a file thousands of stages. A call for each would end the
interpreter's stack, a thread for each the machine's. So a task that lacks something says what, and is tried
again when that is done. The caller's thread works, too: a build that is one chain starts no other.
Threads: `run` is called once, from one thread; it returns when every thread that it started has ended. Only
where something failed, one that hangs in a system call is left to itself after some seconds.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from imagesmith.concurrency import Cancel
from imagesmith.errors import Cancelled

__all__ = ["Schedule"]

T = TypeVar("T", bound=Hashable)

#: How long (seconds) the others may take to end after a failure; each looks at the token once a piece.
_PATIENCE_S = 5.0
#: So many tasks are worked on at the same time at most. Most of them wait for a network or a process.
_THREADS = 64


class Schedule(Generic[T]):
    """Brings some tasks about, with all that they need; each is done once."""

    def __init__(self, attempt: Callable[[T], Sequence[T]], cancel: Cancel, threads: int = 0) -> None:
        """Prepare.

        Args:
            attempt: does a task, or returns the tasks that have to be done before it is tried again. It
                depends on nothing else, and the last of them goes on on the same thread.
            cancel: set when a task fails, so that the others end.
            threads: how many tasks are worked on at a time, the caller's among them; 0 for as many as there
                may be.
        """
        self._most = min(threads, _THREADS) or _THREADS
        self._attempt, self._cancel = attempt, cancel
        self._changed = threading.Condition()
        self._goals: set[T] = set()
        self._ready: list[T] = []
        self._lacking: dict[T, int] = {}
        self._waiting: dict[T, list[T]] = {}
        self._done: set[T] = set()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._over = False
        self._failure: BaseException | None = None

    def run(self, goals: Sequence[T]) -> None:
        """Do some tasks and what they need.

        Raises:
            BaseException: of the task that failed first. Those that were stopped for it do not hide it.
        """
        self._goals = set(goals)
        for goal in reversed(dict.fromkeys(goals)):  # the first is begun first
            self._lacking[goal] = 0
            self._ready.append(goal)
        try:
            self._work()
        except BaseException as e:  # an interrupt between two tasks
            self._end(e)
        deadline = time.monotonic() + _PATIENCE_S
        for thread in self._threads:
            thread.join(None if self._failure is None else max(0.0, deadline - time.monotonic()))
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        """Do what is ready until all is done; the work of each thread."""
        task = self._next()
        while task is not None:
            try:
                lacking = self._attempt(task)
            except BaseException as e:  # raised again by the thread that called `run`
                self._end(e)
                return
            with self._changed:
                self._tried(task, lacking)
            task = self._next()

    def _next(self) -> T | None:
        """Take a task, and leave the others to other threads; None when there will be no more."""
        with self._changed:
            self._call()
            while not self._ready and not self._over:
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
            return None if self._over else self._ready.pop()

    def _tried(self, task: T, lacking: Sequence[T]) -> None:
        """Note what a task still lacks; if it is nothing, those that waited for it may go on."""
        missing = [t for t in dict.fromkeys(lacking) if t not in self._done]
        self._lacking[task] = len(missing)
        for needed in missing:
            self._waiting.setdefault(needed, []).append(task)
            if needed not in self._lacking:
                self._lacking[needed] = 0
                self._ready.append(needed)
        if missing:
            return
        if lacking:  # others have done it meanwhile
            self._ready.append(task)
            return
        self._done.add(task)
        self._goals.discard(task)
        if not self._goals:
            self._stop()
        for waiting in self._waiting.pop(task, ()):
            self._lacking[waiting] -= 1
            if not self._lacking[waiting]:
                self._ready.append(waiting)

    def _call(self) -> None:
        """Have threads for what is ready, but for the task that the caller takes itself."""
        more = len(self._ready) - 1
        if more <= 0 or self._over:
            return
        self._changed.notify(more)
        for _ in range(min(more - self._idle, self._most - 1 - len(self._threads))):
            thread = threading.Thread(target=self._work, name="step", daemon=True)
            with contextlib.suppress(RuntimeError):  # no more threads: then with those that there are
                thread.start()
                self._threads.append(thread)

    def _stop(self) -> None:
        self._over = True
        self._changed.notify_all()

    def _end(self, error: BaseException) -> None:
        """Nothing more is begun because of an error."""
        with self._changed:
            if self._failure is None or (
                isinstance(self._failure, Cancelled) and not isinstance(error, Cancelled)
            ):
                self._failure = error
            self._stop()
        self._cancel.set_if_failed(error)
