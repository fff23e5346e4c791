"""Owners and devices that a process may not give to files, kept beside them.

Why: a user namespace of one id knows no other, and none lets its root make device nodes; a layer must have
them all the same. What the disk cannot hold is kept where it follows the file through renames, hard links
and overlayfs's copy-up:

    regular files, folders   the xattr `user.containers.override_stat` = UID:GID:0MODE, as podman writes it
    devices                  an empty regular file whose xattr ends in `:char-MAJOR-MINOR` or `:block-...`
    links, fifos, sockets    (the kernel gives them no such xattr) a row of the workspace's table, by inode;
                             those of layers below by name and time, or by target and time where moved

Where the system lends ids, those above them are kept in the same way, and on the disk the last one that is
lent stands for them (`held`): user and group each by itself, so whoever gives the file an id that the disk
can have also ends what is kept, without a word to us.

In a namespace of one id a file without either belongs to 0:0. The mode in the xattr is for others who read
it; what counts is the mode on the disk, for a step may change that at any time.

For the supervisor of one-id steps, which answers a step's system calls in its stead:

    note_below(table_of(root), view)            before the step: of links and fifos (ownertable.py)
    owners = Owners(table_of(root))             `root` is what Sandbox.run was given
    owners.chown(fd, path, uid, gid)            chown, lchown, fchown, fchownat; -1 leaves one as it is
    owners.make_device(fd, name, kind, mode, major, minor)      mknod, mknodat of `c` and `b`
    owners.stat(fd, path)                       (uid, gid) as the step should see them
    owners.expect(fd, name, uid, gid)           a socket that will be in a folder has this owner
    owners.meet()                               before names change
    owners.move(fd, path, new)                  before rename, link
    owners.touch(fd, path, set_times)           utime

`fd` is an O_PATH descriptor of what the call is about, resolved in the step's root, or of the parent folder
for make_device; `path` its path in the root. OSError carries the errno for the step.
Imports the standard library only, so that it can be used from the step's process.
Trust: a step can write the xattr itself; it decides owners in its own layer only.
Threads: one for each Owners; several processes may append to one table.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.worker.snapshot.ownertable import Table

if TYPE_CHECKING:
    from imagesmith.fs.entry import Entry
    from imagesmith.fs.tree import Tree

__all__ = ["XATTR", "Owners", "as_shown", "held", "keep_beside", "table_of"]

XATTR = "user.containers.override_stat"
#: -1 as the kernel sees it, the id that stands for none.
_NONE = 0xFFFFFFFF
#: How many sockets may be expected at once.
_EXPECTED = 16
_DEVICES = {"c": "char", "b": "block"}
_NO_XATTR = (errno.ENOTSUP, errno.EPERM)
#: (uid, gid, kind of device or "", (major, minor))
_Kept = tuple[int, int, str, tuple[int, int]]


def table_of(root: Path) -> Path:
    """Where the table of the workspace is whose root directory this is."""
    return root.parent / "owners"


def _value(uid: int, gid: int, mode: int, kind: str = "", rdev: tuple[int, int] = (0, 0)) -> bytes:
    device = f":{_DEVICES[kind]}-{rdev[0]}-{rdev[1]}" if kind else ""
    return f"{uid}:{gid}:0{mode:o}{device}".encode()


@lru_cache(4096)
def _parse(value: bytes) -> _Kept | None:
    """What an xattr says; None if it is no such text."""
    fields = value.decode("ascii", "replace").split(":")
    try:
        uid, gid, kind, rdev = int(fields[0]), int(fields[1]), "", (0, 0)
        if len(fields) > 3:
            name, major, minor = fields[3].split("-")
            kind = {"char": "c", "block": "b"}.get(name, "")
            rdev = int(major), int(minor)
    except (ValueError, IndexError):
        return None
    if not (0 <= uid < 1 << 32 and 0 <= gid < 1 << 32 and min(rdev) >= 0):
        return None
    return uid, gid, kind, rdev


def _read(path: str, *, follow: bool) -> _Kept | None:
    try:
        return _parse(os.getxattr(path, XATTR, follow_symlinks=follow))
    except OSError:
        return None


def _keep(path: str | int, value: bytes) -> None:
    try:
        os.setxattr(path, XATTR, value)
    except OSError as e:
        if e.errno not in _NO_XATTR:  # a mount over the root that holds none: its files are in no layer
            raise


# --- extraction --------------------------------------------------------------------------------


def keep_beside(fd: int, name: str, e: Entry) -> None:
    """Keep an entry's owner and device numbers beside the file just made; for materialise."""
    if e.kind in "fdcb":
        value = _value(e.uid, e.gid, e.mode, e.kind if e.kind in "cb" else "", e.rdev)
        os.setxattr(f"/proc/self/fd/{fd}/{name}", XATTR, value, follow_symlinks=False)


