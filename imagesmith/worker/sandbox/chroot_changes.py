"""Calls of a step behind a chroot that change what a name of /dev/fd stands for, or its attributes.

    /proc/self/fd/N    is how programs change what they hold by a bare reference, systemd's among them

Imports the standard library and its neighbours only: the warden uses it.
Spec: chmod(2), chown(2), utimensat(2), setxattr(2), getxattr(2), listxattr(2); symlink(7), "magic links".
Trust: see chroot_files.py. What is changed is what was opened.
Threads: one, the warden's.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable

from imagesmith.worker.sandbox.chroot_files import Args, FileCalls
from imagesmith.worker.sandbox.notify import signed
from imagesmith.worker.sandbox.unotify_task import AT_NOFOLLOW

__all__ = ["AllCalls"]

_NOW = 0x3FFFFFFF  # UTIME_NOW
#: How much (bytes) an attribute may have.
_MOST = 1 << 16


class AllCalls(FileCalls):
    """The file calls of one step, with these."""

    def chmod(self, tid: int, a: Args) -> int | None:
        """chmod(path, mode)."""
        return self._change(tid, a[0], lambda path: os.chmod(path, a[1] & 0o7777))

    def fchmodat(self, tid: int, a: Args) -> int | None:
        """fchmodat(AT_FDCWD, path, mode)."""
        return self._change(tid, a[1], lambda path: os.chmod(path, a[2] & 0o7777))

    def chown(self, tid: int, a: Args) -> int | None:
        """chown(path, user, group)."""
        return self._change(tid, a[0], lambda path: os.chown(path, signed(a[1]), signed(a[2])))

    def fchownat(self, tid: int, a: Args) -> int | None:
        """fchownat(AT_FDCWD, path, user, group, flags)."""
        if a[4] & AT_NOFOLLOW:
            return None
        return self._change(tid, a[1], lambda path: os.chown(path, signed(a[2]), signed(a[3])))

    def utimensat(self, tid: int, a: Args) -> int | None:
        """utimensat(AT_FDCWD, path, times, flags)."""
        if a[3] & AT_NOFOLLOW or not a[1]:
            return None
        times = self.callers.read(tid, a[2], 32) if a[2] else struct.pack("=qqqq", 0, _NOW, 0, _NOW)

        def change(path: str) -> None:
            buffer = ctypes.create_string_buffer(times, 32)
            if self.callers.call(self.utimensat_number, -100, os.fsencode(path), buffer, 0) < 0:
                raise OSError(ctypes.get_errno(), "utimensat")

        return self._change(tid, a[1], change)

    def setxattr(self, tid: int, a: Args) -> int | None:
        """setxattr(path, name, value, size, flags)."""
        name, size = self._attribute(tid, a[1]), a[3]
        if size > _MOST:
            raise OSError(errno.E2BIG, "too long")
        value = self.callers.read(tid, a[2], size) if size else b""
        return self._change(tid, a[0], lambda path: os.setxattr(path, name, value, signed(a[4])))

    def removexattr(self, tid: int, a: Args) -> int | None:
        """removexattr(path, name)."""
        name = self._attribute(tid, a[1])
        return self._change(tid, a[0], lambda path: os.removexattr(path, name))

    def getxattr(self, tid: int, a: Args) -> int | None:
        """getxattr(path, name, buffer, size)."""
        name = self._attribute(tid, a[1])
        return self._give(tid, a[0], a[2], a[3], lambda fd: os.getxattr(f"/proc/self/fd/{fd}", name))

    def lgetxattr(self, tid: int, a: Args) -> int | None:
        """lgetxattr(path, name, buffer, size): neither links nor files of /proc have any."""
        return self.look(tid, a[0], _no_attributes, follow=False)

    def listxattr(self, tid: int, a: Args) -> int | None:
        """listxattr(path, buffer, size)."""

        def names(fd: int) -> bytes:
            return b"".join(os.fsencode(name) + b"\0" for name in os.listxattr(f"/proc/self/fd/{fd}"))

        return self._give(tid, a[0], a[1], a[2], names)

    def llistxattr(self, tid: int, a: Args) -> int | None:
        """llistxattr(path, buffer, size)."""
        return self.look(tid, a[0], lambda _: 0, follow=False)

    def _attribute(self, tid: int, address: int) -> bytes:
        """An attribute's name; those of who administers the machine are none of a step's."""
        name = self.callers.path(tid, address)
        if name.startswith(b"trusted."):
            raise PermissionError(errno.EPERM, "not allowed")
        return name

    def _give(
        self, tid: int, address: int, buffer: int, size: int, how: Callable[[int], bytes]
    ) -> int | None:
        """Write what was found where the caller wants it, or tell how long that is."""
        data = self.look(tid, address, how, follow=True)
        if data is None:
            return None
        if size:
            if len(data) > size:
                raise OSError(errno.ERANGE, "no room")
            self.callers.write(tid, buffer, data)
        return len(data)

    def _change(self, tid: int, address: int, how: Callable[[str], None]) -> int | None:
        with self.found(tid, self.callers.path(tid, address)) as found:
            if found is None:
                return None
            if found.kind in ("pty", "device"):
                return 0  # its mode and owner are what programs would give it
            if found.kind != "link":
                raise PermissionError(errno.EPERM, "not to be changed")
            with self.target(found) as fd, self.callers.acting_as(found.ids):
                self.callers.confirm()
                how(f"/proc/self/fd/{fd}")
        return 0


def _no_attributes(fd: int) -> int:
    raise OSError(errno.ENOTSUP, f"no attributes of {fd}")
