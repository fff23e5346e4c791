"""A file system as a stack of layers, looked up by path with nothing extracted.

Why: COPY, ADD, WORKDIR, owner look-ups, exports and every diff need to know what is at a path, not the
files themselves. A LayerIndex is one layer's entries (fs/layerindex.py); a View is a stack of them, as
overlayfs sees its lower directories: the topmost layer that has the path, or that hides it, decides. A
directory that a layer only implies has the metadata that lower layers give it, and takes the place of a link
or file of theirs.
Trust: layers come from registries; their entries were cleaned and measured by layer/tarread.py, and no path
here ever reaches the host's file system. Directories that a tar implies and does not list are counted.
Threads: an index is complete when it is shared; views are read only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence, Set

from imagesmith.errors import ContextError
from imagesmith.fs.entry import Content, Entry, replace
from imagesmith.fs.layerindex import LayerIndex, parent_of
from imagesmith.fs.tree import Tree, resolve

__all__ = ["EMPTY_VIEW", "LayerIndex", "View", "flat", "largest_id", "parent_of"]

_ROOT = Entry("", "d", 0o755)
_BLOCK = 64  # layers


class _Block:
    """Some layers that lie on one another, and which paths they have to do with: most have none to do."""

    __slots__ = ("_changed", "_hiders", "_large", "_paths", "layers")

    def __init__(self, layers: tuple[LayerIndex, ...]) -> None:
        self.layers = layers
        self._large = [layer for layer in layers if layer.is_large]  # asked, as their paths are too many
        self._paths: set[str] | None = None

    def _read(self) -> set[str]:
        paths: set[str] = set()
        self._changed: set[str] = set()
        self._hiders: set[str] = set()
        for layer in self.layers:
            hiding = layer.whiteouts | layer.opaques
            paths |= layer.implied | hiding
            self._changed |= layer.folders() | layer.thinned()
            self._hiders |= hiding
            if not layer.is_large:
                paths.update(e.path for e in layer.entries.values())
                self._hiders.update(e.path for e in layer.entries.values() if e.kind != "d")
        self._paths = paths
        return paths

    def has(self, path: str) -> bool:
        """True if a layer may show or hide what is at a path."""
        if path in (self._paths or self._read()) or any(path in layer.entries for layer in self._large):
            return True
        folder = path
        while folder:
            folder = parent_of(folder)
            if folder in self._hiders:
                return True
            found = (layer.entries.get(folder) for layer in self._large)
            if any(e is not None and e.kind != "d" for e in found):
                return True
        return False

    def lists(self, path: str) -> bool:
        """True if a layer may add names to a directory, or take some from it."""
        return self.has(path) or path in self._changed or any(layer.children(path) for layer in self._large)


class View:
    """A stack of layers, bottom first. Every view has a root directory.

    Of many layers the lower ones are in blocks, which views of the same layers share, so that a step on top
    of thousands costs what it looks at.
    """

    __slots__ = ("_blocks", "_shared", "_top")

    def __init__(self, layers: Sequence[LayerIndex] = ()) -> None:
        full = len(layers) - len(layers) % _BLOCK if len(layers) > _BLOCK else 0
        self._blocks = tuple(_Block(tuple(layers[at : at + _BLOCK])) for at in range(0, full, _BLOCK))
        self._top = tuple(layers[full:])
        self._shared: Set[Content] | None = None

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
        e, n = self._find(path)
        return self._through(e, n) if e is not None and e.kind == "h" else e

    def _find(self, path: str) -> tuple[Entry | None, int]:
        """The entry of the layer that decides about a path, and how many lie from that one up."""
        made = False
        for n, layer in self._with(path) if self._blocks else enumerate(reversed(self._top), 1):
            e = layer.entries.get(path)
            if e is not None:
                if not made or e.kind == "d":
                    return e, n
                return (_led_to(layer, path) if e.kind == "l" else None) or Entry(path, "d", 0o755), n
            if path in layer.implied:
                made = True
            elif layer.hides_below(path):
                break
        if made:
            return Entry(path, "d", 0o755), 0
        return (None if path else _ROOT), 0

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

    def _through(self, e: Entry, n: int) -> Entry | None:
        """The file that a hard link names; its first name may be in a lower layer."""
        found: Entry | None = e
        view = self
        while found is not None and found.kind == "h" and found.content is None and not found.size:
            view = view._below(n)
            found, n = view._find(found.link)
        if found is None or found is e or found.kind == "d":
            return replace(e, kind="f")
        if found.kind in "fh":
            return replace(found, path=e.path, kind="f", link=e.link)
        return replace(found, path=e.path)

    def shared(self) -> Set[Content]:
        """The contents of files that have more than one name in the layers."""
        if self._shared is None:
            named = [(path, layer.entries[path]) for layer in self.layers for path in layer.further]
            shown = (e if e.content is not None else self.get(path) for path, e in named)
            self._shared = {e.content for e in shown if e is not None and e.content is not None}
        return self._shared

    def deciding(self, path: str) -> int:
        """How many layers lie from the one up whose entry is shown at a path; 0 if it is none's."""
        return self._find(path)[1]

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


def _led_to(layer: LayerIndex, path: str) -> Entry | None:
    """The directory that a link leads to within its layer: one that takes its place gets that metadata."""
    alone = View([layer])
    try:
        e = alone.get(alone.resolve(path))
    except ContextError:  # in circles
        return None
    return replace(e, path=path) if e is not None and e.kind == "d" else None


EMPTY_VIEW = View()


def flat(view: Tree, path: str = "") -> Iterator[Entry]:
    """All entries below a directory in order, further names of one file as hard links to its first there."""
    shared: Set[Content] = frozenset()
    same: dict[str, object] = {}
    if isinstance(view, View):
        shared, layers = view.shared(), view.layers
        for n, layer in zip(range(len(layers), 0, -1), layers, strict=True):
            for name, one in layer.one_as.items():
                same.update((p, (n, one.path)) for p in (name, one.path) if view.deciding(p) == n)
    first: dict[object, str] = {}
    for e in view.walk(path):
        if e.kind == "f":
            key: object = e.content if shared and e.content in shared else None
        else:
            key = same.get(e.path) if same else None
        if key is not None:
            name = first.setdefault(key, e.path)
            if name != e.path:
                yield replace(e, kind="h", link=name, size=0, content=None)
                continue
        yield e


def largest_id(view: View) -> int:
    """The largest user or group id of what lies in a view's layers, shown or hidden."""
    return max((layer.largest_id() for layer in view.layers), default=0)
