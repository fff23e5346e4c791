"""The tree of an image after one of its layers, a folder at a time, with what that layer changed in it.

Why a folder at a time: an image may have half a million files, and a terminal shows thirty.
Trust: names are the image's; they are not cleaned here.
"""

from __future__ import annotations

import os
from typing import Literal

from imagesmith.explore.model import Exploration, changed, own_bytes
from imagesmith.fs.entry import Entry
from imagesmith.values import frozen

__all__ = ["Change", "Node", "children", "find"]

#: What a layer did: nothing, or to the path itself; `within` is a folder in which it changed something.
Change = Literal["", "added", "modified", "removed", "within"]


@frozen(kw_only=True)
class Node:
    """A name in a folder.

    path    as in fs.entry
    kind    one letter of fs.entry.KINDS
    size    bytes of a file, or of all files below a folder, after the layer; of what it removed, before it
    change  what the layer did
    """

    path: str
    kind: str
    size: int
    change: Change
    mode: int
    uid: int
    gid: int
    link: str = ""

    @property
    def name(self) -> str:
        """The last component of the path."""
        return self.path.rpartition("/")[2]


def children(model: Exploration, layer: int, path: str, *, removed: bool = True) -> list[Node]:
    """What is in a folder after a layer (1 for the lowest), sorted by bytes, with what the layer removed.

    Args:
        model: the image.
        layer: the number.
        path: the folder, as in fs.entry; also one that the layer removed.
        removed: show what the layer removed.
    """
    view, below = model.files.view.lowest(layer), model.files.view.lowest(layer - 1)
    names = set(view.children(path))
    before = set(below.children(path)) if removed else set()
    out = []
    for name in sorted(names | before, key=os.fsencode):
        child = f"{path}/{name}" if path else name
        old, now = below.get(child), view.get(child)
        if now is not None:
            out.append(_node(model, layer, now, _change(model, layer, old, now)))
        elif old is not None:
            out.append(_node(model, layer - 1, old, "removed"))
    return out


def _change(model: Exploration, layer: int, old: Entry | None, now: Entry) -> Change:
    index, path = model.files.indexes[layer - 1], now.path
    if old is None:
        return "added"
    if path in index.entries and changed(old, now):
        return "modified"
    if old.kind != now.kind:
        return "modified"
    if now.kind == "d" and (path in index.opaques or index.children(path) or index.deleted(path)):
        return "within"
    return ""


def _node(model: Exploration, layer: int, e: Entry, change: Change) -> Node:
    size = own_bytes(e)
    if e.kind == "d":
        size = sum(delta.get(e.path, 0) for delta in model.deltas[:layer])
    return Node(
        path=e.path, kind=e.kind, size=size, change=change, mode=e.mode, uid=e.uid, gid=e.gid, link=e.link
    )


def find(model: Exploration, layer: int, text: str, most: int = 200) -> list[str]:
    """The paths after a layer, and those that it removed, that hold a text; the first `most` of them."""
    wanted, out = text.lower(), []
    for number in (layer, layer - 1):
        view = model.files.view.lowest(number)
        other = model.files.view.lowest(layer)
        for e in view.walk():
            if wanted in e.path.lower() and (number == layer or other.get(e.path) is None):
                out.append(e.path)
                if len(out) >= most:
                    return out
    return out
