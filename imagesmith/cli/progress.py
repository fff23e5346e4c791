"""Events on the screen: a live picture on a terminal, plain lines elsewhere, JSON lines, or nothing.

Why: the plain form is BuildKit's (`#3 [2/4] RUN make`, `#3 1.204 text`, `#3 DONE 2.1s`), since people and
tools read it. What a step prints may be any bytes: control characters never reach the terminal.
Threads: a front is called from any thread and locks itself.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

from imagesmith import events as ev

__all__ = ["Front", "clean", "make_front"]

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
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

    def __init__(self, out: TextIO) -> None:
        self.out = out
        self.lock = threading.Lock()
        self.names: dict[int, str] = {}
        self.tails: dict[int, list[str]] = {}
        self._partial: dict[tuple[int, int], bytes] = {}
        self.failed: int | None = None

    def __call__(self, event: ev.Event, /) -> None:
        """Take one event."""
        with self.lock:
            if isinstance(event, ev.StepStarted | ev.StepCached | ev.StepFailedEvent):
                self.names[event.step] = event.name
            if isinstance(event, ev.StepFailedEvent) and self.failed is None:
                self.failed = event.step
            if isinstance(event, ev.Log):
                for line in self._lines(event):
                    self.tails.setdefault(event.step, []).append(line)
                    del self.tails[event.step][:-10]
                    self.log(event.step, line, event.at_s)
            else:
                if isinstance(event, ev.StepDone | ev.StepFailedEvent):
                    self._flush(event.step, event.at_s)
                self.show(event)

    def _lines(self, event: ev.Log) -> list[str]:
        key = (event.step, event.stream)
        *whole, rest = (self._partial.get(key, b"") + event.data).split(b"\n")
        self._partial[key] = rest
        return [self._text(line) for line in whole]

    def _text(self, line: bytes) -> str:
        return clean(line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace"))

    def _flush(self, step: int, at_s: float) -> None:
        for stream in (1, 2):
            rest = self._partial.pop((step, stream), b"")
            if rest:
                line = self._text(rest)
                self.tails.setdefault(step, []).append(line)
                self.log(step, line, at_s)

    def log(self, step: int, line: str, at_s: float) -> None:
        """Show a line of a step's output."""

    def show(self, event: ev.Event) -> None:
        """Show any other event."""

    def failure(self) -> None:
        """Show again what the failed step printed last."""
        if self.failed is None:
            return
        lines = self.tails.get(self.failed, [])
        if lines:
            self.say("------", f" > {clean(self.names.get(self.failed, ''))}:", *lines, "------")

    def close(self) -> None:
        """End the picture; nothing is shown after it."""

    def say(self, *lines: str) -> None:
        """Write lines, and survive a reader that went away."""
        try:
            self.out.write("".join(f"{line}\n" for line in lines))
            self.out.flush()
        except BrokenPipeError:
            self.out = open(os.devnull, "w")  # the reader is gone; the build goes on


class Plain(Front):
    """BuildKit's plain progress."""

    def __init__(self, out: TextIO) -> None:
        super().__init__(out)
        self._began: dict[int, float] = {}
        self._last = 0

    def _turn(self, step: int) -> None:
        """Say which step the following lines belong to."""
        if step != self._last:
            if self._last in self._began:
                self.say(f"#{self._last} ...")
            self.say("", f"#{step} {clean(self.names.get(step, ''))}")
            self._last = step

    def log(self, step: int, line: str, at_s: float) -> None:
        """A line of output with the seconds since its step began."""
        self._turn(step)
        self.say(f"#{step} {at_s - self._began.get(step, at_s):.3f} {line}")

    def show(self, event: ev.Event) -> None:
        """Everything else."""
        match event:
            case ev.StepStarted(step=step):
                self._began[step] = event.at_s
                self._turn(step)
            case ev.StepCached(step=step):
                self._turn(step)
                self.say(f"#{step} CACHED")
            case ev.StepDone(step=step, seconds=seconds):
                self._turn(step)
                self._began.pop(step, None)
                self.say(f"#{step} DONE {seconds:.1f}s")
            case ev.StepFailedEvent(step=step, error=error):
                self._turn(step)
                self._began.pop(step, None)
                self.say(f"#{step} ERROR: {clean(error)}")
            case ev.Progress(step=step, id=name, current=current, total=total, done=done):
                if done:
                    self._turn(step)
                    shown = f"{_size(current)} / {_size(total)} " if total else ""
                    self.say(f"#{step} {clean(name)} {shown}done")
            case ev.Warned():
                self.say(_warning(event))
            case ev.Message(text=text):
                self.say(clean(text))


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
        self._drawn = 0
        self._start = time.monotonic()
        self._wall = time.time()
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
                self._above(
                    self._paint(self._row(f" => {clean(self.names.get(step, ''))}", f"{seconds:.1f}s"), "34")
                )
            case ev.StepFailedEvent(step=step, name=name):
                self._began.pop(step, None)
                self._above(self._paint(f" => ERROR {clean(name)}", "31"))
            case ev.Progress(id=name, done=done):
                if done:
                    self._transfers.pop(name, None)
                else:
                    self._transfers[name] = event
            case ev.Warned():
                self._above(self._paint(f" ! {_warning(event)}", "33"))
            case ev.Message(text=text):
                self._above(clean(text))

    def _row(self, left: str, right: str) -> str:
        width = self._width()
        room = width - len(right) - 1
        return f"{left[:room]:<{room}} {right}"

    def _width(self) -> int:
        try:
            return max(20, os.get_terminal_size(self.out.fileno()).columns - 1)
        except (OSError, ValueError):
            return 79

    def _above(self, line: str) -> None:
        self._erase()
        self.say(line)
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
            lines += [f" => => {line}"[:width] for line in self.tails.get(step, [])[-4:]]
        for t in list(self._transfers.values())[-6:]:
            amount = f"{_size(t.current)} / {_size(t.total)}" if t.total else _size(t.current)
            lines.append(self._row(f" => => {clean(t.id)}", amount))
        if lines:
            done, total = self._counts
            lines.insert(0, f"[+] Building {time.monotonic() - self._start:.1f}s ({done}/{total})")
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


class RawJson(Front):
    """One JSON object a line and event; bytes are base64 as in BuildKit's rawjson."""

    def log(self, step: int, line: str, at_s: float) -> None:
        """A line of a step's output."""
        self.say(json.dumps({"event": "Log", "step": step, "at_s": at_s, "line": line}))

    def show(self, event: ev.Event) -> None:
        """The event's fields under its class's name."""
        self.say(json.dumps({"event": type(event).__name__, **dataclasses.asdict(event)}))


def make_front(mode: str, out: TextIO | None = None) -> Front:
    """The front for `--progress`: auto, plain, tty, rawjson or quiet."""
    stream = sys.stderr if out is None else out
    if mode == "auto":
        mode = (
            "tty"
            if stream.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")
            else "plain"
        )
    colour = "NO_COLOR" not in os.environ
    makers: dict[str, Callable[[], Front]] = {
        "plain": lambda: Plain(stream),
        "tty": lambda: Terminal(stream, colour),
        "rawjson": lambda: RawJson(stream),
        "quiet": lambda: Front(stream),
    }
    return makers[mode]()
