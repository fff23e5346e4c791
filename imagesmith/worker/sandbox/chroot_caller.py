"""A stopped thread of a step behind a chroot, as its warden sees it: memory, ids, and acting with its rights.

Why: an ordinary container's root has no CAP_SYS_PTRACE. The kernel lets it look at processes of its own id
only, so for those of others the warden has their id while it looks (setfsuid); it also opens what it hands
over with that id, so that the kernel decides as it would have for the caller.
Imports the standard library and its neighbours only: the warden uses it.
Spec: ptrace(2), "access mode checking"; setfsuid(2).
Trust: what is read is the step's, hostile.
Threads: one, the warden's.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from typing import NamedTuple

from imagesmith.worker.sandbox.unotify_task import Tasks, libc

__all__ = ["Callers", "Ids"]

#: How much of a path is read to see whether it is one of ours.
_PIECE = 24


class Ids(NamedTuple):
    """A thread's process, the user and group that the kernel asks for files, and the other groups."""

    process: int
    uids: tuple[int, ...]
    gids: tuple[int, ...]
    groups: tuple[int, ...]

    @property
    def uid(self) -> int:
        """The user whose files it may open."""
        return self.uids[3]


class Callers(Tasks):
    """The threads of one step. `root`: its root folder, without links."""

    def __init__(self, root: str = "") -> None:
        super().__init__()
        self._set = libc().setfsuid, libc().setfsgid
        self._below = os.fsencode(root)

    def ids(self, tid: int) -> Ids:
        """Who a thread is.

        Raises:
            OSError: it is gone.
        """
        status = _status(tid)

        def numbers(name: bytes) -> tuple[int, ...]:
            at = status.index(name) + len(name)
            return tuple(map(int, status[at : status.index(b"\n", at)].split()))

        return Ids(numbers(b"\nTgid:")[0], numbers(b"\nUid:"), numbers(b"\nGid:"), numbers(b"\nGroups:"))

    @contextlib.contextmanager
    def acting_as(self, ids: Ids) -> Iterator[None]:
        """Have a thread's rights to files, for as long as the context lasts."""
        if not ids.uid:
            yield
            return
        before = os.getgroups()
        os.setgroups(ids.groups)
        self._set[1](ctypes.c_uint(ids.gids[3]))
        self._set[0](ctypes.c_uint(ids.uid))
        try:
            yield
        finally:
            self._set[0](ctypes.c_uint(0))
            self._set[1](ctypes.c_uint(0))
            os.setgroups(before)

    def gains_nothing(self, tid: int) -> bool:
        """True if no program that it executes gives it rights that it has not (PR_SET_NO_NEW_PRIVS)."""
        return b"\nNoNewPrivs:\t1" in _status(tid)

    def call(self, number: int, *args: object) -> int:
        """A system call of this process; -1 where ctypes.get_errno() tells why not."""
        full = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
        return int(self._syscall(ctypes.c_long(number), *full))

    def _name_of(self, here: bytes) -> bytes:
        """The name of a folder in the step's root: in our own it has another."""
        name = super()._name_of(here)
        return name[len(self._below) :] if name.startswith(self._below + b"/") else name

    def begins(self, tid: int, address: int) -> bytes:
        """How a string of its memory begins; empty if that cannot be read."""
        fd = self._memory.get(tid, -1)
        try:
            if fd >= 0 and (data := os.pread(fd, _PIECE, address)):
                return data  # as nearly always
            for fresh in (False, True):
                data = os.pread(self._memory_of(tid, fresh=fresh), _PIECE, address)
                if data:
                    return data
        except (OSError, OverflowError):
            pass
        return b""

    def as_parent(self, tid: int, address: int) -> bytes:
        """What its parent's memory has at a place, up to a zero, if that was seen before; else nothing.

        Who has changed its ids may not be looked at any more, nor what it forks, which begins as its copy.
        """
        at = (status := _status(tid)).index(b"\nPPid:") + 6
        fd = self._memory.get(int(status[at : status.index(b"\n", at)]), -1)
        try:
            return os.pread(fd, _PIECE, address).partition(b"\0")[0] if fd >= 0 else b""
        except (OSError, OverflowError):
            return b""

    def _open_memory(self, tid: int) -> int:
        try:
            return super()._open_memory(tid)
        except PermissionError:
            ids = self.ids(tid)
        try:
            with self.acting_as(ids):
                return super()._open_memory(tid)
        except PermissionError:
            fd = self._memory.get(ids.process, -1)
            if fd < 0 or ids.process == tid:
                raise
            return os.dup(fd)  # the memory of all its threads, opened before it changed its ids


def _status(tid: int) -> bytes:
    """What the kernel tells of a thread; its groups may be many."""
    fd = os.open(f"/proc/{tid}/status", os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(fd, 1 << 20)
        while more := os.read(fd, 1 << 20):
            data += more
        return data
    finally:
        os.close(fd)
