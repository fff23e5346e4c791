"""Owners of files and devices, answered in the kernel's stead, for a user namespace of one id.

    chown ...      recorded beside the file (worker/snapshot/ownership.py), which also clears its set-id bits
    stat ...       the recorded owner put into what the kernel says; files without one are left to the kernel
    setxattr       is for who may; access lists with ids in them are refused, as where a file system has none
    listxattr      leaves our own attribute out, or copies and archives that a step makes would have it
    execve         a set-id program changes what its process believes to be

What makes files is in unotify_make.py.
A handler returns the call's value, or None to let the kernel do it. OSError carries the errno.
Imports the standard library only: the supervisor uses it.
Spec: chown(2), stat(2), execve(2), acl(5); chown_common of Linux.
Trust: arguments are the step's, hostile; see unotify_task.py.
Threads: one.
"""

from __future__ import annotations

import errno
import os
import stat
import struct

from imagesmith.worker.sandbox.unotify_ids import Ids, IdTable, after_exec
from imagesmith.worker.sandbox.unotify_paths import SEARCH, WRITE, Elsewhere, Paths
from imagesmith.worker.sandbox.unotify_task import AT_EMPTY_PATH, AT_FDCWD, AT_NOFOLLOW, Tasks, signed
from imagesmith.worker.snapshot.ownership import XATTR, Owners, as_shown

__all__ = ["FileCalls"]

#: The kinds of files that have an xattr for their owner.
_WITH_XATTR = (stat.S_IFREG, stat.S_IFDIR)
#: newfstatat: number, size of struct stat, where the owner is; statx: number. By uname's machine.
_STAT = {"x86_64": (262, 144, 28, 332), "aarch64": (79, 128, 24, 291)}
_IDS = struct.Struct("=II")
_STATX_SIZE, _STATX_OWNER, _STATX_BASIC = 256, 20, 0x7FF
_CAP_CHOWN = 0
#: What names a user or a group in an access list, which is 4 bytes and 8 for each line.
_ACL, _ACL_IDS, _ACL_MAX = b"system.posix_acl_", (2, 8), 65_536

Args = tuple[int, ...]


