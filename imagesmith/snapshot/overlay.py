"""Snapshots by overlayfs: the layers' trees below, an upper directory for what a step changes.

Why: a step costs a mount, whatever its base weighs, and what it changed lies in one directory. A layer's tree
is made once, when a RUN first needs it; what a RUN left becomes its own layer's tree by rename.
Mounts are made in the process's own mount namespace: they are gone when it ends, also by SIGKILL, and what
lies in the work folder then is swept by the next one that starts.
Threads: may be shared; each workspace belongs to one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from imagesmith.errors import SandboxError
from imagesmith.fs.entry import Entry
from imagesmith.fs.jail import Jail
from imagesmith.fs.tree import Tree
from imagesmith.interfaces import LayerTree, Place
from imagesmith.layer.extract import extract_entries
from imagesmith.oci.digest import Digest
from imagesmith.sandbox.kernel import MNT_DETACH, mount, umount
from imagesmith.snapshot.upper import scan_upper
from imagesmith.store.store import Store

__all__ = [
    "OverlaySnapshotter",
    "OverlayWorkspace",
    "force_remove",
    "keep_tree",
    "opaque_xattr",
    "overlay_works",
]

_ROOT_OPTIONS = "redirect_dir=off,metacopy=off,index=off,volatile"
_USER_OPTIONS = "userxattr,index=off,volatile"
#: mount(2) takes one page of options.
_PAGE = 4000


def _options(place: Place) -> str:
    return _ROOT_OPTIONS if place.ids == "root" else _USER_OPTIONS


def opaque_xattr(place: Place) -> str:
    """The xattr by which overlayfs marks an opaque directory."""
    return "trusted.overlay.opaque" if place.ids == "root" else "user.overlay.opaque"


class _WorkFolder:
    """A folder of one process below `work/`, locked as long as the process lives."""

    def __init__(self, work: Path) -> None:
        work.mkdir(parents=True, exist_ok=True)
        _sweep(work)
        self.path = Path(tempfile.mkdtemp(prefix="snap-", dir=work))
        self._lock = (self.path / "lock").open("wb")
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def close(self) -> None:
        force_remove(self.path)
        self._lock.close()


def _sweep(work: Path) -> None:
    """Delete the folders of processes that were killed."""
    for path in work.glob("snap-*"):
        with contextlib.suppress(OSError), (path / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            force_remove(path)


def force_remove(path: Path) -> None:
    """Delete a tree, also through directories that their owner closed."""

    def unlock(_function: object, failed: str, _info: object) -> None:
        with contextlib.suppress(OSError):
            os.chmod(os.path.dirname(failed), 0o700)
            if os.path.isdir(failed) and not os.path.islink(failed):
                os.chmod(failed, 0o700)
                shutil.rmtree(failed, ignore_errors=True)
            else:
                os.unlink(failed)

    shutil.rmtree(path, onerror=unlock)


def keep_tree(made: Path, tree: Path) -> None:
    """Put a complete tree where its layer's is looked for; one that is there already stays."""
    tree.parent.mkdir(parents=True, exist_ok=True)
    try:
        made.rename(tree)
    except OSError:  # another process was quicker
        if not tree.is_dir():
            raise
        force_remove(made)


