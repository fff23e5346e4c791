"""From an upper directory to a layer: what counts as a change, and in which order it is written.

Why: RUN's overlay, the two-scan diff and the drafts of COPY all end here, so that a layer does not depend on
how it came about. The rules are those of BuildKit's overlay differ: an entry that equals the one below is
left out (a directory whose only change is its time, too), parents of what is written come before it, an
opaque directory is told as one whiteout for each name that vanished, whiteouts stand where the name that
they delete would.
Trust: what a step left is hostile; here it is entries, and files are read by the door of the tree that they
are from.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence

from imagesmith.fs.entry import Entry, replace, sort_key
from imagesmith.fs.table import Spool, Table
from imagesmith.fs.tree import Below, Tree
from imagesmith.fs.view import parent_of

__all__ = ["Changes", "equal_content", "layer_entries"]

#: What a layer holds of a time; see `layer_entries`.
_Held = Callable[[int], int] | None


class Changes:
    """The entries of a layer of which there are more than are held in memory; may be gone through again."""

    def __init__(self, make: Callable[[], Iterator[Entry]]) -> None:
        self._make = make

    def __iter__(self) -> Iterator[Entry]:
        return self._make()


def layer_entries(
    upper: Iterable[Entry],
    opaques: set[str],
    lower: Tree,
    held: Callable[[int], int] | None = None,
    spool: Spool | None = None,
) -> Sequence[Entry] | Changes:
    """The entries of the layer that turns `lower` into what `upper` shows.

    Args:
        upper: everything in the upper, in any order; kind `w` for a deletion, `h` for a further name of a
            file of the upper (`link` names any other name of it).
        opaques: directories of the upper that hide what is below them.
        lower: the view below.
        held: what a layer holds of a time. COPY gives it: a file that is copied again is the same though the
            view below has no fractions of seconds, and no times after a clamp. What a RUN touched is told by
            times that no layer holds.
        spool: for what is too much for memory (fs/table.py).
    """
    entries = upper if isinstance(upper, Table) else Table(spool, upper)
    hidden = Table(spool)
    for path in opaques:
        if path in entries:
            _vanished(path, entries, opaques, lower, hidden)

    def make() -> Iterator[Entry]:
        chosen = _chosen(entries, hidden, opaques, lower, held)
        told = _with_parents(chosen, entries, lower)
        return _linked(told, entries) if entries.has_links else told

    return Changes(make) if entries.large or hidden.large else list(make())


def _chosen(entries: Table, hidden: Table, opaques: set[str], lower: Tree, held: _Held) -> Iterator[Entry]:
    """What is a change by itself, in order; `hidden` is what opaque directories add."""
    below = Below(lower)
    if not hidden:
        for e in entries:
            if _counts(e, entries, opaques, below, held):
                yield e
        return
    last = ""
    for e in heapq.merge(hidden, entries, key=lambda e: sort_key(e.path)):
        if e.path != last and (e.path in hidden or _counts(e, entries, opaques, below, held)):
            yield e
        last = e.path


def _counts(e: Entry, entries: Table, opaques: set[str], lower: Below, held: _Held) -> bool:
    old = lower.get(e.path)
    if e.kind == "w":
        return old is not None and not _hidden(e.path, entries, opaques)
    return old is None or not _same(e, old, entries, held)


def _with_parents(chosen: Iterable[Entry], entries: Table, lower: Tree) -> Iterator[Entry]:
    """Each entry after the directories above it that were not told yet."""
    branch: list[str] = []  # the directories that were told and that what comes may be in
    for e in chosen:
        folder = e.path.rpartition("/")[0]
        if folder != (branch[-1] if branch else ""):
            while branch and branch[-1] != folder and not folder.startswith(f"{branch[-1]}/"):
                branch.pop()
            above = []
            while folder and (not branch or folder != branch[-1]):
                found = entries.get(folder) or lower.get(folder)
                if found is None or found.kind != "d":
                    break
                above.append(found)
                folder = parent_of(folder)
            for found in reversed(above):
                branch.append(found.path)
                yield found
        if e.kind == "d":
            branch.append(e.path)
        yield e


def _hidden(path: str, entries: Table, opaques: set[str]) -> bool:
    """True if what is above a path hides it: an opaque folder, one that is deleted, or no folder any more."""
    while path:
        path = parent_of(path)
        above = entries.get(path)
        if path in opaques or (above is not None and above.kind != "d"):
            return True
    return False


def _same(e: Entry, old: Entry, entries: Table, held: _Held) -> bool:
    """True if the entry below is the same as far as a layer can tell."""
    if e.kind == "h":
        e = _metadata_of(e, entries)
    if (old.kind, old.mode, old.uid, old.gid, old.rdev) != (e.kind, e.mode, e.uid, e.gid, e.rdev):
        return False
    if old.capability != e.capability:
        return False
    if e.kind == "d":
        return True
    now_ns = e.mtime_ns if held is None else held(e.mtime_ns)
    if (old.size, old.mtime_ns) != (e.size, now_ns):
        return False
    if now_ns % 1_000_000_000:
        return True
    return old.link == e.link if e.kind == "l" else equal_content(old, e)


def _metadata_of(e: Entry, entries: Table) -> Entry:
    """The file that a further name stands for, under that name."""
    first = entries.get(e.link)
    seen = {e.path}
    while first is not None and first.kind == "h" and first.path not in seen:
        seen.add(first.path)
        first = entries.get(first.link)
    return replace(first, path=e.path) if first is not None else e


def equal_content(a: Entry, b: Entry) -> bool:
    """True if two files of one size have the same bytes."""
    if a.content == b.content or not a.size:
        return True
    if a.digest and b.digest:
        return a.digest == b.digest
    if a.content is None or b.content is None:
        return False
    with a.content.open() as x, b.content.open() as y:
        left = a.size
        while left:
            p, q = x.read(min(left, 1 << 20)), y.read(min(left, 1 << 20))
            if len(p) != len(q):
                q += y.read(len(p) - len(q)) if len(q) < len(p) else b""
                p += x.read(len(q) - len(p)) if len(p) < len(q) else b""
            if p != q or not p:
                return p == q and not left
            left -= len(p)
    return True


def _vanished(path: str, entries: Table, opaques: set[str], lower: Tree, hidden: Table) -> None:
    """Add what an opaque directory hides: a whiteout a name that is not there again."""
    todo = [path]
    while todo:
        at = todo.pop()
        old = lower.get(at)
        if old is None or old.kind != "d":
            continue
        for name in lower.children(at):
            child = f"{at}/{name}" if at else name
            now = entries.get(child)
            if now is None or now.kind == "w":
                hidden[child] = Entry(child, "w")
            elif now.kind == "d" and child not in opaques:
                todo.append(child)
        hidden.setdefault(at, entries[at])


def _linked(told: Iterable[Entry], entries: Table) -> Iterator[Entry]:
    """Make the first written name of each file the file, and later ones links to it.

    A file whose other name is unchanged below is written whole, and is a file of its own from then on.
    """
    group: dict[str, str] = {}
    for e in entries.values():
        if e.kind == "h":
            group[e.path] = _root_of(e, entries)
            group.setdefault(group[e.path], group[e.path])
    first: dict[str, str] = {}
    for e in told:
        root = group.get(e.path)
        if root is None or e.kind == "w":
            yield e
        elif root in first:
            whole = _metadata_of(e, entries)
            yield replace(whole, path=e.path, kind="h", link=first[root], size=0, content=None)
        else:
            first[root] = e.path
            yield _metadata_of(e, entries) if e.kind == "h" else e


def _root_of(e: Entry, entries: Table) -> str:
    """The path that stands for all names of a file."""
    path, seen = e.path, {e.path}
    while (now := entries.get(path)) is not None and now.kind == "h" and now.link not in seen:
        path = now.link
        seen.add(path)
    return path
