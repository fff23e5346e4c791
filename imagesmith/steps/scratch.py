"""Folders of the store that live as long as a step, and trees written into them.

Why: a context is shown to RUN as a copy, for its owners and what its ignore file hides differ from what lies
on the disk, and a writable mount must not reach the original.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from imagesmith.concurrency import Once
from imagesmith.errors import SandboxError, disk_fault
from imagesmith.fs.entry import Entry
from imagesmith.fs.folders import make_plain, temporary
from imagesmith.fs.tree import Tree
from imagesmith.store.store import Store

__all__ = ["Copies", "copy_out", "scratch_folder"]

_CHUNK = 1 << 20


def scratch_folder(store: Store, stack: ExitStack) -> Path:
    """A new folder, deleted with `stack`."""
    store.work.mkdir(parents=True, exist_ok=True)
    _sweep(store.work)
    while True:
        folder = temporary("run-", store.work)
        lock = (folder / "lock").open("wb")
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "lock").exists():  # nobody swept it before it was locked
            break
        lock.close()
    stack.callback(lock.close)
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    make_plain(folder / "files")
    return folder / "files"


class Copies:
    """Copies of trees that several steps may read; one is made for each tree and path, once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stack = ExitStack()
        self._made: Once[tuple[int, str], tuple[Tree, Path]] = Once()

    def get(self, tree: Tree, path: str) -> Path:
        """The folder below which a copy of what is at the path lies, at the same path."""

        def make() -> tuple[Tree, Path]:
            folder = scratch_folder(self._store, self._stack)
            copy_out(tree, path, folder)
            return tree, folder  # the tree is kept, so that its id stays its own

        return self._made.get((id(tree), path), make)[1]

    def close(self) -> None:
        """Delete them."""
        self._made = Once()
        self._stack.close()


def _sweep(work: Path) -> None:
    """Delete the folders of processes that were killed."""
    for folder in work.glob("run-*"):
        with contextlib.suppress(OSError), (folder / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)


def copy_out(tree: Tree, path: str, folder: Path) -> None:
    """Write what is at a path of a tree, and all below it, under `folder`, at the same path.

    Raises:
        StoreError: the disk is full, read-only or broken.
        SandboxError: the machine refuses otherwise.
    """
    top = tree.get(path) if path else None
    try:
        if top is not None:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            _write([top], folder)
        if top is None or top.kind == "d":
            _write(tree.walk(path), folder)
    except OSError as e:
        doing = f"copy /{path} for a mount"
        raise disk_fault(e, doing, folder) or SandboxError(f"cannot {doing}: {e.strerror}") from e


def _write(entries: Iterable[Entry], folder: Path) -> None:
    folders: list[Entry] = []
    for e in entries:
        at = os.path.join(folder, e.path)
        match e.kind:
            case "d":
                os.makedirs(at, exist_ok=True)
                folders.append(e)
            case "f":
                _write_file(e, at)
            case "h":
                os.link(os.path.join(folder, e.link), at)
            case "l":
                os.symlink(e.link, at)
                os.utime(at, ns=(e.mtime_ns, e.mtime_ns), follow_symlinks=False)
            case "p":
                os.mkfifo(at, e.mode)
    for e in reversed(folders):
        at = os.path.join(folder, e.path)
        os.chmod(at, e.mode)
        os.utime(at, ns=(e.mtime_ns, e.mtime_ns))


def _write_file(e: Entry, at: str) -> None:
    with open(at, "wb") as out:
        if e.content is not None:
            left = e.size
            with e.content.open() as f:
                while left and (data := f.read(min(left, _CHUNK))):
                    out.write(data)
                    left -= len(data)
    os.chmod(at, e.mode)
    os.utime(at, ns=(e.mtime_ns, e.mtime_ns))
