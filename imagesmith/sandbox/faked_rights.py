"""What an ordinary process may change, answered in the kernel's stead: in a namespace of one id all are root.

Why changes only: a build that would fail for want of rights must fail here too, and no file may get into a
layer that its maker could not have made. Reading is left alone: it would cost a call for each file opened,
and changes no layer.
A handler returns None to let the kernel go on; OSError carries the errno. For root they do nothing.
Imports the standard library only: the supervisor uses it.
Spec: path_resolution(7), unlink(2), rename(2), chmod(2); may_delete and acl_permission_check of Linux.
Trust: arguments are the step's, hostile; see faked_task.py. It is a rule for orderly builds, not a wall: the
step's processes all have the same id to the kernel.
Threads: one.
"""

from __future__ import annotations

import errno
import os
import stat

from imagesmith.sandbox.faked_ids import Ids, IdTable
from imagesmith.sandbox.faked_task import AT_FDCWD, AT_NOFOLLOW, Tasks, signed
from imagesmith.snapshot.ownership import Owners

__all__ = ["READ", "WRITE", "Rights"]

READ, WRITE, SEARCH = 4, 2, 1
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
#: File systems that are no layer's, and know the rights of their files themselves.
_FOREIGN = ("/proc/", "/sys/", "/dev/")

Args = tuple[int, ...]


