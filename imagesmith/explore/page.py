"""The page of `explore --html`: one HTML document with everything in it, without scripts or network.

Why no script: pages are read in CI's artifact viewers, which forbid them. A folder of the treemap is opened
by a link to its own map, which CSS shows where it is the target; so it works with the keyboard as well.
Why bounded: an image may have millions of files and thousands of layers; what is left out is counted.
Trust: names, histories, labels are the image's; every one is escaped and cut.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from string import Template
from typing import Any

from imagesmith import __version__
from imagesmith.explore.model import Exploration, LayerFacts, Wasted
from imagesmith.explore.treemap import Folder, Piece, Rect, divided, largest_folders
from imagesmith.observe.pagetext import size, text

__all__ = ["page"]

#: How wide a map is, by its height, on a screen between the widest and the narrowest.
_RATIO = 1.8
#: Rows of tables, characters of a cell, and pieces of a map that is drawn within another.
_MOST_ROWS, _MOST_HIDDEN, _MOST_TEXT, _MOST_WITHIN = 300, 60, 2_000, 16
#: A folder is drawn with what is in it if it takes as much of the map; names need some room as well.
_LEAST_WITHIN, _LEAST_NAMED, _LEAST_WIDTH, _LEAST_HEIGHT = 0.03, 0.006, 0.07, 0.05
#: Maps within maps, and all pieces together.
_MOST_DEPTH, _MOST_PIECES = 4, 12_000
#: Hues of layers, those that hold most first; the others are grey.
_HUES = (212, 28, 145, 275, 350, 185, 55, 320, 100, 240)
_CONFIG = (
    "User", "WorkingDir", "Entrypoint", "Cmd", "Env", "ExposedPorts", "Volumes", "Labels", "StopSignal",
    "Healthcheck", "Shell", "OnBuild",
)  # fmt: skip


def page(model: Exploration, title: str) -> str:
    """The document; `title` is what the user called the image."""
    template = Template(files("imagesmith.explore").joinpath("page.html").read_text("utf-8"))
    colours = _colours(model)
    folders = largest_folders(model)
    return template.substitute(
        title=_cut(title),
        sub=f"{text(model.platform)} · <code>{text(model.digest)}</code>",
        colours="\n".join(_rules(colours)),
        tiles="\n".join(_tiles(model)),
        layers=_layers(model, colours),
        key=_key(model, colours),
        maps=_Maps(folders, colours).html(),
        bounds=_bounds(folders),
        hidden=_hidden(model, colours),
        config=_config(model.config),
        history=_history(model.config),
        footer=f"written by imagesmith {text(__version__)}",
    )


def _cut(value: str, most: int = _MOST_TEXT) -> str:
    """Text for HTML, of bounded length."""
    return text(value if len(value) <= most else f"{value[:most]}…")


# --- colours -----------------------------------------------------------------------------------


def _colours(model: Exploration) -> dict[int, int]:
    """The layers that have a colour: their numbers, and those of the colours."""
    seen = sorted(model.layers, key=lambda f: (f.wasted - f.unpacked, f.number))
    return {f.number: n for n, f in enumerate(seen[: len(_HUES)]) if f.unpacked}


def _rules(colours: Mapping[int, int]) -> Iterator[str]:
    for n in sorted(colours.values()):
        yield f".c{n}.c{n} {{ background: hsl({_HUES[n]} 52% var(--tile)); }}"


def _class(layer: int, colours: Mapping[int, int]) -> str:
    return f" c{colours[layer]}" if layer in colours else ""


def _chip(layer: int, colours: Mapping[int, int]) -> str:
    grey = "" if layer in colours else ' style="background:var(--other)"'
    return f'<span class="chip{_class(layer, colours)}"{grey}>{layer}</span>'


def _key(model: Exploration, colours: Mapping[int, int]) -> str:
    shown = {f.number for f in model.layers if f.unpacked > f.wasted}
    seen = sorted((layer, n) for layer, n in colours.items() if layer in shown)
    out = [f'<span><i class="c{n}"></i>layer {layer}</span>' for layer, n in seen]
    if any(f.unpacked and f.number not in colours for f in model.layers):
        out.append('<span><i style="background:var(--other)"></i>others</span>')
    return "".join(out)


# --- numbers and layers ------------------------------------------------------------------------


def _tiles(model: Exploration) -> Iterator[str]:
    share = 100 * model.wasted / model.unpacked if model.unpacked else 0
    count = len(model.layers)
    for value, name, more in (
        (size(model.size), "to be pulled", f"in {count} layer{'s' * (count != 1)}"),
        (size(model.shown), "files that are seen", f"of {size(model.unpacked)} in layers"),
        (size(model.wasted), "wasted", f"{share:.1f}% of the bytes in layers"),
        (f"{100 * model.efficiency:.1f}%", "efficiency", "share of bytes that are seen"),
    ):
        yield f'<div class="card tile"><span>{name}</span><b>{value}</b><small>{more}</small></div>'


def _layers(model: Exploration, colours: Mapping[int, int]) -> str:
    if not model.layers:
        return '<p class="none">The image has no layers.</p>'
    most = max(1, *(f.unpacked for f in model.layers))
    rows = [_layer(f, most, colours) for f in model.layers[:_MOST_ROWS]]
    head = (
        '<tr><th>Layer</th><th>Made by</th><th class="num wide">Pulled</th><th class="size">Files</th>'
        '<th class="num wide">Added</th><th class="num wide">Changed</th><th class="num wide">Removed</th>'
        '<th class="num">Wasted</th></tr>'
    )
    return _table(head, rows, len(model.layers))


def _layer(f: LayerFacts, most: int, colours: Mapping[int, int]) -> str:
    made, where = f"<code>{_cut(f.created_by)}</code>", ""
    if f.instruction is not None:
        i = f.instruction
        lines = f"line {i.first}" if i.first == i.last else f"lines {i.first} to {i.last}"
        where = f'<div class="at">{_cut(i.file, 200)}, {lines}</div>'
        shown = "\n".join(text(line) for line in i.text[:_MOST_TEXT].split("\n"))
        made = f"<pre><code>{shown}</code></pre>"
    seen, lost = (100 * n / most for n in (f.unpacked - f.wasted, f.wasted))
    wasted = f'<span class="lost-word">{size(f.wasted)}</span>' if f.wasted else "0 B"
    return (
        f"<tr><td>{_chip(f.number, colours)}</td><td>{made}{where}</td>"
        f'<td class="num wide">{size(f.size)}</td>'
        f'<td class="size">{size(f.unpacked)}<div class="bars"><i class="seen" style="width:{seen:.2f}%"></i>'
        f'<i class="lost" style="width:{lost:.2f}%"></i></div></td>'
        f'<td class="num wide">{f.added}</td><td class="num wide">{f.modified}</td>'
        f'<td class="num wide">{f.removed}</td><td class="num">{wasted}</td></tr>'
    )


def _table(head: str, rows: list[str], count: int) -> str:
    left = count - len(rows)
    more = f'<p class="rest">{left} more rows are left out.</p>' if left > 0 else ""
    return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>{more}"


def _hidden(model: Exploration, colours: Mapping[int, int]) -> str:
    if not model.hidden:
        return '<p class="none">Nothing: the image shows every byte that its layers hold.</p>'
    rows = [_wasted(w, colours) for w in model.hidden[:_MOST_HIDDEN]]
    head = '<tr><th>File</th><th class="num">Bytes</th><th class="wide">In layers</th><th>Hidden by</th></tr>'
    return _table(head, rows, len(model.hidden) + model.more_hidden)


def _wasted(w: Wasted, colours: Mapping[int, int]) -> str:
    layers = " ".join(_chip(n, colours) for n in w.layers[:20])
    return (
        f'<tr><td><code>{_cut(w.path)}</code></td><td class="num">{size(w.size)}</td>'
        f'<td class="wide">{layers}{" …" * (len(w.layers) > 20)}</td>'
        f'<td class="by">{_chip(w.by, colours)} {w.fate}</td></tr>'
    )


# --- files -------------------------------------------------------------------------------------


class _Maps:
    """The maps of folders; the root's is the last in the document, so that any other hides it."""

    def __init__(self, folders: Mapping[str, Folder], colours: Mapping[int, int]) -> None:
        self._folders, self._colours = folders, colours
        self._room = _MOST_PIECES
        self._ids = {path: f"f{n}" for n, path in enumerate(folders)}

    def html(self) -> str:
        """All of them."""
        if not self._folders or not self._folders[""].size:
            return '<p class="none">No file of the image has a byte.</p>'
        made = [self._map(path) for path in self._folders if self._folders[path].size]
        return "\n".join(reversed(made))

    def _map(self, path: str) -> str:
        folder = self._folders[path]
        pieces = "".join(self._pieces(folder))
        first = "" if path else " first"
        return (
            f'<div class="map{first}" id="{self._ids[path]}"><p class="path">{self._crumbs(path)}'
            f'<b>{size(folder.size)}</b></p><div class="area">{pieces}</div></div>'
        )

    def _crumbs(self, path: str) -> str:
        """The folders on the way, each a link."""
        if not path:
            return "<span>/</span>"
        out, at = ['<a href="#f0">/</a>'], ""
        *above, last = path.split("/")
        for name in above:
            at = f"{at}/{name}" if at else name
            out.append(f'<a href="#{self._ids[at]}">{_cut(name, 60)}</a><span>/</span>')
        return "".join([*out, f"<span>{_cut(last, 60)}</span>"])

    def _pieces(self, folder: Folder, depth: int = 0, share: float = 1.0) -> Iterator[str]:
        """What is in a folder: of a map that is drawn within another, `depth` below the top, not all."""
        pieces: list[Piece] = list(folder.pieces)
        if depth and len(pieces) > _MOST_WITHIN + 1:
            rest = pieces[_MOST_WITHIN:]
            pieces = pieces[:_MOST_WITHIN]
            pieces.append(Piece(path="", size=sum(p.size for p in rest), count=sum(p.count for p in rest)))
        self._room -= len(pieces)
        for piece, rect in zip(pieces, divided([p.size for p in pieces], _RATIO), strict=True):
            yield self._piece(piece, rect, depth, share * rect.w * rect.h)

    def _piece(self, piece: Piece, rect: Rect, depth: int, share: float) -> str:
        name = piece.path.rpartition("/")[2] if piece.path else f"{piece.count} more"
        where = f"/{piece.path}" if piece.path else f"{piece.count} more, each smaller"
        tip = f"{where}\n{size(piece.size)}" + (f", layer {piece.layer}" if piece.layer else "")
        title = "&#10;".join(_cut(line, 300) for line in tip.split("\n"))
        style = ";".join(
            f"{key}:{100 * value:.2f}%"
            for key, value in (("left", rect.x), ("top", rect.y), ("width", rect.w), ("height", rect.h))
        )
        roomy = rect.w >= _LEAST_WIDTH and rect.h >= _LEAST_HEIGHT and (not depth or share >= _LEAST_NAMED)
        label = f"<span>{_cut(name, 60)}{'/' * piece.is_folder} {size(piece.size)}</span>" if roomy else ""
        known = self._folders.get(piece.path) if piece.is_folder else None
        within = ""
        if (
            known
            and known.size
            and roomy
            and share >= _LEAST_WITHIN
            and depth < _MOST_DEPTH
            and self._room > 0
        ):
            within = f'<div class="in">{"".join(self._pieces(known, depth + 1, share))}</div>'
        colour = _class(piece.layer, self._colours) if not piece.is_folder else " d"
        if known is None or not known.size or depth:
            return f'<div class="p{colour}" style="{style}" title="{title}">{label}{within}</div>'
        return (
            f'<a class="p d" href="#{self._ids[piece.path]}" style="{style}" title="{title}"'
            f' aria-label="{title}">{label}{within}</a>'
        )


