"""What steps wrote, as far as a report shows it: the beginning and the end of each, and not too much of all.

Why both ends: a compiler's first complaint is at the beginning of what matters, a program's last word at its
end.
Trust: output is a step's: any bytes, as much as it likes. Escape sequences are taken out, a line that was
written over and over with carriage returns is its last state, long lines are cut.
Threads: one at a time; the recorder holds a lock.
"""

from __future__ import annotations

from imagesmith.events import without_controls
from imagesmith.values import frozen

__all__ = ["StepLogs", "Written"]

#: Of each step so many bytes are kept of its beginning and of its end, and so many of all.
_HEAD, _TAIL, _ALL = 64 << 10, 192 << 10, 8 << 20
_LINE, _LINES = 2000, 10_000


@frozen(kw_only=True)
class Written:
    """The output of a step: lines, `missing` bytes left out after the first `head` of them."""

    lines: tuple[str, ...]
    head: int = 0
    missing: int = 0


class _Log:
    """Of one step, in the order in which it came."""

    def __init__(self) -> None:
        self.head, self.tail, self.cut = bytearray(), bytearray(), 0

    def add(self, data: bytes) -> int:
        """Take more; returns how much more is kept."""
        before = self.size
        room = _HEAD - len(self.head)
        self.head += data[:room] if room > 0 else b""
        self.tail += data[room:] if room > 0 else data
        if (over := len(self.tail) - 2 * _TAIL) > 0:  # not for each piece, however small
            del self.tail[: over + _TAIL]
            self.cut += over + _TAIL
        return self.size - before

    @property
    def size(self) -> int:
        """How many bytes it holds."""
        return len(self.head) + len(self.tail)


class StepLogs:
    """Takes the output of all steps, by their numbers."""

    def __init__(self) -> None:
        self._logs: dict[int, _Log] = {}
        self._size = 0

    def add(self, step: int, data: bytes) -> None:
        """Take a piece; where all is too much, that of the step that began first goes."""
        log = self._logs.get(step)
        if log is None:
            log = self._logs[step] = _Log()
        self._size += log.add(data)
        while self._size > _ALL and len(self._logs) > 1:
            oldest = next(iter(self._logs))
            gone = self._logs.pop(oldest)
            self._size -= gone.size

    def of(self, step: int) -> Written:
        """What a step wrote."""
        log = self._logs.get(step)
        if log is None:
            return Written(lines=())
        over = max(0, len(log.tail) - _TAIL)
        missing, tail = log.cut + over, bytes(log.tail[over:])
        if not missing:
            return _bounded(_lines(bytes(log.head) + tail))
        head = _lines(bytes(log.head))
        found = _bounded(head)
        rest = _lines(tail.partition(b"\n")[2] or tail)
        kept = rest[max(0, len(rest) + len(found.lines) - _LINES) :]
        return Written(lines=(*found.lines, *kept), head=len(found.lines), missing=max(1, missing))


def _bounded(lines: list[str]) -> Written:
    if len(lines) <= _LINES:
        return Written(lines=tuple(lines))
    half = _LINES // 2
    left = sum(len(line) + 1 for line in lines[half:-half])
    return Written(lines=(*lines[:half], *lines[-half:]), head=half, missing=left)


def _lines(data: bytes) -> list[str]:
    """The lines as a terminal would show them in the end."""
    text = data.decode("utf-8", "replace").removesuffix("\n")
    return [_line(line) for line in text.split("\n")] if text else []


def _line(line: str) -> str:
    shown = without_controls(line.rstrip("\r").rpartition("\r")[2])
    return shown if len(shown) <= _LINE else f"{shown[:_LINE]}…"
