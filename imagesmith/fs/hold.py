"""What is at a path below a folder, held: opened once, through no link, and known by its descriptor then on.

Why: a step may put a link in the place of a folder between the moment at which it was looked at and that at
which it is mounted. A descriptor stays with what was found. Names are opened one after the other, each in the
folder before, and none leads up, so no exchange on the way leads out of the root either.
Trust: hostile paths, links, and races with whatever changes the tree.
Threads: any.
"""

from __future__ import annotations

import errno
import os
import stat

__all__ = ["hold"]


def hold(root: str | os.PathLike[str], path: str = "") -> int:
    """A descriptor (O_PATH) of what is at a path below a folder; nobody may change where the folder is.

    Raises:
        OSError: nothing is there, or a link, or `..`, is on the way or at its end (ELOOP, ENOTDIR).
    """
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    names = [name for name in path.split("/") if name not in ("", ".")]
    try:
        for n, name in enumerate(names, 1):
            if name == "..":
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            folder = os.O_DIRECTORY if n < len(names) else 0
            below = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC | folder, dir_fd=fd)
            os.close(fd)
            fd = below
        if stat.S_ISLNK(os.fstat(fd).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    except OSError:
        os.close(fd)
        raise
    return fd
