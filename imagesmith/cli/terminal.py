"""`--progress=tty`: a live picture of what runs; what has ended stands above it and is never drawn again.

The cursor waits on the picture's first line: the next picture is drawn over this one whatever a changed
window did to its lines, and a window that gets lower loses lines below the cursor, not above it. The picture
is never higher than the window, so nothing of it gets into the scrollback. Its rows are no longer than they
must be: a terminal that gets narrower may break them, and push some away before they can be drawn again.
Where not all fits, notes and bars go first, then older lines of output; of the steps that are left out a row
says how many they are. It is drawn by a thread ten times a second, so an interrupt cuts no sequence.
Trust: see progress.py. No sequence of a step reaches the terminal, colours neither, and no line is longer
than the window is wide, whatever characters are in it (cells.py).
Threads: see progress.py.
"""

from __future__ import annotations

import os
import textwrap
import time
from typing import TextIO

from imagesmith import events as ev
from imagesmith.cli.cells import columns, cut
from imagesmith.cli.lines import one_line, size
from imagesmith.cli.progress import Front, warning_line

__all__ = ["Terminal"]

#: How often (seconds) the picture is drawn.
_DRAW_S = 0.1
#: The lines of a step's output that are shown; its notes (what was exported, why it ran), and its transfers.
_LOGS, _NOTES, _BARS = 4, 6, 6
#: Times stand in one column: above the picture no further to the right than this, in it behind the longest
#: name and so many columns.
_MOST_COLUMNS, _TIME = 100, 9
_HIDE, _SHOW, _NO_WRAP, _WRAP = "\x1b[?25l", "\x1b[?25h", "\x1b[?7l", "\x1b[?7h"
#: Remembers where the cursor is, and returns there.
_HERE, _BACK = "\x1b7", "\x1b8"
#: Clears all from this line on. Not in one go: tmux keeps a screen that is cleared from its very beginning.
_CLEAR = f"\x1b[K{_HERE}\x1b[1B\r\x1b[J{_BACK}"


