"""Which snapshotter this process gets: the best that a probe shows to work on the store's file system."""

from __future__ import annotations

from imagesmith.errors import SandboxUnavailable
from imagesmith.interfaces import Place, Snapshotter
from imagesmith.snapshot.overlay import OverlaySnapshotter, overlay_works
from imagesmith.store.store import Store

__all__ = ["make_snapshotter"]


def make_snapshotter(place: Place, store: Store) -> Snapshotter:
    """The snapshotter for a process that may do what `place` says.

    Raises:
        SandboxUnavailable: none works on the store's file system.
    """
    store.work.mkdir(parents=True, exist_ok=True)
    reason = overlay_works(place, store.work)
    if reason:
        raise SandboxUnavailable(f"RUN has no way to make a root file system: {reason}")
    return OverlaySnapshotter(place, store)
