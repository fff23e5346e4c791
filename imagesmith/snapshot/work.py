"""The folder of one process below the store's `work/`: there as long as the process lives, swept by the next.

Why: a killed process cannot clean up. Its folder is told by a lock that the kernel frees; whoever starts next
takes what has none.
Threads: any, for each folder made in it has a name of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from imagesmith.fs.jail import remove_tree

__all__ = ["WorkFolder", "keep_tree", "sweep"]


class WorkFolder:
    """A folder of this process; `close` deletes it."""

    def __init__(self, work: Path) -> None:
        """Make it, and sweep what killed processes left.

        Raises:
            OSError: the store cannot be written.
        """
        work.mkdir(parents=True, exist_ok=True)
        with _alone(work):
            _sweep(work)
            self.path = Path(tempfile.mkdtemp(prefix="snap-", dir=work))
            self._lock = (self.path / "lock").open("wb")
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def new(self) -> Path:
        """A fresh folder in it."""
        return Path(tempfile.mkdtemp(dir=self.path))

    def close(self) -> None:
        """Delete it; harmless the second time."""
        try:
            remove_tree(self.path)
        finally:
            self._lock.close()


@contextlib.contextmanager
def _alone(work: Path) -> Iterator[None]:
    """Nobody sweeps between the making of a folder and its lock."""
    with (work / "lock").open("ab") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def sweep(work: Path) -> None:
    """Delete the folders of processes that are gone."""
    if work.is_dir():
        with _alone(work):
            _sweep(work)


def _sweep(work: Path) -> None:
    for path in work.glob("snap-*"):
        try:
            with (path / "lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_tree(path)
        except FileNotFoundError:  # killed before it had its lock, or while it was deleted
            with contextlib.suppress(OSError):
                remove_tree(path)
        except OSError:  # in use, or of ids that this process may not touch
            continue


def keep_tree(made: Path, tree: Path) -> None:
    """Put a complete tree where its layer's is looked for; one that is there already stays."""
    tree.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.rename(made, tree)
    except OSError:  # another process was quicker
        if not tree.is_dir():
            raise
        remove_tree(made)
