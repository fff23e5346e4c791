"""The terminal view at two sizes: what is shown, that nothing wraps or collides, and what keys do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from imagesmith.explore.files import open_files
from imagesmith.explore.instructions import Instruction
from imagesmith.explore.model import Exploration, explore
from imagesmith.oci.names import Platform
from imagesmith.store.store import Store
from imagesmith.transports.stored import StorePlace
from tests.registry.images import make_image

pytest.importorskip("textual", reason="textual is not installed")

from textual.pilot import Pilot

from imagesmith.cli.explorescreen import ExploreApp

SIZES = ((80, 24), (200, 50))
LAYERS = (
    {"etc/": b"", "etc/os": b"1" * 10, "etc/gone": b"2" * 20, "bin/": b"", "bin/tool": b"x" * 4000},
    {"etc/.wh.gone": b"", "etc/os": b"5" * 50, "new/": b"", "new/sub/": b"", "new/sub/file": b"6" * 60},
)

Steps = Callable[[Pilot[None]], Awaitable[None]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def model_of(store: Store, *layers: dict[str, bytes]) -> Exploration:
    root = make_image(store, layers=layers or LAYERS)
    files = open_files(StorePlace(store, root=root), store, Platform("linux", "amd64"))
    line = Instruction(file="Dockerfile", first=4, last=5, text="RUN rm /etc/gone && \\\n    touch /new")
    return explore(files, {str(files.layers[-1][1].digest): line})


def shown(model: Exploration, size: tuple[int, int], *keys: str) -> list[str]:
    """The lines of the screen after some keys."""

    async def run() -> list[str]:
        app = ExploreApp(model)
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await pilot.press(*keys)
            await pilot.pause()
            strips = app.screen._compositor.render_strips()
            return ["".join(segment.text for segment in strip) for strip in strips]

    return asyncio.run(run())


def panel(lines: list[str], title: str) -> list[str]:
    """What is between the borders of a panel."""
    top = next(n for n, line in enumerate(lines) if f"─ {title} ─" in line)
    left = lines[top].rindex("╭", 0, lines[top].index(f"─ {title} ─"))
    right = lines[top].index("╮", left)
    bottom = next(n for n in range(top, len(lines)) if lines[n][left] == "╰")
    rows = lines[top + 1 : bottom]
    assert all(row[left] == row[right] == "│" for row in rows), "borders stand below each other"
    return [row[left + 1 : right].rstrip(" ▁▂▃▄▅▆▇█") for row in rows]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_screen_has_its_panels_and_all_keys(store: Store, size: tuple[int, int]) -> None:
    model = model_of(store)
    lines = shown(model, size)
    assert len(lines) == size[1]
    assert {len(line) for line in lines} == {size[0]}
    assert (
        lines[0].rstrip().endswith(f"  {model.size} B pulled, 4.1 kB of files, 30 B wasted, efficiency 99.3%")
    )
    assert lines[0].startswith(f" {model.name[:8]}")
    keys = "q Quit / Find a Added m Changed r Removed u Same x Close all d Details"
    assert " ".join(lines[-1].split()) == keys
    first, second = (row for row in panel(lines, "Layers") if row)
    made = "  2     110 B RUN rm /etc/gone && \\ touch /new"
    assert first == "  1    4.0 kB layer 0"
    assert second == (made if size[0] == 200 else f"{made[: len(second) - 1]}…")
    assert [row for row in panel(lines, "Files after layer 2") if row] == [
        "   4.0 kB   ▸ bin/",
        "     50 B · ▾ etc/",
        "     20 B -     gone",
        "     50 B ~     os",
        "     60 B + ▸ new/",
    ]
    details = panel(lines, "Layer 2")
    assert [row.strip() for row in details][:9] == [
        f"pulled {f'{model.layers[1].size} B':>12}", "files         110 B", "wasted          0 B",
        "grown          80 B", "paths  +3 ~1 -1", "", "Dockerfile, lines 4-5:", "RUN rm /etc/gone && \\",
        "touch /new",
    ]  # fmt: skip


def test_keys_do_what_the_footer_says(store: Store) -> None:
    model, size = model_of(store), SIZES[0]
    after = "Files after layer 2"

    def files(*keys: str, title: str = after) -> list[str]:
        return [row.split(maxsplit=2)[-1] for row in panel(shown(model, size, *keys), title) if row]

    assert files("u") == ["· ▾ etc/", "-     gone", "~     os", "+ ▸ new/"]
    assert files("r", "m", "a") == ["▸ bin/", "· ▾ etc/"]
    assert files("r", "r")[2] == "-     gone"
    assert files("x") == ["▸ bin/", "· ▸ etc/", "+ ▸ new/"]
    opened = files("enter", "end", "enter", "down", "enter")
    assert opened[-3:] == ["+ ▾ new/", "+   ▾ sub/", "+       file"]
    assert files("slash", *"FILE", "enter", title="1 found") == ["/new/sub/file"]
    assert files("slash", *"file", "enter", "enter")[-3:] == opened[-3:]
    assert files("slash", *"file", "enter", "escape") == files()
    assert files("up", title="Files after layer 1")[0] == "+ ▸ bin/"
    for n, title in enumerate(("Config", "History", "Wasted"), 1):
        assert panel(shown(model, size, *["d"] * n), title)[0].strip()


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_hostile_names_stay_on_their_line_and_are_no_markup(store: Store, size: tuple[int, int]) -> None:
    layer = {"[bold]a[red]": b"", "b\x1b[2J\nc": b"", "d" * 200: b"", "\u202erev": b""}
    lines = shown(model_of(store, layer), size)
    rows = [row.split(maxsplit=3)[-1] for row in panel(lines, "Files after layer 1") if row]
    assert rows[:2] == ["[bold]a[red]", "b\\x1b[2J\\x0ac"]
    assert rows[2].strip("d") == "…"
    assert rows[3] == "\\xe2\\x80\\xaerev"
    assert len(rows) == 4


def test_narrow_screen_has_room_for_names(store: Store) -> None:
    lines = shown(model_of(store), (40, 12))
    assert {len(line) for line in lines} == {40}
    rows = panel(lines, "Files after layer 2")
    assert rows[:2] == ["   4.0 kB   ▸ bin/", "     50 B · ▾ etc/"]
    assert panel(lines, "Layers")
    assert panel(lines, "Layer 2")


def test_image_without_layers_and_large_folders(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagesmith.cli.explorescreen._MOST_NAMES", 3)
    lines = shown(model_of(store, {f"f{n}": b"" for n in range(8)}), (80, 24))
    assert [row.strip() for row in panel(lines, "Files after layer 1") if row][-1] == "and 5 more"
