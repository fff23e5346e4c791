"""While a RUN works: keep what steps will take of the context's folders after it, as it is now.

Why: an image holds one state of its context, as if all of it had been sent when the build began. See
context/kept.py for what is kept and why not everything.
Threads: `begin` may be called from any; it looks at the folders on a thread of its own.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from imagesmith.concurrency import Background
from imagesmith.context.local import LocalTree
from imagesmith.context.origins import ContextFiles
from imagesmith.context.sources import select
from imagesmith.errors import ContextError, ImagesmithError
from imagesmith.fs.tree import Tree
from imagesmith.solve.step import Reads, Step
from imagesmith.store.disk import spool

if TYPE_CHECKING:
    from imagesmith.context.kept import Kept

__all__ = ["Keeping"]


class Keeping:
    """Keeps files for some steps, from the first `begin` on; use it in a `with`."""

    def __init__(self, late: Sequence[Step], trees: Callable[[ContextFiles], Tree], work: Path) -> None:
        """Prepare; `late` are the steps that take files after a RUN. Bytes go to a file in `work`."""
        self._late, self._tree_of, self._work = late, trees, work
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: Background | None = None
        self._spools: dict[LocalTree, tuple[Kept, BinaryIO]] = {}

    def begin(self) -> None:
        """A RUN begins."""
        with self._lock:
            late, self._late = self._late, ()
            if late and not self._ended.is_set():
                self._thread = Background(lambda: self._keep(late), "keeping")

    def __enter__(self) -> Keeping:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread is not None:
            with contextlib.suppress(ImagesmithError):  # what could not be kept is taken as it is
                self._thread.join()
        for kept in self._spools.values():
            kept[1].close()

    def _keep(self, late: Sequence[Step]) -> None:
        for step in late:
            for reads in step.op.reads():
                tree = self._tree_of(reads.origin)
                if isinstance(tree, LocalTree) and not tree.root.is_relative_to(self._work):
                    with contextlib.suppress(ContextError):  # the step will tell it
                        self._keep_source(tree, reads)

    def _keep_source(self, tree: LocalTree, reads: Reads) -> None:
        from imagesmith.context.kept import Kept

        if tree not in self._spools:
            file = spool(self._work, "keep files of a context")
            tree.first = Kept(tree, file)
            self._spools[tree] = tree.first, file
        kept = self._spools[tree][0]
        for match in select(tree, reads.path or "/", excludes=reads.excludes, parents=reads.parents):
            below = match.entries(tree) if match.entry.kind == "d" else ()
            kept.add(itertools.chain([match.entry], (t.entry for t in below)), self._ended.is_set)
