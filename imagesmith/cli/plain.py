"""`--progress=plain`: BuildKit's lines (`#3 [2/4] RUN make`, `#3 1.204 text`, `#3 DONE 2.1s`), for logs.

Which step speaks: the one that has the word keeps it until it ends, or until it has had it for five seconds
and another has something to say; then the one that waits longest gets it. What others say meanwhile is held.
Steps that have ended are told at once, in one piece.
Colours of what steps print are kept where the log can show them, each line for itself, and nothing else of
what could move a cursor. In GitHub's and GitLab's logs a step with output is a section that can be folded.
Trust: see progress.py. Every line of a step has its number before it.
Threads: see progress.py.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from imagesmith import events as ev
from imagesmith.cli.lines import clean, colours, one_line, size
from imagesmith.cli.progress import Front, warning_line

if TYPE_CHECKING:
    from imagesmith.cli.runners import Sections

__all__ = ["Plain"]

#: How long (seconds) a step keeps the word while others wait, and how much (characters) is held of them.
_HOLD_S, _MOST_HELD = 5.0, 1 << 20
#: How often (seconds) a transfer that goes on is told.
_TRANSFER_S = 30.0
#: How often (seconds) the clock is looked at, where anything waits for it.
_TICK_S = 0.5
#: A step that is silent for so long (seconds) is named, where naming it opens a section.
_SILENT_S = 1.0

_SGR = r"\x1b\[[0-9;:]{0,32}m"
_OFF = "\x1b[0m"
#: So many characters of colours are carried from a line to the next one.
_MOST_COLOURS = 64


class Plain(Front):
    """BuildKit's plain progress: steps are numbered in the order in which they are told."""

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(out)
        self._clock, self._colours = clock, colours(out)
        self._sections = _sections()
        self._began: dict[int, float] = {}
        self._numbers: dict[int, int] = {}
        self._turn, self._since = 0, 0.0  # who has the word, and since when
        self._shown = 0  # whose name the last lines stand under
        self._held: dict[int, list[str]] = {}  # of those that wait, the longest waiting one first
        self._held_size = 0
        self._loud: set[int] = set()  # those that have printed something: they get sections
        self._transfers: dict[tuple[int, str], _Transfer] = {}
        self._carried: dict[tuple[int, int], str] = {}

    # --- who has the word ------------------------------------------------------------------------

    def _tell(self, step: int, *lines: str) -> None:
        """Say lines of a step, or hold them while another has the word."""
        if step not in self._began:  # a word on one that has ended
            self._print(step, *lines, last=True)
        elif self._turn in (0, step):
            self._take(step, *lines)
        else:
            self._hold(step, *lines)
            self.keep_time(_TICK_S)
            self._change()

    def _hold(self, step: int, *lines: str) -> None:
        self._held.setdefault(step, []).extend(lines)
        self._held_size += sum(map(len, lines))

    def _take(self, step: int, *lines: str) -> None:
        if self._turn != step:
            self._turn, self._since = step, self._clock()
        said = [*self._let_go(step), *lines]
        if self._sections is None or step in self._loud or step == self._shown:
            self._print(step, *said)
        else:
            self._hold(step, *said)  # until it is known whether it gets a section

    def _let_go(self, step: int) -> list[str]:
        held = self._held.pop(step, [])
        self._held_size -= sum(map(len, held))
        return held

    def _change(self) -> None:
        """Give the word to who waits longest, if it is free or was had long enough."""
        waiting = next((step for step, lines in self._held.items() if lines and step != self._turn), 0)
        if not self._turn:
            waiting = waiting or next(iter(self._held), 0)
        elif self._clock() - self._since < _HOLD_S and self._held_size < _MOST_HELD:
            return
        if waiting:
            left, self._turn = self._turn, 0
            self._take(waiting)
            if left in self._began:
                self._held.setdefault(left, [])  # behind those that waited before it

    def _end(self, step: int, *lines: str) -> None:
        """Say the last lines of a step, whoever has the word."""
        held = self._let_go(step)
        if held:
            self._print(step, *held, last=step not in self._loud)
        self._print(step, *lines, last=True)
        self._began.pop(step, None)
        self._loud.discard(step)
        self._transfers = {key: t for key, t in self._transfers.items() if key[0] != step}
        if self._turn == step:
            self._turn = 0
        self._change()

    def _print(self, step: int, *lines: str, last: bool = False) -> None:
        """Write lines, and before them whose they are, if the last ones were another's."""
        number = self._numbers.setdefault(step, len(self._numbers) + 1)
        sections = self._sections
        if step != self._shown and self._shown in self._began:
            self.say(f"#{self._numbers[self._shown]} ...")
        if sections is not None and (last or step != self._shown):
            self.write(sections.end())
        if step != self._shown:
            name = f"#{number} {one_line(self.names.get(step, ''))}"
            if last or sections is None:
                self.say("", name)
            else:
                self.write(sections.begin(number, name))
            self._shown = step
        self.say(*(f"#{number} {line}" for line in lines))

    # --- what is said ----------------------------------------------------------------------------

    def text(self, step: int, stream: int, line: str) -> str:
        """A line of output, with its colours if they are wanted: those that are on when it begins, too."""
        if not self._colours:
            return clean(line)
        key = step, stream
        carried = active = self._carried.get(key, "")
        parts, at, some = [carried], 0, bool(carried)
        for found in re.finditer(_SGR, line):
            parts += clean(line[at : found.start()]), found[0]
            at, some = found.end(), True
            active = "" if found[0] in ("\x1b[m", _OFF) else f"{active}{found[0]}"[-_MOST_COLOURS:]
        self._carried[key] = active if active.startswith("\x1b") else ""
        return "".join((*parts, clean(line[at:]), _OFF * some))

    def log(self, step: int, line: str, at_s: float) -> None:
        """A line of output with the seconds since its step began."""
        self._loud.add(step)
        self._tell(step, f"{at_s - self._began.get(step, at_s):.3f} {line}")

    def show(self, event: ev.Event) -> None:
        """Everything else."""
        match event:
            case ev.StepStarted(step=step):
                self._began[step] = event.at_s
                if self._sections is not None:
                    self.keep_time(_TICK_S)
                self._tell(step)
            case ev.StepCached(step=step):
                self._end(step, "CACHED")
            case ev.StepDone(step=step, seconds=seconds):
                self._end(step, f"DONE {seconds:.1f}s")
            case ev.StepFailedEvent(step=step, error=error, stopped=stopped):
                self._end(step, "CANCELED" if stopped else f"ERROR: {one_line(error)}")
            case ev.Progress():
                self._progress(event)
            case ev.Warned():
                self._warn(event)
            case ev.Message(step=step, text=text) if step:
                self._tell(step, one_line(text))
            case ev.Message(text=text):
                self.say(one_line(text))

    def _warn(self, event: ev.Warned) -> None:
        text = warning_line(event)
        if not self.remark("warning", text, event.file, event.line, title=event.rule):
            self.say(f"WARN: {text}")

    def _progress(self, event: ev.Progress) -> None:
        """A transfer that ended, with its time; others are told when the clock says so."""
        now = self._clock()
        key = event.step, event.id
        transfer = self._transfers.get(key)
        if transfer is None:
            transfer = self._transfers[key] = _Transfer(event, now)
        transfer.latest = event
        if not event.done:
            self.keep_time(_TICK_S)
            return
        del self._transfers[key]
        self._transfers.pop((event.step, event.id.partition(" ")[0]), None)  # `DIGEST mounted` ends `DIGEST`
        took = event.at_s - transfer.began.at_s
        self._tell(event.step, f"{_part(event)}{f' {took:.1f}s' if took > 0.01 else ''} done")

    def tick(self) -> None:
        """Say what goes on for long, and let another speak if one has spoken for long."""
        now = self._clock()
        for transfer in list(self._transfers.values()):
            if now - transfer.told >= _TRANSFER_S:
                transfer.told = now
                self._tell(transfer.latest.step, f"{_part(transfer.latest)} {now - transfer.first:.1f}s")
        if self._turn != self._shown and self._turn in self._began and now - self._since >= _SILENT_S:
            self._print(self._turn, *self._let_go(self._turn))
        self._change()

    def end(self) -> None:
        """Tell what was stopped."""
        for step in list(self._began):
            self._end(step, "CANCELED")

    def result(self, *lines: str) -> None:
        """Say what came out."""
        self.say(*map(one_line, lines))


class _Transfer:
    """A part of a step that goes on."""

    def __init__(self, event: ev.Progress, now: float) -> None:
        self.began = self.latest = event
        self.first = self.told = now


def _part(event: ev.Progress) -> str:
    """What is done, and how far it is."""
    shown = f" {size(event.current)} / {size(event.total)}" if event.total else ""
    if event.current and not event.total:
        shown = f" {size(event.current)}"
    return f"{one_line(event.id)}{shown}"


def _sections() -> Sections | None:
    """The marks of sections of this log, if there are any."""
    if os.environ.get("GITHUB_ACTIONS") or os.environ.get("GITLAB_CI"):
        from imagesmith.cli.runners import Sections

        return Sections("github" if os.environ.get("GITHUB_ACTIONS") else "gitlab")
    return None
