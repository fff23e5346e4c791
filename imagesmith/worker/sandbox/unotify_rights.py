"""What an ordinary process may change, answered in the kernel's stead: in a namespace of one id all are root.

Why changes only: a build that would fail for want of rights must fail here too, and no file may get into a
layer that its maker could not have made. Reading is left alone: it would cost a call for each file opened,
and changes no layer. Who asks whether it may read (access) is told the truth.
A handler returns None to let the kernel go on; OSError carries the errno. For root they do nothing.
Imports the standard library only: the supervisor uses it.
Spec: path_resolution(7), access(2), unlink(2), rename(2), chmod(2); may_delete, may_linkat, setattr_prepare.
Trust: arguments are the step's, hostile; see unotify_task.py. It is a rule for orderly builds, not a wall:
the step's processes all have the same id to the kernel.
Threads: one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
import time

from imagesmith.worker.sandbox.unotify_ids import Ids, IdTable
from imagesmith.worker.sandbox.unotify_paths import READ, SEARCH, WRITE, Elsewhere, Paths, Place, protected
from imagesmith.worker.sandbox.unotify_task import AT_EMPTY_PATH, AT_FDCWD, AT_NOFOLLOW, Tasks, signed
from imagesmith.worker.snapshot.ownership import Owners

__all__ = ["Rights"]

_AT_EACCESS, _AT_REMOVEDIR, _AT_FOLLOW = 0x200, 0x200, 0x400
_RENAME_NOREPLACE, _RENAME_EXCHANGE = 1, 2
_UTIME_NOW, _UTIME_OMIT = 0x3FFFFFFF, 0x3FFFFFFE
_NOW = (0, _UTIME_NOW)

Args = tuple[int, ...]
_Times = tuple[tuple[int, int], tuple[int, int]]


class Rights:
    """The handlers of calls that only have to obey the rules."""

    def __init__(self, tasks: Tasks, ids: IdTable, owners: Owners, paths: Paths) -> None:
        self._tasks, self._ids, self._owners, self._paths = tasks, ids, owners, paths

    # --- questions -----------------------------------------------------------------------------

    def access(self, tid: int, a: Args) -> None:
        """access(path, mode)."""
        self._access(tid, AT_FDCWD, a[0], a[1])

    def faccessat(self, tid: int, a: Args) -> None:
        """faccessat(dirfd, path, mode)."""
        self._access(tid, signed(a[0]), a[1], a[2])

    def faccessat2(self, tid: int, a: Args) -> None:
        """faccessat2(dirfd, path, mode, flags)."""
        self._access(tid, signed(a[0]), a[1], a[2], a[3])

    def _access(self, tid: int, dirfd: int, address: int, mode: int, flags: int = 0) -> None:
        ids = self._ids.get(tid)
        ids = ids if flags & _AT_EACCESS else ids.real
        if not ids.ordinary or mode & ~7:
            return
        path = self._tasks.path(tid, address)
        fd = self._paths.open(
            ids, tid, dirfd, path, follow=not flags & AT_NOFOLLOW, empty=flags & AT_EMPTY_PATH
        )
        try:
            self._paths.check(ids, fd, mode & 7)
        finally:
            os.close(fd)

    # --- names ---------------------------------------------------------------------------------

    def unlink(self, tid: int, a: Args) -> None:
        """unlink(path)."""
        self._removal(tid, AT_FDCWD, a[0])

    def rmdir(self, tid: int, a: Args) -> None:
        """rmdir(path)."""
        self._removal(tid, AT_FDCWD, a[0], folder=True)

    def unlinkat(self, tid: int, a: Args) -> None:
        """unlinkat(dirfd, path, flags)."""
        self._removal(tid, signed(a[0]), a[1], folder=bool(a[2] & _AT_REMOVEDIR))

    def _removal(self, tid: int, dirfd: int, address: int, *, folder: bool = False) -> None:
        ids = self._ids.get(tid)
        if folder:
            self._paths.changed(tid)
        if ids.ordinary:
            path = self._tasks.path(tid, address)
            with self._paths.place(ids, tid, dirfd, path.rstrip(b"/") or path, follow=False) as place:
                if folder or not path.endswith(b"/"):  # else the kernel has an error for it
                    self._may_delete(ids, place)

    def rename(self, tid: int, a: Args) -> None:
        """rename(old, new)."""
        self._rename(tid, (AT_FDCWD, a[0]), (AT_FDCWD, a[1]))

    def renameat(self, tid: int, a: Args) -> None:
        """renameat(olddir, old, newdir, new)."""
        self._rename(tid, (signed(a[0]), a[1]), (signed(a[2]), a[3]))

    def renameat2(self, tid: int, a: Args) -> None:
        """renameat2(olddir, old, newdir, new, flags)."""
        self._rename(tid, (signed(a[0]), a[1]), (signed(a[2]), a[3]), a[4])

    def _rename(self, tid: int, old: tuple[int, int], new: tuple[int, int], flags: int = 0) -> None:
        ids = self._ids.get(tid)
        self._owners.meet()
        if not ids.ordinary:
            self._paths.changed(tid)
            self._move(ids, tid, old, new)
            if flags & _RENAME_EXCHANGE:
                self._move(ids, tid, new, old)
            return
        source, target = (self._tasks.path(tid, address) for _, address in (old, new))
        slash = source.endswith(b"/") or (target.endswith(b"/") and not flags & _RENAME_EXCHANGE)
        paths = self._paths
        with (
            paths.place(ids, tid, old[0], source.rstrip(b"/") or source, follow=False) as have,
            paths.place(ids, tid, new[0], target.rstrip(b"/") or target, follow=False) as want,
        ):
            if have.fd < 0 or not (have.named and want.named) or (slash and not _is_folder(have.fd)):
                return  # the kernel has an error for it
            if flags & _RENAME_NOREPLACE and want.fd >= 0:
                return
            if flags & _RENAME_EXCHANGE and (
                want.fd < 0 or (target.endswith(b"/") and not _is_folder(want.fd))
            ):
                return
            if want.fd >= 0 and os.path.sameopenfile(have.fd, want.fd):
                return  # nothing is done
            if _is_below(want.folder, have.fd) or (want.fd >= 0 and _is_below(have.folder, want.fd)):
                return
            if _is_folder(have.fd) or flags & _RENAME_EXCHANGE:
                paths.changed(tid)
            self._may_delete(ids, have)
            self._move_to(have.fd, want)
            if want.fd < 0:
                paths.check(ids, want.folder, WRITE | SEARCH)
            else:
                self._may_delete(ids, want)
                if flags & _RENAME_EXCHANGE:
                    self._move_to(want.fd, have)
            if os.path.sameopenfile(have.folder, want.folder):
                return
            swapped = flags & _RENAME_EXCHANGE
            if _is_folder(have.fd) and (want.fd < 0 or swapped or _is_folder(want.fd)):
                paths.check(ids, have.fd, WRITE)  # its `..` changes
            if swapped and _is_folder(want.fd):
                paths.check(ids, want.fd, WRITE)

    def _move(self, ids: Ids, tid: int, old: tuple[int, int], new: tuple[int, int]) -> None:
        """What is known by its name gets another one, for all that root's rights tell."""
        if not self._owners.has_rows:
            return
        source, target = (self._tasks.path(tid, address) for _, address in (old, new))
        with (
            contextlib.suppress(OSError, Elsewhere),
            self._paths.opened(ids, tid, old[0], source, follow=False) as fd,
        ):
            if stat.S_IFMT(os.fstat(fd).st_mode) not in (stat.S_IFREG, stat.S_IFDIR):
                with self._paths.place(ids, tid, new[0], target, follow=False) as place:
                    self._move_to(fd, place)

    def _move_to(self, fd: int, place: Place) -> None:
        if self._owners.has_rows:
            folder = os.readlink(f"/proc/self/fd/{place.folder}")
            self._owners.move(fd, os.readlink(f"/proc/self/fd/{fd}"), f"{folder}/{os.fsdecode(place.name)}")

    def link(self, tid: int, a: Args) -> None:
        """link(old, new)."""
        self._link(tid, (AT_FDCWD, a[0]), (AT_FDCWD, a[1]), 0)

    def linkat(self, tid: int, a: Args) -> None:
        """linkat(olddir, old, newdir, new, flags)."""
        self._link(tid, (signed(a[0]), a[1]), (signed(a[2]), a[3]), a[4])

    def _link(self, tid: int, old: tuple[int, int], new: tuple[int, int], flags: int) -> None:
        ids, paths = self._ids.get(tid), self._paths
        if not ids.ordinary:
            self._move(ids, tid, old, new)
            return
        source, target = (self._tasks.path(tid, address) for _, address in (old, new))
        fd = paths.open(
            ids, tid, old[0], source, follow=bool(flags & _AT_FOLLOW), empty=flags & AT_EMPTY_PATH
        )
        try:
            with paths.place(ids, tid, new[0], target.rstrip(b"/") or target, follow=False) as want:
                if want.fd >= 0 or target.endswith(b"/"):
                    return  # the kernel has an error for it
                if protected("hardlinks"):
                    self._may_link(ids, fd)
                paths.check(ids, want.folder, WRITE | SEARCH)
                self._move_to(fd, want)
        finally:
            os.close(fd)

    def _may_link(self, ids: Ids, fd: int) -> None:
        """Further names are given to one's own files, and to harmless ones that one may change."""
        mode = os.fstat(fd).st_mode
        if self._paths.owner(fd)[0] == ids.uids[3]:
            return
        harmful = mode & stat.S_ISUID or ~mode & (stat.S_ISGID | stat.S_IXGRP) == 0
        try:
            if not stat.S_ISREG(mode) or harmful:
                raise PermissionError
            self._paths.check(ids, fd, READ | WRITE)
        except PermissionError:
            raise PermissionError(errno.EPERM, "not allowed") from None

    def _may_delete(self, ids: Ids, place: Place) -> None:
        """A name is taken away, or given to something else."""
        if place.fd < 0 or not place.named:
            return  # the kernel has an error for it
        self._paths.check(ids, place.folder, WRITE | SEARCH)
        if os.fstat(place.folder).st_mode & stat.S_ISVTX:
            owners = self._paths.owner(place.fd)[0], self._paths.owner(place.folder)[0]
            if ids.uids[3] not in owners:
                raise PermissionError(errno.EPERM, "not allowed")

    # --- modes ---------------------------------------------------------------------------------

    def chmod(self, tid: int, a: Args) -> int | None:
        """chmod(path, mode)."""
        return self._chmod(tid, AT_FDCWD, a[0], a[1])

    def fchmodat(self, tid: int, a: Args) -> int | None:
        """fchmodat(dirfd, path, mode)."""
        return self._chmod(tid, signed(a[0]), a[1], a[2])

    def fchmodat2(self, tid: int, a: Args) -> int | None:
        """fchmodat2(dirfd, path, mode, flags)."""
        return self._chmod(tid, signed(a[0]), a[1], a[2], a[3])

    def fchmod(self, tid: int, a: Args) -> int | None:
        """fchmod(fd, mode)."""
        ids = self._ids.get(tid)
        if not ids.ordinary:
            self._paths.changed(tid, a[1])
            return None
        return self._set_mode(tid, ids, self._tasks.open_fd(tid, signed(a[0])), a[1])

    def _chmod(self, tid: int, dirfd: int, address: int, mode: int, flags: int = 0) -> int | None:
        ids = self._ids.get(tid)
        if not ids.ordinary:
            self._paths.changed(tid, mode)
            return None
        path = self._tasks.path(tid, address)
        follow, empty = not flags & AT_NOFOLLOW, flags & AT_EMPTY_PATH
        fd = self._paths.open(ids, tid, dirfd, path, follow=follow, empty=empty)
        return self._set_mode(tid, ids, fd, mode)

    def _set_mode(self, tid: int, ids: Ids, fd: int, mode: int) -> int | None:
        """Check, and set a mode without the set-gid bit of a group that is not the caller's; closes `fd`."""
        try:
            if _is_folder(fd):
                self._paths.changed(tid)
            self._paths.check_owner(ids, fd)
            if not mode & stat.S_ISGID or self._paths.owner(fd)[1] in ids.all_groups:
                return None
            self._tasks.confirm()
            os.chmod(f"/proc/self/fd/{fd}", mode & 0o7777 & ~stat.S_ISGID)
        finally:
            os.close(fd)
        return 0

    # --- times and contents --------------------------------------------------------------------

    def utimensat(self, tid: int, a: Args) -> int | None:
        """utimensat(dirfd, path, times, flags); without a path it is about the descriptor."""
        ids = self._ids.get(tid)
        if not ids.ordinary and not self._owners.has_rows:
            return None
        now, times = not a[2], (_NOW, _NOW)
        if a[2]:
            fields = struct.unpack("=qqqq", self._tasks.read(tid, a[2], 32))
            times = fields[:2], fields[2:]
            parts = fields[1], fields[3]
            if parts == (_UTIME_OMIT, _UTIME_OMIT):
                return None
            now = parts == (_UTIME_NOW, _UTIME_NOW)
        if a[1]:
            return self._touch(tid, signed(a[0]), a[1], now=now, flags=a[3], times=times)
        self._may_touch(ids, self._tasks.open_fd(tid, signed(a[0])), now=now)
        return None

    def futimesat(self, tid: int, a: Args) -> int | None:
        """futimesat(dirfd, path, times)."""
        return self._touch(tid, signed(a[0]), a[1], now=not a[2]) if a[1] else None

    def utime(self, tid: int, a: Args) -> int | None:
        """utime(path, times)."""
        return self._touch(tid, AT_FDCWD, a[0], now=not a[1])

    def truncate(self, tid: int, a: Args) -> None:
        """truncate(path, size)."""
        ids = self._ids.get(tid)
        if ids.ordinary:
            path = self._tasks.path(tid, a[0])
            with self._paths.opened(ids, tid, AT_FDCWD, path, follow=True) as fd:
                if stat.S_ISREG(os.fstat(fd).st_mode):
                    self._paths.check(ids, fd, WRITE)

    def _touch(
        self, tid: int, dirfd: int, address: int, *, now: bool, flags: int = 0, times: _Times | None = None
    ) -> int | None:
        """Check, and set the `times` of a link whose owner is known by them; the kernel sets all others."""
        ids = self._ids.get(tid)
        if not ids.ordinary and (times is None or not self._owners.has_rows):
            return None
        path = self._tasks.path(tid, address)
        follow, empty = not flags & AT_NOFOLLOW, flags & AT_EMPTY_PATH
        fd = self._paths.open(ids, tid, dirfd, path, follow=follow, empty=empty)
        try:
            self._may_touch(ids, os.dup(fd), now=now)
            if times is None or not self._owners.has_rows:
                return None
            name = os.readlink(f"/proc/self/fd/{fd}")
            self._tasks.confirm()
            return 0 if self._owners.touch(fd, name, lambda: _set_times(fd, *times)) else None
        finally:
            os.close(fd)

    def _may_touch(self, ids: Ids, fd: int, *, now: bool) -> None:
        """The owner may set times; who may write, the present one. Closes `fd`."""
        try:
            self._paths.check_owner(ids, fd)
        except PermissionError:
            if not now:
                raise
            self._paths.check(ids, fd, WRITE)
        finally:
            os.close(fd)


def _set_times(fd: int, *times: tuple[int, int]) -> None:
    """Set times of access and of change, each as seconds and nanoseconds, or as utimensat(2) has them."""
    st = os.fstat(fd)
    found = [
        old if ns == _UTIME_OMIT else time.time_ns() if ns == _UTIME_NOW else s * 10**9 + ns
        for old, (s, ns) in zip((st.st_atime_ns, st.st_mtime_ns), times, strict=True)
    ]
    os.utime(f"/proc/self/fd/{fd}", ns=(found[0], found[1]))


def _is_folder(fd: int) -> bool:
    return stat.S_ISDIR(os.fstat(fd).st_mode)


def _is_below(folder: int, fd: int) -> bool:
    """True if a folder is, or lies in, what `fd` refers to."""
    if not _is_folder(fd):
        return False
    inner, outer = (os.readlink(f"/proc/self/fd/{n}") for n in (folder, fd))
    return inner == outer or inner.startswith(f"{outer}/")
