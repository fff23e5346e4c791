"""The folder of one process for snapshots, below the store's `work/`, with what is mounted in it.

Why `work/` is marked as the top of a hierarchy: ext4 does not use an inode again within half a minute of its
deletion, and steps over all such inodes one by one to find another. Where many files were just deleted, as
between two builds, making files took ten times as long. Below such a mark ext4 begins each folder in a part
of the disk of its own.
Trust: the folder is the store's own; what lies in it is hostile, and is deleted through no link (fs/jail.py).
Threads: any, for each folder made in it has a name of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import tempfile
from pathlib import Path

from imagesmith.fs.jail import remove_tree
from imagesmith.store import work

__all__ = ["WorkFolder", "keep_tree"]

#: ioctl_iflags(2), on all machines but Alpha, MIPS, PowerPC and SPARC, which refuse these numbers.
_GET_FLAGS, _SET_FLAGS, _TOP_OF_HIERARCHY = 0x80086601, 0x40086602, 0x00020000


class WorkFolder(work.WorkFolder):
    """A folder of this process for snapshots; what is mounted in it goes with it."""

    def __init__(self, folder: Path) -> None:
        """Make it below the store's `work/`; see store/work.py.

        Raises:
            OSError: the store cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        _spread(folder)
        super().__init__(folder, "snap-")

    def new(self) -> Path:
        """A fresh folder in it."""
        return Path(tempfile.mkdtemp(dir=self.path))

    def close(self) -> None:
        """Delete it, with all that is mounted in it; harmless the second time."""
        try:
            super().close()
        except OSError:  # who was interrupted may have left a mount
            _detach_below(self.path)
            remove_tree(self.path)


def _detach_below(folder: Path) -> None:
    """Unmount what this process has mounted below a folder."""
    from imagesmith.worker.sandbox.kernel import MNT_DETACH, mount_points, umount

    for path in reversed(mount_points()):
        if path.startswith(f"{folder}/"):
            with contextlib.suppress(OSError):
                umount(path, MNT_DETACH)


def _spread(folder: Path) -> None:
    """Let the file system put the folders in this one far from each other, if it knows of such a thing."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            (flags,) = struct.unpack("i", fcntl.ioctl(fd, _GET_FLAGS, bytes(4)))
            if not flags & _TOP_OF_HIERARCHY:
                fcntl.ioctl(fd, _SET_FLAGS, struct.pack("i", flags | _TOP_OF_HIERARCHY))
    finally:
        os.close(fd)


def keep_tree(made: Path, tree: Path) -> None:
    """Put a complete tree where its layer's is looked for; one that is there already stays."""
    tree.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.rename(made, tree)
    except OSError:  # another process was quicker
        if not tree.is_dir():
            raise
        remove_tree(made)
