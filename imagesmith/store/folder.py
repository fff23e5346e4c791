"""The folder of a store: whose it is, who may enter it, and that nothing in it leads elsewhere.

Why: layers, snapshots and caches hold what images hold, set-user-ID programs among it, with the owners that
they name. Whoever may enter such a tree could run them, so where the store itself is open to others, which is
left as its owner made it, the folders of trees are not. A folder that others may write could be anybody's.
Trust: the folder may have been made by somebody else, or in a place that others write to. It is opened once,
and what lies directly in it may be no link.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

from imagesmith.errors import StoreError

__all__ = ["claim"]

#: What holds trees, or parts of them.
_TREES = ("cachemounts", "ingest", "layers", "work")


def claim(root: Path) -> None:
    """Make the folder, or make sure that it can be used.

    Raises:
        StoreError: it cannot be made or opened, is somebody else's, or has links in it.
    """
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as e:
        raise StoreError(f"cannot use the store at {root}: {e.strerror}") from e
    try:
        st = os.fstat(fd)
        if st.st_uid != os.geteuid():
            raise StoreError(
                f"the store at {root} belongs to another user (id {st.st_uid}); give --root another folder"
            )
        _close(fd, st)
        _refuse_links(fd, root)
    except OSError as e:
        raise StoreError(f"cannot use the store at {root}: {e.strerror}") from e
    finally:
        os.close(fd)


def _close(fd: int, st: os.stat_result) -> None:
    """Keep others from writing to the store, and from entering trees."""
    mode = stat.S_IMODE(st.st_mode)
    if not mode & 0o077:
        return
    try:
        if mode & 0o022:
            os.fchmod(fd, mode & ~0o022)
        for name in _TREES:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=fd)
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode) and found.st_mode & 0o077:
                os.chmod(name, 0o700, dir_fd=fd)
    except OSError as e:
        if e.errno != errno.EROFS:  # what is read only is used without trees
            raise


def _refuse_links(fd: int, root: Path) -> None:
    with os.scandir(fd) as entries:
        link = next((e.name for e in entries if e.is_symlink()), None)
    if link is not None:
        raise StoreError(
            f"{root / link} is a link, which a store may not have",
            hint="remove it, or give --root another folder",
        )
