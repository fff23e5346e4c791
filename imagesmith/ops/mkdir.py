"""WORKDIR's directory."""

from __future__ import annotations

from collections.abc import Iterable

from imagesmith.fs.entry import Entry, replace
from imagesmith.solve.key import counted_as
from imagesmith.solve.result import BuiltLayer
from imagesmith.solve.step import Op, Work
from imagesmith.values import field, frozen

__all__ = ["MakeDirOp"]


@frozen(kw_only=True)
class MakeDirOp(Op):
    """The directory, owned by `user`; `time_ns` is its time under SOURCE_DATE_EPOCH."""

    path: str
    user: str = ""
    time_ns: int | None = field(default=None, note=counted_as("time"))

    kind = "mkdir"
    always_cached = True

    def words(self) -> str:
        """The instruction as history has it."""
        return f"WORKDIR {self.path}"

    def execute(self, work: Work) -> BuiltLayer:
        """See Op."""
        now = work.now_ns
        entries = self._drawn(work, now)
        work.tell_copies(entries)
        return work.write(entries, now)

    def _drawn(self, work: Work, now_ns: int) -> Iterable[Entry]:
        from imagesmith.fs.draft import Draft  # a build that finds all of it in the cache needs none of these
        from imagesmith.fs.owner import copy_owner
        from imagesmith.ops.drafts import changes_of

        lower = work.outline(work.parent)
        draft = Draft(lower, now_ns)
        uid, gid = copy_owner(self.user, lower) or (0, 0)
        made = draft.make_dirs(self.path, uid=uid, gid=gid)
        if made and self.time_ns is not None:
            last = draft.get(made[-1])
            assert last is not None
            draft.change(replace(last, mtime_ns=self.time_ns))
        return changes_of(draft, lower, work)
