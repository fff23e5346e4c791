"""Entries by path, whether they are in memory or in a file."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest

from imagesmith.fs import layerindex, table
from imagesmith.fs.draft import Draft
from imagesmith.fs.entry import BytesContent, Entry, sort_key
from imagesmith.fs.table import Table
from imagesmith.fs.view import EMPTY_VIEW, LayerIndex, View, flat
from imagesmith.layer.diff import Changes, layer_entries


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is made for a few entries already."""
    monkeypatch.setattr(table, "FEW", 4)
    monkeypatch.setattr(layerindex, "FEW", 4)
    monkeypatch.setattr(table, "_WAITING", 3)
    monkeypatch.setattr(table, "_BLOCK", 2)
    monkeypatch.setattr(table, "_KEPT", 2)
    monkeypatch.setattr(table, "_MOST_RUNS", 3)


def shown(entries: Any) -> list[tuple[str, str, str, int]]:
    return [(e.path, e.kind, e.link, e.mode) for e in entries]


NAMES = ["a", "a-b", "a.b", "b", "\udcff", "ü", "a\x01"]


def _paths(rng: random.Random, count: int) -> Iterator[str]:
    for _ in range(count):
        yield "/".join(rng.choice(NAMES) for _ in range(rng.randint(1, 3)))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("seed", range(20))
def test_a_large_table_answers_as_one_in_memory(seed: int) -> None:
    rng = random.Random(seed)
    one, other = Table(tempfile.TemporaryFile), Table()
    for path in _paths(rng, 200):
        if rng.random() < 0.3:
            one.pop(path)
            other.pop(path)
        else:
            e = Entry(path, "f", rng.randrange(0o1000), content=BytesContent(path.encode("utf-8", "replace")))
            one[path] = other[path] = e
        asked = rng.choice([path, path.rpartition("/")[0], ""])
        assert sorted(one.children(asked)) == sorted(other.children(asked))
        assert (one.get(asked) is None) == (other.get(asked) is None) == (asked not in other)
    assert one.large
    assert not other.large
    assert shown(one) == shown(other) == shown(sorted(other.values(), key=lambda e: sort_key(e.path)))
    assert len(one) == len(other)
    one.finish()
    assert shown(one) == shown(other)
    assert all(one[e.path].content is e.content for e in other)


@pytest.mark.usefixtures("small")
def test_what_comes_in_order_is_one_run() -> None:
    whole = Table(tempfile.TemporaryFile, (Entry(f"d/{n:03}", "f") for n in range(100)))
    assert len(whole._runs) == 1
    assert whole["d/050"].path == "d/050"
    assert "d/100" not in whole


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("seed", range(20))
def test_a_large_layer_shows_what_one_in_memory_does(seed: int) -> None:
    rng = random.Random(seed)
    entries: dict[str, Entry] = {}
    for path in sorted(set(_paths(rng, 30)), key=sort_key):
        if any(e.kind != "d" and path.startswith(f"{e.path}/") for e in entries.values()):
            continue
        kind = rng.choice("ffdlhp")
        files = [e for e in entries.values() if e.kind in "flp"]
        if kind == "h" and not files:
            continue
        link = "a" if kind == "l" else files[-1].path if kind == "h" else ""
        e = Entry(path, kind, rng.randrange(0o1000), link=link)
        if kind == "f":
            e.content = BytesContent(path.encode("utf-8", "replace"))
        entries[path] = e
    rows = list(entries.values())
    small, large = LayerIndex(rows), LayerIndex(rows, tempfile.TemporaryFile)
    if len(rows) > 6:
        assert large.is_large
    assert shown(flat(View([small]))) == shown(flat(View([large])))
    assert small.stands_alone == large.stands_alone
    assert small.largest_id() == large.largest_id()
    assert sorted(shown(small.placed())) == sorted(shown(large.placed()))
    seen: set[str] = set()
    for e in large.placed():
        assert e.kind != "h" or e.link in seen
        seen.add(e.path)


@pytest.mark.usefixtures("small")
def test_a_layer_that_means_something_else_is_settled_also_where_it_is_large() -> None:
    rows = [Entry("l", "l", link="d"), *(Entry(f"l/{n}", "f") for n in range(20)), Entry("d", "d", 0o700)]
    small, large = LayerIndex(rows), LayerIndex(rows, tempfile.TemporaryFile)
    assert large.is_large
    assert shown(View([large]).walk()) == shown(View([small]).walk())
    assert "d/7" in large.entries


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("seed", range(20))
def test_the_differ_takes_a_large_draft_as_a_small_one(seed: int) -> None:
    rng = random.Random(seed)
    below = [Entry(n, "d", 0o755) for n in ("a", "a/a", "b")]
    below += [Entry(f"{folder}/{n}", "f") for folder in ("a/a", "b") for n in range(4)]
    lower = View([LayerIndex(sorted(below, key=lambda e: sort_key(e.path)))])
    made = []
    for spool in (None, tempfile.TemporaryFile):
        rng = random.Random(seed)
        draft = Draft(lower, 7, spool)
        for _ in range(40):
            path = rng.choice([e.path for e in below] + ["b/new", "c", "c/d"])
            old = draft.get(path)
            if rng.random() < 0.25 and old is not None:
                draft.remove(path)
                continue
            folder = path.rpartition("/")[0]
            there = draft.get(folder) if folder else None
            if folder and (there is None or there.kind != "d"):
                continue
            kind = rng.choice("fd") if old is None else old.kind
            draft.put(Entry(path, kind, rng.choice([0o644, 0o600])))
        made.append(shown(layer_entries(draft.upper_entries(), draft.opaques, lower, spool=spool)))
    assert made[0] == made[1]


@pytest.mark.usefixtures("small")
def test_changes_may_be_gone_through_again() -> None:
    upper = [Entry("d", "d"), *(Entry(f"d/{n}", "f") for n in range(20))]
    upper.append(Entry("d/h", "h", link="d/3"))
    changes = layer_entries(upper, set(), EMPTY_VIEW, spool=tempfile.TemporaryFile)
    assert isinstance(changes, Changes)
    assert shown(changes) == shown(changes) == shown(layer_entries(upper, set(), EMPTY_VIEW))
