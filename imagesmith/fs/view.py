"""A file system as a stack of layers, looked up by path with nothing extracted.

Why: COPY, ADD, WORKDIR, owner look-ups, exports and every diff need to know what is at a path, not the
files themselves. A LayerIndex is one layer's entries; a View is a stack of them, as overlayfs sees its
lower directories: the topmost layer that has the path, or that hides it, decides. A directory that a layer
only implies has the metadata that lower layers give it, and takes the place of a link or file of theirs.
Trust: layers come from registries; their entries were cleaned and measured by layer/tarread.py, and no path
here ever reaches the host's file system. Directories that a tar implies and does not list are counted.
Threads: an index is complete when it is shared; views are read only.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence, Set
from operator import attrgetter

from imagesmith.errors import ContextError
from imagesmith.fs.entry import Entry, replace
from imagesmith.fs.limits import IMPLIED_BYTES, too_much_implied
from imagesmith.fs.placing import settled
from imagesmith.fs.tree import Tree, resolve

__all__ = ["EMPTY_VIEW", "LayerIndex", "View", "flat", "largest_id", "parent_of"]

_ROOT = Entry("", "d", 0o755)
_BLOCK = 64  # layers


def parent_of(path: str) -> str:
    """The path of the directory that holds `path`."""
    return path.rpartition("/")[0]


class LayerIndex:
    """The entries of one layer by path, its whiteouts, its opaque directories, and those that it implies.

    Each path is what an extraction makes of it (fs/placing.py). Hard links are resolved: an `h` entry has
    the metadata and the content of the name it links to, as far as that is in the same layer.

    Raises:
        UnsafeArchive: its links lead in circles.
        LimitExceeded: it implies too many directories.
    """

    __slots__ = (
        "_alone", "_asked", "_children", "_deleted", "_largest", "_links", "_room", "entries", "implied",
        "one_as", "opaques", "whiteouts",
    )  # fmt: skip

    def __init__(self, entries: Iterable[Entry]) -> None:
        given = entries if isinstance(entries, list) else list(entries)
        if not self._fill(given):
            self._fill(settled(given))

    def _fill(self, given: list[Entry]) -> bool:
        """Take entries as they are; False if a path of them means something else."""
        known: dict[str, Entry] = {}
        self.entries = known
        #: Further names of symbolic links, devices and fifos: the entry that each is one with.
        self.one_as: dict[str, Entry] = {}
        self.whiteouts: set[str] = set()
        self.opaques: set[str] = set()
        #: Directories that the layer does not list, but something in them.
        self.implied: set[str] = set()
        self._children: dict[str, list[str]] | None = None
        self._deleted: dict[str, set[str]] = {}
        self._alone: bool | None = None
        self._largest: int | None = None
        #: The directory that `hides_below` was asked about last, and whether one above it, or it, hides.
        self._asked = ("", False)
        self._links, self._room = list[Entry](), IMPLIED_BYTES
        implied = self.implied
        plain, last, length = True, "", -1
        for e in given:  # hundreds of thousands of them: most are in the folder of the one before
            path, kind = e.path, e.kind
            end = path.rfind("/")
            if end != length or not path.startswith(last):
                last, length = path[: max(end, 0)], end
                plain &= self._has_folder(last)
            if kind in "wo":
                if kind == "w":
                    self.whiteouts.add(path)
                    self._deleted.setdefault(last, set()).add(path[end + 1 :])
                else:
                    self.opaques.add(path)
                    plain &= self._has_folder(path)
                continue
            if kind == "h":
                first = known.get(e.link)
                if first is None or first.kind == "d":
                    plain = False
                elif first.kind in "fh":
                    link = first.link if first.kind == "h" else first.path
                    e = replace(first, path=path, kind="h", link=link)
                else:
                    e = replace(first, path=path)
                    self.one_as[path] = self.one_as.get(first.path, first)
            elif kind == "l" and e.mode != 0o777:  # whatever a tar says, a link has this mode once it is made
                e = replace(e, mode=0o777)
            old = known.setdefault(path, e)
            if old is not e:
                plain &= old.kind == kind == "d"
                known[path] = e
            elif implied and path in implied:
                implied.discard(path)
                plain &= kind == "d"
        return plain

    def _has_folder(self, path: str) -> bool:
        """Note that there is a directory; False if something else is in its way."""
        while path and path not in self.implied:
            e = self.entries.get(path)
            if e is not None:
                return e.kind == "d"
            self.implied.add(path)
            self._room -= len(path)
            if self._room < 0:
                raise too_much_implied(path)
            path = parent_of(path)
        return True

    def placed(self) -> Iterator[Entry]:
        """What an extraction makes: deletions first, each path once, files before their further names."""
        for kind, paths in (("o", self.opaques), ("w", self.whiteouts)):
            for path in sorted(paths):
                yield Entry(path, kind)
        for path, e in self.entries.items():
            first = self.one_as.get(path)
            yield e if first is None else replace(e, kind="h", link=first.path)

    def links(self) -> list[Entry]:
        """Its symbolic links and fifos."""
        self._links = self._links or [e for e in self.entries.values() if e.kind in "lp"]
        return self._links

    def largest_id(self) -> int:
        """The largest user or group id of its entries."""
        if self._largest is None:
            ids = (max(map(attrgetter(which), self.entries.values()), default=0) for which in ("uid", "gid"))
            self._largest = max(ids)
        return self._largest

    def children(self, path: str) -> list[str]:
        """The names that this layer has in a directory, whether or not it lists the directory itself."""
        return self._by_folder().get(path, [])

    def folders(self) -> Set[str]:
        """The directories that this layer has names in."""
        return self._by_folder().keys()

    def thinned(self) -> Set[str]:
        """The directories that this layer takes names from."""
        return self._deleted.keys()

    def _by_folder(self) -> dict[str, list[str]]:
        if self._children is None:
            self._children = {}
            for child in (*self.entries, *self.implied):
                folder, _, name = child.rpartition("/")
                if child:
                    self._children.setdefault(folder, []).append(name)
        return self._children

    @property
    def stands_alone(self) -> bool:
        """True if the layer lists every parent and has the files that its hard links name.

        Of other layers the files depend on what is below them.
        """
        if self._alone is None:
            links = (e for e in self.entries.values() if e.kind == "h")
            self._alone = not self.implied and all(e.content is not None for e in links)
        return self._alone

    def deleted(self, path: str) -> Set[str]:
        """The names that this layer takes from a directory."""
        return self._deleted.get(path, frozenset())

    def hides_below(self, path: str) -> bool:
        """True if the layer hides what lower layers have at `path`, other than by an entry of that path."""
        return path in self.whiteouts or (bool(path) and self._hides_from(parent_of(path)))

    def _hides_from(self, path: str) -> bool:
        """True if a directory, or one above it, is hidden or something else.

        Paths are looked up from the root on: the last answer is what there is to say of all above.
        """
        known, hides = self._asked
        at, found = path, "" in self.opaques
        while at:
            if at == known:
                found = hides
                break
            e = self.entries.get(at)
            if at in self.opaques or at in self.whiteouts or (e is not None and e.kind != "d"):
                found = True
                break
            at = parent_of(at)
        self._asked = path, found
        return found


class _Block:
    """Some layers that lie on one another, and which paths they have to do with: most have none to do."""

    __slots__ = ("_changed", "_hiders", "_paths", "layers")

    def __init__(self, layers: tuple[LayerIndex, ...]) -> None:
        self.layers = layers
        self._paths: set[str] | None = None

    def _read(self) -> set[str]:
        paths: set[str] = set()
        self._changed: set[str] = set()
        self._hiders: set[str] = set()
        for layer in self.layers:
            hiding = layer.whiteouts | layer.opaques
            paths |= layer.entries.keys() | layer.implied | hiding
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

    def lists(self, path: str) -> bool:
        """True if a layer may add names to a directory, or take some from it."""
        return self.has(path) or path in self._changed


class View:
    """A stack of layers, bottom first. Every view has a root directory.

    Of many layers the lower ones are in blocks, which views of the same layers share, so that a step on top
    of thousands costs what it looks at.
    """

    __slots__ = ("_blocks", "_top")

    def __init__(self, layers: Sequence[LayerIndex] = ()) -> None:
        full = len(layers) - len(layers) % _BLOCK if len(layers) > _BLOCK else 0
        self._blocks = tuple(_Block(tuple(layers[at : at + _BLOCK])) for at in range(0, full, _BLOCK))
        self._top = tuple(layers[full:])

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
    layers = view.layers if isinstance(view, View) else ()
    same = {id(layer.entries[path]): e for layer in layers for path, e in layer.one_as.items()}
    first: dict[int, str] = {}
    for e in view.walk(path):
        one = e.content if e.kind == "f" else same.get(id(e), e) if same and e.kind != "d" else None
        if one is not None:
            name = first.setdefault(id(one), e.path)
            if name != e.path:
                yield replace(e, kind="h", link=name, size=0, content=None)
                continue
        yield e


def largest_id(view: View) -> int:
    """The largest user or group id of what lies in a view's layers, shown or hidden."""
    return max((layer.largest_id() for layer in view.layers), default=0)
