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
#: So many layers are in a block.
_BLOCK = 64


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

    def folders(self) -> Set[str]:
        """The directories that this layer has names in."""
        if self._children is None:
            self._children = self._by_folder()
        return self._children.keys()

    def thinned(self) -> Set[str]:
        """The directories that this layer takes names from."""
        return self._deleted.keys()

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


class _Block:
    """Some layers that lie on one another, and which paths they have to do with: most have none to do."""

    __slots__ = ("_changed", "_folders", "_hiders", "_paths", "layers")

    def __init__(self, layers: tuple[LayerIndex, ...]) -> None:
        self.layers = layers
        self._paths: set[str] | None = None

    def _read(self) -> set[str]:
        paths: set[str] = set()
        self._folders: set[str] = set()
        self._changed: set[str] = set()
        self._hiders: set[str] = set()
        for layer in self.layers:
            hiding = layer.whiteouts | layer.opaques
            paths |= layer.entries.keys() | hiding
            self._folders |= layer.folders()
            self._changed |= layer.folders() | layer.thinned()
            self._hiders |= hiding
            self._hiders.update(path for path, e in layer.entries.items() if e.kind != "d")
        self._paths = paths
        return paths

    def has(self, path: str) -> bool:
        """True if a layer may show or hide what is at a path."""
        if path in (self._paths or self._read()):
            return True
        folder = path
        while folder:
            folder = parent_of(folder)
            if folder in self._hiders:
                return True
        return False

    def fills(self, path: str) -> bool:
        """True if a layer has names in a directory."""
        if self._paths is None:
            self._read()
        return path in self._folders

    def lists(self, path: str) -> bool:
        """True if a layer may add names to a directory, or take some from it."""
        return self.has(path) or path in self._changed


class View:
    """A stack of layers, bottom first. Every view has a root directory.

    Of many layers the lower ones are in blocks, which views of the same layers share, so that a step on top
    of thousands costs what it looks at.
    """

    __slots__ = ("_blocks", "_folders", "_top")

    def __init__(self, layers: Sequence[LayerIndex] = ()) -> None:
        full = len(layers) - len(layers) % _BLOCK if len(layers) > _BLOCK else 0
        self._blocks = tuple(_Block(tuple(layers[at : at + _BLOCK])) for at in range(0, full, _BLOCK))
        self._top = tuple(layers[full:])
        self._folders: dict[str, bool] = {"": True}

    @property
    def layers(self) -> tuple[LayerIndex, ...]:
        """The layers."""
        return (*(layer for block in self._blocks for layer in block.layers), *self._top)

    def lowest(self, count: int) -> View:
        """What the lowest `count` layers show."""
        whole = min(count // _BLOCK, len(self._blocks))
        rest = self._blocks[whole].layers if whole < len(self._blocks) else self._top
        return _stacked(self._blocks[:whole], rest[: count - whole * _BLOCK])

    def get(self, path: str) -> Entry | None:
        """The entry at a path, links not followed; a further name of a file is a file whose `link` is set."""
        if not self._is_folder(parent_of(path)):
            return None
        for n, layer in self._with(path) if self._blocks else enumerate(reversed(self._top), 1):
            e = layer.entries.get(path)
            if e is not None:
                return self._through(e, n) if e.kind == "h" else e
            if layer.hides_below(path):
                break
        else:
            if self._is_implied(path):
                return Entry(path, "d", 0o755)
        return _ROOT if not path else None

    def _with(self, path: str) -> Iterator[tuple[int, LayerIndex]]:
        """The layers that may have to do with a path, top first, and how many lie from each of them up."""
        yield from enumerate(reversed(self._top), 1)
        n = len(self._top) + 1
        for block in reversed(self._blocks):
            if block.has(path):
                yield from enumerate(reversed(block.layers), n)
            n += _BLOCK

    def _below(self, n: int) -> View:
        """The view without the topmost `n` layers."""
        return self.lowest(len(self._blocks) * _BLOCK + len(self._top) - n)

    def _is_folder(self, path: str) -> bool:
        """True if there is a directory; asked for every path's parent, so it is remembered."""
        known = self._folders.get(path)
        if known is None:
            unknown = []
            while path not in self._folders:
                unknown.append(path)
                path = parent_of(path)
            for path in reversed(unknown):
                e = self.get(path)
                known = self._folders[path] = e is not None and e.kind == "d"
        return bool(known)

    def _through(self, e: Entry, n: int) -> Entry | None:
        """The file that a hard link names; its first name may be in a lower layer."""
        if e.content is not None or e.size == 0:
            below = None if e.content is not None else self._below(n).get(e.link)
            if below is not None:
                return replace(below, path=e.path, link=e.link if below.kind == "f" else below.link)
        return replace(e, kind="f")

    def _is_implied(self, path: str) -> bool:
        """True for a directory that no layer lists but some layer has entries in."""
        if any(layer.children(path) for layer in self._top):
            return True
        return any(block.fills(path) for block in self._blocks)

    def children(self, path: str) -> list[str]:
        """The names in a directory, sorted by bytes; empty for anything else."""
        names: set[str] = set()
        hidden: set[str] = set()
        for layer in self._listing(path):
            names.update(name for name in layer.children(path) if name not in hidden)
            hidden |= layer.deleted(path) - names
            e = layer.entries.get(path)
            if path in layer.opaques or (e is not None and e.kind != "d") or layer.hides_below(path):
                break
        return sorted(names, key=os.fsencode)

    def _listing(self, path: str) -> Iterator[LayerIndex]:
        """The layers that may have to do with what is in a directory, top first."""
        yield from reversed(self._top)
        for block in reversed(self._blocks):
            if block.lists(path):
                yield from reversed(block.layers)

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
        if len(self._top) < 2 * _BLOCK:
            return _stacked(self._blocks, (*self._top, layer))
        block = _Block(self._top[:_BLOCK])
        return _stacked((*self._blocks, block), (*self._top[_BLOCK:], layer))


def _stacked(blocks: tuple[_Block, ...], top: tuple[LayerIndex, ...]) -> View:
    """A view of blocks that others have as well."""
    view = View()
    view._blocks, view._top = blocks, top
    return view


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
