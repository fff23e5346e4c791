"""What a build, a push or a pull tells while it works: frozen values, and the one road to the screen.

Why: nothing below the command line prints. A front (terminal, plain lines, JSON, the library's caller) is
an EventSink; it may be called from any thread and must not block for long.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from typing import Protocol, Self

from imagesmith.errors import Cancelled, ImagesmithError
from imagesmith.values import field, frozen, replace

__all__ = [
    "Event",
    "EventSink",
    "Log",
    "Message",
    "Planned",
    "Progress",
    "StepCached",
    "StepDone",
    "StepFailedEvent",
    "StepStarted",
    "Vertex",
    "Warned",
    "nobody",
    "part_of",
    "titled",
    "with_title",
    "without_controls",
]

#: Those of ASCII and Latin-1, and those by which a text turns the order of what stands beside it.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
#: Sequences of ECMA-48: of the window's title and its like, CSI, choices of a character set, and short ones.
_ANSI = re.compile(
    r"\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[ -/]+[0-~]|\x1b[0-~]"
)


def without_controls(text: str) -> str:
    """Text without escape sequences and control characters; tabs and ends of lines stay."""
    return _CONTROL.sub("", _ANSI.sub("", text))


@frozen(kw_only=True)
class Event:
    """Something happened; `at_s` is the wall clock in seconds."""

    at_s: float = field(default_factory=time.time)


@frozen(kw_only=True)
class Planned(Event):
    """The names of all steps that StepCached or StepStarted will tell of; others may come between them."""

    names: tuple[str, ...]


@frozen(kw_only=True)
class StepStarted(Event):
    """A vertex began. `step` is its number, unique in the build, `name` what is read: `[2/3] RUN x`.

    One that has ended may begin again, as the reading of a context does.
    """

    step: int
    name: str


@frozen(kw_only=True)
class StepDone(Event):
    """A vertex ended well after `seconds`."""

    step: int
    seconds: float


@frozen(kw_only=True)
class StepCached(Event):
    """A vertex was answered from the cache; it may come without a StepStarted before it."""

    step: int
    name: str


@frozen(kw_only=True)
class StepFailedEvent(Event):
    """A vertex failed; `error` is the line that says why. `stopped` if it ended for another's failure."""

    step: int
    name: str
    error: str
    stopped: bool = False

    @classmethod
    def of(cls, step: int, name: str, error: ImagesmithError) -> Self:
        """What an error made of a vertex."""
        return cls(step=step, name=name, error=error.message, stopped=isinstance(error, Cancelled))


@frozen(kw_only=True)
class Log(Event):
    """Output of a step: `stream` 1 or 2, `data` raw bytes, cut anywhere."""

    step: int
    stream: int
    data: bytes


@frozen(kw_only=True)
class Progress(Event):
    """A transfer or a part of a step: `current` of `total` bytes (0 = not known), `done` when it ended.

    `id` is the digest of a blob, perhaps with a word behind it on how it came there, or says what is done.
    """

    step: int
    id: str
    current: int = 0
    total: int = 0
    done: bool = False


@frozen(kw_only=True)
class Warned(Event):
    """A lint warning or another one that is worth a line: `rule` may be empty, `line` 0 where none."""

    rule: str
    text: str
    line: int = 0
    url: str = ""
    file: str = ""


@frozen(kw_only=True)
class Message(Event):
    """A plain line for the user; `step` is the vertex that it is about, 0 where it belongs to none."""

    text: str
    step: int = 0


class EventSink(Protocol):
    """Takes events; called from any thread."""

    def __call__(self, event: Event, /) -> None:
        """Take one event."""


def nobody(_event: Event, /) -> None:
    """The sink that drops everything."""


def titled(events: EventSink, title: str) -> EventSink:
    """A sink for one of several builds: the vertices that it tells of get the build's title.

    Spec: buildx's progress.WithPrefix.

    `[internal] load x` becomes `[TITLE internal] load x`, and `exporting` `[TITLE] exporting`.
    """
    if not title:
        return events

    def tell(event: Event, /) -> None:
        if isinstance(event, StepStarted | StepCached | StepFailedEvent):
            event = replace(event, name=with_title(title, event.name))
        events(event)

    return tell


def with_title(title: str, name: str) -> str:
    """The name of a vertex with the title of its build; see `titled`."""
    if not title:
        return name
    return f"[{title} {name[1:]}" if name.startswith("[") else f"[{title}] {name}"


class Vertex:
    """What is told of a piece of work that lasts as long as a `with`."""

    def __init__(self, events: EventSink, number: int, name: str) -> None:
        self.number = number
        self._events, self._name, self._began = events, name, 0.0

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._events(StepStarted(step=self.number, name=self._name))
        return self

    def __exit__(self, _kind: object, e: BaseException | None, _trace: object) -> None:
        if e is None:
            self._events(StepDone(step=self.number, seconds=time.monotonic() - self._began))
        elif isinstance(e, ImagesmithError):
            self._events(StepFailedEvent.of(self.number, self._name, e))

    def did(self, what: str, size: int = 0) -> None:
        """Tell a part that is done, of so many bytes."""
        self._events(Progress(step=self.number, id=what, current=size, done=True))

    def part(self, what: str) -> contextlib.AbstractContextManager[None]:
        """A part that lasts as long as a `with`."""
        return part_of(self._events, self.number, what)


@contextlib.contextmanager
def part_of(events: EventSink, step: int, what: str) -> Iterator[None]:
    """A part of a vertex that lasts as long as a `with`; an empty one is not told."""
    if what:
        events(Progress(step=step, id=what))
    yield
    if what:
        events(Progress(step=step, id=what, done=True))
