"""Terminals that a step behind a chroot makes for itself: /dev/ptmx, and /dev/pts/N of what came of that.

Why: programs that have one where they can leave other files where not; apt its log of what packages said.
A devpts cannot be mounted, so they are of the container's, where those of others are too. Of each that the
step makes the file of its other end is kept by a descriptor, and that is what its number stands for. The
kernel takes that file's only name away when the terminal ends; who holds it need not be asked, and of a
process that changed its ids could not be.
Imports the standard library and its neighbours only: the warden uses it.
Spec: pty(7), ioctl_tty(2), devpts in the kernel's filesystems documentation.
Trust: numbers are the step's word. One that was given back may be another's by now: what is opened is the
file that was kept, never a path by the step's number; an ended one answers EIO.
Threads: one, the warden's.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct

from imagesmith.worker.sandbox.chroot_caller import Callers, Ids

__all__ = ["Ptys"]

_MASTER = (5, 2)
_SLAVES = 136
_TIOCGPTN = 0x80045430


class Ptys:
    """The terminals of one step."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers
        self._ends: dict[str, int] = {}

    def open(self, name: str, flags: int, ids: Ids) -> int:
        """Open `ptmx`, or one of the step's by its number, for a thread.

        Raises:
            OSError: ENOENT if it is none of the step's; EIO if it has just ended.
        """
        path = "/dev/ptmx"
        if name != "ptmx":
            self.check(name)
            path = f"/proc/self/fd/{self._ends[name]}"
        with self._callers.acting_as(ids):
            fd = os.open(path, flags | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        if name == "ptmx":
            try:
                self._keep(fd)
            except BaseException:
                os.close(fd)
                raise
        return fd

    def check(self, number: str) -> None:
        """Raise ENOENT unless a terminal of the step has the number."""
        end = self._ends.get(number, -1)
        if end < 0 or not os.fstat(end).st_nlink:
            raise FileNotFoundError(errno.ENOENT, "not the step's")

    def _keep(self, master: int) -> None:
        """Keep the file of a new terminal's other end, and none of those that have ended."""
        if _device(master) != _MASTER:
            raise FileNotFoundError(errno.ENOENT, "no terminal")
        for ended in [n for n, fd in self._ends.items() if not os.fstat(fd).st_nlink]:
            os.close(self._ends.pop(ended))
        number = struct.unpack("I", fcntl.ioctl(master, _TIOCGPTN, bytes(4)))[0]
        end = os.open(f"/dev/pts/{number}", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        if _device(end) != (_SLAVES + number // 256, number % 256):
            os.close(end)
            raise FileNotFoundError(errno.ENOENT, "no terminal")
        self._ends[str(number)] = end


def _device(fd: int) -> tuple[int, int]:
    """The numbers of a character device; none of something else."""
    st = os.fstat(fd)
    return (os.major(st.st_rdev), os.minor(st.st_rdev)) if stat.S_ISCHR(st.st_mode) else (-1, -1)
