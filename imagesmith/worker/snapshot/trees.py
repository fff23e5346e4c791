"""Extracted layers: each is made once, by the first step that needs it, and stays for later builds.

    layers/<diff_id>/tree           owners on the disk are the image's (the machine's root)
    layers/<diff_id>/tree-subid     they are those of a user namespace with ids lent to the user
    layers/<diff_id>/tree-single    they are kept beside the files (ownership.py)
    layers/<diff_id>/tree*-left     what the step left that made the layer: its tree, once it is settled

A tree holds exactly the layer's entries, so that it is right over whatever stands below it next time.

Why several: one store may be used by a user with and without subordinate ids, and by root.
Trust: layers are hostile, and extracted through the jail. A tree lies below folders that nobody else may
enter (store/folder.py).
Threads: may be shared; a tree is made by one thread at a time.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypedDict

from imagesmith.fs.entry import Entry
from imagesmith.fs.jail import remove_tree
from imagesmith.fs.materialise import materialise
from imagesmith.fs.tree import Tree
from imagesmith.fs.view import LayerIndex, View
from imagesmith.interfaces import LayerTree, Place
from imagesmith.oci.digest import Digest
from imagesmith.worker.snapshot.ownership import XATTR, Owners, held, keep_beside, table_of
from imagesmith.worker.snapshot.settle import settle
from imagesmith.worker.snapshot.work import WorkFolder, keep_tree

__all__ = ["Trees", "become_root", "hidden_layers", "on_disk", "opaque_xattr", "owners_of", "up_to"]

_NAMES = {"root": "tree", "subid": "tree-subid", "single": "tree-single", "own": "tree-single"}


class _OnDisk(TypedDict):
    owners: bool
    keep: Callable[[int, str, Entry], None] | None
    ids: tuple[int, int]


def on_disk(place: Place) -> _OnDisk:
    """How materialise gives files their owners and makes devices in a place.

    Behind a chroot nothing refuses to open a device: there a file stands for it, as where none can be made.
    """
    if place.ids == "root":
        keep = None if place.mounts else _keep_device
        return {"owners": True, "keep": keep, "ids": (1 << 32, 1 << 32)}
    if place.ids == "subid":
        return {"owners": True, "keep": keep_beside, "ids": held()}
    return {"owners": False, "keep": keep_beside, "ids": (1, 1)}


def owners_of(root: Path, view: Tree | None, place: Place) -> Owners | None:
    """What is kept beside the files of a root directory; None in a place where the disk holds all."""
    if place.ids == "root" and place.mounts:
        return None
    return Owners(table_of(root), view, real=place.ids in ("root", "subid"))


def _keep_device(fd: int, name: str, e: Entry) -> None:
    with contextlib.suppress(OSError):  # a file system without: a device that a step moves becomes a file
        keep_beside(fd, name, e)


def become_root(folder: Path, view: Tree, place: Place) -> None:
    """Give a directory the mode and the owner of a view's root, whatever it had."""
    e, how = view.get("") or Entry("", "d", 0o755), on_disk(place)
    uids, gids = how["ids"]
    if how["owners"]:
        os.chown(folder, min(e.uid, uids), min(e.gid, gids))
    os.chmod(folder, e.mode)
    if how["keep"] is None:
        return
    with contextlib.suppress(OSError):
        os.removexattr(folder, XATTR)
    if e.uid >= uids or e.gid >= gids:
        fd = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            how["keep"](fd, folder.name, e)
        finally:
            os.close(fd)


def opaque_xattr(place: Place) -> str:
    """The xattr by which overlayfs marks an opaque directory."""
    return "trusted.overlay.opaque" if place.ids == "root" else "user.overlay.opaque"


class Trees:
    """The trees of the layers for one place, in the form of overlayfs."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._lock = threading.Lock()
        self._making: dict[Digest, threading.Lock] = {}

    def path(self, layer: LayerTree) -> Path:
        """Where a layer's tree is, or is to be put by rename."""
        return layer.tree.with_name(_NAMES[self._place.ids])

    def keep_left(self, upper: Path, layer: LayerTree) -> None:
        """Keep what the step left that made a layer, by rename, unless its tree is there."""
        tree = self.path(layer)
        if not tree.is_dir():
            keep_tree(upper, _left(tree))

    def settled(self, layer: LayerTree, index: LayerIndex, work: WorkFolder) -> Path | None:
        """A layer's tree, made of what its step left; None where there is nothing of the kind."""
        tree = self.path(layer)
        with self._alone(layer.diff_id):
            if tree.is_dir():
                return tree
            made = work.path / f"left-{layer.diff_id.hex}"
            try:
                os.rename(_left(tree), made)  # now nobody else has it
            except FileNotFoundError:
                return None
            ids, fits = self._place.ids, False
            with contextlib.suppress(OSError):  # a file that may not be touched: extract instead
                fits = settle(made, index, owners=ids in ("root", "subid"), devices=ids == "root")
            if fits:
                keep_tree(made, tree)
                return tree
            with contextlib.suppress(OSError):  # what is left goes with the work folder
                remove_tree(made)
            return None

    @contextlib.contextmanager
    def _alone(self, diff_id: Digest) -> Iterator[None]:
        """Nobody else of this process makes the layer's tree."""
        with self._lock:
            lock = self._making.setdefault(diff_id, threading.Lock())
        with lock:
            yield

    def make(self, layer: LayerTree, below: Tree, work: WorkFolder) -> Path:
        """A layer's tree; extracted now if it is not there. `below` shows the layers up to this one.

        Raises:
            UnsafeArchive: the layer cannot be extracted.
            OSError: the machine refuses.
        """
        tree = self.path(layer)
        with self._alone(layer.diff_id):
            if not tree.is_dir():
                made = work.new() / "tree"
                made.mkdir(0o755)
                materialise(
                    layer.placed(), made, form="overlay", opaque=opaque_xattr(self._place),
                    below=below.get, **on_disk(self._place),
                )  # fmt: skip
                keep_tree(made, tree)
                made.parent.rmdir()
        return tree


def _left(tree: Path) -> Path:
    return tree.with_name(f"{tree.name}-left")


def hidden_layers(view: Tree) -> int:
    """How many of a view's lowest layers are hidden by one whose root is opaque."""
    layers = view.layers if isinstance(view, View) else ()
    return max((n for n, layer in enumerate(layers) if "" in layer.opaques), default=0)


def up_to(view: Tree, count: int) -> Tree:
    """What the lowest `count` layers of a view show."""
    return view.lowest(count) if isinstance(view, View) else view