class OverlaySnapshotter:
    """Makes workspaces for one process."""

    def __init__(self, place: Place, store: Store) -> None:
        self.place, self.store = place, store
        self._work: _WorkFolder | None = None
        self._lock = threading.Lock()
        self._making: dict[Digest, threading.Lock] = {}

    def close(self) -> None:
        """Delete the process's work folder."""
        with self._lock:
            if self._work is not None:
                self._work.close()
                self._work = None

    def folder(self) -> Path:
        """The work folder, made when it is first needed."""
        with self._lock:
            if self._work is None:
                self._work = _WorkFolder(self.store.work)
            return self._work.path

    def prepare(self, layers: Sequence[LayerTree], view: Tree) -> OverlayWorkspace:
        """See interfaces.Snapshotter.

        Raises:
            SandboxError: the kernel does not mount it.
        """
        del view
        base = Path(tempfile.mkdtemp(dir=self.folder()))
        lowers = [self._tree(layer) for layer in layers]
        if not lowers:
            (base / "empty").mkdir()
            lowers = [base / "empty"]
        for name in ("root", "upper", "work"):
            (base / name).mkdir()
        try:
            self._mount(base, lowers)
        except OSError as e:
            raise SandboxError(f"cannot mount an overlay of {len(lowers)} layers: {e.strerror}") from e
        return OverlayWorkspace(base, self)

    def _mount(self, base: Path, lowers: Sequence[Path]) -> None:
        """Mount with short names of the lowers, so that hundreds fit into mount(2)'s one page."""
        links = base / "l"
        links.mkdir()
        names = []
        for n, lower in enumerate(reversed(lowers)):
            (links / f"{n:x}").symlink_to(lower)
            names.append(f"{links}/{n:x}")
        stack = ":".join(names)
        data = f"lowerdir={stack},upperdir={base}/upper,workdir={base}/work,{_options(self.place)}"
        if len(data) > _PAGE:
            raise OSError(0, f"more than {_PAGE} bytes of options", str(base))
        mount("overlay", str(base / "root"), "overlay", 0, data)

    def _tree(self, layer: LayerTree) -> Path:
        """The extracted tree of a layer; made now if it is not there."""
        if layer.tree.is_dir():
            return layer.tree
        with self._lock:
            lock = self._making.setdefault(layer.diff_id, threading.Lock())
        with lock:
            if not layer.tree.is_dir():
                made = Path(tempfile.mkdtemp(dir=self.folder())) / "tree"
                made.mkdir()
                extract_entries(layer.entries(), made, form="overlay", opaque=opaque_xattr(self.place))
                keep_tree(made, layer.tree)
        return layer.tree


class OverlayWorkspace:
    """A mounted overlay that a step changes; see interfaces.Workspace."""

    def __init__(self, base: Path, snapshotter: OverlaySnapshotter) -> None:
        self._base, self._snapshotter = base, snapshotter
        self.root = base / "root"
        self._jail: Jail | None = None
        self._done = False

    def changes(self) -> tuple[list[Entry], set[str]]:
        """What the upper directory holds."""
        self._jail = Jail(self._base / "upper")
        return scan_upper(self._jail, opaque_xattr(self._snapshotter.place))

    def commit(self, diff_id: Digest) -> None:
        """The upper directory becomes the layer's tree."""
        self._end()
        layer = self._snapshotter.store.layers.layer(diff_id, None)
        keep_tree(self._base / "upper", layer.tree)
        force_remove(self._base)

    def discard(self) -> None:
        """Unmount and delete."""
        if not self._done:
            self._end()
            force_remove(self._base)

    def _end(self) -> None:
        self._done = True
        if self._jail is not None:
            self._jail.close()
        with contextlib.suppress(OSError):
            umount(str(self.root), MNT_DETACH)


def overlay_works(place: Place, folder: Path) -> str:
    """'' if overlayfs works on a folder's file system for this process, else the reason.

    It does what a step may do: in a user namespace without `userxattr` a mount succeeds and the removal of a
    lower directory fails later.
    """
    if not place.mounts:
        return "this process may not mount"
    base = Path(tempfile.mkdtemp(prefix="probe-", dir=folder))
    try:
        for name in ("lower", "lower/d", "lower/d/x", "upper", "work", "root"):
            (base / name).mkdir()
        data = f"lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work,{_options(place)}"
        mount("overlay", str(base / "root"), "overlay", 0, data)
        try:
            shutil.rmtree(base / "root" / "d")
            (base / "root" / "d").mkdir()
        finally:
            umount(str(base / "root"), MNT_DETACH)
    except OSError as e:
        return f"overlayfs cannot be mounted on {folder}: {e.strerror}"
    finally:
        force_remove(base)
    return ""
