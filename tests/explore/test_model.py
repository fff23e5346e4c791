"""What layers changed, weigh and waste, counted by hand and by an export."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagesmith.errors import UnsafeArchive
from imagesmith.explore.files import ImageFiles
from imagesmith.explore.model import Exploration, Wasted, explore
from imagesmith.explore.tree import children, find
from imagesmith.store.store import Store
from tests.explore.conftest import explored
from tests.explore.test_files import _image, _rows, _tar

LAYERS = (
    {
        "etc/": b"",
        "etc/os": b"1" * 10,
        "etc/gone": b"2" * 20,
        "old/": b"",
        "old/f": b"3" * 30,
        "big": b"4" * 40,
    },
    {"etc/.wh.gone": b"", "etc/os": b"5" * 50, "new/": b"", "new/f": b"6" * 60},
    {"old/.wh..wh..opq": b"", "old/g": b"7" * 70, ".wh.new": b"", "big": b""},
)


def model_of(store: Store) -> Exploration:
    return explored(store, *LAYERS)


def test_layers_are_counted(store: Store) -> None:
    model = model_of(store)
    told = [(x.unpacked, x.files, x.added, x.modified, x.removed, x.grown, x.wasted) for x in model.layers]
    assert told == [
        (100, 6, 6, 0, 0, 100, 100),
        (110, 3, 2, 1, 1, 80, 60),
        (70, 2, 1, 1, 3, -60 - 30 + 70 - 40, 0),
    ]
    assert [x.created_by for x in model.layers] == ["layer 0", "layer 1", "layer 2"]
    assert model.size == sum(d.size for d in model.files.manifest.layers)
    assert (model.unpacked, model.shown, model.wasted) == (280, 120, 160)
    assert (model.user_unpacked, model.user_wasted) == (180, 60)
    assert round(model.efficiency, 6) == round(120 / 280, 6)
    assert model.config["config"]["Cmd"] == ["/a"]


def test_wasted_paths_tell_what_hid_them(store: Store) -> None:
    def row(path: str, size: int, layer: int, by: int, fate: str) -> Wasted:
        return Wasted(path=path, size=size, copies=1, layers=(layer,), by=by, fate=fate)  # type: ignore[arg-type]

    assert model_of(store).hidden == (
        row("/new/f", 60, 2, 3, "removed"), row("/big", 40, 1, 3, "overwritten"),
        row("/old/f", 30, 1, 3, "removed"), row("/etc/gone", 20, 1, 2, "removed"),
        row("/etc/os", 10, 1, 2, "overwritten"),
    )  # fmt: skip
    thrice = explored(store, {"f": b"1"}, {"f": b"22"}, {"f": b"333"}).hidden
    assert thrice == (Wasted(path="/f", size=3, copies=2, layers=(1, 2), by=3, fate="overwritten"),)


def test_tree_shows_what_a_layer_changed(store: Store) -> None:
    model = model_of(store)
    assert [(n.name, n.change, n.size) for n in children(model, 1, "")] == [
        ("big", "added", 40), ("etc", "added", 30), ("old", "added", 30),
    ]  # fmt: skip
    assert [(n.name, n.change, n.size) for n in children(model, 2, "")] == [
        ("big", "", 40), ("etc", "within", 50), ("new", "added", 60), ("old", "", 30),
    ]  # fmt: skip
    assert [(n.name, n.change, n.size) for n in children(model, 2, "etc")] == [
        ("gone", "removed", 20), ("os", "modified", 50),
    ]  # fmt: skip
    assert [(n.name, n.change, n.size) for n in children(model, 3, "")] == [
        ("big", "modified", 0), ("etc", "", 50), ("new", "removed", 60), ("old", "within", 70),
    ]  # fmt: skip
    assert [(n.path, n.change) for n in children(model, 3, "old")] == [
        ("old/f", "removed"),
        ("old/g", "added"),
    ]
    assert [(n.path, n.change) for n in children(model, 3, "new")] == [("new/f", "removed")]
    assert [n.name for n in children(model, 3, "", removed=False)] == ["big", "etc", "old"]
    assert children(model, 3, "big") == []
    assert find(model, 3, "F") == ["new/f", "old/f"]
    assert find(model, 2, "e", most=2) == ["etc", "etc/os"]


def test_files_with_another_name_are_not_wasted(store: Store) -> None:
    first = _tar([("f", "a", "", b"abc"), ("h", "b", "a", b"")])
    model = explore(ImageFiles(*_image(store, [first, _tar([("w", "a", "", b"")])]), store))
    assert model.wasted == 0
    assert model.layers[1].removed == 1


def test_image_without_layers(store: Store) -> None:
    model = explore(ImageFiles(*_image(store, []), store))
    assert (model.size, model.unpacked, model.efficiency, model.layers) == (0, 0, 1.0, ())


_plain = _rows.filter(lambda row: row[0] != "h")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(_plain, max_size=6), max_size=4))
def test_differences_add_up_to_the_image(
    store: Store, layers: list[list[tuple[str, str, str, bytes]]]
) -> None:
    files = ImageFiles(*_image(store, [_tar(rows) for rows in layers]), store)
    try:
        model = explore(files)
    except UnsafeArchive:
        return
    for n in range(1, len(layers) + 1):
        view = files.view.lowest(n)
        every = list(view.walk())
        assert sum(d.get("", 0) for d in model.deltas[:n]) == sum(e.size for e in every)
        for folder in (e.path for e in every if e.kind == "d"):
            below = sum(e.size for e in view.walk(folder))
            assert sum(d.get(folder, 0) for d in model.deltas[:n]) == below
    assert model.shown == sum(e.size for e in files.view.walk())
    assert sum(w.size for w in model.hidden) == model.wasted
    count = sum(x.added - x.removed for x in model.layers)
    assert count == sum(1 for _ in files.view.walk())
