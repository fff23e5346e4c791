"""COPY: files of a context, a stage or an image, put into the file system below."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from imagesmith.context.origins import ContextFiles, Fetched, GitFiles, Inline
from imagesmith.context.rows import Rows
from imagesmith.context.sources import select
from imagesmith.dockerfile.values import parse_chmod
from imagesmith.fs.entry import Entry
from imagesmith.fs.view import EMPTY_VIEW
from imagesmith.ops.origins import Origin, layers_of, tree_of
from imagesmith.solve.key import counted_as
from imagesmith.solve.result import BuiltLayer
from imagesmith.solve.step import Op, Reads, Step, Work
from imagesmith.values import field, frozen

__all__ = ["CopyOp", "CopySource"]


@frozen
class CopySource:
    """One source of COPY or ADD: a path or pattern in an origin."""

    origin: Origin
    path: str = "/"


def _paths(sources: tuple[CopySource, ...]) -> list[str]:
    """How sources count: the files of their origins are the step's inputs."""
    return [s.path for s in sources]


@frozen(kw_only=True)
class CopyOp(Op):
    """COPY. `dest` is absolute; a trailing slash (or `/.`) means a directory.

    `unpack` is ADD's: None unpacks local archives only, True all, False none.
    """

    sources: tuple[CopySource, ...] = field(note=counted_as("paths", _paths))
    dest: str
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    excludes: tuple[str, ...] = ()
    unpack: bool | None = False

    kind = "copy"
    learns = True

    @property
    def apart(self) -> bool:
        """See Op."""
        return self.link

    def reads(self) -> Iterator[Reads]:
        """See Op."""
        for s in self.sources:
            if isinstance(s.origin, ContextFiles):
                yield Reads(s.origin, s.path, self.excludes, self.parents)

    def words(self, shown: Sequence[str], dest: str) -> str:
        """The instruction as history has it, with sources and destination as they were written."""
        words = [self.kind.upper()]
        words += ["--parents"] * self.parents
        words += [f"--chown={self.chown}"] * bool(self.chown) + [f"--chmod={self.chmod}"] * bool(self.chmod)
        return " ".join([*words, *shown, dest])

    def input_names(self) -> list[str]:
        """See Op."""
        return [s.path for s in self.sources]

    def digests(self, work: Work, *, by_layers: bool = False) -> list[str]:
        """See Op."""
        rows = () if by_layers else work.seen()
        return [
            layers_of(s.origin, s.path, work)
            if by_layers and isinstance(s.origin, Step)
            else self._digest(s, work, seen)
            for s, seen in itertools.zip_longest(self.sources, rows)
        ]

    def _digest(self, source: CopySource, work: Work, seen: Rows | None) -> str:
        trees, origin = work.tools.trees, source.origin
        if not isinstance(origin, Step):
            return trees.taken(origin, source.path, self.excludes, self.parents, seen)
        if seen is not None:
            return seen.digest(trees.file_digest)
        tree = tree_of(origin, work)
        return trees.digest(tree, select(tree, source.path, excludes=self.excludes, parents=self.parents))

    def execute(self, work: Work) -> BuiltLayer:
        """See Op."""
        now = work.now_ns
        entries, rows, by_path = self._drawn(work, now)
        work.tell_copies(entries)
        layer = work.write(entries, now)
        if work.learns:
            work.learnt(rows, layer.stored.digests if by_path else None)
        return layer

    def _drawn(self, work: Work, now_ns: int) -> tuple[Iterable[Entry], list[Rows], bool]:
        """What the layer holds, what each source's digest is made of, and if both have the same paths."""
        from imagesmith.fs.draft import Draft  # a build that finds all of it in the cache needs none of these
        from imagesmith.fs.owner import copy_owner
        from imagesmith.ops.copier import Copier
        from imagesmith.ops.drafts import changes_of
        from imagesmith.ops.target import Target

        below = EMPTY_VIEW if self.link else work.outline(work.parent)  # --link looks into nothing
        store, trees = work.tools.store, work.tools.trees
        draft = Draft(below, now_ns, store.new_spool)
        target = Target(
            draft=draft,
            dest=self.dest,
            owner=copy_owner(self.chown, None if self.link else below),
            chmod=parse_chmod(self.chmod) if self.chmod else None,
            work=store.work,
        )
        copiers = [Copier(target, store.new_spool) for _ in self.sources]
        for copier, source in zip(copiers, self.sources, strict=True):
            origin = source.origin
            tree = tree_of(origin, work)
            if isinstance(origin, Inline | Fetched):
                matches = select(tree, trees.file_name(origin), excludes=(), parents=False, literal=True)
            else:
                matches = select(tree, source.path, excludes=self.excludes, parents=self.parents)
            copier.copy(tree, matches, unpacks=self._unpacks(origin))
        by_path = not draft.overwritten  # what was copied to a path is what the layer has there
        return changes_of(draft, below, work), [copier.rows for copier in copiers], by_path

    def _unpacks(self, origin: Origin) -> bool:
        """True if archives of an origin are unpacked."""
        if self.unpack is False or isinstance(origin, Inline | GitFiles):
            return False
        return not isinstance(origin, Fetched) or self.unpack is True
