"""A secret behind a chroot: a file that holds its bytes only while a process of the step has it open.

Why: without mount(2) a file that the step can open by its name lies on a disk, and if all processes are
killed at once nobody is left to wipe it. So it has its size and mode, and zeros in place of the bytes, under
a lease: the kernel lets who opens it wait until the warden has put the bytes there. When nobody has it open
any more the warden gets the lease back, and takes them away.
What differs from a plain file: who opens it without waiting (O_NONBLOCK) is told to try again. Where leases
are refused, as by some file systems, the bytes stay until the step has ended.
Imports the standard library only, as initchroot.py does.
Spec: fcntl(2), leases.
Trust: the step may do to the file what it likes; all is done by the descriptor of the one that was made.
Threads: one, the warden's.
"""

from __future__ import annotations

import fcntl
import os
import signal
from typing import Any

__all__ = ["Secret", "Secrets"]

_PATIENCE_MS = 20


class Secret:
    """One file, of which `fd` is the only open descriptor; it is closed at the end."""

    def __init__(self, fd: int, m: dict[str, Any]) -> None:
        self._fd, self._data = fd, bytes(m["data"])
        os.ftruncate(fd, len(self._data))
        self.empty = self._lease()
        if not self.empty:
            self._fill()
        os.fchown(fd, m["uid"], m["gid"])
        os.fchmod(fd, m["mode"])

    def turn(self) -> None:
        """Fill it if somebody waits for it, empty it if nobody has it open."""
        if not self.empty:
            self.empty = self._lease()
            if self.empty:
                self._wipe()
        elif fcntl.fcntl(self._fd, fcntl.F_GETLEASE) != fcntl.F_WRLCK:
            self._fill()
            self.empty = not self._lease(fcntl.F_UNLCK)

    def end(self) -> None:
        """Leave no bytes of it, wherever the step has put the file."""
        try:
            self._wipe()
            os.ftruncate(self._fd, 0)
        finally:
            os.close(self._fd)

    def _lease(self, kind: int = fcntl.F_WRLCK) -> bool:
        """Have the kernel ask before somebody opens it; False if somebody has, or if it does not do that."""
        os.seteuid(os.fstat(self._fd).st_uid)  # leases are the owner's, and root may lack CAP_LEASE
        try:
            fcntl.fcntl(self._fd, fcntl.F_SETLEASE, kind)
        except OSError:
            return False
        finally:
            os.seteuid(0)
        return True

    def _fill(self) -> None:
        st = os.fstat(self._fd)
        left, at = memoryview(self._data), 0
        while at < len(left):
            at += os.pwrite(self._fd, left[at:], at)
        os.utime(self._fd, ns=(st.st_atime_ns, st.st_mtime_ns))

    def _wipe(self) -> None:
        """Give its pages up; written over they would be zeros too in a pipe that they were spliced into."""
        st = os.fstat(self._fd)
        os.ftruncate(self._fd, 0)
        os.ftruncate(self._fd, len(self._data))
        os.utime(self._fd, ns=(st.st_atime_ns, st.st_mtime_ns))


class Secrets:
    """The secrets of one step. A signal, as the kernel's when somebody waits, makes `asked` readable."""

    def __init__(self) -> None:
        self._all: list[Secret] = []
        self.asked, ask = os.pipe()
        os.set_blocking(ask, False)
        os.set_blocking(self.asked, False)
        signal.signal(signal.SIGIO, lambda *_: None)
        signal.set_wakeup_fd(ask, warn_on_full_buffer=False)  # a handler would come after the poll that waits

    def add(self, fd: int, m: dict[str, Any]) -> Secret:
        """Make one of a new and empty file, which must be root's."""
        secret = Secret(fd, m)
        self._all.append(secret)
        return secret

    @property
    def patience_ms(self) -> int | None:
        """How long to wait until `turn` is called all the same; None for ever."""
        return None if all(s.empty for s in self._all) else _PATIENCE_MS

    def turn(self) -> None:
        """See Secret."""
        try:
            os.read(self.asked, 4096)
        except BlockingIOError:
            pass  # it is time only
        for secret in self._all:
            secret.turn()