class FileCalls:
    """The handlers; each takes the caller's thread number and the six arguments."""

    def __init__(self, tasks: Tasks, ids: IdTable, owners: Owners, paths: Paths, *, few: bool) -> None:
        """Answer for one step; `few`: its processes have their ids and rights from the kernel."""
        self._tasks, self._ids, self._owners, self._paths, self._few = tasks, ids, owners, paths, few
        self._stat_number, self._stat_size, self._stat_owner, self._statx_number = _STAT[os.uname().machine]

    # --- chown ---------------------------------------------------------------------------------

    def chown(self, tid: int, a: Args) -> int:
        """chown(path, uid, gid)."""
        return self._chown(tid, AT_FDCWD, a[0], a[1], a[2], follow=True)

    def lchown(self, tid: int, a: Args) -> int:
        """lchown(path, uid, gid)."""
        return self._chown(tid, AT_FDCWD, a[0], a[1], a[2], follow=False)

    def fchownat(self, tid: int, a: Args) -> int:
        """fchownat(dirfd, path, uid, gid, flags)."""
        if a[4] & 0xFFFFFFFF & ~(AT_NOFOLLOW | AT_EMPTY_PATH):
            raise OSError(errno.EINVAL, "unknown flag")
        if a[4] & AT_EMPTY_PATH and not self._tasks.path(tid, a[1]):
            return self._give(tid, self._tasks.open_fd(tid, signed(a[0])), a[2], a[3])
        return self._chown(tid, signed(a[0]), a[1], a[2], a[3], follow=not a[4] & AT_NOFOLLOW)

    def fchown(self, tid: int, a: Args) -> int:
        """fchown(fd, uid, gid)."""
        return self._give(tid, self._tasks.open_fd(tid, signed(a[0])), a[1], a[2])

    def _chown(self, tid: int, dirfd: int, address: int, uid: int, gid: int, *, follow: bool) -> int:
        path = self._tasks.path(tid, address)
        fd = self._paths.open(self._ids.get(tid), tid, dirfd, path, follow=follow)
        return self._give(tid, fd, uid, gid)

    def _give(self, tid: int, fd: int, uid: int, gid: int) -> int:
        """Change the owner of what `fd` refers to, and close it."""
        try:
            st, path = os.fstat(fd), ""
            if stat.S_IFMT(st.st_mode) not in _WITH_XATTR:
                path = os.readlink(f"/proc/self/fd/{fd}")
                if not path.startswith("/"):
                    return 0  # a pipe or a socket, which is in no layer
            wanted, foreign = (signed(uid), signed(gid)), False
            ids = self._ids.get(tid)
            if self._few:
                self._tasks.need(tid, _CAP_CHOWN)
                wanted = as_shown(st, wanted)
            elif ids.ordinary:
                foreign = self._may_give(ids, self._owners.stat(fd, path), wanted, st.st_mode)
            self._tasks.confirm()
            try:
                self._owners.chown(fd, path, *wanted, st)
                if foreign:
                    os.chmod(f"/proc/self/fd/{fd}", stat.S_IMODE(st.st_mode) & ~0o6000)
            except OSError as e:
                if not os.readlink(f"/proc/self/fd/{fd}").startswith("/"):
                    return 0  # of the kernel's own, which newer ones call a regular file
                if stat.S_IFMT(st.st_mode) in _WITH_XATTR or not isinstance(e, PermissionError):
                    raise
                return 0  # a device of the machine's own /dev
        finally:
            os.close(fd)
        return 0

    def _may_give(self, ids: Ids, old: tuple[int, int], new: tuple[int, int], mode: int) -> bool:
        """An ordinary process may give its own files to its own groups.

        Returns true if the file has a set-gid bit that its change of owner clears for such a process only.
        """
        mine = old[0] == ids.uids[3]
        marked = 0 if stat.S_ISDIR(mode) else mode & 0o6000
        foreign = bool(marked & stat.S_ISGID) and old[1] not in ids.all_groups
        cleared = marked & stat.S_ISUID or (marked and mode & stat.S_IXGRP) or foreign
        if cleared and not mine:
            raise PermissionError(errno.EPERM, "not allowed")
        if new[0] not in (-1, old[0]) or (new[0] != -1 and not mine):
            raise PermissionError(errno.EPERM, "not allowed")
        if new[1] != -1 and not (mine and (new[1] == old[1] or new[1] in ids.all_groups)):
            raise PermissionError(errno.EPERM, "not allowed")
        return foreign

    # --- stat ----------------------------------------------------------------------------------

    def stat(self, tid: int, a: Args) -> int | None:
        """stat(path, buffer)."""
        return self._stat(tid, AT_FDCWD, a[0], a[1], follow=True)

    def lstat(self, tid: int, a: Args) -> int | None:
        """lstat(path, buffer)."""
        return self._stat(tid, AT_FDCWD, a[0], a[1], follow=False)

    def fstat(self, tid: int, a: Args) -> int | None:
        """fstat(fd, buffer)."""
        return self._stat_fd(tid, signed(a[0]), a[1])

    def newfstatat(self, tid: int, a: Args) -> int | None:
        """newfstatat(dirfd, path, buffer, flags)."""
        if a[3] & AT_EMPTY_PATH and self._is_empty(tid, a[1]):
            return self._stat_fd(tid, signed(a[0]), a[2])
        return self._stat(tid, signed(a[0]), a[1], a[2], follow=not a[3] & AT_NOFOLLOW)

    def statx(self, tid: int, a: Args) -> int | None:
        """statx(dirfd, path, flags, mask, buffer)."""
        mask = a[3] & 0xFFFFFFFF or _STATX_BASIC
        if a[2] & AT_EMPTY_PATH and self._is_empty(tid, a[1]):
            return self._stat_fd(tid, signed(a[0]), a[4], mask)
        return self._stat(tid, signed(a[0]), a[1], a[4], mask, follow=not a[2] & AT_NOFOLLOW)

    def _is_empty(self, tid: int, address: int) -> bool:
        return not address or self._tasks.read(tid, address, 1) == b"\0"

    def _stat_fd(self, tid: int, fd: int, buffer: int, mask: int = 0) -> int | None:
        link, value = self._tasks.link(tid, fd), b""
        try:
            value = os.getxattr(link, XATTR)
        except OSError:
            if not self._owners.has_rows:
                return None  # nothing is kept: the kernel's answer is right, whatever it is
        try:
            opened = os.open(link, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            return None
        return self._tell(tid, opened, buffer, mask, value)

    def _stat(
        self, tid: int, dirfd: int, address: int, buffer: int, mask: int = 0, *, follow: bool
    ) -> int | None:
        ids, value = self._ids.get(tid), b""
        try:
            fd = self._paths.open(ids, tid, dirfd, self._tasks.path(tid, address), follow=follow)
        except PermissionError:
            raise
        except OSError:
            return None
        try:
            value = os.getxattr(f"/proc/self/fd/{fd}", XATTR)
        except OSError:
            if not self._owners.has_rows:
                os.close(fd)
                return None
        return self._tell(tid, fd, buffer, mask, value)

    def _owner(self, fd: int, value: bytes) -> tuple[int, int]:
        """The recorded owner of what `fd` refers to, of which `value` is the xattr."""
        owner = self._owners.said(value) if value else None
        if owner is not None:
            return owner
        if not value and stat.S_IFMT(os.fstat(fd).st_mode) in _WITH_XATTR:
            return 0, 0
        path = os.readlink(f"/proc/self/fd/{fd}")
        return self._owners.stat(fd, path) if path.startswith("/") else (0, 0)

    def _tell(self, tid: int, fd: int, buffer: int, mask: int, value: bytes) -> int | None:
        """Write the kernel's struct with the recorded owner, and close the descriptor."""
        try:
            owner = self._owner(fd, value)
            if owner == (0, 0):
                return None
            if mask:
                data = self._tasks.raw_stat(fd, self._statx_number, _STATX_SIZE, mask)
                _IDS.pack_into(data, _STATX_OWNER, *owner)
            else:
                data = self._tasks.raw_stat(fd, self._stat_number, self._stat_size)
                _IDS.pack_into(data, self._stat_owner, *owner)
        finally:
            os.close(fd)
        self._tasks.write(tid, buffer, data)
        return 0

    # --- programs and roots --------------------------------------------------------------------

    def execve(self, tid: int, a: Args) -> None:
        """execve(path, ...)."""
        self._exec(tid, AT_FDCWD, a[0], follow=True)

    def execveat(self, tid: int, a: Args) -> None:
        """execveat(dirfd, path, ..., flags)."""
        self._exec(tid, signed(a[0]), a[1], follow=not a[4] & AT_NOFOLLOW, empty=bool(a[4] & AT_EMPTY_PATH))

    def chroot(self, tid: int, a: Args) -> None:
        """chroot(path)."""
        ids = self._ids.get(tid)
        if ids.ordinary:
            with self._paths.opened(ids, tid, AT_FDCWD, self._tasks.path(tid, a[0]), follow=True):
                raise PermissionError(errno.EPERM, "not allowed")
        self._tasks.many_roots = True

    def _exec(self, tid: int, dirfd: int, address: int, *, follow: bool, empty: bool = False) -> None:
        self._ids.begin()
        ids = self._ids.get(tid)
        try:
            path = self._tasks.path(tid, address)
            fd = self._paths.open(ids, tid, dirfd, path, follow=follow, empty=empty)
        except PermissionError:
            raise
        except (OSError, Elsewhere):
            return
        finally:
            self._tasks.forget(tid)
        try:
            st = os.fstat(fd)
            special = st.st_mode & 0o6000
            if self._ids.plain and not special:
                return
            if not stat.S_ISREG(st.st_mode) or not st.st_mode & 0o111:
                return
            self._paths.check(ids, fd, SEARCH)
            mode = st.st_mode if special and not _is_script(fd) else 0
            owner = self._owners.stat(fd, "") if mode else (0, 0)
            new = after_exec(ids, mode, *owner)
            if new != ids:
                self._ids.set(tid, new)
        finally:
            os.close(fd)

    # --- attributes and access lists -----------------------------------------------------------

    def setxattr(self, tid: int, a: Args) -> None:
        """setxattr(path, name, value, size, flags)."""
        self.removexattr(tid, a)
        self._no_ids(tid, a)

    def lsetxattr(self, tid: int, a: Args) -> None:
        """lsetxattr(path, name, value, size, flags)."""
        self.lremovexattr(tid, a)
        self._no_ids(tid, a)

    def fsetxattr(self, tid: int, a: Args) -> None:
        """fsetxattr(fd, name, value, size, flags)."""
        self.fremovexattr(tid, a)
        self._no_ids(tid, a)

    def removexattr(self, tid: int, a: Args) -> None:
        """removexattr(path, name)."""
        self._mark(tid, a, follow=True)

    def lremovexattr(self, tid: int, a: Args) -> None:
        """lremovexattr(path, name)."""
        self._mark(tid, a, follow=False)

    def fremovexattr(self, tid: int, a: Args) -> None:
        """fremovexattr(fd, name)."""
        self._mark(tid, a, follow=None)

    def listxattr(self, tid: int, a: Args) -> int | None:
        """listxattr(path, list, size)."""
        return self._list(tid, a, follow=True)

    def llistxattr(self, tid: int, a: Args) -> int | None:
        """llistxattr(path, list, size)."""
        return self._list(tid, a, follow=False)

    def flistxattr(self, tid: int, a: Args) -> int | None:
        """flistxattr(fd, list, size)."""
        return self._list(tid, a, follow=None)

    def _list(self, tid: int, a: Args, *, follow: bool | None) -> int | None:
        """The names of a file's attributes without our own; None if it has not that."""
        fd = self._marked(tid, a, follow=follow)
        try:
            names = os.listxattr(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)
        if XATTR not in names:
            return None
        data = b"".join(os.fsencode(name) + b"\0" for name in names if name != XATTR)
        if not a[2]:
            return len(data)
        if len(data) > a[2]:
            raise OSError(errno.ERANGE, "too short")
        if data:
            self._tasks.write(tid, a[1], data)
        return len(data)

    def _marked(self, tid: int, a: Args, *, follow: bool | None) -> int:
        """What a call about attributes is about, opened."""
        if follow is None:
            return self._tasks.open_fd(tid, signed(a[0]))
        path = self._tasks.path(tid, a[0])
        return self._paths.open(self._ids.get(tid), tid, AT_FDCWD, path, follow=follow)

    def _mark(self, tid: int, a: Args, *, follow: bool | None) -> None:
        """Let an attribute of a path, or of a descriptor, be changed by who may."""
        ids, name = self._ids.get(tid), self._tasks.path(tid, a[1])
        if name == XATTR.encode():
            raise OSError(errno.EOPNOTSUPP, "ours")
        if not ids.ordinary:
            self._paths.changed(tid)
            return
        fd = self._marked(tid, a, follow=follow)
        try:
            mode = os.fstat(fd).st_mode
            if name.startswith(_ACL) and not stat.S_ISLNK(mode):
                self._paths.changed(tid)  # the look-up may have noted the folder itself
                self._paths.check_owner(ids, fd)
                if mode & stat.S_ISGID and self._paths.owner(fd)[1] not in ids.all_groups:
                    self._tasks.confirm()  # what changes the mode takes the mark away, as chmod does
                    os.chmod(f"/proc/self/fd/{fd}", stat.S_IMODE(mode) & ~stat.S_ISGID)
            elif name.startswith(b"security."):
                raise PermissionError(errno.EPERM, "not allowed")
            elif name.startswith(b"user.") and stat.S_IFMT(mode) in _WITH_XATTR:
                if stat.S_ISDIR(mode) and mode & stat.S_ISVTX:
                    self._paths.check_owner(ids, fd)
                self._paths.check(ids, fd, WRITE)
        finally:
            os.close(fd)

    def _no_ids(self, tid: int, a: Args) -> None:
        """Raise EOPNOTSUPP for an access list that names users or groups."""
        if self._owners.real or not 4 < a[3] <= _ACL_MAX or not self._tasks.path(tid, a[1]).startswith(_ACL):
            return
        data = self._tasks.read(tid, a[2], a[3])
        if any(
            tag in _ACL_IDS for tag, _, _ in struct.iter_unpack("=HHI", data[4 : 4 + len(data[4:]) // 8 * 8])
        ):
            raise OSError(errno.EOPNOTSUPP, "no access lists")


def _is_script(fd: int) -> bool:
    """Set-id bits of scripts have no effect."""
    try:
        program = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        return os.read(program, 2) == b"#!"
    finally:
        os.close(program)
