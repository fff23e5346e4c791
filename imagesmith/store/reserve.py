"""A megabyte that the store keeps for the day on which the disk is full, to free it then.

Why: to take a name away is to write another list of names, and to forget is to write to the database. Where
nothing can be written, nothing could be freed. The reserve is given up then, and made again by whoever opens
the store when there is room.
Trust: the folder is the store's own (store/folder.py); a link is not followed.
Threads: any; processes may do the same at once.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["RESERVE_BYTES", "give_up", "keep"]

RESERVE_BYTES = 1 << 20
_NAME = "reserve"


def keep(root: Path) -> None:
    """Have the reserve, if the disk has room for it."""
    path = root / _NAME
    with contextlib.suppress(OSError):
        if path.lstat().st_size == RESERVE_BYTES:
            return
    with contextlib.suppress(OSError):  # full or read only
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, RESERVE_BYTES)
        except OSError:
            path.unlink()
        finally:
            os.close(fd)


def give_up(root: Path) -> bool:
    """Free the reserve; False if there was none."""
    try:
        (root / _NAME).unlink()
    except OSError:
        return False
    return True
