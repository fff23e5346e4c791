"""What the warden of a step behind a chroot answers in the kernel's stead; chroot_filter.py hands it over.

    signals      on kernels without scopes: who is signalled has to be of the step (signals.py)
    names        of files: those in /proc and /dev/fd (chroot_proc.py, chroot_files.py)
    uname        says the step's host name, which the machine keeps root from setting
    execve       of a set-uid program, where no program gains rights; and chroot: refused, and told at the end

Why the warden and no process of its own: that one would take a fork for each step, which is more than what a
short step's calls cost.
Cost: 8 us for each of the others, of which a shell's start has ten; see chroot_proc.py.
Imports the standard library and its neighbours only: the warden uses it.
Spec: seccomp_unotify(2).
Trust: calls and their arguments are the step's, hostile. A call that goes on is the kernel's, in the chroot,
whatever its arguments are by then. What cannot be read goes on too.
Threads: one, the warden's.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from imagesmith.worker.sandbox import kernel as k
from imagesmith.worker.sandbox import seccomp
from imagesmith.worker.sandbox.chroot_caller import Callers
from imagesmith.worker.sandbox.chroot_changes import AllCalls
from imagesmith.worker.sandbox.chroot_files import Args, Opened
from imagesmith.worker.sandbox.chroot_filter import OTHERS, call_table
from imagesmith.worker.sandbox.chroot_proc import DEVICES, PREFIXES, Names
from imagesmith.worker.sandbox.initproc import ProcFolder
from imagesmith.worker.sandbox.notify import Listener, listener_of, signed
from imagesmith.worker.sandbox.signals import SIGNALS, Family, check_signal
from imagesmith.worker.sandbox.unotify_task import AT_FDCWD

if TYPE_CHECKING:
    from imagesmith.worker.sandbox.execs import Execs
    from imagesmith.worker.sandbox.tracing import Traced

__all__ = ["ChrootCalls", "prepare"]

_ALIKE = {"faccessat2": "faccessat", "fchmodat2": "fchmodat"}
_FIELD = 65
_X86_64, _EXECS = 0xC000003E, ("execve", "execveat")
_GAINED = "ran without the rights of its set-uid or set-gid mark, which RUN --security=insecure would give it"

Handler = Callable[[int, Args], int | Opened | None]


@cache
def _names() -> tuple[bytes, bytes]:
    """What uname tells of the machine, before and after its own name."""
    told = os.uname()
    fields = (told.sysname, told.release, told.version, told.machine, "(none)")
    first, *others = (os.fsencode(field)[: _FIELD - 1].ljust(_FIELD, b"\0") for field in fields)
    return first, b"".join(others)


def prepare() -> None:
    """Work out once, in the process that forks wardens, what all of them need."""
    call_table()
    _names()
    Callers()
    for name in ("capset", "seccomp"):
        k.number_of(name)


class ChrootCalls:
    """Answers the calls of one step.

    root       its root folder, without links
    host_name  its name
    proc       its folder at /proc
    real_devices    what is in its /dev can be opened; else that of the container is
    """

    def __init__(self, root: str, host_name: str, proc: ProcFolder, *, real_devices: bool) -> None:
        #: What runs programs of other architectures, and the processes that start them (execs.py).
        self.emulators: Sequence[Mapping[str, Any]] = ()
        self.traced: Traced | None = None
        self._execs: Execs | None = None
        #: What differed from a step that root runs natively, each once.
        self.notes: dict[str, None] = {}
        self._host_name = host_name
        self._callers, self._family = Callers(root), Family()
        self._names = Names(self._callers, self._family, root, host_name)
        self._prefixes = PREFIXES if real_devices else (*PREFIXES, *DEVICES)
        self._listener: Listener | None = None
        self._number = 0
        self._table = call_table()
        self._callers.pending = self._is_pending
        self._files = AllCalls(self._callers, self._family, self._names, proc, root, seccomp.machines()[0])
        self._made: dict[str, Handler] = {}

    def take(self, sock: socket.socket) -> int:
        """Receive the listener; returns the descriptor to poll, -1 if there is none."""
        self._listener = listener_of(sock)
        if self._listener is None:
            self.notes["/proc is empty: something around this container answers calls already"] = None
            return -1
        return self._listener.fileno()

    def turn(self) -> None:
        """Answer one call."""
        listener = self._listener
        call = listener.receive() if listener is not None else None
        if listener is None or call is None:
            return
        self._number, tid, arch, nr, args = call
        at, name = self._table[arch, nr]
        if self.emulators and arch == _X86_64 and name in _EXECS:
            self._starts().answer(listener, self._number, tid, nr, args)
            return
        begins = self._callers.begins(tid, args[at]) if at >= 0 else b""
        if at >= 0 and not begins.startswith(self._prefixes):
            if begins or not name.startswith("open") or not self._opens_terminal(tid, args, at):
                listener.let(self._number)
            return
        try:
            found = (self._made.get(name) or self._handler(name))(tid, args)
        except OSError as e:
            listener.answer(self._number, error=e.errno or errno.EIO)
            return
        if found is None:
            listener.let(self._number)
        elif isinstance(found, Opened):
            self._hand(found)
        else:
            listener.answer(self._number, found)

    def _starts(self) -> Execs:
        """Who starts programs."""
        if self._execs is None:
            from imagesmith.worker.sandbox.execs import Execs  # read by the helper
            from imagesmith.worker.sandbox.foreign import Kind

            emulators = {Kind(*e["kind"]): e["fd"] for e in self.emulators}
            callers = self._callers
            self._execs = Execs(
                emulators, callers, lambda tid: callers.acting_as(callers.ids(tid)), self.traced
            )
        return self._execs

    def _opens_terminal(self, tid: int, a: Args, at: int) -> bool:
        """Answer one whose memory cannot be read, if its parent has the name of a terminal at that place.

        As apt, which was another user for a moment: what it forks opens the terminal of its log.
        """
        path = self._callers.as_parent(tid, a[at])
        if not path.startswith(b"/dev/pts/") or self._listener is None:
            return False
        try:
            opened = self._files.open_terminal(tid, path, a[at + 1] & 0xFFFFFFFF)
        except OSError:
            return False
        if opened is None:
            return False
        self._hand(opened)
        return True

    def _hand(self, opened: Opened) -> None:
        assert self._listener is not None
        try:
            self._listener.hand(self._number, opened.fd, os.O_CLOEXEC if opened.cloexec else 0)
        finally:
            os.close(opened.fd)

    def _handler(self, name: str) -> Handler:
        if name in SIGNALS:
            found: Handler = lambda _, a: check_signal(self._family, name, a)  # noqa: E731
        else:
            found = getattr(self if name in OTHERS else self._files, _ALIKE.get(name, name))
        self._made[name] = found
        return found

    def _is_pending(self) -> bool:
        return self._listener is not None and self._listener.pending(self._number)

    # --- what is no file -----------------------------------------------------------------------

    def uname(self, tid: int, a: Args) -> int | None:
        """uname(buffer)."""
        before, after = _names()
        name = os.fsencode(self._host_name)[: _FIELD - 1].ljust(_FIELD, b"\0")
        try:
            self._callers.write(tid, a[0], before + name + after)
        except OSError:
            return None
        return 0

    def chroot(self, tid: int, a: Args) -> int:
        """chroot(path): who is behind one could leave it by another."""
        del tid, a
        self.notes["chroot(2) is refused behind a chroot"] = None
        raise PermissionError(errno.EPERM, "not allowed")

    def execve(self, tid: int, a: Args) -> None:
        """execve(path, ...)."""
        self._exec(tid, AT_FDCWD, a[0])

    def execveat(self, tid: int, a: Args) -> None:
        """execveat(dirfd, path, ...)."""
        self._exec(tid, signed(a[0]), a[1])

    def _exec(self, tid: int, dirfd: int, address: int) -> None:
        """Its memory will be another one; and a set-uid program gains nothing, if that is how it is here."""
        with contextlib.suppress(OSError):  # a name that the kernel will refuse as well
            self._look_at_program(tid, dirfd, address)
        self._callers.forget(tid)

    def _look_at_program(self, tid: int, dirfd: int, address: int) -> None:
        ids = self._callers.ids(tid) if os.stat(f"/proc/{tid}").st_uid else None  # most are root's
        try:
            path = self._callers.path(tid, address)
        except PermissionError:
            path = self._callers.as_parent(tid, address)  # it is only told of
        with self._callers.acting_as(ids) if ids else contextlib.nullcontext():
            fd = self._callers.open(tid, dirfd, path, follow=True)
        st = os.fstat(fd)
        os.close(fd)
        if not st.st_mode & (stat.S_ISUID | stat.S_ISGID):
            return
        ids = ids or self._callers.ids(tid)
        gains = (st.st_mode & stat.S_ISUID and st.st_uid not in ids.uids) or (
            st.st_mode & stat.S_ISGID and st.st_mode & stat.S_IXGRP and st.st_gid not in ids.gids
        )
        if gains and self._callers.gains_nothing(tid):
            self.notes[f"{os.fsdecode(path)} {_GAINED}"] = None
