"""Owners of files and devices, answered in the kernel's stead, for a user namespace of one id.

    chown ...      recorded beside the file (snapshot/ownership.py), which also clears its set-id bits
    stat ...       the recorded owner put into what the kernel says; files without one are left to the kernel
    open, mkdir .. made here, with the maker's owner, if that is not root; otherwise left to the kernel
    mknod          devices as files that stand for them
    execve         a set-id program changes what its process believes to be

A handler returns the call's value, an Opened, or None to let the kernel do it. OSError carries the errno.
Imports the standard library only: the supervisor uses it.
Spec: chown(2), stat(2), open(2), execve(2); inode_init_owner and chown_common of Linux.
Trust: arguments are the step's, hostile; see faked_task.py.
Threads: one.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from dataclasses import dataclass

from imagesmith.sandbox.faked_ids import Ids, IdTable, after_exec
from imagesmith.sandbox.faked_rights import Rights
from imagesmith.sandbox.faked_task import AT_EMPTY_PATH, AT_FDCWD, AT_NOFOLLOW, Tasks, signed
from imagesmith.snapshot.ownership import XATTR, Owners, as_shown

__all__ = ["FileCalls", "Opened"]

_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_KEEP = 0xFFFFFFFF
_O_TMPFILE = 0o20000000
#: What of a register is an int of flags; no flag is the sign.
_INT = 0x7FFFFFFF
_CREATES = os.O_CREAT | _O_TMPFILE
#: newfstatat: number, size of struct stat, where the owner is; statx: number. By uname's machine.
_STAT = {"x86_64": (262, 144, 28, 332), "aarch64": (79, 128, 24, 291)}
_STATX_SIZE, _STATX_OWNER = 256, 20
_CAP_CHOWN, _CAP_MKNOD = 0, 27

Args = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Opened:
    """A descriptor of ours that the caller shall have; `cloexec` for its copy."""

    fd: int
    cloexec: bool


class FileCalls:
    """The handlers; each takes the caller's thread number and the six arguments."""

    def __init__(self, tasks: Tasks, ids: IdTable, owners: Owners, rights: Rights, *, few: bool) -> None:
        """Answer for one step; `few`: its processes have their ids and rights from the kernel."""
        self._tasks, self._ids, self._owners, self._rights, self._few = tasks, ids, owners, rights, few
        #: Some file that can have no xattr has an owner in the table.
        self._others = False
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
        return self._give(tid, self._tasks.open(tid, dirfd, path, follow=follow), uid, gid)

    def _give(self, tid: int, fd: int, uid: int, gid: int) -> int:
        """Change the owner of what `fd` refers to, and close it."""
        try:
            st = os.fstat(fd)
            path = os.readlink(f"/proc/self/fd/{fd}")
            if not path.startswith("/"):
                return 0  # a pipe or a socket, which is in no layer
            wanted = signed(uid), signed(gid)
            ids = self._ids.get(tid)
            if self._few:
                self._tasks.need(tid, _CAP_CHOWN)
                wanted = as_shown(st, wanted)
            elif ids.uids[1]:
                self._may_give(ids, self._owners.stat(fd, path), wanted)
            self._tasks.confirm()
            try:
                self._owners.chown(fd, path, *wanted)
            except PermissionError:
                if stat.S_ISREG(st.st_mode) or stat.S_ISDIR(st.st_mode):
                    raise
                return 0  # a device of the machine's own /dev
            self._others |= not (stat.S_ISREG(st.st_mode) or stat.S_ISDIR(st.st_mode))
        finally:
            os.close(fd)
        return 0

    def _may_give(self, ids: Ids, old: tuple[int, int], new: tuple[int, int]) -> None:
        """An ordinary process may give its own files to its own groups."""
        mine = old[0] == ids.uids[3]
        if new[0] not in (-1, old[0]) or (new[0] != -1 and not mine):
            raise PermissionError(errno.EPERM, "not allowed")
        if new[1] != -1 and not (mine and (new[1] == old[1] or new[1] in ids.all_groups)):
            raise PermissionError(errno.EPERM, "not allowed")

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
        mask = a[3] & 0xFFFFFFFF
        if a[2] & AT_EMPTY_PATH and self._is_empty(tid, a[1]):
            return self._stat_fd(tid, signed(a[0]), a[4], mask)
        return self._stat(tid, signed(a[0]), a[1], a[4], mask, follow=not a[2] & AT_NOFOLLOW)

    def _is_empty(self, tid: int, address: int) -> bool:
        return not address or self._tasks.read(tid, address, 1) == b"\0"

    def _stat_fd(self, tid: int, fd: int, buffer: int, mask: int = 0) -> int | None:
        link = self._tasks.link(tid, fd)
        try:
            os.getxattr(link, XATTR)
        except OSError:
            return None  # nothing is kept: the kernel's answer is right, whatever it is
        return self._tell(tid, os.open(link, os.O_PATH | os.O_CLOEXEC), buffer, mask)

    def _stat(
        self, tid: int, dirfd: int, address: int, buffer: int, mask: int = 0, *, follow: bool
    ) -> int | None:
        try:
            fd = self._tasks.open(tid, dirfd, self._tasks.path(tid, address), follow=follow)
        except OSError:
            return None
        try:
            os.getxattr(f"/proc/self/fd/{fd}", XATTR)
        except OSError:
            if not self._others or stat.S_IFMT(os.fstat(fd).st_mode) in (stat.S_IFREG, stat.S_IFDIR):
                os.close(fd)
                return None
        return self._tell(tid, fd, buffer, mask)

    def _tell(self, tid: int, fd: int, buffer: int, mask: int) -> int | None:
        """Write the kernel's struct with the recorded owner, and close the descriptor."""
        try:
            owner = self._owners.stat(fd, os.readlink(f"/proc/self/fd/{fd}"))
            if owner == (0, 0):
                return None
            if mask:
                data = self._tasks.raw_stat(fd, self._statx_number, _STATX_SIZE, mask)
                struct.pack_into("=II", data, _STATX_OWNER, *owner)
            else:
                data = self._tasks.raw_stat(fd, self._stat_number, self._stat_size)
                struct.pack_into("=II", data, self._stat_owner, *owner)
        finally:
            os.close(fd)
        self._tasks.write(tid, buffer, bytes(data))
        return 0

    # --- new files -----------------------------------------------------------------------------

    def open(self, tid: int, a: Args) -> Opened | None:
        """open(path, flags, mode)."""
        return self._open(tid, AT_FDCWD, a[0], a[1] & _INT, a[2])

    def openat(self, tid: int, a: Args) -> Opened | None:
        """openat(dirfd, path, flags, mode)."""
        return self._open(tid, signed(a[0]), a[1], a[2] & _INT, a[3])

    def openat2(self, tid: int, a: Args) -> Opened | None:
        """openat2(dirfd, path, how, size); one that limits the look-up, or is wrong, is the kernel's."""
        flags, mode, limits = struct.unpack("=QQQ", self._tasks.read(tid, a[2], 24))
        if limits or flags & ~_INT:
            return None
        return self._open(tid, signed(a[0]), a[1], flags, mode)

    def creat(self, tid: int, a: Args) -> Opened | None:
        """creat(path, mode)."""
        return self._open(tid, AT_FDCWD, a[0], os.O_CREAT | os.O_WRONLY | os.O_TRUNC, a[1])

    def mkdir(self, tid: int, a: Args) -> int | None:
        """mkdir(path, mode)."""
        return self._make(tid, AT_FDCWD, a[0], stat.S_IFDIR | a[1] & 0o1777)

    def mkdirat(self, tid: int, a: Args) -> int | None:
        """mkdirat(dirfd, path, mode)."""
        return self._make(tid, signed(a[0]), a[1], stat.S_IFDIR | a[2] & 0o1777)

    def symlink(self, tid: int, a: Args) -> int | None:
        """symlink(target, path)."""
        return self._make(tid, AT_FDCWD, a[1], stat.S_IFLNK, target=a[0])

    def symlinkat(self, tid: int, a: Args) -> int | None:
        """symlinkat(target, dirfd, path)."""
        return self._make(tid, signed(a[1]), a[2], stat.S_IFLNK, target=a[0])

    def mknod(self, tid: int, a: Args) -> int | None:
        """mknod(path, mode, device)."""
        return self._make(tid, AT_FDCWD, a[0], a[1] & 0xFFFF, device=a[2] & 0xFFFFFFFF)

    def mknodat(self, tid: int, a: Args) -> int | None:
        """mknodat(dirfd, path, mode, device)."""
        return self._make(tid, signed(a[0]), a[1], a[2] & 0xFFFF, device=a[3] & 0xFFFFFFFF)

    def _open(self, tid: int, dirfd: int, address: int, flags: int, mode: int) -> Opened | None:
        ids = self._ids.get(tid)
        if not (ids.uids[1] or flags & _CREATES):
            return None
        path = self._tasks.path(tid, address)
        if ids.uids[1]:
            self._rights.check_open(ids, tid, dirfd, path, flags)
        if not flags & _CREATES:
            return None
        if flags & _O_TMPFILE:
            path += b"/x"  # a file without a name, in this folder
        place = self._place(tid, dirfd, path)
        if place is None:
            return None
        parent, name, owner = place
        made = -1
        try:
            mode = mode & 0o7777 & ~self._tasks.umask(tid)
            self._tasks.confirm()
            if flags & _O_TMPFILE:
                made = os.open(f"/proc/self/fd/{parent}", flags | os.O_CLOEXEC, mode)
            else:
                made = os.open(name, flags | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=parent)
            self._own(made, owner, mode)
        except OSError:  # it is there, or cannot be made: let the kernel say so
            if made >= 0:
                os.close(made)
            return None
        finally:
            os.close(parent)
        return Opened(made, bool(flags & os.O_CLOEXEC))

    def _make(
        self, tid: int, dirfd: int, address: int, mode: int, *, device: int = 0, target: int = 0
    ) -> int | None:
        """Make all but files to be opened."""
        kind = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}.get(stat.S_IFMT(mode), "")
        if kind == "c" and device == 0:
            return None  # a whiteout, which the kernel lets everybody make, or overlayfs nobody
        if kind and self._few:
            self._tasks.need(tid, _CAP_MKNOD)
        elif kind and self._ids.get(tid).uids[1]:
            raise PermissionError(errno.EPERM, "not allowed")
        place = self._place(tid, dirfd, self._tasks.path(tid, address).rstrip(b"/"), always=bool(kind))
        if place is None:
            return None
        parent, name, owner = place
        try:
            if not stat.S_ISLNK(mode):
                mode &= ~self._tasks.umask(tid)
            path = self._tasks.path(tid, target) if stat.S_ISLNK(mode) else b""
            self._tasks.confirm()
            if kind:
                number = os.major(device), os.minor(device)
                self._owners.make_device(parent, os.fsdecode(name), kind, stat.S_IMODE(mode), *number)
            elif stat.S_ISDIR(mode):
                os.mkdir(name, mode, dir_fd=parent)
            elif stat.S_ISLNK(mode):
                os.symlink(path, name, dir_fd=parent)
            else:
                os.mknod(name, mode, dir_fd=parent)
            if owner != (0, 0):
                made = os.open(name, _LOOK, dir_fd=parent)
                try:
                    self._own(made, owner, 0)
                finally:
                    os.close(made)
        except OSError as e:
            if kind:
                raise
            return None if e.errno != errno.ENOSPC else -errno.ENOSPC
        finally:
            os.close(parent)
        self._others |= not kind and not stat.S_ISDIR(mode)
        return 0

    def _own(self, fd: int, owner: tuple[int, int], mode: int) -> None:
        self._owners.chown(fd, os.readlink(f"/proc/self/fd/{fd}"), *owner)
        if mode & 0o6000:  # cleared by the change of owner
            os.fchmod(fd, mode)

    def _place(
        self, tid: int, dirfd: int, path: bytes, *, always: bool = False
    ) -> tuple[int, bytes, tuple[int, int]] | None:
        """The parent folder, name and owner of a new file; None if the kernel does it as well."""
        folder, _, name = path.rpartition(b"/")
        if name in (b"", b".", b".."):
            return None
        where = folder or (b"/" if path.startswith(b"/") else b".")
        ids = self._ids.get(tid)
        uid, gid = ids.owner
        try:
            parent = self._tasks.open(tid, dirfd, where, follow=True)
        except OSError:
            return None
        keep = False
        try:
            if ids.uids[1] and not self._rights.check_new(ids, parent, name):
                return None
            if os.fstat(parent).st_mode & stat.S_ISGID and not self._few:
                gid = self._owners.stat(parent, "")[1]
            keep = bool(always or uid or gid)
        finally:
            if not keep:
                os.close(parent)
        return (parent, name, (uid, gid)) if keep else None

    # --- programs and roots --------------------------------------------------------------------

    def execve(self, tid: int, a: Args) -> None:
        """execve(path, ...)."""
        self._exec(tid, AT_FDCWD, a[0], follow=True)

    def execveat(self, tid: int, a: Args) -> None:
        """execveat(dirfd, path, ..., flags)."""
        self._exec(tid, signed(a[0]), a[1], follow=not a[4] & AT_NOFOLLOW, empty=bool(a[4] & AT_EMPTY_PATH))

    def chroot(self, _tid: int, _a: Args) -> None:
        """chroot(path)."""
        self._tasks.many_roots = True

    def _exec(self, tid: int, dirfd: int, address: int, *, follow: bool, empty: bool = False) -> None:
        try:
            path = self._tasks.path(tid, address)
            if empty and not path:
                fd = self._tasks.open_fd(tid, dirfd)
            else:
                fd = self._tasks.open(tid, dirfd, path, follow=follow)
        except OSError:
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
            ids = self._ids.get(tid)
            mode = st.st_mode if special and not _is_script(fd) else 0
            owner = self._owners.stat(fd, "") if mode else (0, 0)
            new = after_exec(ids, mode, *owner)
            if new != ids:
                self._ids.set(tid, new)
        finally:
            os.close(fd)


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
