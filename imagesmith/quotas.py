"""What the process's control groups leave it, whether memory ran out, and what one step may take of it.

Why: in a container the machine has more processors and memory than a builder may use; more threads than that
only wait for each other, and a compiler that is ended for want of memory says nothing of it.
A container may see its own group as the root of all, below a path that is not there: what is there counts.
Pages of files that nobody uses are given back before a limit is felt, so they count as left.
Spec: the kernel's admin-guide/cgroup-v2.rst (cpu.max, memory.max, memory.high, memory.stat, memory.events),
cgroup-v1/memory.rst and scheduler/sched-bwc.rst.
Trust: the files are the kernel's; what cannot be read or understood sets no limit.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from imagesmith.values import frozen

__all__ = [
    "KILLED", "Limits", "OutOfMemory", "memory_left", "memory_limit", "own_group", "processors", "threads",
]  # fmt: skip

#: How the line of a step begins whose processes the kernel killed for want of memory.
KILLED = "killed for want of memory: "

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
#: What a limit is below; the old kind has the largest number of pages for none.
_NO_LIMIT = 1 << 60
#: Where a group has the count of processes that were killed.
_COUNTS = ("memory.events", "memory.oom_control")


@frozen(kw_only=True)
class Limits:
    """What the processes of one step may take together; 0 and '' are no limit.

    memory_bytes    of memory
    swap_bytes      of memory and swap together; -1 for all swap there is, 0 for as much swap as memory
    quota_us        of processors' time in each period
    period_us       0 for 100 ms
    shares          the weight against others, of which 1024 is usual
    cpus, nodes     numbers of processors and of memory nodes, in the kernel's form: 0-2,5

    Spec: docker run's --memory, --memory-swap, --cpu-quota, --cpu-period, --cpu-shares, --cpuset-cpus and
    --cpuset-mems.
    """

    memory_bytes: int = 0
    swap_bytes: int = 0
    quota_us: int = 0
    period_us: int = 0
    shares: int = 0
    cpus: str = ""
    nodes: str = ""

    @property
    def period(self) -> int:
        """The period of the quota, in microseconds."""
        return self.period_us or 100_000

    @property
    def processors(self) -> float:
        """How many processors' time it is; infinite without a quota."""
        return self.quota_us / self.period if self.quota_us > 0 else math.inf

    @property
    def swap_most_bytes(self) -> float:
        """The most memory and swap together; infinite without a limit."""
        if not self.memory_bytes or self.swap_bytes < 0:
            return math.inf
        return self.swap_bytes or 2 * self.memory_bytes

    @property
    def controllers(self) -> frozenset[str]:
        """The kernel's controllers that hold what is limited: memory, cpu, cpuset."""
        asked = {
            "memory": self.memory_bytes, "cpu": self.quota_us > 0 or self.shares,
            "cpuset": self.cpus or self.nodes,
        }  # fmt: skip
        return frozenset(name for name, wanted in asked.items() if wanted)

    def __bool__(self) -> bool:
        """True if anything is limited."""
        return bool(self.controllers)


def processors() -> float:
    """How many processors' time the process may use at once, more than 0; infinite without a limit."""
    least = math.inf
    for group in _groups("cpu"):
        words = _text(group / "cpu.max").split()
        words = words or [_text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us")]
        quota, period = (*map(_number, words), 0, 0)[:2]
        if quota and period:
            least = min(least, quota / period)
    return least


def threads(most: int = 16) -> int:
    """How many threads can work at once: of the processors that the process is given, 1 to `most`."""
    return max(1, min(most, len(os.sched_getaffinity(0)), math.ceil(min(processors(), most))))


def memory_limit() -> float:
    """The least limit of the groups, in bytes; infinite without one."""
    return min(map(_limit, _groups("memory")), default=math.inf)


def memory_left() -> float:
    """Bytes that the groups leave to the process; infinite without a limit."""
    left = math.inf
    for group in _groups("memory"):
        # above memory.high nothing is killed, but all becomes slow
        limit = min(_limit(group), _number(_text(group / "memory.high")) or math.inf)
        used = _text(group / "memory.current") or _text(group / "memory.usage_in_bytes")
        if limit < _NO_LIMIT and used.isdigit():
            left = min(left, max(0, limit - max(0, _number(used) - _unused(group))))
    return left


class OutOfMemory:
    """How often the kernel has killed processes for want of memory, as counted when this was made."""

    def __init__(self, groups: Iterable[Path] = ()) -> None:
        """Begin to watch the first of some groups, the others are around it; without any, this process's."""
        # those around it count what others in them lose, too: theirs are the limits only
        self._given = tuple(groups)
        self._group = next(self._watched(), None)
        self._before = self._kills()

    def _watched(self) -> Iterator[Path]:
        """Those that count; looked up one by one, for every step asks, and hardly any is told."""
        return (g for g in self._given or _groups("memory") if any(_text(g / name) for name in _COUNTS))

    def told(self, whose: str = "its cgroup") -> str:
        """What to tell of it since this was asked last, in one line; '' if nothing was killed.

        Args:
            whose: the limit's owner, in words.
        """
        before, self._before = self._before, self._kills()
        if self._before <= before:
            return ""
        limit = min(map(_limit, self._watched()), default=math.inf)
        if limit == math.inf:
            return f"{KILLED}the machine has no more"
        return f"{KILLED}the limit of {limit / (1 << 20):.0f} MiB of {whose} was reached"

    def _kills(self) -> int:
        group = self._group
        return max(_field(group / name, "oom_kill") for name in _COUNTS) if group else 0


def own_group(controller: str) -> str:
    """The path of the process's group in a controller's hierarchy, as far as it is there; '' for the top."""
    for base, at in _own(controller):
        return next((str(f) for f in (at, *at.parents) if (base / f).is_dir() and f != Path()), "")
    return ""


def _own(controller: str) -> Iterator[tuple[Path, Path]]:
    """The hierarchies that may have a controller, and the process's group in each."""
    for line in _text(_OWN).splitlines():
        _, names, path = (*line.split(":", 2), "", "")[:3]
        if names and controller not in names.split(","):
            continue
        base = _ROOT / names if names else _ROOT
        base = base if base.is_dir() else _ROOT / controller
        at = Path(path.lstrip("/"))
        if ".." in at.parts:  # above the root of the namespace: of that nothing is seen
            at = Path()
        yield base, at


def _groups(controller: str) -> Iterator[Path]:
    """The folders of the process's groups that have a controller, the innermost first."""
    for base, at in _own(controller):
        for folder in dict.fromkeys((at, *at.parents)):
            if (base / folder).is_dir():
                yield base / folder


def _limit(group: Path) -> float:
    found = _text(group / "memory.max") or _text(group / "memory.limit_in_bytes")
    number = _number(found)
    return number if found.isdigit() and number < _NO_LIMIT else math.inf


def _unused(group: Path) -> int:
    """Bytes of files' pages that the kernel takes first, those of groups below included."""
    for name in ("total_inactive_file", "inactive_file"):  # the old kind's, the other's
        if found := _field(group / "memory.stat", name):
            return found
    return 0


def _field(path: Path, name: str) -> int:
    """The number beside a name; 0 where there is none."""
    for line in _text(path).splitlines():
        found, _, number = line.partition(" ")
        if found == name:
            return _number(number)
    return 0


def _number(text: str) -> int:
    """A number that the kernel can mean; 0 for whatever else is written."""
    return int(text) if text.isdigit() and len(text) <= 20 else 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except (OSError, ValueError):
        return ""
