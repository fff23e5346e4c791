"""Folders of the builder's own that take nothing from the one they lie in.

Why: a folder hands down its group (by its set-group-ID bit, or as the mount says) and its default ACL, which
stands in for the umask. A store may lie in a shared folder that has either; the owners and modes of what is
made in the store are an image's, or a step's, and none of the machine's. What such a folder holds is made
below one of these, so that it has nothing to inherit.
Spec: inode(7), acl(5).
Trust: the folders are the builder's own, in folders of its own; a link is never followed.
Threads: any.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

__all__ = ["DEFAULT_ACL", "make_plain", "plain", "temporary", "umask"]

DEFAULT_ACL = "system.posix_acl_default"
_ACLS = (DEFAULT_ACL, "system.posix_acl_access")


def make_plain(folder: Path, mode: int = 0o755) -> None:
    """Make a folder of exactly this mode, which gives what is made in it nothing but the maker's group.

    Raises:
        OSError: the machine refuses.
    """
    folder.mkdir(0o700)
    plain(folder, mode)


def temporary(prefix: str, inside: Path) -> Path:
    """A new folder with a name of its own, for this user only, as `make_plain` makes them.

    Raises:
        OSError: the machine refuses.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=inside))
    plain(folder, 0o700)
    return folder


def plain(folder: Path, mode: int | None = None) -> None:
    """Take from a folder what it would hand down; without `mode` its permissions stay.

    Raises:
        OSError: it is not there, or is somebody else's.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for acl in _ACLS:
            with contextlib.suppress(OSError):  # it has none, or the file system knows none
                os.removexattr(fd, acl)
        st = os.fstat(fd)
        if st.st_gid != os.getegid():
            os.fchown(fd, -1, os.getegid())
        wanted = stat.S_IMODE(st.st_mode) & ~stat.S_ISGID if mode is None else mode
        if stat.S_IMODE(st.st_mode) != wanted:
            os.fchmod(fd, wanted)
    finally:
        os.close(fd)


def umask() -> int:
    """The process's umask, read without changing it for other threads."""
    with contextlib.suppress(OSError), open("/proc/self/status", "rb") as f:
        for line in f:
            if line.startswith(b"Umask:"):
                return int(line.split()[1], 8)
    return 0o7777  # not known: every mode is set by a call of its own
