"""A folder, repository or URL as a whole root file system: FROM of a named context."""

from __future__ import annotations

import time

from imagesmith.context.origins import ContextFiles, Fetched, GitFiles
from imagesmith.fs.view import EMPTY_VIEW
from imagesmith.solve.key import uncounted
from imagesmith.solve.result import BuiltLayer
from imagesmith.solve.step import Op, Work
from imagesmith.values import field, frozen

__all__ = ["RootOp"]


@frozen
class RootOp(Op):
    """All files of an origin."""

    origin: ContextFiles | GitFiles | Fetched = field(note=uncounted("its files' digest is the step's input"))

    def digests(self, work: Work, *, by_layers: bool = False) -> list[str]:
        """See Op."""
        del by_layers
        return [work.tools.trees.whole(self.origin)]

    def execute(self, work: Work) -> BuiltLayer:
        """See Op."""
        from imagesmith.layer.diff import layer_entries

        now = time.time_ns()
        files = work.tools.trees.tree(self.origin).walk("")
        return work.write(layer_entries(files, set(), EMPTY_VIEW, spool=work.tools.store.new_spool), now)
