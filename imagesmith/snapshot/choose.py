"""Which snapshotter this process gets: the best that a probe shows to work on the store's file system."""

from __future__ import annotations

from contextlib import closing

from imagesmith.interfaces import Place, Snapshotter
from imagesmith.snapshot.copying import CopyingSnapshotter
from imagesmith.snapshot.images import images_work
from imagesmith.snapshot.overlay import OverlaySnapshotter, overlay_options, overlay_works
from imagesmith.snapshot.work import WorkFolder
from imagesmith.store.store import Store

__all__ = ["make_snapshotter", "why_not_files", "why_not_overlay"]


def why_not_overlay(place: Place, store: Store) -> str:
    """Why overlayfs is not used in this place with this store; '' if it is."""
    with closing(WorkFolder(store.work)) as work:
        return overlay_works(place, work)


def why_not_files(place: Place, store: Store) -> str:
    """Why layers are unpacked rather than mounted from files; '' if they are mounted."""
    with closing(WorkFolder(store.work)) as work:
        return images_work(place, work, overlay_options(place))


def make_snapshotter(place: Place, store: Store) -> Snapshotter:
    """The snapshotter for a process that may do what `place` says.

    Raises:
        OSError: the store cannot be written.
    """
    work = WorkFolder(store.work)
    try:
        kind = CopyingSnapshotter if overlay_works(place, work) else OverlaySnapshotter
        return kind(place, store, work)
    except BaseException:
        work.close()
        raise
