"""How much of the disk a tree takes, however deep it is.

Why not os.walk: it calls itself for each level, and goes by paths, which end at 4,096 bytes. Steps and layers
make folders one in the other, thousands deep.
Trust: steps wrote what is below; nothing is followed, and nothing opened but folders.
Threads: any.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

__all__ = ["tree_bytes"]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def tree_bytes(folder: Path) -> int:
    """Bytes on the disk of all files below a folder, names of one file counted once; 0 where there is none.

    What may not be looked at counts as nothing.
    """
    try:
        here = os.open(folder, _FOLDER)
    except OSError:
        return 0
    total, seen = 0, set[tuple[int, int]]()
    todo = [_listed(here)]
    try:
        while todo:
            if not todo[-1]:
                todo.pop()
                if todo:
                    here = _moved(here, "..")
                continue
            name = todo[-1].pop()
            try:
                st = os.lstat(name, dir_fd=here)
                if stat.S_ISDIR(st.st_mode):
                    here = _moved(here, name)
                    todo.append(_listed(here))
                    continue
            except OSError:
                continue
            if st.st_nlink == 1 or (st.st_dev, st.st_ino) not in seen:
                seen.add((st.st_dev, st.st_ino))
                total += st.st_blocks * 512
    finally:
        os.close(here)
    return total


def _listed(fd: int) -> list[str]:
    try:
        return os.listdir(fd)
    except OSError:
        return []


def _moved(here: int, name: str) -> int:
    """The descriptor of another folder, instead of this one."""
    there = os.open(name, _FOLDER, dir_fd=here)
    os.close(here)
    return there
