"""What the process's control groups leave it: processors, memory, and whether memory ran out.

Why: in a container the machine has more processors and memory than a builder may use; more threads than that
only wait for each other, and a compiler that is ended for want of memory says nothing of it.
A container may see its own group as the root of all, below a path that is not there: what is there counts.
Spec: the kernel's admin-guide/cgroup-v2.rst (cpu.max, memory.max, memory.events), cgroup-v1/memory.rst and
scheduler/sched-bwc.rst.
Trust: the files are the kernel's; what cannot be read or understood sets no limit.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path

__all__ = ["OutOfMemory", "memory_left", "processors"]

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def processors() -> float:
    """How many processors' time the process may use at once; infinite without a limit."""
    least = math.inf
    for group in _groups("cpu"):
        words = _text(group / "cpu.max").split()
        quota = words or [_text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us")]
        with contextlib.suppress(ValueError, ZeroDivisionError, IndexError):
            if int(quota[0]) > 0:
                least = min(least, int(quota[0]) / int(quota[1]))
    return least


def memory_left() -> float:
    """Bytes that the groups leave to the process; infinite without a limit."""
    left = math.inf
    for group in _groups("memory"):
        limit = _limit(group)
        with contextlib.suppress(ValueError):
            used = _text(group / "memory.current") or _text(group / "memory.usage_in_bytes")
            left = min(left, max(0, limit - int(used)))
    return left


class OutOfMemory:
    """How often the kernel has ended processes for want of memory, as counted when this was made."""

    def __init__(self, groups: list[Path] | None = None) -> None:
        """Begin to watch some groups; without any, those of this process."""
        self._before = {group: _kills(group) for group in groups or _groups("memory")}

    def told(self) -> str:
        """What to tell of it since this was asked last; '' if nothing was ended."""
        found = ""
        for group, before in self._before.items():
            self._before[group] = _kills(group)
            if self._before[group] > before and not found:
                limit = _limit(group)
                most = f"the limit of {limit / (1 << 20):.0f} MiB" if limit < math.inf else "all there is"
                found = f"memory ran out ({most}), and the kernel ended a process for it"
        return found


def _groups(controller: str) -> Iterator[Path]:
    """The folders of the process's groups that have a controller, the innermost first."""
    for line in _text(_OWN).splitlines():
        _, names, path = (*line.split(":", 2), "", "")[:3]
        if names and controller not in names.split(","):
            continue
        base = _ROOT / names if names else _ROOT
        base = base if base.is_dir() else _ROOT / controller
        at = Path(path.lstrip("/"))
        for folder in dict.fromkeys((at, *at.parents)):
            if (base / folder).is_dir():
                yield base / folder


def _limit(group: Path) -> float:
    text = _text(group / "memory.max") or _text(group / "memory.limit_in_bytes")
    # what the old kind has for no limit is the largest number of pages
    return int(text) if text.isdigit() and int(text) < 1 << 60 else math.inf


def _kills(group: Path) -> int:
    for line in (_text(group / "memory.events") or _text(group / "memory.oom_control")).splitlines():
        name, _, count = line.partition(" ")
        if name == "oom_kill" and count.isdigit():
            return int(count)
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
