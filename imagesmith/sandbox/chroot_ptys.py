"""Terminals that a step behind a chroot makes for itself: /dev/ptmx, and /dev/pts/N of what came of that.

Why: programs that have one where they can leave other files where not; apt its log of what packages said.
A devpts cannot be mounted, so they are of the container's, where those of others are too. One is opened by
its number only while a process of the step holds its other end, which the kernel tells of each descriptor.
Imports the standard library and its neighbours only: the warden uses it.
Spec: pty(7), devpts in the kernel's filesystems documentation; proc(5), fdinfo's tty-index.
Trust: numbers are the step's word. One that was given back may be another's by now: who holds it is asked
before and after it is opened.
Threads: one, the warden's.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from imagesmith.sandbox.chroot_caller import Callers, Ids
from imagesmith.sandbox.signals import Family

__all__ = ["Ptys"]

_MASTER = (5, 2)
_SLAVES = range(136, 144)


class Ptys:
    """The terminals of one step."""

    def __init__(self, callers: Callers, family: Family) -> None:
        self._callers, self._family = callers, family
        self._made = False

    def open(self, name: str, flags: int, ids: Ids) -> int:
        """Open `ptmx`, or one of the step's by its number, for a thread.

        Raises:
            OSError: ENOENT if it is none of the step's.
        """
        if name != "ptmx":
            self.check(name)
        path = "/dev/ptmx" if name == "ptmx" else f"/dev/pts/{name}"
        with self._callers.acting_as(ids):
            fd = os.open(path, flags | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            st = os.fstat(fd)
            device = os.major(st.st_rdev), os.minor(st.st_rdev)
            if not stat.S_ISCHR(st.st_mode) or (device != _MASTER and device[0] not in _SLAVES):
                raise FileNotFoundError(errno.ENOENT, "no terminal")
            if name != "ptmx":
                self.check(name)
            self._made = True
        except BaseException:
            os.close(fd)
            raise
        return fd

    def check(self, number: str) -> None:
        """Raise ENOENT unless a process of the step holds the other end of a terminal."""
        if not self._made or not any(self._holds(pid, number) for pid in self._family.members()):
            raise FileNotFoundError(errno.ENOENT, "not the step's")

    def _holds(self, pid: int, number: str) -> bool:
        """True if a process has the other end of a terminal open."""
        line = f"\ntty-index:\t{number}\n"
        with contextlib.suppress(OSError), self._callers.acting_as(self._callers.ids(pid)):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    if os.readlink(f"/proc/{pid}/fd/{fd}").endswith("ptmx"):
                        with open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii", errors="replace") as f:
                            if line in f.read():
                                return True
        return False
