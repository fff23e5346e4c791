"""A directory that is the whole world: everything below it is reached by its descriptor, nothing outside it.

Why: what is written below a root (layers, archives, exports) names paths and links that strangers chose. A
path is looked up by the kernel with the root as its `/` (openat2, RESOLVE_IN_ROOT), or, on kernels without
it, component by component; then everything happens by the parent's descriptor and one
name, which is never followed. No path is compared as text, and none is resolved twice.
Trust: hostile paths, links and races with whatever else changes the tree.
Threads: one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import TracebackType

from imagesmith.errors import UnsafeArchive

__all__ = ["Jail", "remove_tree"]

_OPENAT2 = 437
_IN_ROOT, _NO_MAGICLINKS, _NO_LINKS = 0x10, 0x02, 0x04
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_MAX_LINKS = 40


class Jail:
    """The tree below a folder. Paths are relative, as in fs.entry; close it, or use it in a `with`."""

    def __init__(self, root: Path, *, links: bool = True) -> None:
        """Open the root; without `links` none is followed at all, and one on the way is an error (ELOOP)."""
        self._links = links
        self.fd = os.open(root, _DIRECTORY)
        self._folder, self._folder_fd = "", self.fd
        #: How often `folder` came to another one.
        self.opened = 0

    def close(self) -> None:
        """Let the descriptors go."""
        self._forget()
        os.close(self.fd)

    def __enter__(self) -> Jail:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def folder(self, path: str) -> int:
        """A descriptor of a directory, links followed inside the root; valid until the next call.

        Raises:
            OSError: it does not exist or is no directory.
        """
        if path != self._folder:
            fd = self.open(path, _DIRECTORY)
            self._forget()
            self._folder, self._folder_fd = path, fd
            self.opened += 1
        return self._folder_fd

    def _forget(self) -> None:
        if self._folder_fd != self.fd:
            os.close(self._folder_fd)
        self._folder, self._folder_fd = "", self.fd

    def open(self, path: str, flags: int) -> int:
        """Open what is at a path, links followed inside the root."""
        if not path:
            return os.dup(self.fd)
        kernel = _openat2()
        return kernel(self.fd, path, flags, self._links) if kernel else self._walk(path, flags)

    def _walk(self, path: str, flags: int) -> int:
        """`open` without openat2: the links are followed here, by their text."""
        fds = [os.dup(self.fd)]
        todo = [p for p in reversed(path.split("/")) if p not in ("", ".")]
        links = 0
        try:
            while todo:
                name = todo.pop()
                if name == "..":
                    if len(fds) > 1:
                        os.close(fds.pop())
                    continue
                with contextlib.suppress(OSError):
                    target = os.readlink(name if self._links else "", dir_fd=fds[-1])
                    links += 1
                    if links > _MAX_LINKS:
                        raise UnsafeArchive(f"/{path}: too many levels of symbolic links")
                    if target.startswith("/"):
                        while len(fds) > 1:
                            os.close(fds.pop())
                    todo += [p for p in reversed(target.split("/")) if p not in ("", ".")]
                    continue
                how = _DIRECTORY if todo else flags
                fds.append(os.open(name, how | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fds[-1]))
            return fds.pop()
        finally:
            for fd in fds:
                os.close(fd)

    def remove(self, path: str) -> None:
        """Delete what is at a path, with all below it; nothing if there is nothing."""
        parent, _, name = path.rpartition("/")
        with contextlib.suppress(FileNotFoundError):
            _remove(self.folder(parent), name)
        if self._folder == path or self._folder.startswith(f"{path}/"):
            self._forget()


def remove_tree(path: Path) -> None:
    """Delete a folder with all below it, also through directories that their owner closed.

    Raises:
        OSError: it belongs to somebody else, or something is mounted in it.
    """
    with contextlib.suppress(FileNotFoundError):
        fd = os.open(path.parent, _DIRECTORY)
        try:
            _remove(fd, path.name)
        finally:
            os.close(fd)


def _remove(fd: int, name: str) -> None:
    """Delete what a name in a folder stands for; however deep it is, two descriptors are enough."""
    if _unlink(fd, name):
        return
    here = _enter(fd, name)
    todo = [(name, os.listdir(here))]
    try:
        while todo:
            if todo[-1][1]:
                child = todo[-1][1].pop()
                if not _unlink(here, child):
                    below = _enter(here, child)
                    os.close(here)
                    here = below
                    todo.append((child, os.listdir(here)))
                continue
            done, _ = todo.pop()
            if not todo:
                break
            above = os.open("..", _DIRECTORY, dir_fd=here)
            os.close(here)
            here = above
            os.rmdir(done, dir_fd=here)
    finally:
        os.close(here)
    os.rmdir(name, dir_fd=fd)


def _unlink(fd: int, name: str) -> bool:
    """Delete anything but a directory; False for a directory."""
    try:
        os.unlink(name, dir_fd=fd)
    except IsADirectoryError:
        return False
    except PermissionError:  # a directory to some file systems, or in a folder that is closed
        if stat.S_ISDIR(os.lstat(name, dir_fd=fd).st_mode):
            return False
        os.fchmod(fd, 0o700)
        os.unlink(name, dir_fd=fd)
    return True


def _enter(fd: int, name: str) -> int:
    """Open a directory to empty it."""
    try:
        below = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=fd)
        below = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
    if os.fstat(below).st_mode & 0o300 != 0o300:
        os.fchmod(below, 0o700)
    return below


@cache
def _openat2() -> Callable[[int, str, int, bool], int] | None:
    """openat2(2) with the descriptor as root, or None where the kernel lacks or forbids it."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def call(fd: int, path: str, flags: int, links: bool) -> int:
        how = struct.pack("QQQ", flags | os.O_CLOEXEC, 0, _IN_ROOT | (_NO_MAGICLINKS if links else _NO_LINKS))
        while True:
            got = libc.syscall(
                ctypes.c_long(_OPENAT2), ctypes.c_long(fd), ctypes.c_char_p(os.fsencode(path)),
                ctypes.c_char_p(how), ctypes.c_size_t(len(how)),
            )  # fmt: skip
            if got >= 0:
                return int(got)
            number = ctypes.get_errno()
            if number != errno.EAGAIN:  # EAGAIN: somebody renamed on the way; look again
                raise OSError(number, os.strerror(number), path)

    root = os.open("/", _DIRECTORY)
    try:
        os.close(call(root, ".", _DIRECTORY, True))
    except OSError:
        return None
    finally:
        os.close(root)
    return call
