"""What a draft changes, as the entries of a layer."""

from __future__ import annotations

from collections.abc import Iterable

from imagesmith.fs.draft import Draft
from imagesmith.fs.entry import Entry
from imagesmith.fs.view import View
from imagesmith.layer.diff import layer_entries
from imagesmith.solve.step import Work

__all__ = ["changes_of"]


def changes_of(draft: Draft, below: View, work: Work) -> Iterable[Entry]:
    """What a draft changes of the view that it is compared with.

    The caller lets go of the draft before the layer is written: it may hold tens of thousands of names.
    """
    upper = draft.upper_entries()
    return layer_entries(upper, draft.opaques, below, work.held_ns, work.tools.store.new_spool)
