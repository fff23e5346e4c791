"""The ends of a step's processes behind a chroot, as its warden sees them (initchroot.py).

Why a subreaper: a step's strays become the warden's children, whatever they forked, so it can kill them all.
Where an emulator runs the step's programs, all are traced (tracing.py), for a warden has not the right to
begin with each of them later; then it also hears when one stops.
Imports the standard library only: the warden uses it.
Spec: prctl(2), PR_SET_CHILD_SUBREAPER; ptrace(2); signalfd(2).
Trust: nothing is read but pids.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

from imagesmith.worker.sandbox import kernel as k

if TYPE_CHECKING:
    from imagesmith.worker.sandbox.tracing import Traced

__all__ = ["Ends", "children"]


def children() -> list[int]:
    """The pids of this process's children, those that it took over among them."""
    pid = os.getpid()
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            return [int(word) for word in f.read().split()]
    except OSError:  # a kernel without that file
        return [p for p in map(int, filter(str.isdigit, os.listdir("/proc"))) if _parent(p) == pid]


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as f:
            return int(f.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0


class Ends:
    """Those of one step. `traced`: trace them; then `fd` is to be polled, else it is -1."""

    def __init__(self, *, traced: bool) -> None:
        self.traced: Traced | None = None
        self.fd = -1
        if traced:  # no handler, which would interrupt the answer to a call
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
            self.fd = k.signal_fd(signal.SIGCHLD)

    def begin(self, pid: int) -> None:
        """The step's first process waits, and may be traced."""
        if self.fd >= 0:
            from imagesmith.worker.sandbox.tracing import Traced  # read by the helper

            try:
                self.traced = Traced(pid)
            except OSError as e:
                what = "programs of another architecture take ptrace, which is refused here"
                raise OSError(e.errno, what) from e

    def turn(self) -> None:
        """Something has stopped, or ended."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 4096)
        if self.traced is not None:
            self.traced.turn()

    def status(self, pid: int) -> int:
        """Wait for the step's first process; returns its status."""
        if self.traced is None:
            return os.waitpid(pid, 0)[1]
        while self.traced.status < 0:
            self.traced.turn(wait=True)
        return self.traced.status

    def kill_all(self) -> None:
        """Kill and bury all that is left."""
        while pids := children():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if self.traced is not None:
                self.traced.turn(wait=True)
                continue
            for pid in pids:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)
