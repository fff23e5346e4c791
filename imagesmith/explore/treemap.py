"""The largest folders of an image with what is in them, and how a rectangle is divided among numbers.

Why squarified: pieces that are nearly squares are compared by eye, and have room for a name.
Why bounded: a page is to open at once: so many folders are drawn, the largest, so many names in each, and
what is left out of one is a piece of its own.
Spec: Bruls, Huizing, van Wijk, "Squarified treemaps" (2000).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from imagesmith.explore.model import Exploration
from imagesmith.explore.tree import children
from imagesmith.values import frozen

__all__ = ["Folder", "Piece", "Rect", "divided", "largest_folders"]


@frozen(kw_only=True)
class Piece:
    """Something in a folder.

    path    as in fs.entry; empty for what was left out
    size    bytes, with all that is below
    layer   of a file the layer that it is from; 0 for folders and for what was left out
    count   how many names it stands for
    """

    path: str
    size: int
    layer: int = 0
    is_folder: bool = False
    count: int = 1


@frozen(kw_only=True)
class Folder:
    """A folder, its bytes, and its pieces, the largest first; `empty` are names without bytes."""

    path: str
    size: int
    pieces: tuple[Piece, ...]
    empty: int = 0


@frozen
class Rect:
    """A part of a rectangle: left and top, width and height, each from 0 to 1 of the whole."""

    x: float
    y: float
    w: float
    h: float


def largest_folders(model: Exploration, most: int = 240, names: int = 40) -> dict[str, Folder]:
    """The largest folders of what an image shows, by path; the root is the first.

    Args:
        model: the image.
        most: how many.
        names: how many pieces each has, the piece for what is left out not counted.
    """
    sizes: dict[str, int] = {}
    for delta in model.deltas:
        for path, count in delta.items():
            sizes[path] = sizes.get(path, 0) + count
    top = len(model.layers)
    queue = [(-sizes.get("", 0), "")]
    out: dict[str, Folder] = {}
    while queue and len(out) < most:
        size, path = heapq.heappop(queue)
        every = _pieces(model, top, path)
        found = [p for p in every if p.size]
        kept, rest = (found[:names], found[names:]) if len(found) > names + 1 else (found, [])
        if rest:
            kept.append(Piece(path="", size=sum(p.size for p in rest), count=len(rest)))
        out[path] = Folder(path=path, size=-size, pieces=tuple(kept), empty=len(every) - len(found))
        for piece in kept:
            if piece.is_folder:
                heapq.heappush(queue, (-piece.size, piece.path))
    return out


def _pieces(model: Exploration, top: int, path: str) -> list[Piece]:
    view = model.files.view
    out = []
    for node in children(model, top, path, removed=False) if top else ():
        is_folder = node.kind == "d"
        layer = 0 if is_folder or not node.size else top + 1 - view.deciding(node.path)
        out.append(Piece(path=node.path, size=node.size, layer=layer, is_folder=is_folder))
    return sorted(out, key=lambda p: (-p.size, p.path))


def divided(sizes: Sequence[int], ratio: float) -> list[Rect]:
    """Divide a rectangle among numbers above 0, the largest first.

    Args:
        sizes: the numbers.
        ratio: width by height of the rectangle as it is seen.
    """
    total = sum(sizes)
    x, y, w, h = 0.0, 0.0, ratio, 1.0
    out: list[Rect] = []
    left = [s / total * ratio for s in sizes]
    at = 0
    while at < len(left):
        side = min(w, h)
        end = at + 1
        while end < len(left) and _worst(left[at : end + 1], side) <= _worst(left[at:end], side):
            end += 1
        row, area = left[at:end], sum(left[at:end])
        thick = area / side if side else 0.0
        offset = 0.0
        for piece in row:
            long = piece / thick if thick else 0.0
            if w >= h:
                out.append(Rect(x / ratio, y + offset, thick / ratio, long))
            else:
                out.append(Rect((x + offset) / ratio, y, long / ratio, thick))
            offset += long
        if w >= h:
            x, w = x + thick, max(0.0, w - thick)
        else:
            y, h = y + thick, max(0.0, h - thick)
        at = end
    return out


def _worst(row: Sequence[float], side: float) -> float:
    """How far the pieces of a row are from squares."""
    area = sum(row)
    if not side or not area or not min(row):
        return float("inf")
    return max(side * side * max(row) / (area * area), area * area / (side * side * min(row)))
