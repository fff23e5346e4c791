"""Layers mounted from a file, with nothing extracted: EROFS over the raw tar (layer/erofs.py).

Why: making fifty thousand files takes seconds, mounting them a millisecond. Only the machine's root may, and
only from Linux 6.12 on; whether it works is found out by mounting two small layers and an overlay of them.
Trust: the file is the store's own, made by layer/erofs.py; it is mounted read-only, below a folder that
nobody else may enter.
Threads: may be shared; mounting is done by one at a time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from imagesmith.concurrency import Once
from imagesmith.fs.entry import Entry
from imagesmith.fs.view import LayerIndex
from imagesmith.interfaces import Place
from imagesmith.layer.erofs import write_erofs
from imagesmith.oci.digest import Digest
from imagesmith.store.layers import StoredLayer
from imagesmith.worker.sandbox.kernel import MNT_DETACH, MS_BIND, MS_RDONLY, mount, umount
from imagesmith.worker.snapshot.mountapi import mount_overlay, try_changes
from imagesmith.worker.snapshot.work import WorkFolder

__all__ = ["Images", "images_work"]


class Images:
    """The mounts of one process; each layer is mounted once."""

    def __init__(self) -> None:
        self._known: Once[Digest, Path | None] = Once()
        self._mounts: list[Path] = []

    def mounted(self, layer: StoredLayer, work: WorkFolder) -> Path | None:
        """Where a layer is mounted; None if it has to be extracted.

        Raises:
            OSError: the disk is full.
        """
        return self._known.get(layer.diff_id, lambda: self._mount(layer, work))

    def _mount(self, layer: StoredLayer, work: WorkFolder) -> Path | None:
        file = layer.erofs()
        if file is None:
            return None
        target = work.new()
        try:
            mount(str(file), str(target), "erofs", MS_RDONLY)
        except OSError:  # a file that a power cut tore, or too many mounts: extract instead
            return None
        self._mounts.append(target)
        return target

    def close(self) -> None:
        """Unmount."""
        for target in self._mounts:
            with contextlib.suppress(OSError):
                umount(str(target), MNT_DETACH)
        self._mounts.clear()


def images_work(place: Place, work: WorkFolder, options: Sequence[str]) -> str:
    """'' if layers can be mounted from files and stacked by overlayfs, else the reason.

    All is mounted on a folder that is a mount itself: the kernel waits for every processor at each unmount.
    """
    if place.ids != "root" or not place.mounts:
        return "only root may mount a file"
    base = work.new()
    lowers: list[Path] = []
    try:
        mount(str(base), str(base), flags=MS_BIND)
    except OSError as e:
        return f"nothing can be mounted ({(e.strerror or '').lower()})"
    try:
        for n, entries in enumerate(_LAYERS):
            with (base / f"image{n}").open("w+b") as f:
                write_erofs(LayerIndex(entries), f, 0, bytes([n + 1] * 16))
            target = base / f"lower{n}"
            target.mkdir()
            mount(str(base / f"image{n}"), str(target), "erofs", MS_RDONLY)
            lowers.insert(0, target)
        root = base / "root"
        for name in ("root", "upper", "work"):
            (base / name).mkdir()
        mount_overlay(lowers, base / "upper", base / "work", root, options)
        if [p.name for p in sorted(root.rglob("*"))] != ["deleted", "kept", "x", "opaque"]:
            return "this kernel's EROFS shows deletions wrongly"
        try_changes(root / "kept")
    except OSError as e:
        return f"EROFS cannot be mounted from a file ({(e.strerror or '').lower()})"
    finally:
        with contextlib.suppress(OSError):
            umount(str(base), MNT_DETACH)
    return ""


def _layer(*more: Entry) -> list[Entry]:
    return [Entry("deleted", "d", 0o755), Entry("opaque", "d", 0o755), *more]


#: Two layers: the upper one deletes a file of the lower one in each of the two ways, and leaves a folder.
_LAYERS = (
    _layer(
        Entry("deleted/x", "p"),
        Entry("opaque/y", "p"),
        Entry("kept", "d", 0o755),
        Entry("kept/x", "d", 0o755),
    ),
    _layer(Entry("deleted/x", "w"), Entry("opaque", "o")),
)
