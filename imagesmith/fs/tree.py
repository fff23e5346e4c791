"""What can be looked up like a file system: build contexts, views of layers, drafts.

Why: COPY's sources and destinations follow the same rules wherever the files are. A Tree answers for paths
below its root and never looks outside; links are followed by `resolve`, in values only, and by nothing else:
but for a layer that is still being put together (placing.py), where a walk makes what it misses, and for what
is on a disk, where the kernel follows them (jail.py) or nobody (hold.py).
Trust: links are hostile: they lead neither in circles nor to paths that no disk has.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from imagesmith.errors import ContextError
from imagesmith.fs.entry import Entry
from imagesmith.fs.limits import LINKS, PATH_BYTES

__all__ = ["Below", "Tree", "resolve"]

#: So many names a path may have with all those of the links on it.
_MAX_NAMES = 10_000


class Tree(Protocol):
    """A file system to look at. Paths are as in fs.entry."""

    def get(self, path: str, /) -> Entry | None:
        """The entry at a path, its last link not followed; None if there is none."""

    def children(self, path: str, /) -> list[str]:
        """The names in a directory, sorted by bytes; empty for anything else."""

    def resolve(self, path: str, follow_last: bool = True) -> str:
        """The path with every symbolic link followed inside the root."""

    def walk(self, path: str = "") -> Iterator[Entry]:
        """All entries below a directory in the order of layers, itself not among them."""


class _Gets(Protocol):
    def get(self, path: str, /) -> Entry | None: ...


class Below:
    """Asks a tree for one path after the other: nothing is asked of what is in a directory that is not there.

    Why: most of what is copied goes into directories that are new, and comes directory by directory.
    """

    __slots__ = ("_folder", "_is_there", "_tree")

    def __init__(self, tree: Tree) -> None:
        self._tree, self._folder, self._is_there = tree, "", True

    def get(self, path: str) -> Entry | None:
        """The entry at a path; see Tree."""
        folder = path.rpartition("/")[0]
        if folder != self._folder:
            self._folder, self._is_there = folder, self._tree.get(folder) is not None
        return self._tree.get(path) if self._is_there else None


def resolve(tree: _Gets, path: str, follow_last: bool = True) -> str:
    """Follow every symbolic link of a path as if the tree's root were `/`.

    Names that do not exist stay as they are, so the result may be the path of something to be made. `..`
    never climbs above the root.

    Raises:
        ContextError: more than 255 links, or names of links without end.
    """
    todo = [p for p in reversed(path.split("/")) if p not in ("", ".")]
    at = ""
    links = names = 0
    while todo:
        name = todo.pop()
        names += 1
        if names > _MAX_NAMES or len(at) > PATH_BYTES:
            raise ContextError(f"/{path.strip('/')[:200]}: links lead to a name that is too long")
        if name == "..":
            at = at.rpartition("/")[0]
            continue
        here = f"{at}/{name}" if at else name
        if todo or follow_last:
            e = tree.get(here)
            if e is not None and e.kind == "l":
                links += 1
                if links > LINKS:
                    raise ContextError(f"/{path.strip('/')}: too many levels of symbolic links")
                if e.link.startswith("/"):
                    at = ""
                todo += [p for p in reversed(e.link.split("/")) if p not in ("", ".")]
                continue
        at = here
    return at
