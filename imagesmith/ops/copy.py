"""COPY, ADD and WORKDIR on a draft: where each source lands, with which mode, owner and time.

Why: the rules are those of BuildKit's copier (tonistiigi/fsutil), down to its oddities: the top folder of a
copied tree gives its time but neither mode nor owner; folders made on the way are 0755 and owned by
--chown; a folder met below the destination takes the source's mode, owner and time.
Trust: sources are trees that never leave their root; the destination is resolved inside the image.
Threads: a Copier belongs to one step.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import TYPE_CHECKING

from imagesmith.context.local import LocalContent
from imagesmith.context.rows import Rows
from imagesmith.context.sources import Match, Taken, select
from imagesmith.dockerfile.values import Chmod, parse_chmod
from imagesmith.errors import ContextError
from imagesmith.fs.draft import Draft
from imagesmith.fs.entry import Content, Entry, replace
from imagesmith.fs.owner import copy_owner
from imagesmith.fs.tree import Tree
from imagesmith.fs.view import EMPTY_VIEW, View, parent_of
from imagesmith.ops.unpack import unpack
from imagesmith.solve.step import CopyOp, CopySource, Fetched, GitFiles, Inline, MakeDirOp, Origin, Step
from imagesmith.store.store import Store

if TYPE_CHECKING:
    from imagesmith.ops.sources import Sources
    from imagesmith.solve.solver import Solver

__all__ = ["Copier", "CopyJob"]


class Copier:
    """Makes the draft of one COPY, ADD or WORKDIR on top of `lower`."""

    def __init__(self, lower: View, now_ns: int, sources: Sources, solver: Solver) -> None:
        self._lower, self._now, self._sources, self._solver = lower, now_ns, sources, solver

    def make_dir(self, op: MakeDirOp) -> tuple[Draft, View]:
        """WORKDIR's directory. Returns the draft and the view that it is to be compared with."""
        draft = Draft(self._lower, self._now)
        uid, gid = copy_owner(op.user, self._lower) or (0, 0)
        made = draft.make_dirs(op.path, uid=uid, gid=gid)
        if made and op.time_ns is not None:
            last = draft.get(made[-1])
            assert last is not None
            draft.change(replace(last, mtime_ns=op.time_ns))
        return draft, self._lower

    def copy(self, op: CopyOp) -> tuple[Draft, View, list[Rows]]:
        """COPY or ADD.

        Returns the draft, the view that it is to be compared with, and what each source's digest is made of.
        """
        below = EMPTY_VIEW if op.link else self._lower
        store = self._solver.store
        draft = Draft(below, self._now, store.new_spool)
        owner = copy_owner(op.chown, None if op.link else below)
        chmod = parse_chmod(op.chmod) if op.chmod else None
        jobs = [CopyJob(draft, op, owner, chmod, store) for _ in op.sources]
        for job, source in zip(jobs, op.sources, strict=True):
            job.copy_from(source, self._tree_of(source), self._sources)
        return draft, below, [job.rows for job in jobs]

    def _tree_of(self, source: CopySource) -> Tree:
        origin = source.origin
        if isinstance(origin, Step):
            return self._solver.result(origin).view
        return self._sources.tree(origin)


