"""Snapshots by overlayfs: the layers' trees below, an upper directory for what a step changes.

Why: a step costs a mount, whatever its base weighs, and what it changed lies in one directory. A layer's tree
is made once, when a RUN first needs it; what a RUN left becomes its own layer's tree by rename, and by what
settle.py does then.
Mounts are made in the process's own mount namespace: they are gone when it ends, also by SIGKILL, and what
lies in the work folder then is swept by the next one that starts.
Trust: what a step leaves in its upper directory is hostile: it is read by descriptors (upper.py), and its
marks and attributes mean what layer/diff.py says.
Threads: may be shared; each workspace belongs to one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

from imagesmith.concurrency import Once
from imagesmith.errors import SandboxError, disk_fault
from imagesmith.fs.entry import Entry
from imagesmith.fs.jail import Jail, remove_tree
from imagesmith.fs.materialise import materialise
from imagesmith.fs.table import Table
from imagesmith.fs.tree import Tree
from imagesmith.fs.view import flat
from imagesmith.interfaces import LayerTree, Place
from imagesmith.layer.tarwrite import EMPTY_LAYER
from imagesmith.oci.digest import Digest
from imagesmith.store.layers import StoredLayer
from imagesmith.store.store import Store
from imagesmith.worker.sandbox.kernel import MNT_DETACH, umount
from imagesmith.worker.snapshot.images import Images
from imagesmith.worker.snapshot.memory import Memory
from imagesmith.worker.snapshot.mountapi import MAX_LOWERS, mount_overlay, try_changes
from imagesmith.worker.snapshot.ownership import table_of
from imagesmith.worker.snapshot.ownertable import note_below
from imagesmith.worker.snapshot.trees import (
    Trees,
    become_root,
    hidden_layers,
    on_disk,
    opaque_xattr,
    owners_of,
    up_to,
)
from imagesmith.worker.snapshot.upper import scan_upper
from imagesmith.worker.snapshot.work import WorkFolder

__all__ = ["OverlaySnapshotter", "OverlayWorkspace", "overlay_options", "overlay_works"]

#: Whatever the kernel's defaults are: an upper that holds all it shows, and links that are not followed up.
_ROOT_OPTIONS = ("redirect_dir=off", "metacopy=off", "index=off", "volatile")
_USER_OPTIONS = ("userxattr", "index=off", "volatile")
#: Layers beyond the kernel's limit become one tree in multiples of this.
_MERGED = MAX_LOWERS // 2


def overlay_options(place: Place) -> tuple[str, ...]:
    """How overlays are mounted in a place."""
    return _ROOT_OPTIONS if place.ids == "root" else _USER_OPTIONS


class OverlaySnapshotter:
    """Makes workspaces for one process."""

    def __init__(self, place: Place, store: Store, work: WorkFolder, *, files: bool) -> None:
        """Use a work folder, which is closed with this; `files`: layers are mounted from files."""
        self.place, self.store, self._work = place, store, work
        self.trees = Trees(place)
        self._lock = threading.Lock()
        self._here: Once[tuple[str, Sequence[Digest]], Path] = Once()
        self._in_memory_now: Once[Digest, Path | None] = Once()
        self._images = Images() if files else None
        self._memory = Memory(place)
        self._free: list[Path] = []
        self._in_use = 0
        #: Trees that are right over any layers, and where folders lie. Who prunes waits for all builds.
        self._alone: dict[Digest, Path] = {}
        self._devices: dict[Path, int] = {}

    def close(self) -> None:
        """Delete the process's work folder."""
        with self._lock:
            if self._images is not None:
                self._images.close()
                self._images = None
            self._memory.close()
            self._work.close()
            self._here, self._in_memory_now = Once(), Once()
            self._alone, self._devices = {}, {}

    def form(self) -> Literal["tar", "erofs"]:
        """See interfaces.Snapshotter."""
        return "tar" if self._images is None else "erofs"

    def prepare(self, layers: Sequence[LayerTree], view: Tree) -> OverlayWorkspace:
        """See interfaces.Snapshotter.

        Raises:
            StoreError: the disk is full, read-only or broken.
            SandboxError: the kernel does not mount it.
        """
        self.count(1)
        try:
            try:
                base = self._mounted(layers, view)
            except FileNotFoundError:  # another version has set trees aside (store/renewal.py)
                self._alone.clear()
                base = self._mounted(layers, view)
        except OSError as e:
            self.count(-1)
            where = f" ({e.filename})" if e.filename else ""
            doing = f"make a root file system of {len(layers)} layers"
            raise disk_fault(e, doing, self._work.path) or SandboxError(
                f"cannot {doing}: {e.strerror}{where}"
            ) from e
        return OverlayWorkspace(base, self, view)

    def count(self, more: int) -> None:
        """Learn that so many more workspaces are in use."""
        with self._lock:
            self._in_use += more

    def _mounted(self, layers: Sequence[LayerTree], view: Tree) -> Path:
        """The folder of a new workspace, whose root is mounted."""
        work = self._work
        lowers = self._lowers(layers, view, work)
        base = self._base(work)
        (base / "upper").mkdir()
        if not lowers:
            lowers = [base / "empty"]
            lowers[0].mkdir()
        become_root(base / "upper", view, self.place)
        if self.place.ids != "root":
            note_below(table_of(base / "root"), view)
        options = (*overlay_options(self.place), *self._one_device([*lowers, base.parent]))
        mount_overlay(lowers[::-1], base / "upper", base / "work", base / "root", options)
        return base

    def _base(self, work: WorkFolder) -> Path:
        """A folder for a workspace with all in it but its upper directory: a used one, or a new one.

        Why used ones: a folder is made and deleted in no time, unless the file system writes its journal.
        Why not beside other workspaces: a step that begins has all mounts of this process for a moment, also
        those that end here meanwhile, and no two overlays may have one work directory.
        """
        with self._lock:
            if self._free and self._in_use == 1:  # the one that is being made
                return self._free.pop()
        base = work.new()
        for name in ("root", "work"):
            (base / name).mkdir()
        return base

    def put_back(self, base: Path) -> None:
        """Keep the folder of a workspace whose upper directory is gone for the next one, or delete it."""
        try:
            # the kernel's mark that what a volatile overlay left may be incomplete; the rest it clears itself
            mark = base / "work" / "work" / "incompat" / "volatile"
            (mark / "dirty").unlink()
            mark.rmdir()
            mark.parent.rmdir()
            table_of(base / "root").unlink(missing_ok=True)
            fit = sorted(os.listdir(base)) == ["root", "work"]
        except OSError:
            fit = False
        if fit:
            self._free.append(base)
        else:
            remove_tree(base)

    def _lowers(self, layers: Sequence[LayerTree], view: Tree, work: WorkFolder) -> list[Path]:
        """The trees of the layers, bottom first; of more than the kernel stacks the lowest are one tree.

        Of equal layers only the top one is there: it shows and hides all that the others do, and the kernel
        refuses a directory that it is given twice. Empty ones are not there at all, nor those below an opaque
        root, a mark that the kernel does not know there.
        """
        hidden = hidden_layers(view)
        more = max(0, len(layers) - hidden - MAX_LOWERS)
        first = hidden + more + -more % _MERGED  # hundreds of steps in turn have the same tree below
        lowers = []
        if first > hidden:
            below = up_to(view, first)
            lowers.append(self._make_here("all", layers[:first], lambda: flat(below), below, work))
        tops = range(first + 1, len(layers) + 1)
        lowers += (self._lower(layers[:n], view, work) for n in tops if layers[n - 1].diff_id != EMPTY_LAYER)
        return list(dict.fromkeys(reversed(lowers)))[::-1]

    def _lower(self, layers: Sequence[LayerTree], view: Tree, work: WorkFolder) -> Path:
        """The last of some layers as a directory: a tree that is there, a mounted file, or a new tree."""
        layer = layers[-1]
        if layer.diff_id in self._alone:
            return self._alone[layer.diff_id]
        tree = self.trees.path(layer)
        if tree.is_dir():
            return self._alone.setdefault(layer.diff_id, tree)
        below = up_to(view, len(layers))
        stored = self.store.layers.layer(layer.diff_id, None)
        index = stored.index()
        if not index.stands_alone:
            return self._make_here("last", layers, layer.placed, below, work)
        found = self.trees.settled(layer, index, work)
        if found is None and self._images is not None:
            found = self._images.mounted(stored, work)
        if found is None:
            found = self._in_memory(stored, below, work) or self.trees.make(layer, below, work)
        return self._alone.setdefault(layer.diff_id, found)

    def _one_device(self, folders: Sequence[Path]) -> tuple[str, ...]:
        """The option by which files of several file systems show one device, and numbers of their own on it.

        Where all lie on one the kernel needs none, and says so in its log each time.
        """
        for folder in folders:
            if folder not in self._devices:
                self._devices[folder] = os.stat(folder).st_dev
        return ("xino=on",) if len({self._devices[f] for f in folders}) > 1 else ()

    def _in_memory(self, layer: StoredLayer, below: Tree, work: WorkFolder) -> Path | None:
        """The layer's tree in memory; None if it belongs on the disk."""
        return self._in_memory_now.get(layer.diff_id, lambda: self._put_in_memory(layer, below, work))

    def _put_in_memory(self, layer: StoredLayer, below: Tree, work: WorkFolder) -> Path | None:
        made = self._memory.folder_for(layer.index(), layer.folder / "in-memory", work)
        if made is None:
            return None
        try:
            self._extract(layer.placed(), made, below)
        except OSError as e:
            if e.errno != errno.ENOSPC:
                raise
            remove_tree(made)
            return None
        return made

    def _make_here(
        self,
        what: str,
        layers: Sequence[LayerTree],
        entries: Callable[[], Iterable[Entry]],
        below: Tree,
        work: WorkFolder,
    ) -> Path:
        """A tree that is right over these layers only, kept as long as the process."""

        def make() -> Path:
            made = work.new() / "tree"
            made.mkdir(0o755)
            self._extract(entries(), made, below)
            return made

        return self._here.get((what, tuple(layer.diff_id for layer in layers)), make)

    def _extract(self, entries: Iterable[Entry], folder: Path, below: Tree) -> None:
        materialise(
            entries, folder, form="overlay", opaque=opaque_xattr(self.place), below=below.get,
            **on_disk(self.place),
        )  # fmt: skip