class Rights:
    """The rules, and the handlers of calls that only have to obey them."""

    def __init__(self, tasks: Tasks, ids: IdTable, owners: Owners) -> None:
        self._tasks, self._ids, self._owners = tasks, ids, owners

    def check(self, ids: Ids, fd: int, wanted: int) -> None:
        """Raise EACCES unless a process may read, write or search what `fd` refers to."""
        st = os.fstat(fd)
        if not (stat.S_ISREG(st.st_mode) or stat.S_ISDIR(st.st_mode)):
            return
        if os.readlink(f"/proc/self/fd/{fd}").startswith(_FOREIGN):
            return
        uid, gid = self._owners.stat(fd, "")
        shift = 6 if uid == ids.uids[3] else 3 if gid in ids.all_groups else 0
        if wanted & ~(st.st_mode >> shift):
            raise PermissionError(errno.EACCES, "not allowed")

    def check_open(self, ids: Ids, tid: int, dirfd: int, path: bytes, flags: int) -> None:
        """Raise EACCES for a file that is there and may not be opened like this."""
        try:
            fd = self._tasks.open(tid, dirfd, path, follow=not flags & os.O_NOFOLLOW)
        except OSError:
            return
        try:
            mode = flags & os.O_ACCMODE
            write = mode != os.O_RDONLY or flags & os.O_TRUNC
            self.check(ids, fd, (WRITE if write else 0) | (READ if mode != os.O_WRONLY else 0))
        finally:
            os.close(fd)

    def check_new(self, ids: Ids, parent: int, name: bytes) -> bool:
        """True if a process may make a name in a folder; False if it is there already.

        Raises:
            OSError: EACCES.
        """
        try:
            os.lstat(name, dir_fd=parent)
        except FileNotFoundError:
            self.check(ids, parent, WRITE | SEARCH)
            return True
        return False

    # --- names ---------------------------------------------------------------------------------

    def unlink(self, tid: int, a: Args) -> None:
        """unlink(path)."""
        self._removal(tid, AT_FDCWD, a[0])

    def unlinkat(self, tid: int, a: Args) -> None:
        """unlinkat(dirfd, path, flags)."""
        self._removal(tid, signed(a[0]), a[1])

    def rename(self, tid: int, a: Args) -> None:
        """rename(old, new)."""
        self._removal(tid, AT_FDCWD, a[0])
        self._removal(tid, AT_FDCWD, a[1], there=False)

    def renameat(self, tid: int, a: Args) -> None:
        """renameat(olddir, old, newdir, new)."""
        self._removal(tid, signed(a[0]), a[1])
        self._removal(tid, signed(a[2]), a[3], there=False)

    def link(self, tid: int, a: Args) -> None:
        """link(old, new)."""
        self._removal(tid, AT_FDCWD, a[1], there=False)

    def linkat(self, tid: int, a: Args) -> None:
        """linkat(olddir, old, newdir, new, flags)."""
        self._removal(tid, signed(a[2]), a[3], there=False)

    def _removal(self, tid: int, dirfd: int, address: int, *, there: bool = True) -> None:
        """A name is taken away, or (not `there`) perhaps put in place of another."""
        ids = self._ids.get(tid)
        if not ids.uids[1]:
            return
        path = self._tasks.path(tid, address).rstrip(b"/")
        folder, _, name = path.rpartition(b"/")
        where = folder or (b"/" if path.startswith(b"/") else b".")
        parent = self._tasks.open(tid, dirfd, where, follow=True)
        try:
            try:
                fd = os.open(name or b".", _LOOK, dir_fd=parent)
            except FileNotFoundError:
                if there:
                    return
                self.check(ids, parent, WRITE | SEARCH)
                return
            try:
                self.check(ids, parent, WRITE | SEARCH)
                if _is_socket(fd):  # nobody knows whose it is
                    return
                if os.fstat(parent).st_mode & stat.S_ISVTX and ids.uids[3] not in (
                    self._uid(fd), self._uid(parent)
                ):  # fmt: skip
                    raise PermissionError(errno.EPERM, "not allowed")
            finally:
                os.close(fd)
        finally:
            os.close(parent)

    # --- modes ---------------------------------------------------------------------------------

    def chmod(self, tid: int, a: Args) -> None:
        """chmod(path, mode)."""
        self._chmod(tid, AT_FDCWD, a[0], follow=True)

    def fchmodat(self, tid: int, a: Args) -> None:
        """fchmodat(dirfd, path, mode)."""
        self._chmod(tid, signed(a[0]), a[1], follow=True)

    def fchmodat2(self, tid: int, a: Args) -> None:
        """fchmodat2(dirfd, path, mode, flags)."""
        self._chmod(tid, signed(a[0]), a[1], follow=not a[3] & AT_NOFOLLOW)

    def fchmod(self, tid: int, a: Args) -> None:
        """fchmod(fd, mode)."""
        if self._ids.get(tid).uids[1]:
            self._own(tid, self._tasks.open_fd(tid, signed(a[0])))

    def _chmod(self, tid: int, dirfd: int, address: int, *, follow: bool) -> None:
        if self._ids.get(tid).uids[1]:
            path = self._tasks.path(tid, address)
            self._own(tid, self._tasks.open(tid, dirfd, path, follow=follow))

    def _own(self, tid: int, fd: int) -> None:
        """Raise EPERM unless the thread's process owns what `fd` refers to; closes it."""
        try:
            place = os.readlink(f"/proc/self/fd/{fd}")
            ours = place.startswith("/") and not (place.startswith(_FOREIGN) or _is_socket(fd))
            if ours and self._uid(fd) != self._ids.get(tid).uids[3]:
                raise PermissionError(errno.EPERM, "not allowed")
        finally:
            os.close(fd)

    # --- times and contents --------------------------------------------------------------------

    def utimensat(self, tid: int, a: Args) -> None:
        """utimensat(dirfd, path, times, flags); without a path it is about the descriptor."""
        if self._ids.get(tid).uids[1] and a[1]:
            self._touch(tid, signed(a[0]), a[1], now=not a[2], follow=not a[3] & AT_NOFOLLOW)

    def futimesat(self, tid: int, a: Args) -> None:
        """futimesat(dirfd, path, times)."""
        if self._ids.get(tid).uids[1] and a[1]:
            self._touch(tid, signed(a[0]), a[1], now=not a[2])

    def utime(self, tid: int, a: Args) -> None:
        """utime(path, times)."""
        if self._ids.get(tid).uids[1]:
            self._touch(tid, AT_FDCWD, a[0], now=not a[1])

    def truncate(self, tid: int, a: Args) -> None:
        """truncate(path, size)."""
        ids = self._ids.get(tid)
        if ids.uids[1]:
            path = self._tasks.path(tid, a[0])
            self.check_open(ids, tid, AT_FDCWD, path, os.O_WRONLY)

    def _touch(self, tid: int, dirfd: int, address: int, *, now: bool, follow: bool = True) -> None:
        """The owner may set times; who may write, the present one."""
        path, ids = self._tasks.path(tid, address), self._ids.get(tid)
        if not path:
            return
        fd = self._tasks.open(tid, dirfd, path, follow=follow)
        if not now:
            self._own(tid, fd)
            return
        try:
            if self._uid(fd) != ids.uids[3]:
                self.check(ids, fd, WRITE)
        finally:
            os.close(fd)

    def _uid(self, fd: int) -> int:
        return self._owners.stat(fd, os.readlink(f"/proc/self/fd/{fd}"))[0]


def _is_socket(fd: int) -> bool:
    return stat.S_ISSOCK(os.fstat(fd).st_mode)
