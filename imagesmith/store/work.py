"""The home of what is needed for a while: folders below the store's `work/`, each of one process.

Why: a killed process cannot clean up. Its folders are told by locks that the kernel frees; whoever begins one
takes those away that have none. Nothing large is ever put into TMPDIR (store/disk.py), and what needs no name
is a spool.
Trust: `work/` is the store's own; what lies in it is hostile, and is deleted through no link (fs/jail.py).
Threads: any, for each folder made in one has a name of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from imagesmith.fs.jail import remove_tree

__all__ = ["KINDS", "WorkFolder", "sweep"]

#: What folders are for, as their names begin: a database that stands in, contexts that were fetched, stores
#: for builds that others described, files of a step, snapshots.
KINDS = ("cache-", "context-", "rebuild-", "run-", "snap-")


class WorkFolder:
    """A folder of this process, for this user only; `close` deletes it."""

    def __init__(self, work: Path, kind: str) -> None:
        """Make it, and sweep what killed processes left.

        Args:
            work: the store's `work/`.
            kind: of KINDS.

        Raises:
            OSError: the store cannot be written.
        """
        from imagesmith.fs.folders import temporary

        assert kind in KINDS
        work.mkdir(parents=True, exist_ok=True)
        with _alone(work):
            _sweep(work)
            self.path = temporary(kind, work)
            self._lock = (self.path / "lock").open("wb")
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def close(self) -> None:
        """Delete it; harmless the second time.

        Raises:
            OSError: something in it cannot be deleted; the next sweep tries again.
        """
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
    for name in os.listdir(work):
        if not name.startswith(KINDS):
            continue
        path = work / name
        try:
            with (path / "lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_tree(path)
        except FileNotFoundError:  # killed before it had its lock, or while it was deleted
            with contextlib.suppress(OSError):
                remove_tree(path)
        except OSError:  # in use, or of ids that this process may not touch
            continue
