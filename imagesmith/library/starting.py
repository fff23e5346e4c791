"""Calls in a thread of their own, whose events are an iterator.

Why: a program that shows progress wants a loop, and not a function that is called from other threads.
Threads: a handle is for one thread; the call that it began has its own.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, Generic, ParamSpec, Self, TypeVar

from imagesmith.errors import Cancelled
from imagesmith.events import Event
from imagesmith.library.documented import documented

__all__ = ["Running", "start"]

P = ParamSpec("P")
T = TypeVar("T")


class Running(Generic[T]):
    """A call that was begun: iterate for its events, ask for its result; see `start`.

    As a `with` it is stopped at the end, if it is not done.
    """

    def __init__(self, name: str, call: Callable[[Callable[[Event], None]], T]) -> None:
        """Begin a call; it is given who is told."""
        self._name, self._call = name, call
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._found: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name=f"imagesmith {name}", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            self._found.append(self._call(self._tell))
        except BaseException as e:  # whoever asks for the result gets it
            self._error = Cancelled("stopped") if self._stopped.is_set() else e
        finally:
            self._events.put(None)

    def _tell(self, event: Event, /) -> None:
        if self._stopped.is_set():
            raise Cancelled("stopped")
        self._events.put(event)

    def __iter__(self) -> Iterator[Event]:
        """What happens, until the call is done; events that were given are not given again."""
        while (event := self._events.get()) is not None:
            yield event
        self._events.put(None)  # for whoever iterates once more

    @property
    def done(self) -> bool:
        """True if the call has ended."""
        return not self._thread.is_alive()

    def result(self) -> T:
        """What the call returns, once it has.

        Raises:
            ImagesmithError: what the call raises.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._found[0]

    def stop(self) -> None:
        """End the call, and wait until it has; `result` raises Cancelled then.

        What is done in a child ends at once, a transfer at what it tells next.
        """
        from imagesmith.child import end_child

        self._stopped.set()
        if self._thread.ident is not None:
            end_child(self._thread.ident)
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        how = "running" if not self.done else "failed" if self._error is not None else "done"
        return f"Running({self._name}, {how})"


@documented
def start(function: Callable[P, T], *args: P.args, **words: P.kwargs) -> Running[T]:
    """Begin a call in a thread of its own; iterate over the handle for what happens.

    Args:
        function: a function of imagesmith that takes `events`, as `imagesmith.build`.
        args: its arguments.
        words: its arguments by name, without `events`.

    Returns:
        A handle: an iterator of events, with `result()`, `done` and `stop()`. In a `with`, the call is
        stopped at the end, if it is not done.

    Raises:
        TypeError: `events` is given.

    Example:
        >>> running = imagesmith.start(imagesmith.build, "app", tags=["app:3"])
        >>> names = [event.name for event in running if isinstance(event, imagesmith.events.StepStarted)]
        >>> running.result()
        BuildResult(app:3, sha256:...…, linux/amd64)
    """
    if "events" in words:
        raise TypeError("start: events are iterated over")
    given: dict[str, Any] = dict(words)
    return Running(function.__name__, lambda tell: function(*args, **{**given, "events": tell}))
