"""What a step's processes hold of memory together, where no cgroup counts it, as /proc tells it.

Why not a limit of each process: a compiler that forks takes each anew. Why whole steps end: whatever is left
of one whose process was killed may go on for hours. What several processes share counts once: first all of
it is summed up, which is cheap and too much; only where that is above the limit are the kernel's shares read.
What lies in the step's own tmpfs counts as well. Files that are cached do not: the kernel gives them back.
Imports the standard library only: the helper uses it.
Spec: proc_pid_status(5), proc_pid_smaps(5), proc_pid_mountinfo(5).
Trust: a step chooses the names of its processes and of mount points: numbers are read behind them, and a path
is looked at only if the file system there is the one that the kernel says.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

__all__ = ["MemoryWatch", "family"]

#: How long (seconds) between two looks: at least, at most, and so many times what one takes.
_LEAST_S, _MOST_S, _RATIO = 0.02, 0.5, 10


def family(pid: int) -> list[int]:
    """All that a process has started and that is there, itself not included."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            children.setdefault(_parent(name), []).append(int(name))
    found, left = [], [pid]
    while left:
        below = children.pop(left.pop(), [])
        found += below
        left += below
    return found


def _parent(pid: str) -> int:
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as f:
            return int(f.read().rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return -1


class MemoryWatch:
    """Looks at one step.

    pid           its first process, or the warden of it
    memory_bytes  the limit
    swap_bytes    that of memory and swap together; 0 for none
    warden        the process is none of the step's
    wait_s        how long until the next look
    """

    def __init__(self, pid: int, memory_bytes: int, swap_bytes: int, *, warden: bool) -> None:
        self._pid, self._memory, self._swap, self._warden = pid, memory_bytes, swap_bytes, warden
        self._own = _program("self")
        self._next = time.monotonic()

    @property
    def wait_s(self) -> float:
        """See the class."""
        return max(0.0, self._next - time.monotonic())

    def over(self) -> bool:
        """True if the step holds more than it may; False also while it is not yet time to look."""
        began = time.monotonic()
        if began < self._next:
            return False
        pids = [*([] if self._warden else [self._pid]), *family(self._pid)]
        room = _in_memory(pids)
        found = self._is_over(map(_held, pids), room) and self._is_over(map(self._share, pids), room)
        now = time.monotonic()
        self._next = now + min(_MOST_S, max(_LEAST_S, _RATIO * (now - began)))
        return found

    def _is_over(self, held: Iterator[tuple[int, int, int]], room: int) -> bool:
        """Whether private memory, shared memory and swap, of each process, are too much together."""
        private = shared = swapped = 0
        for one in held:
            private, shared, swapped = private + one[0], shared + one[1], swapped + one[2]
        memory = private + max(shared, room)  # what is mapped of a tmpfs is both
        return memory > self._memory or (bool(self._swap) and memory + swapped > self._swap)

    def _share(self, pid: int) -> tuple[int, int, int]:
        """A process's share of what it holds; nothing of one that is still the helper's own program."""
        if _program(str(pid)) == self._own:
            return 0, 0, 0
        found = _fields(f"/proc/{pid}/smaps_rollup")
        if not found:
            return _held(pid)
        return found.get("Pss_Anon", 0), found.get("Pss_Shmem", 0), found.get("SwapPss", 0)


def _in_memory(pids: list[int]) -> int:
    """What lies in file systems in memory that only these processes have."""
    sizes: dict[str, int] = {}
    spaces = {_space("self"), ""}
    ours: set[str] = set()
    for pid in pids:
        space = _space(str(pid))
        if space in spaces:
            continue
        spaces.add(space)
        ours = ours or {row[2] for row in _mounts("self")}
        for row in _mounts(str(pid)):
            device, top, at = row[2], row[3], row[4]
            if "tmpfs" in row[6:] and top == "/" and at != "/" and device not in ours:
                sizes[device] = _used(f"/proc/{pid}/root{_unescaped(at)}", device)
    return sum(sizes.values())


def _space(pid: str) -> str:
    """The mount namespace of a process; empty where it has ended, or may not be looked at."""
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt")
    except OSError:
        return ""


def _used(path: str, device: str) -> int:
    """How much lies in a file system; 0 where another one is at the path."""
    try:
        number = os.stat(path, follow_symlinks=False).st_dev
        found = os.statvfs(path)
    except OSError:
        return 0
    is_it = f"{os.major(number)}:{os.minor(number)}" == device
    return (found.f_blocks - found.f_bfree) * found.f_frsize if is_it else 0


def _unescaped(text: str) -> str:
    """A path of mountinfo, which writes blanks and backslashes as octal numbers."""
    for code, sign in (("040", " "), ("011", "\t"), ("012", "\n"), ("134", "\\")):
        text = text.replace(f"\\{code}", sign)
    return text


def _mounts(pid: str) -> list[list[str]]:
    try:
        with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as f:
            return [row for row in (line.split() for line in f) if len(row) > 6]
    except OSError:
        return []


def _program(pid: str) -> tuple[int, int]:
    try:
        found = os.stat(f"/proc/{pid}/exe")
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


def _held(pid: int) -> tuple[int, int, int]:
    """All that a process holds, with what it shares: private, shared, swapped."""
    found = _fields(f"/proc/{pid}/status")
    return found.get("RssAnon", 0), found.get("RssShmem", 0), found.get("VmSwap", 0)


def _fields(path: str) -> dict[str, int]:
    """The sizes in a file of the kernel's, in bytes by their names."""
    out = {}
    try:
        with open(path, encoding="latin-1") as f:
            for line in f:
                words = line.split()
                if len(words) == 3 and words[2] == "kB" and words[1].isdigit():
                    out[words[0].rstrip(":")] = int(words[1]) << 10
    except OSError:
        return {}
    return out
