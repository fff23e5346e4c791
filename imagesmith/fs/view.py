"""A file system as a stack of layers, looked up by path with nothing extracted.

Why: COPY, ADD, WORKDIR, owner look-ups, exports and every diff need to know what is at a path, not the
files themselves. A LayerIndex is one layer's entries; a View is a stack of them, as overlayfs sees its
lower directories: the topmost layer that has the path, or that hides it, decides.
Trust: layers come from registries; their entries were cleaned by layer/tarread.py, and no path here ever
reaches the host's file system.
Threads: an index is complete when it is shared; views are read only.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence, Set

from imagesmith.fs.entry import Entry, replace
from imagesmith.fs.tree import Tree, resolve

__all__ = ["EMPTY_VIEW", "LayerIndex", "View", "flat", "parent_of"]

_ROOT = Entry("", "d", 0o755)


def parent_of(path: str) -> str:
    """The path of the directory that holds `path`."""
    return path.rpartition("/")[0]


class LayerIndex:
    """The entries of one layer by path, its whiteouts and its opaque directories.

    Hard links are resolved: an `h` entry has the metadata and the content of the name it links to, as far as
    that is in the same layer.
    """

    __slots__ = ("_alone", "_children", "_deleted", "entries", "one_as", "opaques", "whiteouts")

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries: dict[str, Entry] = {}
        #: Further names of symbolic links, devices and fifos: the entry that each is one with.
        self.one_as: dict[str, Entry] = {}
        self.whiteouts: set[str] = set()
        self.opaques: set[str] = set()
        self._children: dict[str, list[str]] | None = None
        self._deleted: dict[str, set[str]] = {}
        self._alone: bool | None = None
        for e in entries:
            if e.kind == "w":
                self.whiteouts.add(e.path)
                folder, _, name = e.path.rpartition("/")
                self._deleted.setdefault(folder, set()).add(name)
            elif e.kind == "o":
                self.opaques.add(e.path)
            elif e.kind == "h" and (first := self.entries.get(e.link)) is not None:
                if first.kind not in "fh":
                    self.entries[e.path] = replace(first, path=e.path)
                    self.one_as[e.path] = self.one_as.get(e.link, first)
                    continue
                link = first.link if first.kind == "h" else first.path
                self.entries[e.path] = replace(first, path=e.path, kind="h", link=link)
            else:
                self.entries[e.path] = e
                if self.one_as:
                    self.one_as.pop(e.path, None)

    def children(self, path: str) -> list[str]:
        """The names that this layer has in a directory, whether or not it lists the directory itself."""
        if self._children is None:
            self._children = self._by_folder()
        return self._children.get(path, [])

    def _by_folder(self) -> dict[str, list[str]]:
        """The names in each directory; one that is not listed is put into its parent when it is first met."""
        found: dict[str, list[str]] = {}
        for path in self.entries:
            while path:
                folder, _, name = path.rpartition("/")
                names = found.get(folder)
                if names is not None:
                    names.append(name)
                    break
                found[folder] = [name]
                if folder in self.entries:
                    break
                path = folder
        return found

    @property
    def stands_alone(self) -> bool:
        """True if the layer lists every parent and has the files that its hard links name.

        Of other layers the files depend on what is below them.
        """
        if self._alone is None:
            known = self.entries
            folders = {parent_of(path) for paths in (known, self.whiteouts, self.opaques) for path in paths}
            folders |= self.opaques
            links = (e for e in known.values() if e.kind == "h")
            self._alone = all(not folder or folder in known for folder in folders) and all(
                e.content is not None for e in links
            )
        return self._alone

    def deleted(self, path: str) -> Set[str]:
        """The names that this layer takes from a directory."""
        return self._deleted.get(path, frozenset())

    def hides_below(self, path: str) -> bool:
        """True if the layer hides what lower layers have at `path`, other than by an entry of that path."""
        if path in self.whiteouts:
            return True
        folder = path
        while folder:
            folder = parent_of(folder)
            if folder in self.opaques or folder in self.whiteouts:
                return True
            e = self.entries.get(folder)
            if e is not None and e.kind != "d":
                return True
        return False


class View:
    """A stack of layers, bottom first. Every view has a root directory."""

    __slots__ = ("_folders", "layers")

    def __init__(self, layers: Sequence[LayerIndex] = ()) -> None:
        self.layers = tuple(layers)
        self._folders: dict[str, bool] = {"": True}

    def get(self, path: str) -> Entry | None:
        """The entry at a path, links not followed; a further name of a file is a file whose `link` is set."""
        if not self._is_folder(parent_of(path)):
            return None
        for n in range(len(self.layers) - 1, -1, -1):
            layer = self.layers[n]
            e = layer.entries.get(path)
            if e is not None:
                if e.kind == "h":
                    return self._through(e, n)
                return self._across(e, n) if e.kind == "f" and e.link else e
            if layer.hides_below(path):
                break
        else:
            if self._is_implied(path):
                return Entry(path, "d", 0o755)
        return _ROOT if not path else None

    def _is_folder(self, path: str) -> bool:
        """True if there is a directory; asked for every path's parent, so it is remembered."""
        known = self._folders.get(path)
        if known is None:
            e = self.get(path)
            known = self._folders[path] = e is not None and e.kind == "d"
        return known

    def _through(self, e: Entry, n: int) -> Entry | None:
        """The file that a hard link names; its first name may be in a lower layer."""
        if e.content is not None or e.size == 0:
            below = None if e.content is not None else View(self.layers[:n]).get(e.link)
            if below is not None:
                return replace(below, path=e.path, link=e.link if below.kind == "f" else below.link)
        return replace(e, kind="f")

    def _across(self, e: Entry, n: int) -> Entry:
        """A file whose other name was below when its layer was made; one file still, if that name is."""
        below, now = View(self.layers[:n]).get(e.link), self.get(e.link)
        if below is None or now is None or below.content is None or now.content is not below.content:
            return replace(e, link="")
        return replace(e, content=below.content)

    def _is_implied(self, path: str) -> bool:
        """True for a directory that no layer lists but some layer has entries in."""
        return any(layer.children(path) for layer in self.layers)

    def children(self, path: str) -> list[str]:
        """The names in a directory, sorted by bytes; empty for anything else."""
        names: set[str] = set()
        hidden: set[str] = set()
        for layer in reversed(self.layers):
            names.update(name for name in layer.children(path) if name not in hidden)
            hidden |= layer.deleted(path) - names
            e = layer.entries.get(path)
            if path in layer.opaques or (e is not None and e.kind != "d") or layer.hides_below(path):
                break
        return sorted(names, key=os.fsencode)

    def resolve(self, path: str, follow_last: bool = True) -> str:
        """The path with every symbolic link followed inside the root; see `fs.tree.resolve`."""
        return resolve(self, path, follow_last)

    def walk(self, path: str = "") -> Iterator[Entry]:
        """All entries below a directory, in the order of layers, the directory itself not among them."""
        stack = [(path, iter(self.children(path)))]
        while stack:
            folder, names = stack[-1]
            name = next(names, None)
            if name is None:
                stack.pop()
                continue
            child = f"{folder}/{name}" if folder else name
            e = self.get(child)
            if e is None:
                continue
            yield e
            if e.kind == "d":
                stack.append((child, iter(self.children(child))))

    def plus(self, layer: LayerIndex) -> View:
        """The view with one more layer on top."""
        return View((*self.layers, layer))


EMPTY_VIEW = View()


def flat(view: Tree) -> Iterator[Entry]:
    """All entries of a view in order, further names of one file as hard links to its first."""
    layers = view.layers if isinstance(view, View) else ()
    same = {id(layer.entries[path]): e for layer in layers for path, e in layer.one_as.items()}
    first: dict[int, str] = {}
    for e in view.walk():
        one = e.content if e.kind == "f" else same.get(id(e), e) if same and e.kind != "d" else None
        if one is not None:
            name = first.setdefault(id(one), e.path)
            if name != e.path:
                yield replace(e, kind="h", link=name, size=0, content=None)
                continue
        yield e
