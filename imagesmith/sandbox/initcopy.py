"""A folder of the machine shown by a copy, where nothing can be mounted, and what a step left brought back.

Why not shutil: it opens what it finds, and a device or a fifo is no file to be read. Here a node stays
a node, a link a link, and names of one file are one; nothing is opened but regular files, no link followed.
Imports the standard library only: the step's process uses it.
Trust: the step may have written all of it; everything is reached by descriptor and one name. A device is made
only if `may_make` says so, where it is given: of what comes back, those that were there.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable

__all__ = ["copy_tree", "same_node"]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 20

#: Whether a device may be made: its path in the tree, and what it is.
MayMake = Callable[[str, os.stat_result], bool]


def copy_tree(source: str, target: str, may_make: MayMake | None = None) -> None:
    """Copy a file or folder to a path that is free: owners, modes, times, links and attributes.

    Raises:
        OSError: the machine refuses; the path is that of the source.
    """
    folders = os.path.dirname(source) or ".", os.path.dirname(target) or "."
    a, b = (os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) for folder in folders)
    try:
        _Copying(target, may_make).entry(a, os.path.basename(source), b, os.path.basename(target), "")
    except OSError as e:
        raise OSError(e.errno, e.strerror, source) from e
    finally:
        os.close(a)
        os.close(b)


def same_node(root: str) -> MayMake:
    """Allows the devices that a tree has at the same paths."""

    def has(path: str, st: os.stat_result) -> bool:
        with contextlib.suppress(OSError):
            there = os.lstat(root + path)
            return (stat.S_IFMT(there.st_mode), there.st_rdev) == (stat.S_IFMT(st.st_mode), st.st_rdev)
        return False

    return has


class _Copying:
    """One copy: where it is, and the files of several names that were met. Nobody else is in it."""

    def __init__(self, target: str, may_make: MayMake | None) -> None:
        self._target, self._may_make = target, may_make
        self._met: dict[tuple[int, int], str] = {}

    def entry(self, a: int, name: str, b: int, new: str, path: str) -> None:
        """Copy a name of the folder `a` to the name `new` of the folder `b`."""
        st = os.lstat(name, dir_fd=a)
        if stat.S_ISDIR(st.st_mode):
            self._folder(a, name, b, new, path)
            return
        known = self._met.get((st.st_dev, st.st_ino))
        if known is not None:
            os.link(known, new, dst_dir_fd=b, follow_symlinks=False)
            return
        if stat.S_ISREG(st.st_mode):
            self._file(a, name, b, new)
        elif stat.S_ISLNK(st.st_mode):
            os.symlink(os.readlink(name, dir_fd=a), new, dir_fd=b)
            os.chown(new, st.st_uid, st.st_gid, dir_fd=b, follow_symlinks=False)
        elif self._may(path, st):
            os.mknod(new, stat.S_IFMT(st.st_mode) | 0o600, st.st_rdev, dir_fd=b)
            os.chown(new, st.st_uid, st.st_gid, dir_fd=b, follow_symlinks=False)
            os.chmod(new, stat.S_IMODE(st.st_mode), dir_fd=b)
        else:
            return
        os.utime(new, ns=(st.st_atime_ns, st.st_mtime_ns), dir_fd=b, follow_symlinks=False)
        if st.st_nlink > 1:
            self._met[st.st_dev, st.st_ino] = self._target + path

    def _may(self, path: str, st: os.stat_result) -> bool:
        """True for a fifo, and for a device that may be made."""
        if stat.S_ISSOCK(st.st_mode):
            return False
        return stat.S_ISFIFO(st.st_mode) or self._may_make is None or self._may_make(path, st)

    def _folder(self, a: int, name: str, b: int, new: str, path: str) -> None:
        below = os.open(name, _FOLDER, dir_fd=a)
        try:
            os.mkdir(new, 0o700, dir_fd=b)
            made = os.open(new, _FOLDER, dir_fd=b)
            try:
                for child in os.listdir(below):
                    self.entry(below, child, made, child, f"{path}/{child}")
                _finish(below, made)
            finally:
                os.close(made)
        finally:
            os.close(below)

    def _file(self, a: int, name: str, b: int, new: str) -> None:
        source = os.open(name, _READ, dir_fd=a)
        try:
            if not stat.S_ISREG(os.fstat(source).st_mode):
                return
            out = os.open(new, _WRITE, 0o600, dir_fd=b)
            try:
                while data := os.read(source, _CHUNK):
                    view = memoryview(data)
                    while view:
                        view = view[os.write(out, view) :]
                _finish(source, out)
            finally:
                os.close(out)
        finally:
            os.close(source)


def _finish(a: int, b: int) -> None:
    """Give what was made the owner, mode, attributes and times of what it was made of."""
    st = os.fstat(a)
    os.fchown(b, st.st_uid, st.st_gid)
    os.fchmod(b, stat.S_IMODE(st.st_mode))
    with contextlib.suppress(OSError):  # a file system without
        for xattr in os.listxattr(a):
            with contextlib.suppress(OSError):
                os.setxattr(b, xattr, os.getxattr(a, xattr))
    os.utime(b, ns=(st.st_atime_ns, st.st_mtime_ns))
