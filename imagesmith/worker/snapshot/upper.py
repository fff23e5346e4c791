"""What an overlay's upper directory holds, as entries.

Why: the kernel keeps a deletion as a device 0:0, a replaced directory as a mark, and copies up whatever was
touched; layer/diff.py wants all of that in values, and decides what of it is a change.
Trust: a RUN step wrote the directory: nothing in it is followed or opened but regular files, by descriptor;
no path is longer than a layer may have it.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from typing import BinaryIO

from imagesmith.fs.entry import Entry
from imagesmith.fs.jail import Jail
from imagesmith.fs.limits import check_path
from imagesmith.fs.table import Spool, Table

__all__ = ["FileContent", "read_capability", "scan_upper"]

_CAPABILITY = "security.capability"
#: Revision 3 of the xattr carries the namespace's root; revision 2 is the same without it.
_REVISION_2 = b"\x00\x00\x00\x02"


class FileContent:
    """The bytes of a file below a jail."""

    __slots__ = ("jail", "path")

    def __init__(self, jail: Jail, path: str) -> None:
        self.jail, self.path = jail, path

    def packed(self) -> tuple[Jail, str]:
        """See fs.entry.Packed."""
        return self.jail, self.path

    @classmethod
    def unpacked(cls, jail: Jail, path: str) -> FileContent:
        """See fs.entry.Packed."""
        return cls(jail, path)

    def open(self) -> BinaryIO:
        """Open the file; see fs.entry.Content."""
        folder, _, name = self.path.rpartition("/")
        parent = self.jail.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
        finally:
            os.close(parent)
        return os.fdopen(fd, "rb", buffering=0)


def read_capability(fd: int, name: str) -> bytes | None:
    """The security.capability of a file as layers hold it: 20 bytes, revision 2."""
    with contextlib.suppress(OSError):
        value = os.getxattr(f"/proc/self/fd/{fd}/{name}", _CAPABILITY, follow_symlinks=False)
        if len(value) >= 20:
            flags = bytes([value[0] & 1])  # the effective bit; the revision is the last byte
            return flags + _REVISION_2[1:] + value[4:20]
    return None


def scan_upper(
    jail: Jail,
    opaque: str,
    owner: Callable[[int, str, Entry], None] | None = None,
    spool: Spool | None = None,
) -> tuple[Table, set[str]]:
    """Every entry of an upper directory, and the opaque directories.

    Args:
        jail: the upper directory; contents are read through it later.
        opaque: the xattr that marks an opaque directory.
        owner: told of each entry with its parent's descriptor and its name; puts in what is kept beside it.
        spool: for what is too much for memory (fs/table.py).

    Raises:
        LimitExceeded: a path is longer than a layer holds it, as of folders that were made one in the other.
    """
    entries = Table(spool)
    opaques: set[str] = set()
    inodes: dict[int, str] = {}

    def scan(folder: str) -> Iterator[Entry]:
        found = []
        fd = jail.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for name in sorted(os.listdir(fd), key=os.fsencode):
                path = f"{folder}/{name}" if folder else name
                e = _entry(fd, name, path, inodes)
                if e is None:
                    continue
                check_path(path)
                if owner is not None and e.kind not in "wh":
                    owner(fd, name, e)
                if e.kind == "d" and _has(fd, name, opaque):
                    opaques.add(path)
                elif e.kind == "f":
                    e.content = FileContent(jail, path)
                found.append(e)
        finally:
            os.close(fd)
        return iter(found)

    branch = [scan("")]
    while branch:
        for e in branch[-1]:
            entries[e.path] = e
            if e.kind == "d":
                branch.append(scan(e.path))
                break
        else:
            branch.pop()
    return entries, opaques


def _entry(fd: int, name: str, path: str, inodes: dict[int, str]) -> Entry | None:
    st = os.lstat(name, dir_fd=fd)
    if stat.S_ISCHR(st.st_mode) and st.st_rdev == 0:
        return Entry(path, "w")
    link = os.readlink(name, dir_fd=fd) if stat.S_ISLNK(st.st_mode) else ""
    e = Entry.from_stat(path, st, link)
    if e is None:
        return None
    if st.st_nlink > 1 and e.kind != "d":
        first = inodes.setdefault(st.st_ino, path)
        if first != path:
            return Entry(path, "h", e.mode, e.uid, e.gid, 0, e.mtime_ns, first)
    if e.kind == "f":
        e.capability = read_capability(fd, name)
    return e


def _has(fd: int, name: str, xattr: str) -> bool:
    try:
        return os.getxattr(f"/proc/self/fd/{fd}/{name}", xattr, follow_symlinks=False) == b"y"
    except OSError:
        return False
