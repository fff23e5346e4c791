"""What a step left, made into exactly its layer's tree.

Why: an upper directory holds more than its layer: files that were copied up and not changed, the fractions of
times, attributes and sockets that no layer has, a directory hidden by a mark where the layer lists deletions.
Kept under the diff_id as it is, it would show one build's files to another. So it becomes a tree only here:
what the layer does not have is taken away, times become the layer's, and where anything else differs it is
no tree. No file is read, for the layer was written of these very files. It is done when a step first stands
on the layer: many never do.
Trust: a RUN step wrote the directory: everything happens by descriptor and one name, which is not followed.
Threads: any, each with its own directory.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from imagesmith.fs.entry import Entry
from imagesmith.fs.jail import Jail
from imagesmith.fs.view import LayerIndex
from imagesmith.worker.snapshot.ownership import XATTR

__all__ = ["first_name", "settle", "settle_entry"]

_KINDS = {"f": stat.S_IFREG, "h": stat.S_IFREG, "d": stat.S_IFDIR, "l": stat.S_IFLNK, "p": stat.S_IFIFO}
_DEVICES = {"c": stat.S_IFCHR, "b": stat.S_IFBLK}


def settle(upper: Path, layer: LayerIndex, *, owners: bool, devices: bool) -> bool:
    """Make an upper directory the tree of the layer that was written of it; False if it cannot be.

    Args:
        upper: the directory, which nobody uses.
        layer: the layer; it lists all its parents.
        owners: they are on the disk, not beside the files.
        devices: likewise.

    Raises:
        OSError: the machine refuses.
    """
    if layer.opaques or not layer.stands_alone:
        return False
    with Jail(upper) as jail:
        return _Settling(jail, layer, owners, devices).done()


class _Settling:
    """The state of one directory on its way; see `settle` for the fields."""

    def __init__(self, jail: Jail, layer: LayerIndex, owners: bool, devices: bool) -> None:
        self._jail, self._layer, self._owners, self._devices = jail, layer, owners, devices
        self._folders: list[Entry] = []
        self._seen = 0
        self._deleted: set[str] = set()
        self._first: dict[str, int] = {}
        self._further: list[tuple[str, int]] = []

    def done(self) -> bool:
        """True if it is the layer's tree now."""
        todo = [""]
        while todo:
            folder = todo.pop()
            fd = self._jail.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                for name in os.listdir(fd):
                    path = f"{folder}/{name}" if folder else name
                    st = os.lstat(name, dir_fd=fd)
                    if stat.S_ISCHR(st.st_mode) and not st.st_rdev and path in self._layer.whiteouts:
                        self._deleted.add(path)
                        continue
                    e = self._layer.entries.get(path)
                    if e is None:
                        self._jail.remove(path)
                        continue
                    if not self._fits(e, st, fd, name):
                        return False
                    self._seen += 1
                    if e.kind == "d":
                        todo.append(path)
                        self._folders.append(e)
            finally:
                os.close(fd)
        if self._seen != len(self._layer.entries) or not self._links_fit():
            return False
        self._finish()
        return True

    def _fits(self, e: Entry, st: os.stat_result, fd: int, name: str) -> bool:
        """True if an entry is what the layer says, after what may differ was made so."""
        kind = _KINDS.get(e.kind) or (_DEVICES[e.kind] if self._devices else stat.S_IFREG)
        if stat.S_IFMT(st.st_mode) != kind or (e.kind != "l" and stat.S_IMODE(st.st_mode) != e.mode):
            return False
        if self._owners and (st.st_uid, st.st_gid) != (e.uid, e.gid):
            return False
        if (e.kind in "fh" and st.st_size != e.size) or (
            e.kind == "l" and os.readlink(name, dir_fd=fd) != e.link
        ):
            return False
        first = first_name(self._layer, e)
        if first != e.path:
            self._further.append((first, st.st_ino))
        elif e.kind != "d" and st.st_nlink > 1:
            self._first[first] = st.st_ino
        settle_entry(fd, name, e, st)
        return True

    def _links_fit(self) -> bool:
        """True if the names of one file are those that the layer links."""
        inodes = self._first
        return len(set(inodes.values())) == len(inodes) and all(
            inodes.get(first) == inode for first, inode in self._further
        )

    def _finish(self) -> None:
        """List the deletions that a mark stood for; then give directories their times."""
        for path in self._layer.whiteouts - self._deleted:
            parent, _, name = path.rpartition("/")
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=self._jail.folder(parent))
        for e in reversed(self._folders):
            os.utime(self._jail.folder(e.path), ns=(e.mtime_ns, e.mtime_ns))


def first_name(layer: LayerIndex, e: Entry) -> str:
    """The path by which a layer names what an entry of it is another name of: the entry's own for most."""
    if e.kind == "h":
        return e.link
    one = layer.one_as.get(e.path) if layer.one_as else None
    return one.path if one is not None else e.path


def settle_entry(fd: int, name: str, e: Entry, st: os.stat_result) -> None:
    """Take attributes that no layer has from a file, and give it the layer's time; folders get theirs last.

    Args:
        fd: of the parent.
        name: the file's.
        e: the layer's entry.
        st: what the file is.
    """
    path = f"/proc/self/fd/{fd}/{name}"
    for attribute in os.listxattr(path, follow_symlinks=False):
        if attribute != XATTR and not attribute.startswith("security."):
            os.removexattr(path, attribute, follow_symlinks=False)
    if e.kind != "d" and st.st_mtime_ns != e.mtime_ns:
        os.utime(name, ns=(e.mtime_ns, e.mtime_ns), dir_fd=fd, follow_symlinks=False)
