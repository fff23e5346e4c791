"""What a chroot cannot keep a step from is found out when the step has ended, and fails it.

A seal is on a read-only mount, which nothing may have changed, or on a tmpfs, which may not hold more than
its size; without mount(2) there is nothing that refuses the write itself.
Why: a build that passes here and fails wherever mounts can be made is worse than one that fails late.
Why by the time of change: a kernel sets it, nobody can set it back, and one walk afterwards is enough.
Imports the standard library only, as initchroot.py does.
Trust: a step may put a link in place of anything in a mount; it has ended, with all that it started, and no
link is followed.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator

__all__ = ["Seal", "clock_ns"]

_REALTIME_COARSE = 5  # the clock that a file's times are read from; `time` has no name for it


def clock_ns() -> int:
    """A time that no change before this call is later than, and no change after it earlier."""
    now = time.time_ns()
    while time.clock_gettime_ns(_REALTIME_COARSE) < now:
        time.sleep(0.001)
    return now


class Seal:
    """A promise about one mount.

    at          where it is, by the builder's names
    target      where the step sees it
    size_bytes  how much it may hold, 0 for a mount that may not change
    """

    def __init__(self, at: str, target: str, size_bytes: int = 0) -> None:
        self._at, self._target, self._size_bytes = at, target.rstrip("/"), size_bytes

    def broken(self, since_ns: int, others: list[str]) -> str:
        """Why the promise is broken, in the words of the call that should have failed, or ''.

        `others` are the targets of all mounts: what is below another one is not this one's.
        """
        below = [o.rstrip("/")[len(self._target) :] for o in others if o.startswith(f"{self._target}/")]
        if self._size_bytes:
            held = {s.st_ino: s.st_blocks * 512 for _, s in self._walk(below) if not stat.S_ISDIR(s.st_mode)}
            if sum(held.values()) <= self._size_bytes:
                return ""
            return f"{self._target}: no space left on device: its size is {self._size_bytes} bytes"
        changed = next((name for name, s in self._walk(below) if s.st_ctime_ns >= since_ns), None)
        if changed is None:
            return ""
        return f"{self._target}{changed}: read-only file system (behind a chroot this is found out too late)"

    def _walk(self, without: list[str]) -> Iterator[tuple[str, os.stat_result]]:
        """Each file's name in the mount and what it is, less those of other mounts and all below them."""
        found = [("", os.lstat(self._at))] if os.path.lexists(self._at) else []
        while found:
            name, st = found.pop()
            yield name, st
            if stat.S_ISDIR(st.st_mode):
                with os.scandir(self._at + name) as entries:
                    inner = [(f"{name}/{e.name}", e.stat(follow_symlinks=False)) for e in entries]
                found += [(n, s) for n, s in inner if n not in without]
