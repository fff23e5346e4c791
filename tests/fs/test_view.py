"""Stacks of layers show what overlayfs would, at a cost that does not grow with what they delete."""

from __future__ import annotations

import time

import pytest

from imagesmith.errors import UnsafeArchive
from imagesmith.fs.entry import Entry
from imagesmith.fs.view import LayerIndex, View, flat


class Nothing:
    """Content that is only told apart."""

    def open(self) -> object:
        raise AssertionError


def layer(*rows: str) -> LayerIndex:
    """Rows are `KIND PATH [LINK]`."""
    entries = []
    for row in rows:
        kind, path, *link = row.split(" ")
        e = Entry(path, kind, link=link[0] if link else "", size=1 if kind == "f" else 0)
        if kind == "f":
            e.content = Nothing()  # type: ignore[assignment]
        entries.append(e)
    return LayerIndex(entries)


def shown(*layers: LayerIndex) -> list[str]:
    return [f"{e.kind} {e.path}" for e in View(layers).walk()]


@pytest.mark.parametrize(
    ("upper", "expected"),
    [
        (["w d/a"], ["d d", "f d/b", "d d/e", "f d/e/x"]),
        (["w d"], []),
        (["o d", "d d", "f d/new"], ["d d", "f d/new"]),
        (["f d/new", "o d"], ["d d", "f d/new"]),
        (["w d", "d d", "f d/a"], ["d d", "f d/a"]),
        (["f d"], ["f d"]),
        (["l d x"], ["l d"]),
        (["o "], []),
        (["f d/a"], ["d d", "f d/a", "f d/b", "d d/e", "f d/e/x"]),
        (["o d/e"], ["d d", "f d/a", "f d/b", "d d/e"]),
        (["w d/e", "d d/e", "f d/e/y"], ["d d", "f d/a", "f d/b", "d d/e", "f d/e/y"]),
        (["w nothing"], ["d d", "f d/a", "f d/b", "d d/e", "f d/e/x"]),
    ],
    ids=lambda rows: ", ".join(rows),
)
def test_upper_layer_over_a_tree(upper: list[str], expected: list[str]) -> None:
    assert shown(layer("d d", "f d/a", "f d/b", "d d/e", "f d/e/x"), layer(*upper)) == expected


def test_deletion_reaches_through_layers_and_what_comes_later_is_seen() -> None:
    base, cut, late = layer("d d", "f d/a"), layer("w d"), layer("d d", "f d/z")
    assert shown(base, cut, late) == ["d d", "f d/z"]
    assert View([base, cut]).get("d/a") is None
    assert View([base, cut, late]).children("d") == ["z"]


def test_directories_that_nobody_lists_are_there() -> None:
    view = View([layer("f a/b/c")])
    e = view.get("a/b")
    assert e is not None
    assert (e.kind, e.mode) == ("d", 0o755)
    assert [e.path for e in view.walk()] == ["a", "a/b", "a/b/c"]


def test_hard_links_have_what_their_first_name_has() -> None:
    one, two = layer("f a", "h b a", "h c b"), layer("h x a")
    view = View([one, two])
    found = [view.get(name) for name in "abcx"]
    assert len({id(e.content) for e in found if e is not None}) == 1
    assert [(e.kind, e.path, e.link) for e in flat(view)] == [
        ("f", "a", ""), ("h", "b", "a"), ("h", "c", "a"), ("h", "x", "a"),
    ]  # fmt: skip


def test_link_replaced_above_is_a_file_of_its_own() -> None:
    view = View([layer("f a", "h b a"), layer("f a")])
    assert [(e.kind, e.path) for e in flat(view)] == [("f", "a"), ("f", "b")]


@pytest.mark.parametrize(
    ("rows", "alone"),
    [
        (["d d", "f d/x"], True),
        (["f d/x"], False),
        (["d d", "w d/x"], True),
        (["w d/x"], False),
        (["w x"], True),
        (["o "], True),
        (["o d"], False),
        (["d d", "o d"], True),
        (["f a", "h b a"], True),
        (["h b a"], False),
    ],
)
def test_layer_knows_whether_it_needs_those_below(rows: list[str], alone: bool) -> None:
    assert layer(*rows).stands_alone == alone


def test_children_of_layers_that_delete_much_cost_no_more() -> None:
    """Twenty thousand look-ups beside as many deletions: run through, they would take minutes."""
    count = 20_000
    lower = layer(*(f"f d{n}/x" for n in range(count)))
    upper = layer(*(f"w d{n}/x" for n in range(count)))
    view = View([lower, upper])
    began = time.process_time()
    assert not any(view.children(f"d{n}") for n in range(count))
    assert time.process_time() - began < 5


def test_links_have_the_mode_that_the_kernel_gives_them() -> None:
    index = LayerIndex(
        [Entry("l", "l", 0o755, link="x"), Entry("m", "h", link="l"), Entry("n", "l", 0, link="/")]
    )
    assert [(e.path, e.kind, oct(e.mode)) for e in View([index]).walk()] == [
        ("l", "l", "0o777"), ("m", "l", "0o777"), ("n", "l", "0o777"),
    ]  # fmt: skip


def test_entries_come_to_lie_where_an_extraction_puts_them() -> None:
    through = layer(
        "d real", "l link real", "f link/x", "f gone", "d gone", "f late/x", "l late real", "f late/y"
    )
    assert shown(through) == ["d gone", "l late", "l link", "d real", "f real/x", "f real/y"]


@pytest.mark.parametrize("rows", [["l a b", "l b a", "f a/x"], ["l a a", "w a/x"], ["l a ../a/x", "o a"]])
def test_links_in_circles_are_refused(rows: list[str]) -> None:
    with pytest.raises(UnsafeArchive, match="symbolic links"):
        layer(*rows)


def test_links_through_many_folders_cost_only_so_much() -> None:
    far = "/".join(["d", ".."] * 1000 + ["e"])
    with pytest.raises(UnsafeArchive, match="symbolic links"):
        layer("d d", "d e", f"l a {far}", *(f"f a/{n}" for n in range(5000)))


def test_a_chain_of_links_through_six_hundred_layers_is_followed() -> None:
    layers = [layer("f f0"), *(layer(f"h f{n} f{n - 1}") for n in range(1, 600))]
    e = View(layers).get("f599")
    assert e is not None
    assert (e.kind, e.content) == ("f", layers[0].entries["f0"].content)
    implied = [layer("d d"), *(layer(f"f d/{n}") for n in range(599))]
    assert View(implied).get("d") == implied[0].entries["d"]
