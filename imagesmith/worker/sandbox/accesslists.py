"""Access lists on files of layers that are mounted from a file: each is copied up before it gets one.

Why: overlayfs asks the file as it is for the operation that sets access lists, and EROFS has none, being
read-only: so setfacl of what a base image holds, or an earlier step made, is refused, where it works on
layers of any other file system. A seccomp filter hands over the calls that set attributes; for one that is
an access list the file is copied up, and then the kernel goes on. No other call is slower for it.
Imports the standard library and its neighbours only: the helper uses it, and reads what answers when the
first call comes. The helper itself answers: a supervisor would take a fork for each step.
Spec: seccomp_unotify(2), setxattr(2); ovl_set_acl of Linux.
Trust: arguments are the step's, hostile. Nothing of a file is changed but its time of change: a folder is
given to nobody, a file is opened for writing, and only for its owner or root.
Threads: one, the helper's.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import stat
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagesmith.worker.sandbox.execs import Starts
    from imagesmith.worker.sandbox.notify import Listener

__all__ = ["AccessLists", "lists_filter"]

_CALLS = ("setxattr", "lsetxattr", "fsetxattr")
_EXECS = ("execve", "execveat")
_NAME = b"system.posix_acl_"


def lists_filter(*, execs: bool = False) -> bytes:
    """The filter that hands over what sets attributes; empty if the machine is not known.

    execs: and what starts programs, for those that an emulator runs (execs.py).
    """
    from imagesmith.worker.sandbox import seccomp
    from imagesmith.worker.sandbox.seccomp import ALLOW, NOTIFY
    from imagesmith.worker.sandbox.syscalls import numbers

    found = seccomp.machines()
    if not found or found[0] == "i386":
        return b""
    names = (*_CALLS, *(_EXECS if execs else ()))
    return seccomp.assemble(
        (
            (m, seccomp.switch(dict.fromkeys((numbers(m)[name] for name in names), NOTIFY), ALLOW))
            for m in found
        ),
        ALLOW,
    )


class AccessLists:
    """Answers the calls of one step; `fd` is to be polled, -1 when none comes any more."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._ours, self._theirs = socket.socketpair()
        plan["listener"] = self._theirs.fileno()
        self.fd = self._ours.fileno()
        self._listener: Listener | None = None
        self._starts: Starts | None = None
        if plan["emulators"]:
            from imagesmith.worker.sandbox.execs import Starts

            self._starts = Starts(plan["emulators"])

    def forked(self) -> None:
        """The step has its end of the socket."""
        self._theirs.close()

    def turn(self) -> None:
        """Receive the listener, or answer one call."""
        if self._listener is None:
            from imagesmith.worker.sandbox.notify import listener_of

            self._listener = listener_of(self._ours)
            self.fd = -1 if self._listener is None else self._listener.fileno()
            return
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        if not poll.poll(0)[0][1] & select.POLLIN:  # nobody is left who could make one
            self.close()
            return
        call = self._listener.receive()
        if call is not None:
            number, tid, arch, nr, args = call
            if self._starts is not None and self._starts.answer(self._listener, call):
                return
            with contextlib.suppress(OSError):  # the kernel says what is wrong
                self._look(tid, arch, nr, args)
            self._listener.let(number)

    def close(self) -> None:
        """Close what is polled."""
        if self.fd >= 0:
            os.close(self.fd)
            if self._listener is None:
                self._ours.detach()
            self.fd = -1
        if self._starts is not None:
            self._starts.close()
            self._starts = None

    def _look(self, tid: int, arch: int, nr: int, a: tuple[int, ...]) -> None:
        from imagesmith.worker.sandbox.seccomp import ARCHES, machines
        from imagesmith.worker.sandbox.syscalls import numbers
        from imagesmith.worker.sandbox.unotify_task import AT_FDCWD, Tasks, signed

        tasks = Tasks()
        name = next(n for m in machines() for n in _CALLS if (ARCHES[m], numbers(m)[n]) == (arch, nr))
        try:
            if not tasks.path(tid, a[1]).startswith(_NAME):
                return
            if name == "fsetxattr":
                fd = tasks.open_fd(tid, signed(a[0]))
            else:
                fd = tasks.open(tid, AT_FDCWD, tasks.path(tid, a[0]), follow=name == "setxattr")
            try:
                _copy_up(fd, os.stat(f"/proc/{tid}").st_uid)
            finally:
                os.close(fd)
        finally:
            tasks.close()  # its root must not be held when it has ended


def _copy_up(fd: int, user: int) -> None:
    """Have overlayfs copy a file or folder up, if it is the user's to change."""
    st, path = os.fstat(fd), f"/proc/self/fd/{fd}"
    if user not in (0, st.st_uid):
        return
    if stat.S_ISDIR(st.st_mode):
        os.chown(path, -1, -1)
    elif stat.S_ISREG(st.st_mode):
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
