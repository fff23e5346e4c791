"""A folder of the machine shown by a copy, where nothing can be mounted, and what a step left brought back.

Why not shutil: it opens what it finds, and a device or a fifo is no file to be read. Here a node stays
a node, a link a link, and names of one file are one; nothing is opened but regular files, no link followed.
Folders may be thousands deep: four descriptors are enough, and no path is longer than the kernel takes it.
Imports the standard library only: the step's process uses it.
Trust: the step may have written all of it; everything is reached by descriptor and one name. A device is made
only if `may_make` says so, where it is given: of what comes back, those that were there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable

from imagesmith.worker.sandbox.initpaths import FOLDER

__all__ = ["copy_tree", "remove_folder", "same_node"]

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 20
#: So many names of a path are opened at once: it has 4,096 bytes at most, a name 255.
_NAMES = 15

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
        _Copying(target, may_make).copy(a, os.path.basename(source), b, os.path.basename(target))
    except OSError as e:
        raise OSError(e.errno, e.strerror, source) from e
    finally:
        os.close(a)
        os.close(b)


def remove_folder(above: int, name: str) -> None:
    """Remove a folder with all below it.

    Raises:
        OSError: the machine refuses.
    """
    here = os.open(name, FOLDER, dir_fd=above)
    todo = [(name, os.listdir(here))]
    try:
        while True:
            if todo[-1][1]:
                child = todo[-1][1].pop()
                if not stat.S_ISDIR(os.lstat(child, dir_fd=here).st_mode):
                    os.unlink(child, dir_fd=here)
                    continue
                below = os.open(child, FOLDER, dir_fd=here)
                os.close(here)
                here = below
                todo.append((child, os.listdir(here)))
                continue
            done, _ = todo.pop()
            if not todo:
                break
            up = os.open("..", FOLDER, dir_fd=here)
            os.close(here)
            here = up
            os.rmdir(done, dir_fd=here)
    finally:
        os.close(here)
    os.rmdir(name, dir_fd=above)


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
        self._met: dict[tuple[int, int], tuple[str, ...]] = {}
        self._above: list[str] = []  # names of the folders between the top and where the copy is

    def copy(self, a: int, name: str, b: int, new: str) -> None:
        """Copy a name of the folder `a`, with all below it, to the name `new` of the folder `b`."""
        if not stat.S_ISDIR(os.lstat(name, dir_fd=a).st_mode):
            self._leaf(a, name, b, new, ())
            return
        here, made = _enter(a, name, b, new)
        todo = [_Level(here, made)]
        try:
            while True:
                if todo[-1].names:
                    child = todo[-1].names.pop()
                    if not stat.S_ISDIR(os.lstat(child, dir_fd=here).st_mode):
                        self._leaf(here, child, made, child, (*self._above, child))
                        continue
                    here, made = _moved((here, made), _enter(here, child, made, child))
                    self._above.append(child)
                    todo.append(_Level(here, made))
                    continue
                todo.pop()
                if not todo:
                    _finish(here, made)
                    return
                up = todo[-1].again(here, made)
                _finish(here, made)  # afterwards, for it may close the folder
                here, made = _moved((here, made), up)
                self._above.pop()
        finally:
            os.close(here)
            os.close(made)

    def _leaf(self, a: int, name: str, b: int, new: str, path: tuple[str, ...]) -> None:
        """Copy anything but a folder; `path` are the names from the top of the tree to it."""
        st = os.lstat(name, dir_fd=a)
        known = self._met.get((st.st_dev, st.st_ino))
        if known is not None:
            self._link(known, b, new)
            return
        if stat.S_ISREG(st.st_mode):
            self._file(a, name, b, new)
        elif stat.S_ISLNK(st.st_mode):
            os.symlink(os.readlink(name, dir_fd=a), new, dir_fd=b)
            os.chown(new, st.st_uid, st.st_gid, dir_fd=b, follow_symlinks=False)
        elif self._may("".join(f"/{part}" for part in path), st):
            os.mknod(new, stat.S_IFMT(st.st_mode) | 0o600, st.st_rdev, dir_fd=b)
            os.chown(new, st.st_uid, st.st_gid, dir_fd=b, follow_symlinks=False)
            os.chmod(new, stat.S_IMODE(st.st_mode), dir_fd=b)
        else:
            return
        os.utime(new, ns=(st.st_atime_ns, st.st_mtime_ns), dir_fd=b, follow_symlinks=False)
        if st.st_nlink > 1:
            self._met[st.st_dev, st.st_ino] = path

    def _link(self, known: tuple[str, ...], b: int, new: str) -> None:
        """Another name of a file that was copied already."""
        at = os.open(self._target, FOLDER)
        try:
            for n in range(0, len(known) - 1, _NAMES):
                below = os.open("/".join(known[n : min(n + _NAMES, len(known) - 1)]), FOLDER, dir_fd=at)
                os.close(at)
                at = below
            os.link(known[-1], new, src_dir_fd=at, dst_dir_fd=b, follow_symlinks=False)
        finally:
            os.close(at)

    def _may(self, path: str, st: os.stat_result) -> bool:
        """True for a fifo, and for a device that may be made."""
        if stat.S_ISSOCK(st.st_mode):
            return False
        return stat.S_ISFIFO(st.st_mode) or self._may_make is None or self._may_make(path, st)

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


class _Level:
    """A folder on the way down: its names that are left, and how to know it again, and its copy."""

    def __init__(self, here: int, made: int) -> None:
        self.names = os.listdir(here)
        self._known = _ids(here, made)

    def again(self, here: int, made: int) -> tuple[int, int]:
        """Its descriptors and those of its copy, from a folder in it."""
        up = _both(lambda: os.open("..", FOLDER, dir_fd=here), lambda: os.open("..", FOLDER, dir_fd=made))
        if _ids(*up) != self._known:
            for fd in up:
                os.close(fd)
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))  # moved meanwhile
        return up


def _ids(*fds: int) -> list[tuple[int, int]]:
    return [(st.st_dev, st.st_ino) for st in map(os.fstat, fds)]


def _both(first: Callable[[], int], second: Callable[[], int]) -> tuple[int, int]:
    """Two descriptors, or none."""
    a = first()
    try:
        return a, second()
    except OSError:
        os.close(a)
        raise


def _enter(a: int, name: str, b: int, new: str) -> tuple[int, int]:
    """Open a folder, and make and open its copy."""

    def make() -> int:
        os.mkdir(new, 0o700, dir_fd=b)
        return os.open(new, FOLDER, dir_fd=b)

    return _both(lambda: os.open(name, FOLDER, dir_fd=a), make)


def _moved(old: tuple[int, int], new: tuple[int, int]) -> tuple[int, int]:
    """The new descriptors, the old ones closed."""
    for fd in old:
        os.close(fd)
    return new


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
