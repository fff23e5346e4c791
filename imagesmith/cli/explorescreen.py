"""The terminal view of `explore`: layers, the tree after the chosen one, and what is known of it.

Why rows of our own in the tree: sizes and marks stand in columns, and only what is open is looked up.
Trust: names, histories and labels are the image's: each is shown on one line, control characters as bytes,
and none is read as markup.
Threads: one; textual's loop.
"""

from __future__ import annotations

import json
import select
import stat
from collections.abc import Iterator
from typing import Any, ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Footer, Input, OptionList, Static
from textual.widgets.option_list import Option

from imagesmith.cli.common import human
from imagesmith.cli.lines import one_line, visible
from imagesmith.explore.model import Exploration, LayerFacts
from imagesmith.explore.tree import Node, children, find

__all__ = ["ExploreApp", "show"]

#: Of a folder so many names are shown, and so many paths that are found.
_MOST_NAMES, _MOST_FOUND = 2_000, 200
#: How often (seconds) it is looked whether the terminal is still there.
_LOOKED_AT_S = 1.0
#: Rows of folders that are opened because a layer changed something in them.
_OPENED_ROWS = 60
_MARKS = {"added": ("+", "green"), "modified": ("~", "yellow"), "removed": ("-", "red"),
          "within": ("·", "yellow"), "": (" ", "")}  # fmt: skip
_FILTERS = {"a": "added", "m": "modified", "r": "removed", "u": ""}
_TYPES = {"d": stat.S_IFDIR, "l": stat.S_IFLNK, "c": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}
_PAGES = ("layer", "config", "history", "wasted")


def show(model: Exploration) -> None:
    """Show an image until the user leaves."""
    ExploreApp(model).run()


