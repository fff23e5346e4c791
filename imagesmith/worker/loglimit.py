"""How much of a step's output is shown: a step may write for ever, and faster than anybody reads.

Spec: BuildKit's util/progress/logs/logs.go: 2 MiB a stream and 200 KiB a second, or what the environment's
BUILDKIT_STEP_LOG_MAX_SIZE and BUILDKIT_STEP_LOG_MAX_SPEED say (bytes; -1 for no limit); what is left out is
told once each time it begins.
Trust: the output is the step's.
Threads: one, that of the step.
"""

from __future__ import annotations

import math
import os
import time

from imagesmith.interfaces import Output

__all__ = ["LogLimit"]

_SIZE_BYTES, _SPEED_BYTES = 2 << 20, 200 << 10


class LogLimit:
    """Hands output on until there is too much of it."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._size = _limit("BUILDKIT_STEP_LOG_MAX_SIZE", _SIZE_BYTES)
        self._speed = _limit("BUILDKIT_STEP_LOG_MAX_SPEED", _SPEED_BYTES)
        self._began = time.monotonic()
        self._written = {1: 0, 2: 0}
        self._clipping = {1: False, 2: False}

    def __call__(self, stream: int, data: bytes) -> None:
        """Take a piece of output."""
        before = self._written[stream]
        self._written[stream] += len(data)
        most, reason = self._most()
        shown = data if most < 0 else data[: max(0, most - before)]
        if shown:
            self._output(stream, shown)
        clipped = len(shown) < len(data)
        if clipped and not self._clipping[stream]:
            self._output(stream, f"\n[output clipped, log limit {reason} reached]\n".encode())
        self._clipping[stream] = clipped

    def _most(self) -> tuple[int, str]:
        """How many bytes a stream may have written by now (-1: any number), and the limit that says so."""
        if self._speed >= 0:
            by_now = math.ceil(time.monotonic() - self._began) * self._speed
            if self._size < 0 or by_now <= self._size:
                return by_now, f"{_human(self._speed)}/s"
        return self._size, _human(self._size)


def _limit(name: str, default: int) -> int:
    """A limit of the environment; what is no number is passed over, as BuildKit does."""
    try:
        return max(-1, int(os.environ.get(name, default)))
    except ValueError:
        return default


def _human(count: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.4g}{unit}"
    return f"{count}B"
