"""One layer's entries, looked up by path: what a view is a stack of (fs/view.py).

Why: see there. Of a layer of more entries than are held in memory they are in a file (fs/table.py), in the
order of their paths instead of the tar's; what few have, links and deletions, is in memory always.
Trust: layers come from registries; their entries were cleaned and measured by layer/tarread.py, and no path
here ever reaches the host's file system. Directories that a tar implies and does not list are counted.
Threads: an index is complete when it is shared.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Set
from operator import attrgetter

from imagesmith.fs.entry import Entry, replace
from imagesmith.fs.limits import IMPLIED_BYTES, too_much_implied
from imagesmith.fs.placing import settled
from imagesmith.fs.room import CHUNK, FEW, Share, free
from imagesmith.fs.table import Spool, Table

__all__ = ["LayerIndex", "parent_of"]


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
        "_alone", "_asked", "_children", "_deleted", "_largest", "_links", "_room", "_share", "entries",
        "further", "implied", "one_as", "opaques", "whiteouts",
    )  # fmt: skip

    def __init__(
        self, entries: Iterable[Entry] | Callable[[], Iterator[Entry]], spool: Spool | None = None
    ) -> None:
        """Take the entries in the order of the tar.

        Args:
            entries: or what gives them from the first one on, each time it is called.
            spool: for what is too much for memory (fs/table.py).
        """
        given = entries if isinstance(entries, list) or callable(entries) else list(entries)
        again = given if callable(given) else given.__iter__
        if not self._fill(again(), spool):
            self._fill(iter(settled(again())), spool)
        if isinstance(self.entries, Table):
            self.entries.finish()

    def _fill(self, given: Iterator[Entry], spool: Spool | None) -> bool:
        """Take entries as they are; False if a path of them means something else."""
        self.entries: dict[str, Entry] | Table = {}
        #: Further names of regular files.
        self.further: list[str] = []
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
        self._asked = ("/", False)  # which is none's name
        self._links, self._room = list[Entry](), IMPLIED_BYTES
        self._share = Share()
        if spool is None:
            return self._take(given)
        plain = self._take(itertools.islice(given, free(FEW)))
        while plain and (more := next(given, None)) is not None:
            some: Iterator[Entry] = itertools.islice(given, CHUNK - 1)
            if not self._share.more(FEW):
                self.entries, some = Table(spool, self.entries.values()), given
                self._share.give_back()
            plain = self._take(itertools.chain((more,), some))
        return plain

    def _take(self, given: Iterable[Entry]) -> bool:
        """Take some of the entries."""
        known, implied = self.entries, self.implied
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
                if e.kind == "h":
                    self.further.append(path)
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
        large = isinstance(self.entries, Table)  # which is in another order than the tar was
        for e in self.entries.values():
            if not large or (e.kind != "h" and e.path not in self.one_as):
                yield self._placed(e)
        if large:
            yield from (self._placed(self.entries[path]) for path in (*self.further, *self.one_as))

    def _placed(self, e: Entry) -> Entry:
        first = self.one_as.get(e.path)
        return e if first is None else replace(e, kind="h", link=first.path)

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
        if isinstance(self.entries, Table):
            return [*self.entries.children(path), *self._by_folder().get(path, ())]
        return self._by_folder().get(path, [])

    @property
    def is_large(self) -> bool:
        """True if its entries are not in memory."""
        return isinstance(self.entries, Table)

    def folders(self) -> Set[str]:
        """The directories that this layer has names in; those of a large one that it implies itself."""
        return self._by_folder().keys()

    def thinned(self) -> Set[str]:
        """The directories that this layer takes names from."""
        return self._deleted.keys()

    def _by_folder(self) -> dict[str, list[str]]:
        if self._children is None:
            self._children = {}
            listed = () if isinstance(self.entries, Table) else self.entries
            for child in (*listed, *self.implied):
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
            links = (self.entries[path] for path in self.further)
            self._alone = not self.implied and all(e.content is not None for e in links)
        return self._alone

    def deleted(self, path: str) -> Set[str]:
        """The names that this layer takes from a directory."""
        return self._deleted.get(path, frozenset())

    def hides_below(self, path: str) -> bool:
        """True if the layer hides what lower layers have at `path`, other than by an entry of that path."""
        if path in self.whiteouts:
            return True
        if not path:
            return False
        folder = path.rpartition("/")[0]
        known, hides = self._asked  # nearly always about a name of the same directory
        return hides if folder == known else self._hides_from(folder)

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
