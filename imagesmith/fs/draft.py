"""A layer in the making: changes to a view, kept as overlayfs keeps them in its upper directory.

Why: COPY, ADD and WORKDIR change a handful of paths or a million; either way no file has to exist on disk,
and what is too much for memory goes to a file without a name (fs/table.py). A Draft behaves like a mounted
overlay: what it changes is copied up with its parents, a directory's time moves when its entries do, and what
it holds in the end goes through the same differ as what RUN left (layer/diff.py), so that both make the layer
that BuildKit would.
Threads: one.
"""

from __future__ import annotations

import os

from imagesmith.errors import ContextError
from imagesmith.fs.entry import Entry, replace
from imagesmith.fs.table import Spool, Table
from imagesmith.fs.tree import Below, resolve
from imagesmith.fs.view import View, parent_of

__all__ = ["Draft"]


class Draft:
    """Changes on top of `lower`.

    now_ns      the time that made and touched directories get
    overwritten a path was put more than once, other than as a directory
    timed       directories whose time is set already: it does not move
    """

    def __init__(self, lower: View, now_ns: int, spool: Spool | None = None) -> None:
        self.lower, self._below = lower, Below(lower)
        self.now_ns = now_ns
        self.upper = Table(spool)
        self.opaques: set[str] = set()
        self.overwritten = False
        self.timed: set[str] = set()
        self._removed: set[str] = set()
        self._further: dict[str, dict[str, None]] = {}

    def get(self, path: str) -> Entry | None:
        """The entry at a path as it is now."""
        e = self.upper.get(path)
        if e is not None:
            return None if e.kind == "w" else e
        return None if self._removed and self._hidden(path) else self._below.get(path)

    def _hidden(self, path: str) -> bool:
        if not self._removed:
            return False
        folder = path
        while folder:
            folder = parent_of(folder)
            if folder in self._removed:
                return True
        return False

    def children(self, path: str) -> list[str]:
        """The names in a directory, sorted by bytes."""
        names = set(self.upper.children(path))
        if path not in self._removed and not self._hidden(path):
            names |= set(self.lower.children(path))
        prefix = f"{path}/" if path else ""
        gone = {n for n in names if (e := self.upper.get(prefix + n)) is not None and e.kind == "w"}
        return sorted(names - gone, key=os.fsencode)

    def resolve(self, path: str, follow_last: bool = True) -> str:
        """The path with every symbolic link followed inside the root."""
        return resolve(self, path, follow_last)

    def put(self, entry: Entry) -> None:
        """Make or replace an entry whose parent exists; the parent's time moves unless it was there."""
        self.put_over(self.get(entry.path), entry)

    def put_over(self, old: Entry | None, entry: Entry) -> None:
        """`put`, for who has just looked what is there."""
        path = entry.path
        if old is None and not self._removed:  # nothing of it is anywhere: what there are thousands of
            self._touch(path.rpartition("/")[0])
            self._add(entry)
            return
        was = self.upper.get(path)
        if old is None and was is None:
            self._touch(parent_of(path))
            self._add(entry)
            return
        self.overwritten |= was is not None and was.kind != "d"
        if old is not None and old.kind == "d" and entry.kind != "d":
            self.remove(path)
        self._part(path)
        if old is None or old.kind != "d" or entry.kind != "d":
            self._touch(parent_of(path))
        self._set(entry)

    def change(self, entry: Entry) -> None:
        """Replace an entry's metadata in place: its parent's time does not move."""
        self._copy_up(parent_of(entry.path))
        self._set(entry)

    def remove(self, path: str) -> None:
        """Delete an entry and all below it, however deep that is."""
        todo = [(path, iter(self.children(path)))]
        while todo:
            at, names = todo[-1]
            name = next(names, None)
            if name is None:
                todo.pop()
                self._remove(at)
            else:
                child = f"{at}/{name}" if at else name
                todo.append((child, iter(self.children(child))))

    def _remove(self, path: str) -> None:
        """Delete an entry that has none below it."""
        below = not self._hidden(path) and path not in self._removed and self.lower.get(path) is not None
        self._touch(parent_of(path))
        self._part(path)
        if below:
            self._set(Entry(path, "w"))
            self._removed.add(path)
        else:
            self.upper.pop(path)
            if path in self._removed:
                self._set(Entry(path, "w"))
            self.opaques.discard(path)

    def make_dirs(self, path: str, *, mode: int = 0o755, uid: int = 0, gid: int = 0) -> list[str]:
        """Make a directory and the parents that are missing, links followed; return the paths made.

        Raises:
            ContextError: something on the way is not a directory.
        """
        made: list[str] = []
        at = ""
        for name in filter(None, self.resolve(path).split("/")):  # a link may name what is not there yet
            at = f"{at}/{name}" if at else name
            e = self.get(at)
            if e is None:
                self.put(Entry(at, "d", mode, uid, gid, mtime_ns=self.now_ns))
                made.append(at)
            elif e.kind != "d":
                raise ContextError(f"mkdir /{at}: not a directory")
        return made

    def upper_entries(self) -> Table:
        """What the layer is compared from; nothing is changed any more."""
        self.upper.pop("")
        return self.upper

    def _set(self, entry: Entry) -> None:
        path = entry.path
        old = self.upper.get(path)
        if entry.kind == "d" and (path in self._removed or (old is not None and old.kind == "w")):
            self.opaques.add(path)
        elif entry.kind != "d":
            self.opaques.discard(path)
            if entry.kind != "w":
                below = self.lower.get(path) if not self._hidden(path) else None
                if below is not None and below.kind == "d":
                    self._removed.add(path)
        self._add(entry)

    def _add(self, entry: Entry) -> None:
        self.upper[entry.path] = entry
        if entry.kind == "h":
            self._further.setdefault(entry.link, {})[entry.path] = None

    def _part(self, path: str) -> None:
        """Before a name goes or changes: what it shares with other names becomes theirs alone."""
        names = [
            name
            for name in self._further.pop(path, ())
            if (e := self.upper.get(name)) is not None and e.kind == "h" and e.link == path
        ]
        old = self.upper.get(path)
        if old is None or not names:
            return
        heir = names[0]
        self._set(replace(old, path=heir))
        for name in names[1:]:
            self._set(replace(self.upper[name], link=heir))

    def _copy_up(self, path: str) -> None:
        """Bring a directory and its parents into the upper, unchanged."""
        while path not in self.upper:
            e = self.lower.get(path)
            if e is None:
                raise ContextError(f"/{path}: no such directory")
            self._set(replace(e, path=path))
            if not path:
                return
            path = parent_of(path)

    def _touch(self, folder: str) -> None:
        if folder in self.timed:
            return
        e = self.upper.get(folder)
        if e is None or e.mtime_ns != self.now_ns:
            self._copy_up(folder)
            self.upper[folder] = replace(self.upper[folder], mtime_ns=self.now_ns)