class ExploreApp(App[None]):
    """Three panels: layers, files, details."""

    CSS = """
    Screen { layers: base; }
    #top { height: 1; background: $primary-background; color: $text; padding: 0 1; text-wrap: nowrap;
           text-overflow: ellipsis; }
    #left { width: 42%; min-width: 34; max-width: 84; }
    .panel { border: round $panel-lighten-2; border-title-color: $text-muted;
             border-subtitle-color: $text-muted; }
    .panel:focus, .panel:focus-within { border: round $accent; border-title-color: $accent; }
    OptionList { background: $background; padding: 0; text-wrap: nowrap; text-overflow: ellipsis;
                 overflow-x: hidden; scrollbar-size-vertical: 1; }
    OptionList > .option-list--option { padding: 0; }
    #layers { height: 1fr; }
    #details { height: 1fr; scrollbar-size-vertical: 1; padding: 0 1; }
    #files { height: 1fr; }
    .-narrow #panels { layout: vertical; }
    .-narrow #left { layout: horizontal; width: 100%; min-width: 0; max-width: 100%; height: 40%;
                     min-height: 3; }
    .-narrow #layers, .-narrow #details { height: 100%; width: 1fr; }
    #search { display: none; height: 3; border: round $accent; }
    #search.open { display: block; }
    """
    BINDINGS: ClassVar = [
        Binding("q", "quit", "Quit"),
        Binding("slash", "search", "Find", key_display="/"),
        Binding("a", "filter('a')", "Added"),
        Binding("m", "filter('m')", "Changed"),
        Binding("r", "filter('r')", "Removed"),
        Binding("u", "filter('u')", "Same"),
        Binding("x", "collapse", "Close all"),
        Binding("d", "details", "Details"),
        Binding("escape", "leave", "Back", show=False),
    ]
    ENABLE_COMMAND_PALETTE = False
    TITLE = "imagesmith explore"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (64, "-wide")]  # noqa: RUF012 - as textual declares it

    def __init__(self, model: Exploration) -> None:
        super().__init__()
        self.model = model
        self.layer = len(model.layers)
        self.opened: set[str] = set()
        self.hidden: set[str] = set()
        self.page = 0
        self.found: list[str] | None = None

    def compose(self) -> ComposeResult:
        """The panels."""
        yield Static(id="top", markup=False)
        with Horizontal(id="panels"):
            with Vertical(id="left"):
                layers = OptionList(id="layers", classes="panel", markup=False)
                layers.border_title = "Layers"
                yield layers
                with VerticalScroll(id="details", classes="panel"):
                    yield Static(id="text", markup=False)
            with Vertical():
                files = OptionList(id="files", classes="panel", markup=False)
                yield files
                yield Input(id="search", placeholder="part of a path, then Enter")
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """Fill them."""
        if not self.is_headless:
            self.set_interval(_LOOKED_AT_S, self._leave_if_lost)
        layers = self.query_one("#layers", OptionList)
        layers.add_options([Option(Content(_layer_line(f)), id=str(f.number)) for f in self.model.layers])
        if self.model.layers:
            layers.highlighted = self.layer - 1
        layers.focus()
        self._open_changes()
        self._show_files()
        self._show_details()

    def _leave_if_lost(self) -> None:
        """End if the terminal is gone and nobody was told: reading from it would take a whole processor."""
        terminal = select.poll()
        terminal.register(0, 0)
        if terminal.poll(0):  # hung up, or no file any more: nothing else is asked for
            self.exit()

    def on_resize(self) -> None:
        """The first line: the numbers, and as much of the name as there is room for."""
        m = self.model
        numbers = f"{human(m.size)} pulled, {human(m.shown)} of files, {human(m.wasted)} wasted"
        numbers += f", efficiency {100 * m.efficiency:.1f}%"
        name = visible(m.name.removeprefix("docker.io/library/"))
        room = max(1, self.size.width - 4 - len(numbers))
        self.query_one("#top", Static).update(
            Content(f"{name if len(name) <= room else name[: room - 1] + '…'}  {numbers}")
        )

    # --- what the user does --------------------------------------------------------------------

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Another layer was chosen."""
        if event.option_list.id == "layers" and int(event.option.id or 0) != self.layer:
            self.layer = int(event.option.id or 0)
            self.found = None
            self._open_changes()
            self._show_files()
            self._show_details()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Open or close a folder; go to a path that was found."""
        if event.option_list.id == "layers":
            self.query_one("#files", OptionList).focus()
            return
        path = (event.option.id or "")[1:]
        if self.found is not None:
            self._go_to(path)
        elif (event.option.id or "").startswith("d"):
            self.opened ^= {path}
            self._show_files(path)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Look for a part of a path."""
        self.query_one("#search").remove_class("open")
        self.found = find(self.model, self.layer, event.value, _MOST_FOUND) if event.value else None
        self._show_files()
        self.query_one("#files", OptionList).focus()

    def action_search(self) -> None:
        """Ask for a part of a path."""
        field = self.query_one("#search", Input)
        field.value = ""
        field.add_class("open")
        field.focus()

    def action_leave(self) -> None:
        """Leave the search, or what was found."""
        self.query_one("#search").remove_class("open")
        if self.found is not None:
            self.found = None
            self._show_files()
        self.query_one("#files", OptionList).focus()

    def action_filter(self, key: str) -> None:
        """Hide or show what was added, changed, removed, or left alone."""
        self.hidden ^= {_FILTERS[key]}
        self._show_files()

    def action_collapse(self) -> None:
        """Close all folders."""
        self.opened.clear()
        self.found = None
        self._show_files()

    def action_details(self) -> None:
        """The next page of details."""
        self.page = (self.page + 1) % len(_PAGES)
        self._show_details()
        self.query_one("#details").scroll_home(animate=False)

    def _open_changes(self) -> None:
        """Open the folders in which the layer changed something, as far as they fit on a screen."""
        room, todo = _OPENED_ROWS, [""]
        while todo and self.layer:
            nodes = children(self.model, self.layer, todo.pop(0))
            room -= len(nodes)
            if room < 0:
                return
            inner = [n.path for n in nodes if n.change == "within"]
            self.opened.update(inner)
            todo += inner

    def _go_to(self, path: str) -> None:
        self.found = None
        above = path
        while above:
            above = above.rpartition("/")[0]
            self.opened.add(above)
        self._show_files(path)

    # --- what is shown -------------------------------------------------------------------------

    def _show_files(self, at: str | None = None) -> None:
        """Fill the panel of files anew, with the cursor at a path, or where it was."""
        panel = self.query_one("#files", OptionList)
        if at is None and panel.highlighted is not None and panel.highlighted < panel.option_count:
            at = (panel.get_option_at_index(panel.highlighted).id or "")[1:]
        options = list(self._found()) if self.found is not None else list(self._rows("", 0))
        panel.clear_options()
        panel.add_options(options)
        paths = [(o.id or "")[1:] for o in options]
        if paths:
            panel.highlighted = paths.index(at) if at in paths else 0
        what = f"{len(paths)} found" if self.found is not None else f"Files after layer {self.layer}"
        panel.border_title = what
        names = {"added": "added", "modified": "changed", "removed": "removed", "": "same"}
        off = [name for change, name in names.items() if change in self.hidden]
        panel.border_subtitle = f"without {', '.join(off)}" if off else "+ added  ~ changed  - removed"

    def _found(self) -> Iterator[Option]:
        for path in self.found or ():
            yield Option(Content(f"/{visible(path)}"), id=f"f{path}")

    def _rows(self, folder: str, depth: int) -> Iterator[Option]:
        """The rows of a folder and of those in it that are open."""
        nodes = children(self.model, self.layer, folder) if self.layer else []
        shown = [n for n in nodes if n.change not in self.hidden or n.change == "within"]
        for node in shown[:_MOST_NAMES]:
            is_open = node.path in self.opened
            yield Option(_file_line(node, depth, is_open=is_open), id=f"{node.kind}{node.path}")
            if is_open and node.kind == "d" and depth < 100:
                yield from self._rows(node.path, depth + 1)
        if len(shown) > _MOST_NAMES:
            text = f"{'':>12}{'  ' * depth}  and {len(shown) - _MOST_NAMES} more"
            yield Option(Content(text), id=f".{folder}/", disabled=True)

    def _show_details(self) -> None:
        panel, page = self.query_one("#details"), _PAGES[self.page]
        panel.border_title = page.capitalize() if page != "layer" else f"Layer {self.layer}"
        panel.border_subtitle = f"{self.page + 1} of {len(_PAGES)}"
        lines = {
            "layer": self._layer_page, "config": self._config_page, "history": self._history_page,
            "wasted": self._wasted_page,
        }[page]()  # fmt: skip
        self.query_one("#text", Static).update(Content("\n".join(lines)))

    def _layer_page(self) -> list[str]:
        if not self.layer:
            return ["The image has no layers."]
        f = self.model.layers[self.layer - 1]
        made = [one_line(f.made_by) or "The config has no history."]
        if f.instruction is not None:
            i = f.instruction
            lines = f"line {i.first}" if i.first == i.last else f"lines {i.first}-{i.last}"
            made = [f"{one_line(i.file)}, {lines}:", *(one_line(t) for t in i.text.split("\n"))]
        return [
            f"pulled {human(f.size):>12}",
            f"files  {human(f.unpacked):>12}",
            f"wasted {human(f.wasted):>12}",
            f"grown  {'-' * (f.grown < 0) + human(abs(f.grown)):>12}",
            f"paths  +{f.added} ~{f.modified} -{f.removed}",
            "",
            *made,
            "",
            f.digest,
        ]

    def _config_page(self) -> list[str]:
        found = self.model.config.get("config")
        rows = [self.model.platform, self.model.digest]
        for key, value in (found if isinstance(found, dict) else {}).items():
            if value:
                rows += _field(one_line(str(key)), value)
        return rows[:500]

    def _history_page(self) -> list[str]:
        rows, layer = [], 0
        for h in self.model.files.config.history:
            layer += not h.empty_layer
            rows.append(f"{'' if h.empty_layer else layer:>3} {one_line(h.created_by)}")
        return rows[:500] or ["The config has no history."]

    def _wasted_page(self) -> list[str]:
        rows = [
            f"{human(w.size):>9} {visible(w.path)}, {w.fate} by layer {w.by}" for w in self.model.hidden[:200]
        ]
        left = len(self.model.hidden) + self.model.more_hidden - len(rows)
        return [*rows, *([f"and {left} more"] if left else [])] or ["Nothing is wasted."]


def _layer_line(f: LayerFacts) -> str:
    return f"{f.number:>3} {human(f.unpacked):>9} {one_line(f.made_by) or f.digest[:19]}"


def _file_line(node: Node, depth: int, *, is_open: bool) -> Content:
    """Size, mark, and the name below those of its folders."""
    mark, colour = _MARKS[node.change]
    size = human(node.size) if node.kind in "fd" else ""
    sign = ("▾ " if is_open else "▸ ") if node.kind == "d" else "  "
    name = visible(node.name) + ("/" if node.kind == "d" else "")
    if node.kind == "l":
        name += f" -> {visible(node.link)}"
    elif node.kind in "cbp":
        name += f" ({stat.filemode(_TYPES[node.kind])[0]})"
    return Content.assemble((f"{size:>9} ", "dim"), (f"{mark} {'  ' * depth}{sign}{name}", colour))


def _field(key: str, value: Any) -> list[str]:  # noqa: ANN401 - whatever JSON can hold
    """A field of the config in lines."""
    if isinstance(value, dict):
        rows = [f"{k}={v}" if isinstance(v, str) else str(k) if v == {} else f"{k}={json.dumps(v)}"
                for k, v in value.items()]  # fmt: skip
    elif isinstance(value, list) and key == "Env":
        rows = [v if isinstance(v, str) else json.dumps(v) for v in value]
    else:
        return [
            f"{key}: {one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))}"
        ]
    return [f"{key}:", *(f"  {one_line(row)}" for row in rows)]
