"""What an entry of a layer or an archive may be at most: one place with the limits, asked at the door.

Why: a tar of a few kilobytes may hold names of a megabyte, a path of a hundred thousand folders or a map of
millions of pieces, and costs gigabytes and minutes before a disk refuses it. What no Linux file system holds
is refused where it is read, by name, and where it is written: we make no layer that we would not read.
A path of PATH_BYTES has at most 2,048 components. Folders that a tar does not list but implies cost it
nothing and us their paths, so these are counted together.
Spec: limits.h (PATH_MAX, NAME_MAX, XATTR_NAME_MAX, XATTR_SIZE_MAX, XATTR_LIST_MAX), linux/capability.h; Go's
archive/tar for extended headers.
Trust: everything that is measured here is hostile.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from imagesmith.errors import LimitExceeded

__all__ = [
    "CAPABILITY_BYTES",
    "EXTENDED_BYTES",
    "IMPLIED_BYTES",
    "LINKS",
    "LINK_BYTES",
    "NAME_BYTES",
    "PATH_BYTES",
    "PIECES",
    "XATTR_BYTES",
    "XATTR_NAMES_BYTES",
    "XATTR_NAME_BYTES",
    "check_link",
    "check_path",
    "check_xattrs",
    "shown",
    "too_much_implied",
]

#: Of a path below the root, and of one component of it.
PATH_BYTES, NAME_BYTES = 4095, 255
#: Of a symbolic link's target; and how many links a path may lead through.
LINK_BYTES, LINKS = 4095, 255
#: Of an attribute's name, of its value, and of all names of one entry.
XATTR_NAME_BYTES, XATTR_BYTES, XATTR_NAMES_BYTES = 255, 1 << 16, 1 << 16
#: Of the value of security.capability, in any revision.
CAPABILITY_BYTES = 24
#: Of the extended headers of one entry of a tar together.
EXTENDED_BYTES = 1 << 20
#: Pieces of a sparse file.
PIECES = 1 << 16
#: Of the paths of all folders that one layer or archive implies.
IMPLIED_BYTES = 64 << 20

#: A path of so few characters cannot break a limit, whatever they are.
_SHORT = NAME_BYTES // 4
_XATTR = ("SCHILY.xattr.", "LIBARCHIVE.xattr.")


def shown(path: str) -> str:
    """A path for a message: its beginning, quoted."""
    return repr(path if len(path) <= 100 else f"{path[:100]}...")


def check_path(path: str, what: str = "") -> None:
    """Refuse a path that is too long, or has a name that is.

    Args:
        path: as in fs.entry.
        what: begins the message; "tar: " where a tar is read.

    Raises:
        LimitExceeded: it is.
    """
    if len(path) <= _SHORT:
        return
    raw = os.fsencode(path)
    if len(raw) > PATH_BYTES:
        raise LimitExceeded(f"{what}{shown(path)}: a path of {len(raw)} bytes, more than {PATH_BYTES}")
    longest = max(map(len, raw.split(b"/")))
    if longest > NAME_BYTES:
        raise LimitExceeded(f"{what}{shown(path)}: a name of {longest} bytes, more than {NAME_BYTES}")


def check_link(path: str, target: str, what: str = "") -> None:
    """Refuse a symbolic link at `path` whose target is too long; see `check_path`.

    Raises:
        LimitExceeded: it is.
    """
    if len(target) > LINK_BYTES // 4 and len(os.fsencode(target)) > LINK_BYTES:
        raise LimitExceeded(
            f"{what}{shown(path)}: a link to a name of {len(os.fsencode(target))} bytes, "
            f"more than {LINK_BYTES}"
        )


def check_xattrs(path: str, records: Mapping[str, bytes], what: str = "") -> None:
    """Refuse attributes among an entry's extended headers that no file can have; see `check_path`.

    Raises:
        LimitExceeded: a name, a value, a file capability or all names together are too long.
    """
    names = 0
    for key, value in records.items():
        if not key.startswith(_XATTR):
            continue
        name = key.partition(".xattr.")[2]
        length = len(os.fsencode(name))
        names += length + 1
        most = CAPABILITY_BYTES if name == "security.capability" else XATTR_BYTES
        if length > XATTR_NAME_BYTES:
            problem = f"the name of an attribute has {length} bytes, more than {XATTR_NAME_BYTES}"
        elif len(value) > most:
            problem = f"the attribute {shown(name)} has {len(value)} bytes, more than {most}"
        elif names > XATTR_NAMES_BYTES:
            problem = f"the names of its attributes have more than {XATTR_NAMES_BYTES} bytes"
        else:
            continue
        raise LimitExceeded(f"{what}{shown(path)}: {problem}")


def too_much_implied(path: str) -> LimitExceeded:
    """The error of whoever counts to IMPLIED_BYTES, at the entry or folder `path`."""
    return LimitExceeded(
        f"{shown(path)}: the paths of folders that are implied and not listed have more than "
        f"{IMPLIED_BYTES} bytes"
    )
