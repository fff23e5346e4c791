"""The folder that a step behind a chroot has at /proc, once it asks for a list of what is in there.

Why a folder at all: a descriptor of the machine's /proc leads out of the root. So a list that is asked for
(of the step's processes, of a process's descriptors and threads) is made as files and links in a folder of
the step's own. Whatever else is asked for the warden answers itself (chroot_proc.py), and is not looked up in
here; so the folder is made by the first list, and most steps have none.
Imports the standard library only, as initchroot.py does.
Spec: proc(5).
Trust: the step's root may change all that lies here, or put links in its place: everything is reached from
the descriptor of the folder that was made, one name at a time, and through no link.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property

from imagesmith.worker.sandbox.initcopy import remove_folder
from imagesmith.worker.sandbox.initpaths import opened

__all__ = ["ProcFolder"]

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class ProcFolder:
    """The folder of one step; `make` puts an empty one at /proc and returns a descriptor of it."""

    def __init__(self, make: Callable[[], int]) -> None:
        self._make = make

    @cached_property
    def at(self) -> int:
        """The descriptor of the folder."""
        return self._make()

    def list_processes(self, pids: Iterable[int], names: Iterable[str]) -> None:
        """Have an empty folder for each process, and files of these names."""
        wanted = set(map(str, pids))
        there = set(os.listdir(self.at))
        if "self" not in there:
            os.symlink("/proc/self/fd/..", "self", dir_fd=self.at)
        for name in {n for n in there if n.isdecimal()} - wanted:
            _remove(self.at, name)
        for name in wanted - there:
            os.mkdir(name, 0o755, dir_fd=self.at)
        for name in {n for n in names if os.path.exists(f"/proc/{n}")} - there:
            os.close(os.open(name, _NEW, 0o444, dir_fd=self.at))

    def list_process(self, pid: int, files: Mapping[str, bytes], links: Mapping[str, str]) -> int:
        """The folder of a process with these files, opened."""
        with _emptied(self.at, str(pid)) as own:
            for name in ("fd", "task"):
                os.mkdir(name, 0o755, dir_fd=own)
            for name, data in files.items():
                _write(own, name, data)
            for name, text in links.items():
                os.symlink(text, name, dir_fd=own)
            return os.dup(own)

    def list_links(self, pid: int, links: Mapping[str, str]) -> int:
        """The folder of a process's descriptors, opened."""
        with _made(self.at, str(pid)) as own, _emptied(own, "fd") as folder:
            for name, text in links.items():
                os.symlink(text, name, dir_fd=folder)
            return os.dup(folder)

    def list_threads(self, pid: int, threads: Iterable[str]) -> int:
        """The folder of a process's threads, opened."""
        with _made(self.at, str(pid)) as own, _emptied(own, "task") as folder:
            for name in threads:
                os.mkdir(name, 0o755, dir_fd=folder)
            return os.dup(folder)


@contextlib.contextmanager
def _made(above: int, name: str) -> Iterator[int]:
    """A folder in another one, opened for as long as the context lasts; it is made where there is none."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o755, dir_fd=above)
    with opened(name, above) as fd:
        yield fd


@contextlib.contextmanager
def _emptied(above: int, name: str) -> Iterator[int]:
    """The same, with nothing in it."""
    with _made(above, name) as fd:
        for old in os.listdir(fd):
            _remove(fd, old)
        yield fd


def _write(above: int, name: str, data: bytes) -> None:
    """A new file of the root's that all may read."""
    fd = os.open(name, _NEW, 0o444, dir_fd=above)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def _remove(above: int, name: str) -> None:
    """Remove a file, or a folder with all that is in it."""
    try:
        os.unlink(name, dir_fd=above)
    except IsADirectoryError:
        remove_folder(above, name)
