"""Events on the screen: a live picture on a terminal, plain lines elsewhere, JSON lines, or nothing.

Why: what all of them share is here: names, the last lines of each step, and how a step's bytes become lines.
Trust: names, words and logs are others'. Control characters are taken out of all that is shown, and in a CI's
log no line of theirs is a command to the program that runs the job.
Threads: a front is called from any thread and locks itself.
"""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING, TextIO

from imagesmith import events as ev
from imagesmith.cli.lines import clean, harmless, one_line
from imagesmith.errors import ImagesmithError

if TYPE_CHECKING:
    from imagesmith.request import BuildRequest

__all__ = ["Front", "warning_line"]

#: A line longer than this (bytes) is cut, for a step may write for ever without ending one.
_LONGEST = 64 << 10


def warning_line(event: ev.Warned) -> str:
    """A warning as a line."""
    rule = f"{one_line(event.rule)}: " if event.rule else ""
    line = f" (line {event.line})" if event.line else ""
    return f"{rule}{one_line(event.text)}{line}"


class Front:
    """Shows nothing; the base of the others. `tails` keeps each step's last lines."""

    #: What is being done, as the picture's first line says it.
    title = "Building"
    #: What is built, if anything is.
    request: BuildRequest | None = None

    def __init__(self, out: TextIO) -> None:
        self.out = out
        self.lock = threading.Lock()
        self.names: dict[int, str] = {}
        self.tails: dict[int, list[tuple[float, str]]] = {}  # seconds since the step began, and a line
        self.failed: int | None = None
        self._starts: dict[int, float] = {}
        self._partial: dict[tuple[int, int], bytes] = {}
        self._closed = threading.Event()
        self._later: list[ev.Event] | None = None  # what happens while another has the screen
        self._ticker: threading.Thread | None = None

    def __call__(self, event: ev.Event, /) -> None:
        """Take one event."""
        with self.lock:
            if self._closed.is_set():  # of a thread that hangs while the program ends
                return
            if self._later is not None:
                if not isinstance(event, ev.Progress) or event.done:
                    self._later.append(event)
                return
            if isinstance(event, ev.StepStarted | ev.StepCached | ev.StepFailedEvent):
                self.names[event.step] = event.name
            if isinstance(event, ev.StepStarted):
                self._starts[event.step] = event.at_s
            if isinstance(event, ev.StepFailedEvent) and self.failed is None and not event.stopped:
                self.failed = event.step
            if isinstance(event, ev.Log):
                self.raw(event)
                for line in self._lines(event):
                    self._line(event.step, event.stream, line, event.at_s)
            else:
                if isinstance(event, ev.StepDone | ev.StepFailedEvent):
                    self._flush(event.step, event.at_s)
                self.show(event)
                if isinstance(event, ev.StepDone):
                    self.tails.pop(event.step, None)

    # --- a step's output -------------------------------------------------------------------------

    def _lines(self, event: ev.Log) -> list[bytes]:
        key = (event.step, event.stream)
        *whole, rest = (self._partial.get(key, b"") + event.data).split(b"\n")
        if len(rest) > _LONGEST:
            whole.append(rest)
            rest = b""
        standing = rest.rstrip(b"\r")
        self._partial[key] = _latest(standing) + rest[len(standing) :]  # a bar's earlier states are gone
        return whole

    def _flush(self, step: int, at_s: float) -> None:
        for stream in (1, 2):
            rest = self._partial.pop((step, stream), b"")
            if rest:
                self._line(step, stream, rest, at_s)

    def _line(self, step: int, stream: int, line: bytes, at_s: float) -> None:
        text = self.text(step, stream, _decoded(line))
        tail = self.tails.setdefault(step, [])
        tail.append((at_s - self._starts.get(step, at_s), text))
        del tail[:-10]
        self.log(step, text, at_s)

    def unfinished(self, step: int) -> list[str]:
        """What the step has written of lines that have no end yet: a bar, or a question."""
        rests = [clean(_decoded(self._partial.get((step, stream), b""))) for stream in (1, 2)]
        return [text for text in rests if text]

    def text(self, _step: int, _stream: int, line: str) -> str:
        """A line of a step's output as it is shown."""
        return clean(line)

    # --- what the others do ----------------------------------------------------------------------

    def raw(self, event: ev.Log) -> None:
        """Show a piece of a step's output as it came, before it is cut into lines."""

    def log(self, step: int, line: str, at_s: float) -> None:
        """Show a line of a step's output."""

    def show(self, event: ev.Event) -> None:
        """Show any other event."""

    def tick(self) -> None:
        """Do what is due by the clock."""

    def end(self) -> None:
        """Show what is left to be shown at the end."""

    def make_way(self) -> None:
        """Take away what moves."""

    def pause(self) -> None:
        """Leave the screen to another; what happens is shown after `resume`."""
        with self.lock:
            self.make_way()
            self._later = []

    def resume(self) -> None:
        """Go on."""
        with self.lock:
            held, self._later = self._later or [], None
        for event in held:
            self(event)

    def close(self) -> None:
        """End; nothing that happens is shown after it."""
        with self.lock:
            if not self._closed.is_set():
                self._closed.set()
                self.end()

    def failure(self) -> None:
        """Show again what the failed step printed last, each line with its time, as BuildKit does."""
        if self.failed is None:
            return
        lines = [f"{seconds:.3f} {line}" for seconds, line in self.tails.get(self.failed, [])]
        if lines:
            self.say("------", f" > {one_line(self.names.get(self.failed, ''))}:", *lines, "------")

    def remark(self, kind: str, text: str, file: str, line: int, last: int = 0, title: str = "") -> bool:
        """Have GitHub show an error or a warning beside a line of the Dockerfile; False in others' logs."""
        if not line or not os.environ.get("GITHUB_ACTIONS"):
            return False
        from imagesmith.cli.runners import path_of, remark

        path = path_of(self.request, file) if self.request is not None else ""
        self.write(remark(kind, text, file=path, line=line, last=last, title=title))
        return True

    def blame(self, error: ImagesmithError) -> None:
        """The same for what ended a build."""
        self.remark("error", error.message, error.file, error.first, error.last, "build failed")

    def result(self, *lines: str) -> None:
        """Say what came out, after the end."""

    # --- for all of them -------------------------------------------------------------------------

    def say(self, *lines: str) -> None:
        """Write lines."""
        self.write("".join(f"{harmless(line)}\n" for line in lines))

    def write(self, text: str) -> None:
        """Write, and survive a reader that went away."""
        try:
            self.out.write(text)
            self.out.flush()
        except OSError as e:
            if e.errno not in (errno.EPIPE, errno.EIO):
                raise
            self.out = open(os.devnull, "w")  # the reader is gone; the build goes on

    def keep_time(self, every_s: float) -> None:
        """Have `tick` called from now on."""
        if self._ticker is None:

            def run() -> None:
                while not self._closed.wait(every_s):
                    with self.lock:
                        if not self._closed.is_set() and self._later is None:
                            self.tick()

            self._ticker = threading.Thread(target=run, name="screen", daemon=True)
            self._ticker.start()


def _latest(line: bytes) -> bytes:
    """What stands on a line that a program has written anew from its beginning."""
    return line.rpartition(b"\r")[2]


def _decoded(line: bytes) -> str:
    text = _latest(line.rstrip(b"\r")).decode("utf-8", "replace")
    if "\b" not in text:
        return text
    left: list[str] = []
    for char in text:  # a spinner steps back over what it wrote
        if char != "\b":
            left.append(char)
        elif left:
            left.pop()
    return "".join(left)
