"""COPY, ADD and WORKDIR on a draft: where each source lands, with which mode, owner and time.

Why: the rules are those of BuildKit's copier (tonistiigi/fsutil), down to its oddities: the top folder of a
copied tree gives its time but neither mode nor owner; folders made on the way are 0755 and owned by
--chown; a folder met below the destination takes the source's mode, owner and time.
Trust: sources are trees that never leave their root; the destination is resolved inside the image.
Threads: a Copier belongs to one step.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from imagesmith.build.plan import CopyOp, CopySource, Fetched, GitFiles, Inline, MakeDirOp, Origin, Step
from imagesmith.context.sources import Match, Taken, select
from imagesmith.dockerfile.values import Chmod, parse_chmod
from imagesmith.errors import ContextError
from imagesmith.fs.draft import Draft
from imagesmith.fs.entry import Entry, replace
from imagesmith.fs.owner import copy_owner
from imagesmith.fs.tree import Tree
from imagesmith.fs.view import EMPTY_VIEW, View, parent_of
from imagesmith.steps.unpack import unpack

if TYPE_CHECKING:
    from imagesmith.build.solver import Solver
    from imagesmith.steps.sources import Sources

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

    def copy(self, op: CopyOp) -> tuple[Draft, View]:
        """COPY or ADD. Returns the draft and the view that it is to be compared with."""
        below = EMPTY_VIEW if op.link else self._lower
        draft = Draft(below, self._now)
        owner = copy_owner(op.chown, below)
        chmod = parse_chmod(op.chmod) if op.chmod else None
        for source in op.sources:
            CopyJob(draft, op, owner, chmod).copy_from(source, self._tree_of(source), self._sources)
        return draft, below

    def _tree_of(self, source: CopySource) -> Tree:
        origin = source.origin
        if isinstance(origin, Step):
            return self._solver.result(origin).view
        return self._sources.tree(origin)


class CopyJob:
    """One source's way into the draft."""

    def __init__(self, draft: Draft, op: CopyOp, owner: tuple[int, int] | None, chmod: Chmod | None) -> None:
        self.draft, self.op, self.owner, self.chmod = draft, op, owner, chmod
        self.parent_mode = 0o755 if chmod is None or chmod.octal is None else chmod.octal & 0o777
        self._inodes: dict[object, str] = {}

    def copy_from(self, source: CopySource, tree: Tree, sources: Sources) -> None:
        """Copy everything that the source's path names."""
        origin, op = source.origin, self.op
        if isinstance(origin, Inline | Fetched):
            matches = select(tree, sources.file_name(origin), excludes=(), parents=False, literal=True)
        else:
            matches = select(tree, source.path, excludes=op.excludes, parents=op.parents)
        for match in matches:
            if not (self._wants_unpack(origin) and unpack(self, match)):
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
        top, dest = match.entry, self._destination()
        there = self.draft.get(dest)
        if top.kind != "d":
            if there is not None and there.kind == "d":
                dest = f"{dest}/{match.name}".lstrip("/")
            self.make_dirs(parent_of(dest))  # still missing where a link led to no folder
            self._put(top, dest)
            return
        if there is not None and there.kind != "d":
            raise ContextError(f"cannot copy to non-directory: /{dest}")
        if there is None:
            self.make_dirs(dest)
        self._below(match.entries(tree), dest)
        if not match.filtered:
            # The root of an image has no time of its own: it is made when it is needed.
            self._set_time(dest, top.mtime_ns if top.path or top.mtime_ns else self.draft.now_ns)

    def _below(self, entries: Iterable[Taken], dest: str) -> None:
        """Put what is below a copied folder; folders get their times when all is in them."""
        folders: list[tuple[str, int]] = []
        for taken in entries:
            at = f"{dest}/{taken.path}" if dest else taken.path
            if taken.holder and self._is_dir(at):
                continue
            self._put(taken.entry, at)
            if taken.entry.kind == "d" and not taken.holder:
                folders.append((at, taken.entry.mtime_ns))
        for at, mtime_ns in reversed(folders):
            self._set_time(at, mtime_ns)

    def _is_dir(self, path: str) -> bool:
        e = self.draft.get(path)
        return e is not None and e.kind == "d"

    def _set_time(self, path: str, mtime_ns: int) -> None:
        e = self.draft.get(path)
        assert e is not None
        self.draft.change(replace(e, mtime_ns=mtime_ns))

    # --- entries -------------------------------------------------------------------------------

    def _put(self, e: Entry, at: str) -> None:
        """Put one entry at a path, with the owner and mode that the flags ask for."""
        old = self.draft.get(at)
        if e.kind == "d":
            if old is not None and old.kind != "d":
                raise ContextError(f"cannot copy to non-directory: /{at}")
        elif old is not None and old.kind == "d":
            raise ContextError(f"cannot replace to directory /{at} with file")
        self.draft.put(self._dressed(e, at))

    def _dressed(self, e: Entry, at: str) -> Entry:
        """The entry under its new path, with --chown and --chmod applied; names of one file stay linked."""
        uid, gid = self.owner or (e.uid, e.gid)
        mode = e.mode
        if self.chmod is not None and e.kind != "l":
            mode = self.chmod.apply(mode, e.kind == "d")
        new = replace(e, path=at, uid=uid, gid=gid, mode=mode, link=e.link if e.kind == "l" else "")
        if e.kind in "fh":
            key: object = e.link if e.kind == "h" else id(e.content) if e.link else e.path
            first = self._inodes.setdefault(key, at)
            if e.kind == "f" and not e.link:
                self._inodes.setdefault(id(e.content), at)
            if first != at:
                new.kind, new.link = "h", first
            else:
                new.kind = "f"
        return new
