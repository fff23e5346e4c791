"""What COPY and ADD take, on its way into a draft: where each source lands, with which mode, owner and time.

Why: the rules are those of BuildKit's copier (tonistiigi/fsutil), down to its oddities: the top folder of a
copied tree gives its time but neither mode nor owner; folders made on the way are 0755 and owned by
--chown; a folder met below the destination takes the source's mode, owner and time.
Trust: sources are trees that never leave their root; the destination is resolved inside the image.
Threads: a Copier belongs to one step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set

from imagesmith.context.local import LocalContent
from imagesmith.context.rows import Rows
from imagesmith.context.sources import Match, Taken
from imagesmith.errors import ContextError
from imagesmith.fs.entry import Content, Entry, replace
from imagesmith.fs.table import Spool
from imagesmith.fs.tree import Tree
from imagesmith.fs.view import View, parent_of
from imagesmith.ops.target import Target

__all__ = ["Copier"]


class Copier:
    """One source's way to a target; `rows` is what its digest is made of."""

    def __init__(self, target: Target, spool: Spool) -> None:
        self.target, self.draft = target, target.draft
        self.rows = Rows(spool)
        self._inodes: dict[object, str] = {}
        self._shared: Set[Content] = frozenset()

    def copy(self, tree: Tree, matches: Sequence[Match], *, unpacks: bool) -> None:
        """Copy all that was selected in a tree; `unpacks`: what archives hold instead of them."""
        for match in matches:
            if unpacks and self._unpack(match):
                self.rows.add(f"/{match.name}", match.entry)
            else:
                self._copy(match, tree)

    def _unpack(self, match: Match) -> bool:
        from imagesmith.ops.unpack import unpack

        return unpack(self.target, match)

    # --- destinations --------------------------------------------------------------------------

    def _destination(self) -> str:
        """The destination inside the image, links followed; its folder part is made."""
        dest = self.target.dest
        self.target.make_dirs(dest if dest.endswith("/") else parent_of(dest))
        return self.draft.resolve(dest)

    def _copy(self, match: Match, tree: Tree) -> None:
        self._inodes = {}
        self._shared = tree.shared() if isinstance(tree, View) else frozenset()
        top, dest = match.entry, self._destination()
        there = self.draft.get(dest)
        if top.kind != "d":
            if there is not None and there.kind == "d":
                dest = f"{dest}/{match.name}".lstrip("/")
            self.target.make_dirs(parent_of(dest))  # still missing where a link led to no folder
            self.rows.add(f"/{match.name}", top, self._put(top, dest))
            return
        self.rows.add(f"/{match.name}", top)
        if there is not None and there.kind != "d":
            raise ContextError(f"cannot copy to non-directory: /{dest}")
        if there is None:
            self.target.make_dirs(dest)
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
        uid, gid = self.target.owner or (e.uid, e.gid)
        mode = e.mode
        if self.target.chmod is not None and e.kind != "l":
            mode = self.target.chmod.apply(mode, e.kind == "d")
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
