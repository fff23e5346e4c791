"""Which snapshotter this process gets: the best that a probe shows to work on the store's file system."""

from __future__ import annotations

import os
from contextlib import closing

from imagesmith.errors import SandboxUnavailable
from imagesmith.interfaces import Place, Snapshotter
from imagesmith.store.store import Store
from imagesmith.worker.snapshot.images import images_work
from imagesmith.worker.snapshot.overlay import OverlaySnapshotter, overlay_options, overlay_works
from imagesmith.worker.snapshot.work import WorkFolder

__all__ = ["ELSEWHERE", "make_snapshotter", "why_not_files", "why_not_overlay"]

#: How another place for the store is chosen.
ELSEWHERE = "--root DIR, or IMAGESMITH_ROOT"


def why_not_overlay(place: Place, store: Store) -> str:
    """Why overlayfs is not used in this place with this store; '' if it is."""
    with closing(WorkFolder(store.work)) as work:
        return overlay_works(place, work)


def why_not_files(place: Place, store: Store) -> str:
    """Why layers are unpacked rather than mounted from files; '' if they are mounted."""
    with closing(WorkFolder(store.work)) as work:
        return images_work(place, work, overlay_options(place))


def _why_no_programs(place: Place, store: Store) -> str:
    """Why no step can be executed in a root of this store; '' if it can.

    Without mounts a root is a folder of the store as it is; a mount of our own has no such flag.
    """
    if place.mounts or not os.statvfs(store.root).f_flag & os.ST_NOEXEC:
        return ""
    return f"RUN cannot be executed here: {store.root} is on a file system without programs (noexec)"


def make_snapshotter(place: Place, store: Store) -> Snapshotter:
    """The snapshotter for a process that may do what `place` says.

    Raises:
        OSError: the store cannot be written.
        SandboxUnavailable: no program can be executed where the store is.
    """
    if problem := _why_no_programs(place, store):
        raise SandboxUnavailable(problem, hint=f"put the store elsewhere: {ELSEWHERE}")
    work = WorkFolder(store.work)
    try:
        files = not images_work(place, work, overlay_options(place))  # which tries an overlay, too
        if files or not overlay_works(place, work):
            return OverlaySnapshotter(place, store, work, files=files)
        from imagesmith.worker.snapshot.copying import CopyingSnapshotter

        return CopyingSnapshotter(place, store, work)
    except BaseException:
        work.close()
        raise
