"""The owners of links, fifos and sockets of one workspace or cache: rows of a file beside it.

Why rows: the kernel gives these files no xattr of a user's (ownership.py). What is made or changed
while a step runs is known by its inode. What came from the layers below is known by its name and time, for
overlayfs may copy it up, to another inode; moved, by what it leads to and its time.
Imports the standard library only, so that it can be used from the step's process.
Trust: a step cannot reach the file, but decides what is written: names, targets and ids are values here, and
nothing is opened by them.
Threads: one for each Table; several processes may append to one file.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imagesmith.fs.entry import Entry
    from imagesmith.fs.tree import Tree

__all__ = ["Table", "note_below"]


class Table:
    """The rows: path, target, inode (0 if it is not known), time, uid, gid. The last one counts."""

    def __init__(self, path: Path) -> None:
        """Read a file, which need not be there yet."""
        self._path = path
        self._names: dict[tuple[str, str], tuple[int, int, int, int]] = {}
        self._inodes: dict[tuple[int, str], tuple[int, int]] = {}
        #: Where no inode is known, by what a move leaves as it is; None where two have that in common.
        self._moved: dict[tuple[str, int], tuple[int, int] | None] = {}
        self._read = 0
        self.load()

    @property
    def empty(self) -> bool:
        """True if there is no row."""
        return not self._names

    def load(self) -> None:
        """Read what was appended since, perhaps by another process."""
        with contextlib.suppress(FileNotFoundError), open(self._path, "rb") as f:
            f.seek(self._read)
            for line in f:
                if line.endswith(b"\n"):
                    self._read += len(line)
                    self._take(*json.loads(line))

    def _take(self, path: str, target: str, ino: int, mtime_ns: int, uid: int, gid: int) -> None:
        self._names[path, target] = ino, mtime_ns, uid, gid
        if ino:
            self._inodes[ino, target] = uid, gid
        else:
            known = self._moved.setdefault((target, mtime_ns), (uid, gid))
            if known != (uid, gid):
                self._moved[target, mtime_ns] = None

    def append(
        self, path: str, target: str, st: os.stat_result, uid: int, gid: int, *, moved: bool = False
    ) -> None:
        """Note an owner: of what is at a path, what it leads to (or an empty text), and what it is.

        moved: it is not there yet.
        """
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, _row(path, target, 0 if moved else st.st_ino, st.st_mtime_ns, uid, gid))
        finally:
            os.close(fd)
        self.load()

    def find(self, path: str, target: str, st: os.stat_result) -> tuple[int, int] | None:
        """The owner of the same inode, of the same name and time, or of a link below that was moved."""
        found = self._inodes.get((st.st_ino, target))
        if found is not None:
            return found
        row = self._names.get((path, target))
        if row is not None and row[1] == st.st_mtime_ns:
            return row[2], row[3]
        return self._moved.get((target, st.st_mtime_ns))


def _row(path: str, target: str, ino: int, mtime_ns: int, uid: int, gid: int) -> bytes:
    return (json.dumps([path, target, ino, mtime_ns, uid, gid]) + "\n").encode()


def _text(e: Entry) -> str:
    return e.link if e.kind == "l" else ""


def _shows(view: Tree, e: Entry) -> bool:
    shown = view.get(e.path)  # another object, of a layer that is not in memory
    return shown is e or (shown is not None and _told(shown) == _told(e))


def _told(e: Entry) -> tuple[str, str, int, int, int]:
    return e.kind, e.link, e.mtime_ns, e.uid, e.gid


def note_below(table: Path, view: Tree, at: str = "") -> None:
    """Write down whose the links and fifos of some layers are, unless they are all root's.

    Those of root's that have target and time in common with another's are written too, to be told apart.

    Args:
        table: see snapshot.ownership.table_of.
        view: the layers.
        at: the folder whose files are meant; rows have paths below it.
    """
    links = [e for layer in getattr(view, "layers", ()) for e in layer.links()]
    same = {(_text(e), e.mtime_ns) for e in links if e.uid or e.gid}
    prefix = f"{at}/" if at else ""
    rows = [
        _row(e.path[len(prefix) :], _text(e), 0, e.mtime_ns, e.uid, e.gid)
        for e in links
        if (_text(e), e.mtime_ns) in same and e.path.startswith(prefix) and _shows(view, e)
    ]
    if rows:
        with open(table, "ab") as f:
            f.writelines(rows)
