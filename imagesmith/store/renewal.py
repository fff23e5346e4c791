"""What another version derived from layers is thrown away, once, by the first process that opens the store.

    layers.format   the version of what is below `layers/`

Why: what a version before kept may be wrong, or not what this one would make; all of it can be made again.
Another version may be at work and have it mounted: it is renamed, and deleted when nobody is there.
Trust: the folder is the store's own (store/folder.py).
Threads: any; processes take turns by a lock on the store's folder.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from imagesmith.store.disk import on_disk_fault
from imagesmith.store.layers import LayerStore

__all__ = ["FORMAT", "renew"]

#: Raise it when an index, a tree or a mounted file changes.
FORMAT = b"2\n"


def renew(layers: LayerStore) -> bool:
    """Set aside what another version derived; True if there was any.

    Raises:
        StoreError: the store cannot be written.
    """
    mark = layers.root.with_name("layers.format")
    if _read(mark) == FORMAT:
        return False
    with on_disk_fault("set aside what another version kept", layers.root):
        return _renew(layers, mark)


def _renew(layers: LayerStore, mark: Path) -> bool:
    from imagesmith.store.indexfile import Temporary

    fd = os.open(mark.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        if _read(mark) == FORMAT:
            return False
        old = layers.diff_ids()
        for diff_id in old:
            layers.set_aside(diff_id)
        with Temporary(layers.blobs.arrivals) as new:
            new.file.write(FORMAT)
            new.keep(mark)
    finally:
        os.close(fd)
    return bool(old)


def _read(path: Path) -> bytes:
    """What a file holds; nothing where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
