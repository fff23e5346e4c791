"""New files, made in the kernel's stead with their maker's owner, in a user namespace of one id.

Why made here: what the kernel makes belongs to root, and an owner that is recorded afterwards comes too late
for others who look. So a call that makes something for a user, or in a set-gid folder, ends here: with the
file, or with the errno that was seen. Given back to the kernel it might succeed the second time, and nobody
would record whose it is. For root, in any other folder, the kernel does it.
A handler returns the call's value, an Opened, or None to let the kernel do it. OSError carries the errno.
Imports the standard library only: the supervisor uses it.
Spec: open(2), mkdir(2), symlink(2), mknod(2), bind(2); filename_create, may_open and inode_init_owner.
Trust: arguments are the step's, hostile; see unotify_task.py.
Threads: one.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from typing import NamedTuple

from imagesmith.worker.sandbox.unotify_ids import Ids, IdTable
from imagesmith.worker.sandbox.unotify_paths import READ, SEARCH, WRITE, Paths, Place, protected
from imagesmith.worker.sandbox.unotify_task import AT_FDCWD, Tasks, signed
from imagesmith.worker.snapshot.ownership import Owners

__all__ = ["MakeCalls", "Opened"]

_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_O_TMPFILE = 0o20000000
#: What of a register is an int of flags; no flag is the sign.
_INT = 0x7FFFFFFF
_CREATES = os.O_CREAT | _O_TMPFILE
_CAP_MKNOD = 27
_SET_GID_PROGRAM = stat.S_ISGID | stat.S_IXGRP
_ADDRESS_SIZE = 110
_TRIES = 20

Args = tuple[int, ...]


class Opened(NamedTuple):
    """A descriptor of ours that the caller shall have; `cloexec` for its copy."""

    fd: int
    cloexec: bool


class MakeCalls:
    """The handlers; each takes the caller's thread number and the six arguments."""

    def __init__(self, tasks: Tasks, ids: IdTable, owners: Owners, paths: Paths, *, few: bool) -> None:
        """Answer for one step; `few`: its processes have their ids and rights from the kernel."""
        self._tasks, self._ids, self._owners, self._paths, self._few = tasks, ids, owners, paths, few

    # --- files that are opened -----------------------------------------------------------------

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

    def _open(self, tid: int, dirfd: int, address: int, flags: int, mode: int) -> Opened | None:
        ids = self._ids.get(tid)
        if not (ids.ordinary or flags & _CREATES) or flags & os.O_PATH:
            return None
        path = self._tasks.path(tid, address)
        if flags & _O_TMPFILE == _O_TMPFILE:
            return self._open_nameless(ids, tid, dirfd, path, flags, mode)
        if not flags & os.O_CREAT:
            with self._paths.opened(ids, tid, dirfd, path, follow=not flags & os.O_NOFOLLOW) as fd:
                wanted = _wanted(flags)
                if not (wanted & WRITE and stat.S_ISDIR(os.fstat(fd).st_mode)):  # the kernel refuses it
                    self._paths.check(ids, fd, wanted)
            return None
        if not ids.ordinary and not self._inherits(tid, dirfd, path, stat.S_ISGID | stat.S_ISVTX):
            return None
        made = self._create_at_once(ids, tid, path, flags, mode)
        if made is not None:
            return made
        for _ in range(_TRIES):
            try:
                return self._create(ids, tid, dirfd, path, flags, mode)
            except FileExistsError:  # another thread was quicker
                if flags & os.O_EXCL:
                    raise
        raise OSError(errno.EAGAIN, "it comes and goes")

    def _create_at_once(self, ids: Ids, tid: int, path: bytes, flags: int, mode: int) -> Opened | None:
        """A file that is not there yet, in a folder that everybody may search; None if it is not so plain."""
        if not ids.ordinary or flags & os.O_DIRECTORY:
            return None
        folder, name = self._paths.folder(tid, path)
        if folder < 0:
            return None
        try:
            return self._open_new(ids, tid, Place(folder, name, -1, False), flags, mode)
        except (FileExistsError, PermissionError):
            return None  # if it is there, the folder's rights do not matter
        finally:
            os.close(folder)

    def _create(self, ids: Ids, tid: int, dirfd: int, path: bytes, flags: int, mode: int) -> Opened | None:
        """A file that is made if it is not there."""
        follow = not flags & (os.O_EXCL | os.O_NOFOLLOW)
        with self._paths.place(ids, tid, dirfd, path, follow=follow, bare=True) as place:
            if not place.named or place.slash or flags & os.O_DIRECTORY:
                return None  # the kernel has an error for it, whatever is there
            if place.fd >= 0:
                return None if flags & os.O_EXCL else self._open_there(ids, place, flags)
            return self._open_new(ids, tid, place, flags, mode)

    def _open_there(self, ids: Ids, place: Place, flags: int) -> Opened | None:
        """A file that is there, by the descriptor of it: its name might be gone when the kernel looks."""
        fd, st = place.fd, os.fstat(place.fd)
        if stat.S_ISDIR(st.st_mode):
            return None
        self._in_the_way(ids, place, st.st_mode)
        if stat.S_ISLNK(st.st_mode):
            return None
        self._paths.check(ids, fd, _wanted(flags))
        here = f"/proc/self/fd/{fd}"
        if not stat.S_ISREG(st.st_mode) or os.readlink(here).startswith(("/proc/", "/sys/")):
            return None  # it may make the caller wait, or depends on who opens it
        self._tasks.confirm()
        flags &= ~(os.O_CREAT | os.O_NOFOLLOW)
        return Opened(os.open(here, flags | os.O_CLOEXEC), bool(flags & os.O_CLOEXEC))

    def _in_the_way(self, ids: Ids, place: Place, mode: int) -> None:
        """Raise EACCES for what somebody else put where all may make files, as the machine is set up."""
        folder = os.fstat(place.folder).st_mode
        kind = {stat.S_IFREG: "regular", stat.S_IFIFO: "fifos"}.get(stat.S_IFMT(mode), "")
        if not folder & stat.S_ISVTX or (kind and not protected(kind)):
            return
        if self._paths.owner(place.fd)[0] in (ids.uids[3], self._paths.owner(place.folder)[0]):
            return
        if folder & stat.S_IWOTH or (folder & stat.S_IWGRP and kind and protected(kind) > 1):
            raise PermissionError(errno.EACCES, "not allowed")

    def _open_new(self, ids: Ids, tid: int, place: Place, flags: int, mode: int) -> Opened:
        self._paths.check(ids, place.folder, WRITE | SEARCH)
        owner = self._owner(ids, place.folder)
        mode = self._mode(ids, tid, place.folder, owner, mode & 0o7777)
        self._tasks.confirm()
        how = flags | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return self._give(os.open(place.name, how, mode, dir_fd=place.folder), owner, flags, mode)

    def _open_nameless(
        self, ids: Ids, tid: int, dirfd: int, path: bytes, flags: int, mode: int
    ) -> Opened | None:
        """A file without a name, in a folder."""
        with self._paths.opened(ids, tid, dirfd, path, follow=not flags & os.O_NOFOLLOW) as folder:
            st = os.fstat(folder)
            if not stat.S_ISDIR(st.st_mode) or not flags & os.O_ACCMODE:
                return None
            self._paths.check(ids, folder, WRITE | SEARCH)
            owner = self._owner(ids, folder)
            if owner == (0, 0):
                return None
            mode = self._mode(ids, tid, folder, owner, mode & 0o7777)
            self._tasks.confirm()
            how = flags & ~os.O_NOFOLLOW | os.O_CLOEXEC
            return self._give(os.open(f"/proc/self/fd/{folder}", how, mode), owner, flags, mode)

    def _give(self, made: int, owner: tuple[int, int], flags: int, mode: int) -> Opened:
        """Give a new file to its owner, and its descriptor to the caller."""
        try:
            self._owners.own_new(made, *owner, mode)
        except OSError:
            os.close(made)
            raise
        return Opened(made, bool(flags & os.O_CLOEXEC))

    # --- all others ----------------------------------------------------------------------------

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
        return self._mknod(tid, AT_FDCWD, a[0], a[1] & 0xFFFF, a[2] & 0xFFFFFFFF)

    def mknodat(self, tid: int, a: Args) -> int | None:
        """mknodat(dirfd, path, mode, device)."""
        return self._mknod(tid, signed(a[0]), a[1], a[2] & 0xFFFF, a[3] & 0xFFFFFFFF)

    def _mknod(self, tid: int, dirfd: int, address: int, mode: int, device: int) -> int | None:
        kind = stat.S_IFMT(mode)
        if kind == stat.S_IFCHR and device == 0:
            return None  # a whiteout, which the kernel lets everybody make, or overlayfs nobody
        if kind == 0:
            mode |= stat.S_IFREG
        elif kind not in (stat.S_IFREG, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK):
            return None  # the kernel has an error for it
        return self._make(tid, dirfd, address, mode, device=device)

    def _make(
        self, tid: int, dirfd: int, address: int, mode: int, *, device: int = 0, target: int = 0
    ) -> int | None:
        """Make all but files to be opened."""
        kind = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}.get(stat.S_IFMT(mode), "")
        if kind and self._few:
            self._tasks.need(tid, _CAP_MKNOD)
        ids, path = self._ids.get(tid), self._tasks.path(tid, address)
        ours = kind or (not stat.S_ISDIR(mode) and not stat.S_ISREG(mode) and self._owners.has_rows)
        if not ids.ordinary and not ours and not self._inherits(tid, dirfd, path):
            return None
        text = self._tasks.path(tid, target) if stat.S_ISLNK(mode) else b""
        if stat.S_ISLNK(mode) and not text:
            raise FileNotFoundError(errno.ENOENT, "empty path")
        bare = path.rstrip(b"/")
        if self._paths.is_there(ids, tid, bare):
            raise FileExistsError(errno.EEXIST, "there is one")
        with self._paths.place(ids, tid, dirfd, bare or path, follow=False) as place:
            if place.fd >= 0 or not place.named:
                raise FileExistsError(errno.EEXIST, "there is one")
            if bare != path and not stat.S_ISDIR(mode):
                raise FileNotFoundError(errno.ENOENT, "not a folder")
            self._paths.check(ids, place.folder, WRITE | SEARCH)
            if kind and ids.ordinary:
                raise PermissionError(errno.EPERM, "not allowed")
            owner = self._owner(ids, place.folder)
            if not stat.S_ISLNK(mode):
                mode = self._mode(ids, tid, place.folder, owner, mode)
            self._tasks.confirm()
            if kind:
                number = os.major(device), os.minor(device)
                self._owners.make_device(
                    place.folder, os.fsdecode(place.name), kind, stat.S_IMODE(mode), *number
                )
            else:
                _make_there(place, mode, text)
            if owner != (0, 0) or self._owners.has_rows:
                made = os.open(place.name, _LOOK, dir_fd=place.folder)
                try:
                    if kind:  # which is kept beside it
                        self._owners.chown(made, "", *owner)
                    else:
                        self._own(made, owner)
                finally:
                    os.close(made)
        return 0

    def bind(self, tid: int, a: Args) -> None:
        """bind(fd, address, size): the kernel makes a socket's name; we know whose it will be."""
        size = min(a[2] & _INT, _ADDRESS_SIZE)
        if size < 3:
            return
        data = self._tasks.read(tid, a[1], size)
        path = data[2:].split(b"\0", 1)[0]
        ids = self._ids.get(tid)
        if struct.unpack("=H", data[:2])[0] != 1 or not path:
            return
        if not ids.ordinary and not self._owners.has_rows and not self._inherits(tid, AT_FDCWD, path):
            return
        bare = path.rstrip(b"/")
        with self._paths.place(ids, tid, AT_FDCWD, bare or path, follow=False) as place:
            if place.fd >= 0 or not place.named or bare != path:
                return  # the kernel has an error for it
            self._paths.check(ids, place.folder, WRITE | SEARCH)
            self._owners.expect(place.folder, place.name, *self._owner(ids, place.folder))

    # --- owners --------------------------------------------------------------------------------

    def _inherits(self, tid: int, dirfd: int, path: bytes, marks: int = stat.S_ISGID) -> bool:
        """True if a file's folder may have one of these marks: it hands its group on, or is like /tmp."""
        if self._few:
            return False
        folder, _, name = path.rstrip(b"/").rpartition(b"/")
        if not name:
            return False
        where = folder or (b"/" if path.startswith(b"/") else b".")
        try:
            return bool(self._paths.marks(tid, dirfd, where) & marks)
        except FileNotFoundError:
            return True  # not yet, perhaps
        except OSError:
            return False

    def _owner(self, ids: Ids, folder: int) -> tuple[int, int]:
        """Whose a new file in a folder is."""
        uid, gid = ids.owner
        if not self._few and os.fstat(folder).st_mode & stat.S_ISGID:
            gid = self._owners.stat(folder, "")[1]
        return uid, gid

    def _mode(self, ids: Ids, tid: int, folder: int, owner: tuple[int, int], mode: int) -> int:
        """The mode less the umask, and the set-gid bit that only a group's member may give to a program."""
        program = mode & _SET_GID_PROGRAM == _SET_GID_PROGRAM and not stat.S_ISDIR(mode)
        foreign = ids.ordinary and program and owner[1] not in ids.all_groups
        if foreign and os.fstat(folder).st_mode & stat.S_ISGID:
            mode &= ~stat.S_ISGID
        return mode & ~self._tasks.umask(tid)

    def _own(self, fd: int, owner: tuple[int, int]) -> None:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            self._owners.own(fd, "", *owner)  # a path is for what has a row
        elif owner != (0, 0) or not stat.S_ISREG(mode):
            self._owners.own(fd, os.readlink(f"/proc/self/fd/{fd}"), *owner)


def _make_there(place: Place, mode: int, text: bytes) -> None:
    if stat.S_ISDIR(mode):
        os.mkdir(place.name, stat.S_IMODE(mode), dir_fd=place.folder)
    elif stat.S_ISLNK(mode):
        os.symlink(text, place.name, dir_fd=place.folder)
    else:
        os.mknod(place.name, mode, dir_fd=place.folder)


def _wanted(flags: int) -> int:
    """The rights that opening a file takes."""
    mode = flags & os.O_ACCMODE
    write = mode != os.O_RDONLY or flags & os.O_TRUNC
    return (WRITE if write else 0) | (READ if mode != os.O_WRONLY else 0)
