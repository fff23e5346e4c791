"""Trees in memory: large layers that may never be wanted again are extracted to a tmpfs of this process.

Why: creating a file costs ext4 five to twenty times what it costs a tmpfs. A layer that another build comes
back to is worth a tree on the disk, one that a changed COPY makes anew each time is not: the first process
that extracts a layer does it in memory, as far as there is plenty, and leaves a mark; the next one keeps it.
Trust: layers are hostile: they are extracted through the jail (fs/materialise.py), and no larger than the
tmpfs.
Threads: may be shared.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

from imagesmith.fs.view import LayerIndex
from imagesmith.interfaces import Place
from imagesmith.quotas import memory_left
from imagesmith.worker.sandbox.kernel import MNT_DETACH, mount, umount
from imagesmith.worker.snapshot.trees import opaque_xattr
from imagesmith.worker.snapshot.work import WorkFolder

__all__ = ["Memory"]

#: A layer of fewer entries goes to the disk at once.
_FEW = 1000
_PAGE, _INODE_BYTES = 4096, 1024


class Memory:
    """A tmpfs of at most a quarter of the memory that is free, mounted when it is first wanted."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._lock = threading.Lock()
        self._root: Path | None = None
        self._left = _available_bytes() // 4 if place.mounts else 0

    def folder_for(self, index: LayerIndex, mark: Path, work: WorkFolder) -> Path | None:
        """An empty folder in memory for a layer; None if it goes to the disk.

        Args:
            index: the layer's entries.
            mark: a file beside the layer that says that it was in memory before.
            work: where to mount.
        """
        if len(index.entries) < _FEW or mark.exists():
            return None
        size = sum(_INODE_BYTES + e.size + -e.size % _PAGE for e in index.entries.values() if e.kind != "h")
        with self._lock:
            if size > self._left or (self._root is None and not self._mount(work)):
                return None
            self._left -= size
            assert self._root is not None
            made = self._root / mark.parent.name
            made.mkdir(0o755)
        with contextlib.suppress(OSError):
            mark.touch()
        return made

    def _mount(self, work: WorkFolder) -> bool:
        """Mount it, if this kernel's tmpfs holds the xattrs that a tree needs."""
        root = work.new()
        try:
            mount("tmpfs", str(root), "tmpfs", 0, f"size={self._left},mode=700,nr_inodes=0")
        except OSError:
            self._left = 0
            return False
        try:
            os.setxattr(root, opaque_xattr(self._place), b"n")
            os.removexattr(root, opaque_xattr(self._place))
        except OSError:  # before Linux 6.6
            umount(str(root), MNT_DETACH)
            self._left = 0
            return False
        self._root = root
        return True

    def close(self) -> None:
        """Give the memory back."""
        with self._lock:
            if self._root is not None:
                with contextlib.suppress(OSError):
                    umount(str(self._root), MNT_DETACH)
                self._root, self._left = None, 0


def _available_bytes() -> int:
    """Memory that may be had without swapping; 0 where it is not known."""
    with contextlib.suppress(OSError, ValueError), open("/proc/meminfo", encoding="ascii") as f:
        for line in f:
            if line.startswith("MemAvailable:"):
                return int(min(int(line.split()[1]) * 1024, memory_left()))
    return 0
