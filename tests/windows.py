"""A terminal for tests: what a program writes to it is drawn by an emulator, with what scrolled away.

`Window` is for fronts in this process, `Terminal` runs a command on a real pseudo-terminal.
"""

from __future__ import annotations

import codecs
import copy
import io
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence

import pyte

#: The sequences that our own picture is made of: colours, cursor and lines.
OURS = re.compile(r"\x1b\[(?:\?25[hl]|\?7[hl]|[JK]|\d+[AB]|[0-9;]*m)|\x1b[78]")


class _Screen(pyte.HistoryScreen):
    """One place is remembered, as by terminals, and returned to as often as is asked; pyte keeps a stack."""

    def save_cursor(self) -> None:
        """DECSC."""
        self.savepoints.clear()
        super().save_cursor()

    def restore_cursor(self) -> None:
        """DECRC."""
        saved = [s._replace(cursor=copy.copy(s.cursor)) for s in self.savepoints]
        super().restore_cursor()
        self.savepoints.extend(saved)


class Window(io.StringIO):
    """A terminal of some size that draws what is written to it."""

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        super().__init__()
        self._master, self._slave = pty.openpty()
        self.screen = _Screen(columns, rows, history=100_000, ratio=0.5)
        self._stream = pyte.Stream(self.screen)
        self._lost = 0, 0
        self.resize(columns, rows)

    def resize(self, columns: int, rows: int) -> None:
        """Give the window another size, as its user does: lines below the cursor go first."""
        termios.tcsetwinsize(self._slave, (rows, columns))
        lost = self.screen.lines - rows
        below = self.screen.lines - 1 - self.screen.cursor.y
        if lost > 0:  # pyte takes them from the top, terminals from below the cursor as long as there are any
            at = self.screen.cursor.y
            self.screen.cursor.y = min(at, self.screen.lines - 1)
            for _ in range(max(0, lost - below)):
                self.screen.history.top.append(self.screen.buffer[0])
                for y in range(self.screen.lines - 1):
                    self.screen.buffer[y] = self.screen.buffer[y + 1]
            for y in range(rows, self.screen.lines):
                self.screen.buffer.pop(y, None)
            self.screen.lines = rows
            self.screen.cursor.y = min(at, rows - 1)
        self.screen.resize(rows, columns)
        self.screen.set_margins()

    def fileno(self) -> int:
        """The pseudo-terminal, which is asked for the size."""
        return self._slave

    def isatty(self) -> bool:
        """It is."""
        return True

    def lose(self, first: int, last: int) -> None:
        """Leave out a part of what is written next, as the system does after Ctrl-C."""
        self._lost = first, last

    def write(self, text: str) -> int:
        """Draw."""
        text, self._lost = text[: self._lost[0]] + text[self._lost[1] :], (0, 0)
        self._stream.feed(text.replace("\n", "\r\n"))
        return super().write(text)

    def close(self) -> None:
        """Let the pseudo-terminal go."""
        os.close(self._master)
        os.close(self._slave)
        super().close()

    @property
    def scrolled(self) -> list[str]:
        """The lines that have left the window at its top."""
        return [_text(line, self.screen.columns) for line in self.screen.history.top]

    @property
    def shown(self) -> list[str]:
        """The lines in the window, without empty ones at the end."""
        lines = [line.rstrip() for line in self.screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    @property
    def lines(self) -> list[str]:
        """All of them."""
        return [*self.scrolled, *self.shown]


def _text(line: Mapping[int, pyte.screens.Char], columns: int) -> str:
    return "".join(line[x].data for x in range(max(line, default=-1) + 1)).rstrip()


class Terminal:
    """A command on a terminal of its own; use it in a `with`."""

    def __init__(
        self, words: Sequence[str], columns: int, rows: int, env: Mapping[str, str] | None = None
    ) -> None:
        self.window = Window(columns, rows)
        master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (rows, columns))
        self._master, self._decoder = master, codecs.getincrementaldecoder("utf-8")("replace")
        self.raw = ""
        clean = {k: v for k, v in os.environ.items() if k not in ("CI", "GITHUB_ACTIONS", "NO_COLOR")}
        self._process = subprocess.Popen(
            words, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, process_group=None,
            env={**clean, "TERM": "xterm-256color", **(env or {})}, preexec_fn=_own_terminal,
        )  # fmt: skip
        os.close(slave)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._master)
        self.window.close()

    def resize(self, columns: int, rows: int) -> None:
        """Change the window, so that no picture that was made for a higher one is drawn in a lower one."""
        self.look()
        if rows > self.window.screen.lines:
            self.window.resize(columns, rows)
            termios.tcsetwinsize(self._master, (rows, columns))
            return
        termios.tcsetwinsize(self._master, (rows, columns))
        self.look()
        self.window.resize(columns, rows)

    def press(self, keys: bytes) -> None:
        """Type."""
        os.write(self._master, keys)

    def look(self, seconds: float = 0.0) -> None:
        """Take what is written within some time; without one what is there."""
        until = time.monotonic() + seconds
        while not seconds or time.monotonic() < until:
            ready, _, _ = select.select([self._master], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                return
            try:
                data = os.read(self._master, 65536)
            except OSError:  # the program has ended
                return
            if not data:
                return
            text = self._decoder.decode(data)
            self.raw += text
            self.window.write(text.replace("\r\n", "\n"))

    def until(self, holds: Callable[[list[str]], bool], seconds: float = 60.0) -> None:
        """Look until something holds of the lines in the window."""
        end = time.monotonic() + seconds
        while not holds(self.window.shown):
            ended = self._process.poll() is not None
            self.look(0.05)
            late = ended or time.monotonic() > end
            assert not late or holds(self.window.shown), "\n".join(self.window.lines)

    def vanish(self, seconds: float = 20.0) -> int:
        """Take the terminal away from the command; returns its status."""
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, self._master)
        os.close(null)
        return self._process.wait(seconds)

    def wait(self, seconds: float = 60.0) -> int:
        """The command's status, when it has ended."""
        end = time.monotonic() + seconds
        while self._process.poll() is None:
            assert time.monotonic() < end, "\n".join(self.window.lines)
            self.look(0.05)
        self.look()
        return self._process.returncode


def _own_terminal() -> None:
    """Make the terminal the one whose keys interrupt the program."""
    import fcntl

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