class Terminal(Front):
    """A live picture: finished steps above, running ones with their last lines below, drawn anew in place."""

    def __init__(self, out: TextIO, colour: bool) -> None:
        super().__init__(out)
        self._colour = colour
        self._began: dict[int, float] = {}
        self._transfers: dict[int, dict[str, ev.Progress]] = {}
        self._notes: dict[int, list[str]] = {}
        self._above: list[str] = []
        self._drawn, self._window = 0, (0, 0)
        self._start = time.monotonic()
        self._ended: set[int] = set()
        self._awaited: list[str] = []  # names of steps that are still to come
        self._failed = False
        self.keep_time(_DRAW_S)

    # --- what happens ----------------------------------------------------------------------------

    def show(self, event: ev.Event) -> None:
        """Note it for the next picture."""
        match event:
            case ev.Planned(names=names):
                self._awaited = list(names)
            case ev.StepStarted(step=step, name=name):
                self._came(name)
                self._ended.discard(step)
                self._began[step] = event.at_s
            case ev.StepCached(step=step, name=name):
                self._came(name)
                self._finish(step, f" => CACHED {one_line(name)}", "", "36")
            case ev.StepDone(step=step, seconds=seconds):
                self._finish(step, f" => {self._name(step)}", f"{seconds:.1f}s", "34")
            case ev.StepFailedEvent(step=step, stopped=True):
                self._stopped(step, event.at_s)
            case ev.StepFailedEvent(step=step, name=name):
                took = f"{event.at_s - self._began.get(step, event.at_s):.1f}s"
                self._failed = True
                self._finish(step, f" => ERROR {one_line(name)}", took, "31")
            case ev.Progress():
                self._progress(event)
            case ev.Warned():
                self._above += (self._paint(row, "33") for row in self._warning(event))
            case ev.Message(step=step, text=text) if step in self._began:
                self._notes.setdefault(step, []).append(one_line(text))
            case ev.Message(step=step, text=text):
                self._above.append(f" => => {one_line(text)}" if step else one_line(text))

    def _warning(self, event: ev.Warned) -> list[str]:
        """A warning in full, broken between words."""
        return textwrap.wrap(
            warning_line(event), self._size()[0] - 1, initial_indent=" ! WARN: ", subsequent_indent="   "
        )

    def _came(self, name: str) -> None:
        if name in self._awaited:
            self._awaited.remove(name)

    def _progress(self, event: ev.Progress) -> None:
        bars = self._transfers.setdefault(event.step, {})
        if not event.done:
            bars[event.id] = event
            return
        bars.pop(event.id, None)
        bars.pop(event.id.partition(" ")[0], None)  # `DIGEST mounted` ends `DIGEST`
        if not event.total and event.step in self._began:
            amount = f" {size(event.current)}" if event.current else ""
            self._notes.setdefault(event.step, []).append(one_line(event.id) + amount)

    def _stopped(self, step: int, at_s: float) -> None:
        took = f"{at_s - self._began.get(step, at_s):.1f}s"
        self._failed = True
        self._finish(step, f" => CANCELED {self._name(step)}", took, "33")

    def _finish(self, step: int, left: str, right: str, code: str) -> None:
        """A step's last row goes above the picture, with what was noted of it."""
        self._began.pop(step, None)
        self._transfers.pop(step, None)
        self._ended.add(step)
        width = self._size()[0] - 1
        notes = (cut(f" => => {note}", width) for note in self._notes.pop(step, ()))
        self._above += [self._paint(_row(left, right, width), code), *notes]

    def _name(self, step: int) -> str:
        return one_line(self.names.get(step, ""))

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text

    # --- the picture -----------------------------------------------------------------------------

    def _size(self) -> tuple[int, int]:
        """Columns and rows of the window."""
        try:
            window = os.get_terminal_size(self.out.fileno())
        except (OSError, ValueError):
            window = os.terminal_size((80, 24))
        return window.columns or 80, window.lines or 24

    def picture(self, now: float, width: int, height: int) -> list[str]:
        """The lines that show what runs, as many as fit."""
        if not self._began or height < 1:
            return []
        head = [cut(self._head(), width)]
        steps = list(self._began)
        if len(steps) > height - 1:
            steps = steps[: max(0, height - 2)]
            head.append(cut(f" => ... and {len(self._began) - len(steps)} more", width))
            head = head[:height]
        details = _fitting([self._details(step, width) for step in steps], height - len(head) - len(steps))
        names = [f" => {self._name(step)}" for step in steps]
        edge = min(width, max(map(columns, names), default=0) + _TIME)
        rows = []
        for step, name, below in zip(steps, names, details, strict=True):
            rows += [_row(name, f"{max(0.0, now - self._began[step]):.1f}s", edge), *below]
        return [head[0], *rows, *head[1:]]

    def _head(self, end: str = "") -> str:
        done, took = len(self._ended), time.monotonic() - self._start
        total = done + len(self._began) + len(self._awaited)
        return f"[+] {self.title} {took:.1f}s ({done}/{total}){end}"

    def _details(self, step: int, width: int) -> list[str]:
        """What is shown below a step, the least important first."""
        lines = [text for _, text in self.tails.get(step, [])] + self.unfinished(step)
        transfers = list(self._transfers.get(step, {}).values())[-_BARS:]
        bars = [_row(f" => => {one_line(t.id)}", _amount(t), width) for t in transfers]
        notes = [cut(f" => => {note}", width) for note in self._notes.get(step, [])[-_NOTES:]]
        return [*notes, *bars, *(cut(f" => => {line}", width) for line in lines[-_LOGS:])]

    def _frame(self, rows: list[str], window: tuple[int, int]) -> str:
        """What draws rows over the last picture, and what has ended above them.

        Ctrl-C makes the system drop what of a picture has not been shown, at its end or in its middle. So
        room is made first, if it is needed, and the place then remembered to which the next picture returns;
        rows themselves cannot scroll the window. In a window that has changed the place is no longer true.
        """
        above, self._above = self._above, []
        changed = bool(above) or window != self._window
        back = _BACK if self._drawn and window == self._window else ""
        out = [
            _HIDE,
            back,
            _WRAP,
            "\r",
            _CLEAR if changed else "",
            *(f"{line}\n" for line in above),
            _NO_WRAP,
        ]
        if len(rows) > 1 and (changed or len(rows) > self._drawn):
            out += "\n" * (len(rows) - 1), f"\x1b[{len(rows) - 1}A"
        out += _HERE, "\r\x1b[1B".join(f"{row}\x1b[K" for row in rows), "\x1b[J" if rows else "", _BACK
        self._drawn, self._window = len(rows), window
        return "".join([*out, _WRAP, _SHOW])

    def tick(self) -> None:
        """Draw."""
        window = self._size()
        rows = self.picture(time.time(), window[0] - 1, window[1] - 1)
        if rows or self._above or self._drawn:
            self.write(self._frame(rows, window))

    def make_way(self) -> None:
        """Leave what has ended on the screen, and no picture below it."""
        if self._above or self._drawn:
            self.write(self._frame([], self._size()))

    def end(self) -> None:
        """Take the picture away, and leave how it ended: a row of each step that did not, and the counts."""
        for step in list(self._began):
            self._stopped(step, time.time())
        if self._ended:
            whole = not self._awaited and not self._failed
            self._above.append(cut(self._head(" FINISHED" if whole else ""), self._size()[0] - 1))
        self.make_way()

    def result(self, *lines: str) -> None:
        """Say what came out."""
        self.say(*map(one_line, lines))


def _row(left: str, right: str, width: int) -> str:
    """A name, and at the right what it took."""
    room = width - len(right) - 1
    shown = cut(left, room) if right else cut(left, width)
    if not right or room <= 0:  # on a terminal of a few columns nothing fits
        return shown
    return f"{shown}{' ' * max(0, min(width, _MOST_COLUMNS) - len(right) - 1 - columns(shown))} {right}"


def _amount(t: ev.Progress) -> str:
    """How far a transfer is, with a picture of it."""
    if not t.total:
        return size(t.current) if t.current else ""
    full = min(20, 20 * t.current // t.total)
    return f"[{'=' * full}{' ' * (20 - full)}] {size(t.current)} / {size(t.total)}"


def _fitting(details: list[list[str]], room: int) -> list[list[str]]:
    """So many lines of each step as there is room for, the last ones; every step gets its share of it."""
    shares = [0] * len(details)
    while room > 0:
        short = [n for n, lines in enumerate(details) if shares[n] < len(lines)]
        if not short:
            break
        for n in short[:room]:
            shares[n] += 1
        room -= len(short)
    return [lines[len(lines) - share :] for lines, share in zip(details, shares, strict=True)]
