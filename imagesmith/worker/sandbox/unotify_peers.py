"""Who is at the other end of a Unix socket, answered in the kernel's stead: databases let users in by it.

Imports the standard library only: the supervisor uses it.
Spec: unix(7), SO_PEERCRED; pidfd_getfd(2).
Trust: arguments are the step's, hostile; see unotify_task.py.
Threads: one.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct

from imagesmith.worker.sandbox.unotify_ids import IdTable
from imagesmith.worker.sandbox.unotify_task import Tasks, signed

__all__ = ["SO_PEERCRED", "Peers"]

SO_PEERCRED = 17
_PIDFD_GETFD = 438

Args = tuple[int, ...]


class Peers:
    """The handler of getsockopt."""

    def __init__(self, tasks: Tasks, ids: IdTable) -> None:
        self._tasks, self._ids = tasks, ids
        self._syscall = ctypes.CDLL(None, use_errno=True).syscall

    def getsockopt(self, tid: int, a: Args) -> int | None:
        """getsockopt(fd, SOL_SOCKET, SO_PEERCRED, value, length); the ids are those that the peer has now."""
        if self._ids.plain or signed(a[1]) != socket.SOL_SOCKET:
            return None
        try:
            peer = self._peer(tid, signed(a[0]))
            ids = self._ids.get(peer)
            number = int(_status(peer)["NSpid"].split()[-1])
            size = struct.unpack("=I", self._tasks.read(tid, a[4], 4))[0]
        except (OSError, KeyError):
            return None
        if ids.uids[1] == ids.gids[1] == 0:
            return None
        data = struct.pack("=3I", number, ids.uids[1], ids.gids[1])[:size]
        self._tasks.write(tid, a[3], data)
        self._tasks.write(tid, a[4], struct.pack("=I", len(data)))
        return 0

    def _peer(self, tid: int, fd: int) -> int:
        """The process at the other end, by its number here."""
        pidfd = os.pidfd_open(int(_status(tid)["Tgid"]))
        try:
            copy = self._syscall(ctypes.c_long(_PIDFD_GETFD), pidfd, fd, 0)
        finally:
            os.close(pidfd)
        if copy < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
        try:
            sock = socket.socket(fileno=copy)
        except OSError:  # the step asked of a file that is no socket
            os.close(copy)
            raise
        with sock:
            pid: int = struct.unpack("=3i", sock.getsockopt(socket.SOL_SOCKET, SO_PEERCRED, 12))[0]
        return pid


def _status(tid: int) -> dict[str, str]:
    with open(f"/proc/{tid}/status", encoding="ascii", errors="replace") as f:
        return dict(line.split(":", 1) for line in f if ":" in line)