class OverlayWorkspace:
    """A mounted overlay that a step changes; see interfaces.Workspace."""

    def __init__(self, base: Path, snapshotter: OverlaySnapshotter, view: Tree) -> None:
        self._base, self._snapshotter, self._view = base, snapshotter, view
        self.root = base / "root"
        self._jail: Jail | None = None
        self._done = False

    def changes(self) -> tuple[Table, set[str]]:
        """What the upper directory holds."""
        place = self._snapshotter.place
        self._jail = Jail(self._base / "upper")
        kept = owners_of(self.root, self._view, place)
        owner = None if kept is None else kept.apply
        return scan_upper(self._jail, opaque_xattr(place), owner, self._snapshotter.store.new_spool)

    def commit(self, diff_id: Digest) -> None:
        """The upper directory is kept; of an empty layer nothing is."""
        self._end()
        if diff_id != EMPTY_LAYER:
            layer = self._snapshotter.store.layers.layer(diff_id, None)
            self._snapshotter.trees.keep_left(self._base / "upper", layer)
        self._snapshotter.put_back(self._base)

    def discard(self) -> None:
        """Unmount and delete."""
        if not self._done:
            self._end()
            with contextlib.suppress(OSError):  # what is left goes with the work folder
                remove_tree(self._base)

    def _end(self) -> None:
        self._done = True
        if self._jail is not None:
            self._jail.close()
        with contextlib.suppress(OSError):
            umount(str(self.root), MNT_DETACH)
        self._snapshotter.count(-1)


def overlay_works(place: Place, work: WorkFolder) -> str:
    """'' if overlayfs works on the work folder's file system for this process, else the reason."""
    if not place.mounts:
        return "this process may not mount"
    base = work.new()
    try:
        for name in ("lower", "lower/d", "lower/d/x", "upper", "work", "root"):
            (base / name).mkdir()
        mount_overlay([base / "lower"], base / "upper", base / "work", base / "root", overlay_options(place))
        try:
            try_changes(base / "root/d")
        finally:
            umount(str(base / "root"), MNT_DETACH)
    except OSError as e:
        return f"overlayfs cannot be used on {work.path.parent} ({(e.strerror or '').lower()})"
    return ""
