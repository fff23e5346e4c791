"""What keeps a step behind a chroot to its own processes: the rest of its filter, and who it may signal.

Why: there is no pid namespace, so it sees the pids of all. Where the kernel has Landlock's scopes (6.12, see
kernel.confine) they hold signals, ptrace and abstract sockets. Elsewhere ptrace may not begin from outside,
and a supervisor looks at every signal: a filter cannot, for it knows no parents. Abstract sockets stay; so
there a step is the only one (native.py).

    refused       limits of other processes; without scopes to attach by ptrace, to read or write another's
                  memory, and the ways to signal that are not a call's plain arguments
    handed over   without scopes kill and its like, and the owner of a file's signals (F_SETOWN)

A step's own processes are those below its warden (initchroot.py), a child of the helper that the supervisor
is a child of as well. Nothing else can come below it, and what leaves it is killed.
Imports the standard library and its neighbours only: the supervisor is forked by the helper.
Spec: kill(2), fcntl(2), ptrace(2), prlimit(2).
Trust: arguments are the step's, hostile, but in registers: what was looked at is what the kernel then does.
A pid may end and be given to another process in between; nobody chooses when, or to which.
Threads: one; a process of its own.
"""

from __future__ import annotations

import errno
import os
import socket

from imagesmith.sandbox import seccomp
from imagesmith.sandbox.faked_task import signed
from imagesmith.sandbox.notify import listener_of
from imagesmith.sandbox.seccomp import ALLOW, ARCHES, NOTIFY, Code
from imagesmith.sandbox.syscalls import Machine, numbers

__all__ = ["chroot_filter", "serve_signals", "signal_filter"]

_PTRACE_ATTACH, _PTRACE_SEIZE = 16, 0x4206
_F_SETOWN, _F_SETOWN_EX = 8, 15
_FIOSETOWN, _SIOCSPGRP = 0x8901, 0x8902
_KILLS = ("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo")
_FCNTLS = ("fcntl", "fcntl64")


def chroot_filter(*, scoped: bool) -> bytes:
    """Docker's filter with what a step behind a chroot may not do besides; empty if the machine is not known.

    Args:
        scoped: Landlock holds signals, ptrace and abstract sockets.
    """
    return seccomp.docker_filter(more=lambda machine: _refused(machine, scoped))


def signal_filter() -> bytes:
    """The filter that hands signals over to `serve_signals`; empty if the machine is not known."""
    found = seccomp.machines()
    return seccomp.assemble(((m, _handed_over(m)) for m in found), ALLOW) if found else b""


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


def _handed_over(machine: Machine) -> Code:
    known = numbers(machine)
    code: Code = []
    for name in _FCNTLS:
        if name in known:
            owner = seccomp.equal(_F_SETOWN, seccomp.result(NOTIFY))
            code += seccomp.equal(known[name], seccomp.load(24) + owner + seccomp.result(ALLOW))
    return code + seccomp.switch({known[name]: NOTIFY for name in _KILLS}, ALLOW)


# --- the supervisor ----------------------------------------------------------------------------


def serve_signals(sock: socket.socket) -> None:
    """Be the supervisor of one step, whose listener comes on the socket."""
    listener = listener_of(sock)
    if listener is None:
        return
    names = {
        (ARCHES[m], numbers(m)[name]): name
        for m in seccomp.machines() for name in (*_KILLS, *_FCNTLS) if name in numbers(m)
    }  # fmt: skip
    family = _Family(os.getppid())
    for number, tid, arch, nr, args in listener.calls():
        name = names[arch, nr]
        try:
            _check(family, tid, name, signed(args[2 if name in _FCNTLS else 0]))
        except OSError as e:
            listener.answer(number, error=e.errno or errno.EPERM)
        else:
            listener.let(number)


def _check(family: _Family, tid: int, name: str, target: int) -> None:
    """Raise what the kernel would, unless all that the call is about is the caller's own."""
    if target > 0 or name not in ("kill", *_FCNTLS):
        family.check(tid, target)
    elif target < -1:
        family.check(tid, _member(-target))
    elif target == -1:
        raise PermissionError(errno.EPERM, "everybody is not the step's")


class _Family:
    """Who belongs to which step."""

    def __init__(self, helper: int) -> None:
        self._helper = helper

    def check(self, tid: int, target: int) -> None:
        """Raise ESRCH if there is no such thread, EPERM if it is not one of the caller's step."""
        warden = self._warden(target)
        if target == warden or warden != self._warden(tid):
            raise PermissionError(errno.EPERM, "not the step's")

    def _warden(self, tid: int) -> int:
        """The child of the helper that a thread is below, or is; 0 if there is none."""
        while tid:
            above = _stat(tid)[1]
            if above == self._helper:
                return tid
            tid = above
        return 0


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