class CopyJob:
    """One source's way into the draft. What an archive holds is unpacked to a file in the store."""

    def __init__(
        self, draft: Draft, op: CopyOp, owner: tuple[int, int] | None, chmod: Chmod | None, store: Store
    ) -> None:
        self.draft, self.op, self.owner, self.chmod, self.work = draft, op, owner, chmod, store.work
        self.parent_mode = 0o755 if chmod is None or chmod.octal is None else chmod.octal & 0o777
        self.rows = Rows(store.new_spool)
        self._inodes: dict[object, str] = {}
        self._shared: Set[Content] = frozenset()

    def copy_from(self, source: CopySource, tree: Tree, sources: Sources) -> None:
        """Copy everything that the source's path names."""
        origin, op = source.origin, self.op
        if isinstance(origin, Inline | Fetched):
            matches = select(tree, sources.file_name(origin), excludes=(), parents=False, literal=True)
        else:
            matches = select(tree, source.path, excludes=op.excludes, parents=op.parents)
        for match in matches:
            if self._wants_unpack(origin) and unpack(self, match):
                self.rows.add(f"/{match.name}", match.entry)
            else:
                self._copy(match, tree)

    def _wants_unpack(self, origin: Origin) -> bool:
        if not self.op.is_add or self.op.unpack is False or isinstance(origin, Inline | GitFiles):
            return False
        return not isinstance(origin, Fetched) or self.op.unpack is True

    # --- destinations --------------------------------------------------------------------------

    def make_dirs(self, path: str, *, mode: int | None = None) -> None:
        """Make a folder and those above it that are missing, as the copier makes them."""
        uid, gid = self.owner or (0, 0)
        self.draft.make_dirs(path, mode=self.parent_mode if mode is None else mode, uid=uid, gid=gid)

    def _destination(self) -> str:
        """The destination inside the image, links followed; its folder part is made."""
        dest = self.op.dest
        self.make_dirs(dest if dest.endswith("/") else parent_of(dest))
        return self.draft.resolve(dest)

    def _copy(self, match: Match, tree: Tree) -> None:
        self._inodes = {}
        self._shared = tree.shared() if isinstance(tree, View) else frozenset()
        top, dest = match.entry, self._destination()
        there = self.draft.get(dest)
        if top.kind != "d":
            if there is not None and there.kind == "d":
                dest = f"{dest}/{match.name}".lstrip("/")
            self.make_dirs(parent_of(dest))  # still missing where a link led to no folder
            self.rows.add(f"/{match.name}", top, self._put(top, dest))
            return
        self.rows.add(f"/{match.name}", top)
        if there is not None and there.kind != "d":
            raise ContextError(f"cannot copy to non-directory: /{dest}")
        if there is None:
            self.make_dirs(dest)
        there = self.draft.get(dest)
        assert there is not None
        # The root of a tree has no time of its own: it is made when it is needed.
        mtime_ns = top.mtime_ns if top.path or top.mtime_ns else self.draft.now_ns
        self.draft.change(replace(there, mtime_ns=mtime_ns))
        self._below(match.entries(tree), dest)

    def _below(self, entries: Iterable[Taken], dest: str) -> None:
        """Put what is below a copied folder; the folders keep the times that they have there."""
        timed = self.draft.timed = {dest}
        prefix = f"{dest}/" if dest else ""
        for path, entry, holder in entries:
            at = prefix + path
            if holder and (there := self.draft.get(at)) is not None and there.kind == "d":
                self.draft.change(replace(there, mode=entry.mode))  # of a folder on the way nothing but that
                self.rows.add(path, entry)
                continue
            self.rows.add(path, entry, self._put(entry, at))
            if entry.kind == "d" and not holder:
                timed.add(at)
        self.draft.timed = set()

    # --- entries -------------------------------------------------------------------------------

    def _put(self, e: Entry, at: str) -> Entry:
        """Put one entry at a path, with the owner and mode that the flags ask for; returns what was put."""
        old = self.draft.get(at)
        if e.kind == "d":
            if old is not None and old.kind != "d":
                raise ContextError(f"cannot copy to non-directory: /{at}")
        elif old is not None and old.kind == "d":
            raise ContextError(f"cannot replace to directory /{at} with file")
        new = self._dressed(e, at)
        self.draft.put_over(old, new)
        return new

    def _dressed(self, e: Entry, at: str) -> Entry:
        """The entry under its new path, with --chown and --chmod applied; names of one file stay linked."""
        uid, gid = self.owner or (e.uid, e.gid)
        mode = e.mode
        if self.chmod is not None and e.kind != "l":
            mode = self.chmod.apply(mode, e.kind == "d")
        kind, link, content = e.kind, e.link, e.content
        if kind in "fh":
            kind, link = "f", ""
            file: object = None
            if isinstance(content, LocalContent):
                file = content.file
            elif content in self._shared:
                file = content
            if file is not None:  # it may have other names
                first = self._inodes.setdefault(file, at)
                if first != at:
                    kind, link = "h", first
        elif kind != "l":
            link = ""
        return Entry(
            at, kind, mode, uid, gid, e.size, e.mtime_ns, link, e.rdev, e.capability, e.digest, content
        )
