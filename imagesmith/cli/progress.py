"""Events on the screen: a live picture on a terminal, plain lines elsewhere, JSON lines, or nothing.

Why: the plain form is BuildKit's (`#3 [2/4] RUN make`, `#3 1.204 text`, `#3 DONE 2.1s`), since people and
tools read it. What a step prints may be any bytes: control characters never reach the terminal.
Trust: names, words and logs are others': control characters are taken out of all that is shown.
Threads: a front is called from any thread and locks itself.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

from imagesmith import events as ev
from imagesmith.errors import UsageError

__all__ = ["Front", "Plain", "Terminal", "clean", "make_front"]

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
#: A line longer than this (bytes) is cut, for a step may write for ever without ending one.
_LONGEST = 64 << 10
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[@-_]")


def clean(text: str) -> str:
    """Text without escape sequences and control characters (a tab stays)."""
    return _CONTROL.sub("", _ANSI.sub("", text))


def _size(count: int) -> str:
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f}{unit}" if unit == "B" else f"{value:.2f}{unit}"
        value /= 1000
    return f"{count}B"


class Front:
    """Shows nothing but warnings at the end; the base of the others. `tail` keeps each step's last lines."""

    #: What is being done, as the picture's first line says it.
    title = "Building"

    def __init__(self, out: TextIO) -> None:
        self.out = out
        self.lock = threading.Lock()
        self.names: dict[int, str] = {}
        self.tails: dict[int, list[tuple[float, str]]] = {}  # seconds since the step began, and a line
        self._starts: dict[int, float] = {}
        self._partial: dict[tuple[int, int], bytes] = {}
        self.failed: int | None = None

    def __call__(self, event: ev.Event, /) -> None:
        """Take one event."""
        with self.lock:
            if isinstance(event, ev.StepStarted | ev.StepCached | ev.StepFailedEvent):
                self.names[event.step] = event.name
            if isinstance(event, ev.StepStarted):
                self._starts[event.step] = event.at_s
            if isinstance(event, ev.StepFailedEvent) and self.failed is None:
                self.failed = event.step
            if isinstance(event, ev.Log):
                self.raw(event)
                for line in self._lines(event):
                    self._line(event.step, line, event.at_s)
            else:
                if isinstance(event, ev.StepDone | ev.StepFailedEvent):
                    self._flush(event.step, event.at_s)
                self.show(event)

    def _lines(self, event: ev.Log) -> list[str]:
        key = (event.step, event.stream)
        *whole, rest = (self._partial.get(key, b"") + event.data).split(b"\n")
        if len(rest) > _LONGEST:
            whole.append(rest)
            rest = b""
        self._partial[key] = rest
        return [self._text(line) for line in whole]

    def _text(self, line: bytes) -> str:
        return clean(line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace"))

    def _flush(self, step: int, at_s: float) -> None:
        for stream in (1, 2):
            rest = self._partial.pop((step, stream), b"")
            if rest:
                self._line(step, self._text(rest), at_s)

    def _line(self, step: int, line: str, at_s: float) -> None:
        tail = self.tails.setdefault(step, [])
        tail.append((at_s - self._starts.get(step, at_s), line))
        del tail[:-10]
        self.log(step, line, at_s)

    def raw(self, event: ev.Log) -> None:
        """Show a piece of a step's output as it came, before it is cut into lines."""

    def log(self, step: int, line: str, at_s: float) -> None:
        """Show a line of a step's output."""

    def show(self, event: ev.Event) -> None:
        """Show any other event."""

    def failure(self) -> None:
        """Show again what the failed step printed last.

        With its time, as BuildKit does: a line that began with `::` would be a command to GitHub's runner.
        """
        if self.failed is None:
            return
        lines = [f"{seconds:.3f} {line}" for seconds, line in self.tails.get(self.failed, [])]
        if lines:
            self.say("------", f" > {clean(self.names.get(self.failed, ''))}:", *lines, "------")

    def close(self) -> None:
        """End the picture; nothing is shown after it."""

    def result(self, *lines: str) -> None:
        """Say what came out, after the end."""

    def say(self, *lines: str) -> None:
        """Write lines, and survive a reader that went away."""
        try:
            self.out.write("".join(f"{line}\n" for line in lines))
            self.out.flush()
        except BrokenPipeError:
            self.out = open(os.devnull, "w")  # the reader is gone; the build goes on


class Plain(Front):
    """BuildKit's plain progress: steps are numbered in the order in which they come."""

    def __init__(self, out: TextIO) -> None:
        super().__init__(out)
        self._began: dict[int, float] = {}
        self._transfers: dict[tuple[int, str], float] = {}
        self._numbers: dict[int, int] = {}
        self._last = 0

    def _turn(self, step: int, *lines: str) -> None:
        """Say lines of a step, and before them which it is, if the last ones were another's."""
        number = self._numbers.setdefault(step, len(self._numbers) + 1)
        if step != self._last:
            if self._last in self._began:
                self.say(f"#{self._numbers[self._last]} ...")
            self.say("", f"#{number} {clean(self.names.get(step, ''))}")
            self._last = step
        self.say(*(f"#{number} {line}" for line in lines))

    def log(self, step: int, line: str, at_s: float) -> None:
        """A line of output with the seconds since its step began."""
        self._turn(step, f"{at_s - self._began.get(step, at_s):.3f} {line}")

    def show(self, event: ev.Event) -> None:
        """Everything else."""
        match event:
            case ev.StepStarted(step=step):
                self._began[step] = event.at_s
                self._turn(step)
            case ev.StepCached(step=step):
                self._turn(step, "CACHED")
            case ev.StepDone(step=step, seconds=seconds):
                self._turn(step, f"DONE {seconds:.1f}s")
                self._began.pop(step, None)
            case ev.StepFailedEvent(step=step, error=error):
                self._turn(step, f"ERROR: {clean(error)}")
                self._began.pop(step, None)
            case ev.Progress():
                self._progress(event)
            case ev.Warned():
                self.say(_warning(event))
            case ev.Message(step=step, text=text):
                if step:
                    self._turn(step, clean(text))
                else:
                    self.say(clean(text))

    def _progress(self, event: ev.Progress) -> None:
        """A transfer that ended, with its time."""
        began = self._transfers.setdefault((event.step, event.id), event.at_s)
        if event.done:
            del self._transfers[event.step, event.id]
            shown = f" {_size(event.current)} / {_size(event.total)}" if event.total else ""
            self._turn(event.step, f"{clean(event.id)}{shown} {event.at_s - began:.1f}s done")

    def close(self) -> None:
        """Tell what was stopped."""
        with self.lock:
            for step in list(self._began):
                self._turn(step, "CANCELED")
            self._began.clear()

    def result(self, *lines: str) -> None:
        """Say what came out."""
        self.say(*lines)


def _bar(t: ev.Progress) -> str:
    """How far a transfer is, as a picture."""
    full = min(20, 20 * t.current // t.total)
    return f"[{'=' * full}{' ' * (20 - full)}]"


def _warning(event: ev.Warned) -> str:
    rule = f"{event.rule}: " if event.rule else ""
    line = f" (line {event.line})" if event.line else ""
    return f"WARN: {rule}{clean(event.text)}{line}"


class Terminal(Front):
    """A live picture: finished steps above, running ones with their last lines below, drawn anew in place."""

    def __init__(self, out: TextIO, colour: bool) -> None:
        super().__init__(out)
        self._colour = colour
        self._began: dict[int, float] = {}
        self._transfers: dict[str, ev.Progress] = {}
        self._notes: dict[int, list[str]] = {}
        self._drawn = 0
        self._start = time.monotonic()
        self._counts = [0, 0]
        self._stop = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)
        self._ticker.start()

    def _tick(self) -> None:
        while not self._stop.wait(0.1):
            with self.lock:
                self._draw()

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text

    def log(self, step: int, line: str, at_s: float) -> None:
        """Kept in the tail, which the picture shows."""

    def show(self, event: ev.Event) -> None:
        """Move what is finished above the picture."""
        match event:
            case ev.StepStarted(step=step):
                self._began[step] = event.at_s
                self._counts[1] += 1
            case ev.StepCached(name=name):
                self._counts = [c + 1 for c in self._counts]
                self._above(self._paint(f" => CACHED {clean(name)}", "36"))
            case ev.StepDone(step=step, seconds=seconds):
                self._began.pop(step, None)
                self._counts[0] += 1
                row = self._row(f" => {clean(self.names.get(step, ''))}", f"{seconds:.1f}s")
                self._above(self._paint(row, "34"), *self._notes.pop(step, ()))
            case ev.StepFailedEvent(step=step, name=name):
                self._began.pop(step, None)
                self._above(self._paint(f" => ERROR {clean(name)}", "31"), *self._notes.pop(step, ()))
            case ev.Progress(id=name, done=done):
                if done:
                    self._transfers.pop(name, None)
                else:
                    self._transfers[name] = event
            case ev.Warned():
                self._above(self._paint(f" ! {_warning(event)}", "33"))
            case ev.Message(step=step, text=text):
                line = self._row(f" => => {clean(text)}", "") if step else clean(text)
                if step in self._began:
                    self._notes.setdefault(step, []).append(line)
                else:
                    self._above(line)

    def _row(self, left: str, right: str) -> str:
        width = self._width()
        room = max(0, width - len(right) - 1)  # on a terminal of a few columns nothing fits
        return f"{left[:room]:<{room}} {right}"

    def _width(self) -> int:
        try:
            return max(20, os.get_terminal_size(self.out.fileno()).columns - 1)
        except (OSError, ValueError):
            return 79

    def _above(self, *lines: str) -> None:
        self._erase()
        self.say(*lines)
        self._draw()

    def _erase(self) -> None:
        if self._drawn:
            self.out.write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0

    def _draw(self) -> None:
        width = self._width()
        lines = []
        now = time.time()
        for step, began in self._began.items():
            lines.append(self._row(f" => {clean(self.names.get(step, ''))}", f"{now - began:.1f}s"))
            lines += self._notes.get(step, [])[:4]
            lines += [f" => => {line}"[:width] for _, line in self.tails.get(step, [])[-4:]]
        for t in list(self._transfers.values())[-6:]:
            amount = f"{_bar(t)} {_size(t.current)} / {_size(t.total)}" if t.total else _size(t.current)
            lines.append(self._row(f" => => {clean(t.id)}", amount))
        if lines:
            done, total = self._counts
            lines.insert(0, f"[+] {self.title} {time.monotonic() - self._start:.1f}s ({done}/{total})")
        self._erase()
        if lines:
            self.out.write("".join(f"{line}\n" for line in lines))
            self._drawn = len(lines)
        self.out.flush()

    def close(self) -> None:
        """Take the picture away."""
        self._stop.set()
        self._ticker.join()
        with self.lock:
            self._erase()
            self.out.flush()

    def result(self, *lines: str) -> None:
        """Say what came out."""
        self.say(*lines)


def make_front(mode: str, out: TextIO | None = None) -> Front:
    """The front for `--progress`: auto, plain, tty, rawjson or quiet.

    Raises:
        UsageError: another one, for the environment may name it, too.
    """
    stream = sys.stderr if out is None else out
    if mode == "auto":
        mode = (
            "tty"
            if stream.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")
            else "plain"
        )
    if mode == "rawjson":
        from imagesmith.cli.rawjson import RawJson

        return RawJson(stream)
    colour = "NO_COLOR" not in os.environ
    makers: dict[str, Callable[[], Front]] = {
        "plain": lambda: Plain(stream),
        "tty": lambda: Terminal(stream, colour),
        "quiet": lambda: Front(stream),
    }
    if mode not in makers:
        raise UsageError(
            f"invalid progress mode {mode}", hint="auto, plain, tty, rawjson and quiet are known"
        )
    return makers[mode]()