def _bounds(folders: Mapping[str, Folder]) -> str:
    empty = sum(f.empty for f in folders.values())
    left = sum(p.count for f in folders.values() for p in f.pieces if not p.path)
    parts = [f"{len(folders)} folders are drawn, the largest"]
    if left:
        parts.append(f"{left} small files and folders are drawn together as the rest of theirs")
    if empty:
        parts.append(f"{empty} names without bytes are not drawn")
    return f"{'; '.join(parts)}."


# --- config ------------------------------------------------------------------------------------


def _config(document: Mapping[str, Any]) -> str:
    found = document.get("config")
    runtime = found if isinstance(found, dict) else {}
    about = ("created", "author", "os", "architecture", "variant")
    rows = [_row(key.capitalize(), document[key]) for key in about if document.get(key)]
    known = [key for key in _CONFIG if runtime.get(key)]
    others = sorted(key for key in runtime if key not in _CONFIG and runtime[key])
    rows += [_row(key, runtime[key]) for key in (*known, *others)]
    if not rows:
        return '<p class="none">The config is empty.</p>'
    return _table("", rows[:_MOST_ROWS], len(rows))


def _row(key: str, value: Any) -> str:  # noqa: ANN401 - whatever JSON can hold
    """A field; maps and lists of text have a line for each."""
    if isinstance(value, dict):
        lines = [
            f"{k}={v}" if isinstance(v, str) else k if v == {} else f"{k}={_json(v)}"
            for k, v in value.items()
        ]
    elif isinstance(value, list) and key == "Env":
        lines = [v if isinstance(v, str) else _json(v) for v in value]
    else:
        lines = [value if isinstance(value, str) else _json(value)]
    shown = "<br>".join(_cut(line) for line in lines[:_MOST_ROWS])
    more = f"<br>and {len(lines) - _MOST_ROWS} more" if len(lines) > _MOST_ROWS else ""
    return f'<tr><td class="at">{_cut(key, 40)}</td><td><code>{shown}</code>{more}</td></tr>'


def _json(value: Any) -> str:  # noqa: ANN401 - whatever JSON can hold
    return json.dumps(value, ensure_ascii=False)


def _history(document: Mapping[str, Any]) -> str:
    found = document.get("history")
    history = [h for h in found if isinstance(h, dict)] if isinstance(found, list) else []
    if not history:
        return '<p class="none">The config has none.</p>'
    rows, layer = [], 0
    for h in history:
        layer += not h.get("empty_layer")
        number = "" if h.get("empty_layer") else str(layer)
        created = str(h.get("created") or "")[:19].replace("T", " ")
        rows.append(
            f'<tr><td class="num">{number}</td><td><code>{_cut(str(h.get("created_by") or ""))}</code></td>'
            f'<td class="at wide">{_cut(created)}</td></tr>'
        )
    head = '<tr><th class="num">Layer</th><th>Made by</th><th class="wide">Created (UTC)</th></tr>'
    return _table(head, rows[:_MOST_ROWS], len(rows))