@cache
def held() -> tuple[int, int]:
    """The user and the group id that stand for themselves and all above them: the last that are lent."""
    uids, gids = (_lent(f"/proc/self/{name}") for name in ("uid_map", "gid_map"))
    return uids - 1, gids - 1


def _lent(path: str) -> int:
    """How many ids the namespace has, from 0 on."""
    with open(path, encoding="ascii") as f:
        rows = sorted([int(word) for word in line.split()] for line in f)
    end = 0
    for inside, _, count in rows:
        if inside != end:
            break
        end += count
    return end


def as_shown(st: os.stat_result, wanted: tuple[int, int]) -> tuple[int, int]:
    """The owner to give, -1 for an id that a process only has from the file itself, which shows `held`."""
    uid, gid = (
        -1 if new == old == last else new
        for new, old, last in zip(wanted, (st.st_uid, st.st_gid), held(), strict=True)
    )
    return uid, gid


# --- a step's workspace ------------------------------------------------------------------------


class Owners:
    """What is kept beside the files of one workspace. See the module's docstring."""

    def __init__(
        self,
        table: Path,
        below: Tree | None = None,
        *,
        real: bool = False,
        mounts: Sequence[tuple[str, str, str]] = (),
    ) -> None:
        """Open the owners of a workspace.

        Args:
            table: see `table_of`; made when there is something to put in.
            below: the view of the layers below, for links that a step moved or copied up; only to `apply`.
            real: owners are on the disk, as far as ids are lent; devices and other ids are kept beside.
            mounts: folders of other workspaces or of caches in this one: where, their table, and which folder
                of that one it is.
        """
        self._below, self._real = below, real
        self._table = Table(table)
        self._mounts = [
            (where.strip("/"), Table(Path(beside)), inside.strip("/"))
            for where, beside, inside in sorted(mounts, reverse=True)
        ]
        self._links: dict[tuple[str, str, int], tuple[int, int]] | None = None
        self._expected: list[tuple[int, bytes, int, int]] = []

    @property
    def real(self) -> bool:
        """True if owners are on the disk, as far as ids are lent."""
        return self._real

    @property
    def has_mounts(self) -> bool:
        """True if folders of other workspaces are seen in this one, where others may change them."""
        return bool(self._mounts)

    @property
    def has_rows(self) -> bool:
        """True if some link, fifo or socket may have an owner; what is made then gets a row too."""
        if not self._table.empty or self._expected:
            return True
        return bool(self._mounts) and any(not t.empty for _, t, _ in self._mounts)

    def chown(self, fd: int, path: str, uid: int, gid: int, st: os.stat_result | None = None) -> None:
        """Record an owner, and do to the file what the kernel does: copy it up, clear set-id bits.

        The path of a regular file or folder does not matter; `st` is the file's, if known.

        Raises:
            OSError: the file system is read-only, or full.
        """
        here = f"/proc/self/fd/{fd}"
        st = st or os.stat(here)
        self.meet()
        uid, gid = uid & _NONE, gid & _NONE
        old = self.stat(fd, path) if _NONE in (uid, gid) else (0, 0)
        uid, gid = old[0] if uid == _NONE else uid, old[1] if gid == _NONE else gid
        # clears the bits and security.capability, copies up
        os.chown(here, *(_on_disk(uid, gid) if self._real else (os.geteuid(), os.getegid())))
        if self._real and not _beyond(uid, gid):
            return  # what may be kept beside the file says nothing of these ids
        if not (stat.S_ISREG(st.st_mode) or stat.S_ISDIR(st.st_mode)):
            st = os.stat(here)  # copied up it may be another inode
            table, name = self._beside(path)
            table.append(name, _target(fd, st), st, uid, gid)
            return
        kept = _read(here, follow=True)
        kind, rdev = (kept[2], kept[3]) if kept is not None else ("", (0, 0))
        if kept is None and not uid and not gid:
            return
        _keep(here, _value(uid, gid, stat.S_IMODE(st.st_mode), kind, rdev))

    def stat(self, fd: int, path: str) -> tuple[int, int]:
        """The owner that a step should see; where none is recorded, that on the disk, or (0, 0)."""
        here = f"/proc/self/fd/{fd}"
        st = os.stat(here)
        if self._real and not _beyond(st.st_uid, st.st_gid):
            return st.st_uid, st.st_gid
        if stat.S_ISREG(st.st_mode) or stat.S_ISDIR(st.st_mode):
            kept = _read(here, follow=True)
            found = kept and kept[:2]
        else:
            found = self._find(path, _target(fd, st), st)
        return self._owner(found, st.st_uid, st.st_gid)

    def own(self, fd: int, path: str, uid: int, gid: int) -> None:
        """Record the owner of what was just made and nobody else has seen; set-id bits stay.

        Raises:
            OSError: the file system is full.
        """
        here = f"/proc/self/fd/{fd}"
        mode = os.fstat(fd).st_mode
        if self._real or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            self.chown(fd, path, uid, gid)
            if mode & 0o6000 and not stat.S_ISDIR(mode):
                os.chmod(here, stat.S_IMODE(mode))
        elif uid or gid:
            _keep(here, _value(uid, gid, stat.S_IMODE(mode)))

    def kept(self, fd: int) -> tuple[int, int] | None:
        """The owner that is kept beside a file or folder; None if there is none, or more to be asked."""
        found = None if self._real else _read(f"/proc/self/fd/{fd}", follow=True)
        return found and found[:2]

    def own_new(self, fd: int, uid: int, gid: int, mode: int) -> None:
        """Record the owner of a regular file that was just made and opened, as `own` does."""
        if self._real and (uid or gid):
            self.own(fd, "", uid, gid)
        elif uid or gid:
            _keep(fd, _value(uid, gid, mode))

    def said(self, value: bytes) -> tuple[int, int] | None:
        """The owner that a step should see of a file with this xattr; None if the disk has a say, too."""
        kept = None if self._real else _parse(value)
        return kept and kept[:2]

    def make_device(self, fd: int, name: str, kind: str, mode: int, major: int, minor: int) -> None:
        """Make the file that stands for a device; `kind` is c or b, the umask is applied already.

        Raises:
            OSError: the name is taken, or the file system refuses.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        out = os.open(name, flags, 0o600, dir_fd=fd)
        try:
            os.fchmod(out, mode & 0o7777)
            os.setxattr(out, XATTR, _value(0, 0, mode & 0o7777, kind, (major, minor)))
        finally:
            os.close(out)

    def apply(self, fd: int, name: str, e: Entry) -> None:
        """Put into an entry, made of what the disk shows, what is kept beside the file."""
        if e.kind in "fd":
            kept = _read(f"/proc/self/fd/{fd}/{name}", follow=False)
            e.uid, e.gid = self._owner(kept and kept[:2], e.uid, e.gid)
            if kept is not None and kept[2] and e.kind == "f" and not e.size:
                e.kind, e.rdev = kept[2], kept[3]
        elif not self._real or _beyond(e.uid, e.gid):
            st = os.lstat(name, dir_fd=fd)
            e.uid, e.gid = self._owner(self._find(e.path, e.link, st) or self._from_below(e), e.uid, e.gid)

    def _owner(self, kept: tuple[int, int] | None, uid: int, gid: int) -> tuple[int, int]:
        """Whose a file is, by what is kept beside it and what the disk says."""
        if not self._real:
            return kept or (0, 0)
        if kept is None or not _beyond(uid, gid):
            return uid, gid
        stand_in = held()
        return kept[0] if uid == stand_in[0] else uid, kept[1] if gid == stand_in[1] else gid

    def _beside(self, path: str) -> tuple[Table, str]:
        """The table for a path, and the path in it."""
        path = path.strip("/")
        for where, table, inside in self._mounts:
            if path == where or path.startswith(f"{where}/"):
                return table, (inside + path[len(where) :]).strip("/")
        return self._table, path

    def _find(self, path: str, target: str, st: os.stat_result) -> tuple[int, int] | None:
        """The owner in the tables, or of a socket that was expected."""
        table, name = self._beside(path)
        if self._expected and stat.S_ISSOCK(st.st_mode):
            self.meet()
        return table.find(name, target, st)

    def expect(self, folder: int, name: bytes, uid: int, gid: int) -> None:
        """A socket will be made in a folder, by somebody else, and belong to these."""
        self.meet()
        if len(self._expected) == _EXPECTED:  # it never came
            os.close(self._expected.pop(0)[0])
        self._expected.append((os.dup(folder), name, uid, gid))

    def meet(self) -> None:
        """Note the owners of sockets that were expected and are there: before names change."""
        waiting, self._expected = self._expected, []
        for folder, name, uid, gid in waiting:
            try:
                fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            except OSError:
                self._expected.append((folder, name, uid, gid))
                continue
            st = os.fstat(fd)
            if stat.S_ISSOCK(st.st_mode):
                table, path = self._beside(os.readlink(f"/proc/self/fd/{fd}"))
                table.append(path, "", st, uid, gid)
            os.close(fd)
            os.close(folder)

    def move(self, fd: int, path: str, new: str) -> None:
        """What is at a path gets another name, or a further one."""
        st = os.fstat(fd)
        if stat.S_ISREG(st.st_mode) or stat.S_ISDIR(st.st_mode):
            return
        target = _target(fd, st)
        found = self._find(path, target, st)
        if found is not None:
            table, name = self._beside(new)
            table.append(name, target, st, *found, moved=True)

    def touch(self, fd: int, path: str, set_times: Callable[[], None]) -> bool:
        """Let a link, fifo or socket get other times, which it may be known by; False if it is not known."""
        st = os.fstat(fd)
        if stat.S_ISREG(st.st_mode) or stat.S_ISDIR(st.st_mode):
            return False
        target = _target(fd, st)
        found = self._find(path, target, st)
        if found is None:
            return False
        set_times()
        table, name = self._beside(path)
        table.append(name, target, os.fstat(fd), *found)
        return True

    def _from_below(self, e: Entry) -> tuple[int, int] | None:
        """The owner that the layers below give to a link (or fifo) that a step only moved or touched."""
        if self._below is None:
            return None
        old = self._below.get(e.path)
        if old is not None and old.kind == e.kind and old.link == e.link and old.mtime_ns == e.mtime_ns:
            return old.uid, old.gid
        return self._foreign().get((e.kind, e.link, e.mtime_ns))

    def _foreign(self) -> dict[tuple[str, str, int], tuple[int, int]]:
        """Links and fifos of the layers below that do not belong to 0:0, by what a move leaves as it is."""
        if self._links is None:
            assert self._below is not None
            self._links = {
                (e.kind, e.link, e.mtime_ns): (e.uid, e.gid)
                for e in self._below.walk()
                if e.kind in "lp" and (e.uid or e.gid)
            }
        return self._links


def _beyond(uid: int, gid: int) -> bool:
    """True for an owner that is kept beside the file, or stands on the disk for one that is."""
    last = held()
    return uid >= last[0] or gid >= last[1]


def _on_disk(uid: int, gid: int) -> tuple[int, int]:
    last = held()
    return min(uid, last[0]), min(gid, last[1])


def _target(fd: int, st: os.stat_result) -> str:
    return os.readlink("", dir_fd=fd) if stat.S_ISLNK(st.st_mode) else ""
