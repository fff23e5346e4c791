"""Folders of the store that live as long as a step, and trees written into them.

Why: a context is shown to RUN as a copy, for its owners and what its ignore file hides differ from what lies
on the disk, and a writable mount must not reach the original. It is made of entries, as layers are
(fs/materialise.py): what a tree calls a device or a link is never opened.
Trust: trees are hostile: they are written through the jail, and deleted through no link.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from imagesmith.concurrency import Once
from imagesmith.errors import SandboxError, disk_fault
from imagesmith.fs.entry import Entry, replace
from imagesmith.fs.folders import make_plain
from imagesmith.fs.materialise import materialise
from imagesmith.fs.tree import Tree
from imagesmith.fs.view import View, flat
from imagesmith.interfaces import Place
from imagesmith.store.store import Store
from imagesmith.store.work import WorkFolder
from imagesmith.worker.snapshot.trees import on_disk

__all__ = ["Copies", "copy_out", "scratch_folder"]


def scratch_folder(store: Store, stack: ExitStack) -> Path:
    """A new folder, deleted with `stack`."""
    work = WorkFolder(store.work, "run-")
    stack.callback(_close, work)
    make_plain(work.path / "files")
    return work.path / "files"


class Copies:
    """Copies of trees that several steps may read; one is made for each tree and path, once."""

    def __init__(self, store: Store, place: Place) -> None:
        self._store, self._place = store, place
        self._stack = ExitStack()
        self._made: Once[tuple[int, str], tuple[Tree, Path]] = Once()

    def get(self, tree: Tree, path: str) -> Path:
        """The folder below which a copy of what is at the path lies, at the same path."""

        def make() -> tuple[Tree, Path]:
            folder = scratch_folder(self._store, self._stack)
            copy_out(tree, path, folder, self._place)
            return tree, folder  # the tree is kept, so that its id stays its own

        return self._made.get((id(tree), path), make)[1]

    def close(self) -> None:
        """Delete them."""
        self._made = Once()
        self._stack.close()


def _close(work: WorkFolder) -> None:
    with contextlib.suppress(OSError):  # what is left goes with the next one's sweep
        work.close()


def copy_out(tree: Tree, path: str, folder: Path, place: Place, at: str | None = None) -> None:
    """Make what is at a path of a tree, and all below it, under `folder`: at `at`, or at the same path.

    Owners, times, links, capabilities and devices are the tree's, as far as the place has them.

    Raises:
        StoreError: the disk is full, read-only or broken.
        SandboxError: the machine refuses otherwise.
    """
    try:
        materialise(_below(tree, path, path if at is None else at), folder, **on_disk(place))
    except OSError as e:
        doing = f"copy /{path} for a mount"
        raise disk_fault(e, doing, folder) or SandboxError(f"cannot {doing}: {e.strerror}") from e


def _below(tree: Tree, path: str, at: str) -> Iterator[Entry]:
    """The entries of a part of a tree, under the paths at which they are made."""
    top = tree.get(path) if path or isinstance(tree, View) else None
    top = top or Entry("", "d", 0o755)  # the root of a context is the builder's
    yield top if path == at else replace(top, path=at)
    if top.kind != "d":
        return
    for e in flat(tree, path):
        if path != at:
            e = replace(e)
            e.path = at + (e.path[len(path) :] if path else f"/{e.path}")
            if e.kind == "h":
                e.link = at + (e.link[len(path) :] if path else f"/{e.link}")
        yield e
