"""A layer's entries as they come to lie on a disk, where a path does not mean what it says.

Why: a tar may list a path twice, lead through its own links, put a file where a folder was, or name a folder
that it does not list. Whoever extracts it sees what results; a view, an index and EROFS have to see the same.
So this is worked out once, in values: entries one after the other, in a tree of names, as a disk would take
them. Most layers need none of it (fs/view.py notices).
Spec: containerd's archive.Apply: links of the layer itself are followed on the way to an entry, those of
layers below are not known to it; a folder that is missing is made.
Trust: hostile: nothing but the tree is touched, links lead only so far, and to paths that a disk may have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from imagesmith.errors import UnsafeArchive
from imagesmith.fs.entry import Entry, replace
from imagesmith.fs.limits import IMPLIED_BYTES, LINKS, PATH_BYTES, check_path, too_much_implied

__all__ = ["settled"]

#: So many steps all links of a layer may cost together.
_MAX_STEPS = 4_000_000


def settled(entries: Iterable[Entry]) -> list[Entry]:
    """The entries that remain: one for each path, parents first, hard links after the file that they name.

    Raises:
        UnsafeArchive: links lead in circles.
        LimitExceeded: they lead to paths that are too long, or to too many folders that are not listed.
    """
    layer = _Layer()
    for e in entries:
        layer.add(e)
    return list(layer.entries())


class _Node:
    """A name: its entry, None for a folder that is not listed, and what is in it."""

    __slots__ = ("above", "entry", "gone", "length", "name", "names", "opaque")

    def __init__(self, above: _Node | None, name: str) -> None:
        self.above, self.name = above, name
        self.length: int = above.length + 1 + len(name) if above is not None else -1
        self.entry: Entry | None = None
        self._empty()

    def _empty(self) -> None:
        self.names: dict[str, _Node] = {}
        self.gone: dict[str, None] = {}
        self.opaque = False

    def put(self, entry: Entry | None) -> None:
        """Take another entry; what is in a folder stays only if it is one still."""
        if entry is not None and entry.kind != "d":
            self._empty()
        self.entry = entry


class _Layer:
    """The tree of names."""

    def __init__(self) -> None:
        self._root = _Node(None, "")
        self._steps = 0
        self._room = IMPLIED_BYTES

    def add(self, e: Entry) -> None:
        """Put an entry where it comes to lie."""
        if e.kind == "o":
            self._folder(e.path).opaque = True
            return
        if not e.path:
            if e.kind == "d":
                self._root.put(e)
            return
        folder, _, name = e.path.rpartition("/")
        parent = self._folder(folder)
        if e.kind == "w":
            parent.gone[name] = None
            return
        if e.kind == "h":
            e = self._linked(e)
        node = parent.names.get(name)
        if node is None:
            node = self._new(parent, name)
        node.put(e)

    def _new(self, parent: _Node, name: str) -> _Node:
        """A name that is not there yet: no path is longer than a disk takes it, wherever links led."""
        node = parent.names[name] = _Node(parent, name)
        if node.length * 4 > PATH_BYTES:
            check_path(_path(parent, name))
        return node

    def _folder(self, path: str) -> _Node:
        """The folder of a path, links followed; made where it is missing or a file is in its way."""
        node = self._walk(path, make=True)
        assert node is not None
        return node

    def _walk(self, path: str, *, make: bool) -> _Node | None:
        at, links = self._root, 0
        todo = path.split("/")[::-1] if path else []
        while todo:
            name = todo.pop()
            if name in ("", "."):
                continue
            if name == "..":
                at = at.above or at
                continue
            node = at.names.get(name)
            if node is None:
                if not make:
                    return None
                node = self._new(at, name)
                self._room -= node.length
                if self._room < 0:
                    raise too_much_implied(_path(at, name))
            e = node.entry
            if e is not None and e.kind == "l":
                links += 1
                parts = e.link.split("/")
                self._steps += len(parts)
                if links > LINKS or self._steps > _MAX_STEPS:
                    raise UnsafeArchive(f"/{path[:200]}: too many levels of symbolic links")
                if e.link.startswith("/"):
                    at = self._root
                todo += parts[::-1]
                continue
            if e is not None and e.kind != "d":
                if not make:
                    return None
                node.put(None)
            at = node
        return at

    def _linked(self, e: Entry) -> Entry:
        """What a hard link names now: the very entry, or a name of a lower layer."""
        folder, _, name = e.link.rpartition("/")
        parent = self._walk(folder, make=False)
        first = parent.names.get(name) if parent is not None else None
        found = first.entry if first is not None else None
        if found is None or found.kind == "d" or parent is None:
            return e if parent is None else replace(e, link=_path(parent, name))
        return found

    def entries(self) -> Iterator[Entry]:
        """All that is in the tree, under the paths at which it is."""
        if self._root.entry is not None:
            yield self._root.entry
        files: dict[int, str] = {}
        stack = [("", self._root)]
        while stack:
            path, node = stack.pop()
            prefix = f"{path}/" if path else ""
            if node.opaque:
                yield Entry(path, "o")
            for name in node.gone:
                yield Entry(prefix + name, "w")
            for name, child in node.names.items():
                here = prefix + name
                if child.entry is not None:
                    yield _under(here, child.entry, files)
                if child.names or child.gone or child.opaque:
                    stack.append((here, child))


def _under(path: str, e: Entry, files: dict[int, str]) -> Entry:
    """An entry under its path; a further name of what was told already links to the first one."""
    if e.kind not in "dh":
        first = files.setdefault(id(e), path)
        if first != path:
            return replace(e, path=path, kind="h", link=first, content=None)
    return e if e.path == path else replace(e, path=path)


def _path(folder: _Node, name: str) -> str:
    """The path of a name in a folder."""
    parts = [name]
    while folder.above is not None:
        parts.append(folder.name)
        folder = folder.above
    return "/".join(reversed(parts))
