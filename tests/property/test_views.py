"""A view of many layers shows what a view that asks each of them shows, however it was put together."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from imagesmith.errors import UnsafeArchive
from imagesmith.fs import view as module
from imagesmith.fs.entry import Entry
from imagesmith.fs.view import LayerIndex, View
from tests.fs.test_view import Nothing

paths = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
rows = st.tuples(st.sampled_from("fdlwoh"), st.one_of(st.just(""), paths), paths)


def _entry(kind: str, path: str, link: str) -> Entry | None:
    if not path and kind not in "od":
        return None
    e = Entry(path, kind, 0o644, link=link if kind in "hl" else "", size=int(kind == "f"))
    e.content = Nothing() if kind == "f" else None  # type: ignore[assignment]
    return e


@st.composite
def indexes(draw: st.DrawFn) -> list[LayerIndex]:
    stacks = draw(st.lists(st.lists(rows, max_size=5), max_size=12))
    try:
        return [LayerIndex(e for row in stack if (e := _entry(*row)) is not None) for stack in stacks]
    except UnsafeArchive:  # links in circles
        reject()


def _shown(view: View) -> list[object]:
    every = ["", *(f"{a}{b}{c}" for a in "abc" for b in ("", "/a", "/b", "/c") for c in ("", "/a", "/b"))]
    return [
        *(
            (path, None if (e := view.get(path)) is None else (e.kind, e.link, id(e.content)))
            for path in every
        ),
        *(view.children(path) for path in every),
        [(e.path, e.kind) for e in view.walk()],
    ]


def _plain(layers: Sequence[LayerIndex]) -> View:
    """A view without blocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", 1 << 30)
        return View(layers)


@given(indexes(), st.integers(1, 4), st.integers(0, 12), st.integers(0, 12))
def test_view_in_blocks_shows_what_its_layers_show(
    layers: list[LayerIndex], size: int, begun: int, count: int
) -> None:
    begun, count = min(begun, len(layers)), min(count, len(layers))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", size)
        view = View(layers[:begun])
        for layer in layers[begun:]:
            view = view.plus(layer)
        assert view.layers == tuple(layers)
        found, lowest = _shown(view), _shown(view.lowest(count))
    assert found == _shown(_plain(layers))
    assert lowest == _shown(_plain(layers[:count]))


def test_path_of_a_thousand_folders_is_found_without_a_call_for_each() -> None:
    path = "/".join(["d"] * 1500)
    view = View([LayerIndex([Entry(path, "f")])])
    found = view.get(path)
    assert found is not None
    assert found.kind == "f"
