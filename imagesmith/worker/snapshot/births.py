"""When a file was made, and whether a file system's times prove that nothing was touched.

Spec: statx(2), statfs(2); Python has neither's answer.
"""

from __future__ import annotations

import os
import struct
from functools import cache
from typing import Any

__all__ = ["born_ns", "keeps_ctime"]

_NOFOLLOW, _BTIME = 0x100, 0x800
#: Whose ctime moves with every change: ext4, xfs, btrfs, tmpfs, overlay, f2fs, zfs, bcachefs.
_TRUSTED = frozenset(
    (0xEF53, 0x58465342, 0x9123683E, 0x01021994, 0x794C7630, 0xF2F52010, 0x2FC12FC1, 0xCA451A4E)
)


@cache
def _libc() -> Any:  # noqa: ANN401 - a ctypes library
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def born_ns(fd: int, name: str) -> int:
    """The time at which a name's file was made, in nanoseconds since 1970; 0 where it is not known."""
    import ctypes

    buffer = ctypes.create_string_buffer(256)
    if not hasattr(_libc(), "statx") or _libc().statx(
        fd, os.fsencode(name), _NOFOLLOW, _BTIME, buffer
    ):  # fmt: skip
        return 0
    mask = struct.unpack_from("=I", buffer)[0]
    seconds, nanoseconds = struct.unpack_from("=qI", buffer, 80)
    return int(seconds) * 1_000_000_000 + int(nanoseconds) if mask & _BTIME else 0


def keeps_ctime(fd: int) -> bool:
    """True if every change of a file on this file system moves its ctime."""
    import ctypes

    buffer = ctypes.create_string_buffer(256)
    if _libc().fstatfs(fd, buffer) != 0:
        return False
    return int(struct.unpack_from("@L", buffer)[0]) & 0xFFFFFFFF in _TRUSTED
