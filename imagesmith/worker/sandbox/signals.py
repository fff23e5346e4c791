"""What keeps a step behind a chroot to its own processes: the rest of its filter, and who it may signal.

Why: there is no pid namespace, so it sees the pids of all. Where the kernel has Landlock's scopes (6.12, see
kernel.confine) they hold signals, ptrace and abstract sockets. Elsewhere ptrace may not begin from outside,
and the warden looks at every signal (chroot_calls.py): a filter cannot, for it knows no parents. Abstract
sockets stay; so there a step is the only one (native.py).

    refused       limits of other processes; without scopes to attach by ptrace, to read or write another's
                  memory, and the ways to signal that are not a call's plain arguments
    handed over   without scopes kill and its like, and the owner of a file's signals (F_SETOWN)

A step's own processes are those below its warden (initchroot.py). Nothing else can come below it, and what
leaves it is killed.
Imports the standard library and its neighbours only: the warden uses it.
Spec: kill(2), fcntl(2), ptrace(2), prlimit(2).
Trust: arguments are the step's, hostile, but in registers: what was looked at is what the kernel then does.
A pid may end and be given to another process in between; nobody chooses when, or to which.
Threads: one, the warden's.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence

from imagesmith.worker.sandbox import seccomp
from imagesmith.worker.sandbox.notify import signed
from imagesmith.worker.sandbox.seccomp import ALLOW, NOTIFY, Code
from imagesmith.worker.sandbox.syscalls import Machine, numbers

__all__ = ["SIGNALS", "Family", "check_signal", "chroot_filter", "signal_calls", "signals_handed_over"]

_PTRACE_ATTACH, _PTRACE_SEIZE = 16, 0x4206
_F_SETOWN, _F_SETOWN_EX = 8, 15
_FIOSETOWN, _SIOCSPGRP = 0x8901, 0x8902
_KILLS = ("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo")
_FCNTLS = ("fcntl", "fcntl64")
#: The calls that `check_signal` looks at.
SIGNALS = (*_KILLS, *_FCNTLS)


def chroot_filter(*, scoped: bool) -> bytes:
    """Docker's filter with what a step behind a chroot may not do besides; empty if the machine is not known.

    Args:
        scoped: Landlock holds signals, ptrace and abstract sockets.
    """
    return seccomp.docker_filter(more=lambda machine: _refused(machine, scoped))


def signal_calls(machine: Machine) -> dict[str, int]:
    """The calls that `check_signal` looks at, as far as the machine has them."""
    known = numbers(machine)
    return {name: known[name] for name in SIGNALS if name in known}


def _refused(machine: Machine, scoped: bool) -> Code:
    """Begins and ends with the call's number loaded, for what it does not refuse."""
    known, no = numbers(machine), seccomp.result(seccomp.refuse(errno.EPERM))
    number = seccomp.load(0)
    code = seccomp.equal(known["prlimit64"], [*seccomp.load(16), *seccomp.unequal(0, no), *number])
    if scoped:
        return code
    code += seccomp.equal(known["pidfd_send_signal"], seccomp.result(seccomp.refuse(errno.ENOSYS)))
    for name in ("process_vm_readv", "process_vm_writev"):
        code += seccomp.equal(known[name], no)
    for names, argument, values in (
        (("ptrace",), 0, (_PTRACE_ATTACH, _PTRACE_SEIZE)),
        (_FCNTLS, 1, (_F_SETOWN_EX,)),
        (("ioctl",), 1, (_FIOSETOWN, _SIOCSPGRP)),
    ):
        test = seccomp.load(16 + 8 * argument)
        for value in values:
            test = test + seccomp.equal(value, no)
        for name in names:
            if name in known:
                code += seccomp.equal(known[name], test + number)
    return code


def signals_handed_over(machine: Machine) -> Code:
    """Hands those calls over; begins and ends with the call's number loaded."""
    code: Code = []
    for name, number in signal_calls(machine).items():
        handed = seccomp.result(NOTIFY)
        if name in _FCNTLS:
            handed = seccomp.load(24) + seccomp.equal(_F_SETOWN, handed) + seccomp.result(ALLOW)
        code += seccomp.equal(number, handed)
    return code


# --- whom a signal reaches ---------------------------------------------------------------------


def check_signal(family: Family, name: str, args: Sequence[int]) -> None:
    """Raise what the kernel would, unless all that a call is about is the step's own; see `signal_calls`."""
    target = signed(args[2 if name in _FCNTLS else 0])
    if target > 0 or name not in ("kill", *_FCNTLS):
        family.check(target)
    elif target < -1:
        family.check(_member(-target))
    elif target == -1:
        raise PermissionError(errno.EPERM, "everybody is not the step's")


class Family:
    """The processes of one step: those below its warden, which is this process."""

    def __init__(self) -> None:
        self._warden = os.getpid()

    def check(self, target: int) -> None:
        """Raise ESRCH if there is no such thread, EPERM if it is not one of the step."""
        if not self.has(target):
            raise PermissionError(errno.EPERM, "not the step's")

    def has(self, tid: int) -> bool:
        """True if a thread is the step's.

        Raises:
            ProcessLookupError: there is no such thread.
        """
        while tid:
            tid = _stat(tid)[1]
            if tid == self._warden:
                return True
        return False

    def members(self) -> list[int]:
        """The processes of the step."""
        above = {}
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            with contextlib.suppress(ProcessLookupError):
                above[pid] = _stat(pid)[1]
        found = {self._warden}
        while more := {pid for pid, parent in above.items() if parent in found} - found:
            found |= more
        return sorted(found - {self._warden})


def _stat(tid: int) -> tuple[int, int, int]:
    """A thread's number, its process's parent and its group."""
    try:
        with open(f"/proc/{tid}/stat", encoding="latin-1") as f:
            fields = f.read().rpartition(")")[2].split()
        return tid, int(fields[1]), int(fields[2])
    except (OSError, IndexError):
        raise ProcessLookupError(errno.ESRCH, "no such process") from None


def _member(group: int) -> int:
    """A process of a group; the others are of the same session, and so of the same step.

    Raises:
        OSError: ESRCH if there is none.
    """
    for pid in (group, *map(int, filter(str.isdigit, os.listdir("/proc")))):
        try:
            if _stat(pid)[2] == group:
                return pid
        except ProcessLookupError:
            continue
    raise ProcessLookupError(errno.ESRCH, "no such group")
