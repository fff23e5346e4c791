"""What a source of COPY or ADD names: the files of a tree that it takes, in which order, under which names.

Why: wildcards, `..`, links, --exclude and the pivot of --parents have one meaning for folders, repositories
and stages alike; the copier (ops/copy.py) only puts what comes from here.
Spec: tonistiigi/fsutil's copy (ResolveWildcards, include and exclude patterns), BuildKit's dispatchCopy.
Trust: names and links of the tree are hostile: they are followed within the tree only, as values.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import posixpath
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from imagesmith.context.digests import FileDigests
from imagesmith.context.local import LocalTree
from imagesmith.context.patterns import Matcher, has_wildcards, match_name
from imagesmith.context.rows import head
from imagesmith.errors import MissingSource, blame
from imagesmith.fs.entry import Entry
from imagesmith.fs.tree import Tree
from imagesmith.values import frozen

__all__ = ["Match", "Taken", "content_digest", "select"]

#: So many files' digests are looked up at once.
_TOGETHER = 900


class Taken(NamedTuple):
    """An entry below a match: its path relative to it, and whether it is there only to hold others."""

    path: str
    entry: Entry
    holder: bool = False


@frozen
class Match:
    """A file or folder that a source names. `name` is what it was called, `entry` what it is, links followed.

    include and exclude hold for what is below a folder, relative to it.
    """

    path: str
    name: str
    entry: Entry
    include: Matcher | None = None
    exclude: Matcher | None = None

    @property
    def filtered(self) -> bool:
        """True if not simply everything below is taken."""
        return self.include is not None or self.exclude is not None

    def entries(self, tree: Tree) -> Iterator[Taken]:
        """What is taken below the folder, folders before what is in them, in byte order."""
        if not self.filtered:
            cut = len(self.path) + 1 if self.path else 0
            for e in tree.walk(self.path):
                yield Taken(e.path[cut:], e)
            return
        yield from self._below(tree)

    def _below(self, tree: Tree) -> Iterator[Taken]:
        """Walk with filters: folders that are not taken themselves come when something in them does."""
        looks_in = self.include is not None or (self.exclude is not None and self.exclude.has_exclusions)
        holders: list[Taken] = []
        stack = [("", iter(tree.children(self.path)), False)]
        while stack:
            folder, names, is_holder = stack[-1]
            for name in names:
                below = f"{folder}/{name}" if folder else name
                e = tree.get(f"{self.path}/{below}" if self.path else below)
                if e is None:
                    continue
                taken = (self.include is None or self.include.matches(below)) and not (
                    self.exclude is not None and self.exclude.matches(below)
                )
                if taken:
                    yield from holders
                    holders.clear()
                    yield Taken(below, e)
                elif e.kind == "d" and looks_in:
                    holders.append(Taken(below, e, holder=True))
                else:
                    continue
                if e.kind == "d":
                    stack.append((below, iter(tree.children(e.path)), not taken))
                    break
            else:
                stack.pop()
                if is_holder and holders:  # nothing in it was taken
                    holders.pop()


def select(
    tree: Tree, source: str, *, excludes: Sequence[str], parents: bool, literal: bool = False
) -> list[Match]:
    """The matches of a source, in the order in which they are copied.

    Args:
        tree: where to look.
        source: as expanded; `..` and a leading slash stay inside the tree.
        excludes: patterns of --exclude.
        parents: --parents: the path is kept, from the pivot `/./` if there is one.
        literal: the source is a name, wildcards in it mean themselves.

    Raises:
        MissingSource: a source without wildcards is not there.
        ContextError: a bad pattern.
    """
    with blame(source):
        try:
            return _select(tree, source, excludes, parents=parents, literal=literal)
        except MissingSource as e:
            if f"{posixpath.normpath(source.lstrip('/'))}/".startswith("../"):
                end = "context" if isinstance(tree, LocalTree) else "root"
                e.hint = e.hint or f"`..` ends at the {end}: {source} is /{_normal(source)}"
            raise


def _select(tree: Tree, source: str, excludes: Sequence[str], *, parents: bool, literal: bool) -> list[Match]:
    exclude = Matcher(excludes) if excludes else None
    include: Matcher | None = None
    required = ""
    if parents:
        before, pivot, after = source.partition("/./")
        base, pattern = (before or "/", after) if pivot else ("/", source)
        pattern = _normal(pattern)
        if not has_wildcards(pattern):
            required = pattern
        include, source = Matcher([pattern]), base
    path = _normal(source)
    if literal or not has_wildcards(path):
        return [_match(tree, path, include, exclude, required)]
    return [_match(tree, p, include, exclude, required) for p in list(_expand(tree, path))]


def _normal(source: str) -> str:
    """A source as a path from the root: cleaned, without climbing out."""
    return posixpath.normpath(f"/{source}").lstrip("/")


def _match(tree: Tree, path: str, include: Matcher | None, exclude: Matcher | None, required: str) -> Match:
    at = tree.resolve(path)
    e = tree.get(at)
    if e is None and not at:
        e = Entry("", "d", 0o755)
    if e is None:
        left_out = isinstance(tree, LocalTree) and tree.leaves_out(at)
        raise MissingSource(
            f'failed to compute cache key: "/{path}": not found',
            hint="it is in the folder, and the ignore file leaves it out" if left_out else "",
        )
    if required and e.kind == "d":
        inside = tree.resolve(posixpath.join(at, required), follow_last=False)
        if inside and tree.get(inside) is None:
            raise MissingSource(f'failed to compute cache key: "/{posixpath.join(at, required)}": not found')
    return Match(at, posixpath.basename(path), e, include, exclude)


def _expand(tree: Tree, pattern: str) -> Iterator[str]:
    """The paths that a pattern matches, each folder's names in byte order."""
    parts = pattern.split("/")
    fixed = 0
    while not has_wildcards(parts[fixed]):
        fixed += 1
    base = tree.resolve("/".join(parts[:fixed]))
    yield from _level(tree, base, parts[fixed:])


def _level(tree: Tree, folder: str, parts: list[str]) -> Iterator[str]:
    for name in tree.children(folder):
        if not match_name(parts[0], name):
            continue
        path = f"{folder}/{name}" if folder else name
        if len(parts) == 1:
            yield path
            continue
        e = tree.get(path)
        if e is not None and e.kind == "d":
            yield from _level(tree, path, parts[1:])


def content_digest(tree: Tree, matches: Sequence[Match], file_digest: FileDigests) -> str:
    """A digest of all that the matches take; see context/rows.py."""
    whole = hashlib.sha256()
    rows = _rows(tree, matches)
    while some := list(itertools.islice(rows, _TOGETHER)):
        file_digest.fill(e for _, e in some if e.kind in "fh")
        for name, e in some:
            content = e.digest if e.kind in "fh" else e.link
            whole.update(os.fsencode(f"{name}\0{head(e)}{content}\0"))
    return whole.hexdigest()


def _rows(tree: Tree, matches: Sequence[Match]) -> Iterator[tuple[str, Entry]]:
    for match in matches:
        yield f"/{match.name}", match.entry
        if match.entry.kind == "d":
            for taken in match.entries(tree):
                yield taken.path, taken.entry
