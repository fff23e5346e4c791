"""A file that gets its name when it is whole: written beside it, on the disk, then renamed.

Why: half a file is worse than none, for who reads it meanwhile and after a power cut. This is the one place
that does it, save for the store, which knows all files on their way in it (store/disk.py, Arrivals).
Trust: others may write to the folder, or to one above it: it is opened once, and the file is made, renamed
and removed by that descriptor. A link that has the name is replaced, not followed.
Threads: a file belongs to one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["put_whole", "whole_file"]

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def whole_file(
    path: Path,
    *,
    mode: int | None = None,
    inside: Path | None = None,
    below: int | None = None,
    new: bool = False,
) -> Iterator[BinaryIO]:
    """A file to be written, which replaces what has the name at the end; nothing is left where that fails.

    Args:
        path: the name.
        mode: of the file; by default what the umask and the folder leave, as for any new one.
        inside: the folder on the same disk that it is written in, if not in that of the name.
        below: a descriptor of the folder that the path begins at, if not the working directory.
        new: nothing has the name, and nothing that gets it meanwhile is replaced.

    Raises:
        FileExistsError: it must be new, and is not.
        OSError: the machine refuses.
    """
    with contextlib.ExitStack() as stack:
        home = _opened(path.parent, stack, below)
        at = home if inside is None else _opened(inside, stack)
        name = f".imagesmith-{os.urandom(8).hex()}"
        try:  # begun before the file is there: an interrupt may come between
            fd = os.open(name, _FLAGS, 0o666 if mode is None else 0o600, dir_fd=at)
            with open(fd, "wb") as out:
                yield out
                out.flush()
                if mode is not None:
                    os.fchmod(fd, mode)
                os.fsync(fd)  # or a power cut could leave an empty file under the name
            if new:  # a link fails where a renamed file would replace
                os.link(name, path.name, src_dir_fd=at, dst_dir_fd=home, follow_symlinks=False)
                os.unlink(name, dir_fd=at)
            else:
                os.replace(name, path.name, src_dir_fd=at, dst_dir_fd=home)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=at)
            raise


def put_whole(
    path: Path,
    data: bytes,
    *,
    mode: int | None = None,
    inside: Path | None = None,
    below: int | None = None,
    new: bool = False,
) -> None:
    """Write a small file, whole or not at all; see `whole_file`."""
    with whole_file(path, mode=mode, inside=inside, below=below, new=new) as out:
        out.write(data)


def _opened(folder: Path, stack: contextlib.ExitStack, below: int | None = None) -> int:
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=below)
    stack.callback(os.close, fd)
    return fd
