"""COPY, ADD and WORKDIR on a draft: where each source lands, with which mode, owner and time.

Why: the rules are those of BuildKit's copier (tonistiigi/fsutil), down to its oddities: the top folder of a
copied tree gives its time but neither mode nor owner; folders made on the way are 0755 and owned by
--chown; a folder met below the destination takes the source's mode, owner and time.
Trust: sources are trees that never leave their root; the destination is resolved inside the image.
Threads: a Copier belongs to one step.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from typing import TYPE_CHECKING

from imagesmith.build.plan import ContextFiles, CopyOp, CopySource, Fetched, GitFiles, Inline, MakeDirOp, Step
from imagesmith.context.sources import Match, select
from imagesmith.dockerfile.values import Chmod, parse_chmod
from imagesmith.errors import ContextError, ImagesmithError
from imagesmith.fs.draft import Draft
from imagesmith.fs.entry import Entry, replace
from imagesmith.fs.owner import copy_owner
from imagesmith.fs.tree import Tree
from imagesmith.fs.view import EMPTY_VIEW, View, parent_of
from imagesmith.steps.unpack import unpack

if TYPE_CHECKING:
    from imagesmith.build.solver import Solver
    from imagesmith.steps.sources import Sources

__all__ = ["Copier"]


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
            _CopySource(draft, op, owner, chmod).copy_from(source, self._tree_of(source), self._sources)
        return draft, below

    def _tree_of(self, source: CopySource) -> Tree:
        origin = source.origin
        if isinstance(origin, Step):
            return self._solver.result(origin).view
        return self._sources.tree(origin)


class _CopySource:
    """One source's way into the draft."""

    def __init__(self, draft: Draft, op: CopyOp, owner: tuple[int, int] | None, chmod: Chmod | None) -> None:
        self.draft, self.op, self.owner, self.chmod = draft, op, owner, chmod
        self.parent_mode = 0o755 if chmod is None or chmod.octal is None else chmod.octal & 0o777
        self.links: dict[object, str] = {}

    def copy_from(self, source: CopySource, tree: Tree, sources: Sources) -> None:
        """Copy everything that the source's path names."""
        origin, op = source.origin, self.op
        excludes = op.excludes
        if isinstance(origin, Inline | Fetched):
            path = sources.file_name(origin)
            matches = select(tree, path, excludes=(), parents=False, literal=True)
        elif isinstance(origin, GitFiles):
            matches = select(tree, "/", excludes=excludes, parents=False)
        else:
            matches = select(tree, source.path, excludes=excludes, parents=op.parents)
        for match in matches:
            if self._wants_unpack(origin) and unpack(self, tree, match):
                continue
            self._copy_match(match, tree)

    def _wants_unpack(self, origin: Step | ContextFiles | Fetched | GitFiles | Inline | None) -> bool:
        if not self.op.is_add or self.op.unpack is False or isinstance(origin, Inline | GitFiles):
            return False
        return not isinstance(origin, Fetched) or self.op.unpack is True

    # --- destinations --------------------------------------------------------------------------

    def make_parents(self, path: str) -> None:
        """Make a folder and those above it that are missing, as the copier makes them."""
        uid, gid = self.owner or (0, 0)
        self.draft.make_dirs(path, mode=self.parent_mode, uid=uid, gid=gid)

    def destination(self) -> str:
        """The destination inside the image, links followed; its folder part is made."""
        dest = self.op.dest
        if dest.endswith("/"):
            self.make_parents(dest)
        else:
            self.make_parents(parent_of(dest))
        return self.draft.resolve(dest)

    def _copy_match(self, match: Match, tree: Tree) -> None:
        draft = self.draft
        self.links = {}
        top = match.entry
        dest = self.destination()
        at_dest = draft.get(dest)
        if match.kept:
            self._filtered(match, dest)
            return
        if top.kind != "d":
            if at_dest is not None and at_dest.kind == "d":
                dest = posixpath.join(dest, match.name)
            self._put(top, dest)
            return
        if at_dest is not None and at_dest.kind != "d":
            raise ContextError(f"cannot copy to non-directory: /{dest}")
        self.make_parents(dest)
        self._below(match.entries(tree), dest)
        now = draft.get(dest)
        assert now is not None
        draft.change(replace(now, mtime_ns=draft.now_ns if match.filtered else top.mtime_ns))

    def _below(self, entries: Iterable[tuple[str, Entry]], dest: str) -> None:
        """Put what is below a copied folder; folders get their times when all is in them."""
        folders: list[tuple[str, Entry]] = []
        for relative, e in entries:
            at = f"{dest}/{relative}" if dest else relative
            self._put(e, at)
            if e.kind == "d":
                folders.append((at, e))
        for at, e in reversed(folders):
            now = self.draft.get(at)
            assert now is not None
            self.draft.change(replace(now, mtime_ns=e.mtime_ns))

    def _filtered(self, match: Match, dest: str) -> None:
        """--parents: the source's path is kept below the destination; made folders are of now."""
        raise NotImplementedError

    # --- entries -------------------------------------------------------------------------------

    def _put(self, e: Entry, at: str) -> None:
        """Put one entry at a path, with the owner and mode that the flags ask for."""
        old = self.draft.get(at)
        if e.kind == "d":
            if old is not None and old.kind != "d":
                raise ContextError(f"cannot copy to non-directory: /{at}")
        elif old is not None and old.kind == "d":
            raise ContextError(f"cannot replace to directory /{at} with file")
        self.draft.put(self.dressed(e, at))

    def dressed(self, e: Entry, at: str) -> Entry:
        """The entry under its new path, with --chown and --chmod applied; hard links kept."""
        uid, gid = self.owner or (e.uid, e.gid)
        mode = e.mode
        if self.chmod is not None and e.kind != "l":
            mode = self.chmod.apply(mode, e.kind == "d")
        new = replace(e, path=at, uid=uid, gid=gid, mode=mode, link=e.link if e.kind == "l" else "")
        if self.owner is not None and e.capability is not None:
            new.capability = e.capability
        return new


def refuse(message: str) -> ImagesmithError:
    """An error of the copier."""
    return ContextError(message)
