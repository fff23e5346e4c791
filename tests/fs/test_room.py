"""However many hold entries: together they have a bounded number in memory, and what is gone gives back."""

from __future__ import annotations

import gc
import tempfile

from imagesmith.context.rows import Rows
from imagesmith.fs import room
from imagesmith.fs.entry import Entry
from imagesmith.fs.room import Share
from imagesmith.fs.table import Table
from imagesmith.fs.view import LayerIndex


def entries(count: int) -> list[Entry]:
    return [Entry(f"f{n:06d}", "f") for n in range(count)]


def free_chunks() -> int:
    """How many chunks there are to be had now."""
    shares = [Share()]
    while shares[-1].more(room.CHUNK):
        shares.append(Share())
    return len(shares) - 1


def test_layers_that_are_many_together_are_not_all_in_memory() -> None:
    gc.collect()
    before = free_chunks()
    indexes = [LayerIndex(entries(30_000), tempfile.TemporaryFile) for _ in range(11)]
    assert [i.is_large for i in indexes] == [False] * 9 + [True] * 2
    few = LayerIndex(entries(900), tempfile.TemporaryFile)
    assert not few.is_large
    assert len(list(indexes[10].entries.values())) == 30_000
    assert [name for name in indexes[10].children("") if name.endswith("9999")] == [
        "f009999",
        "f019999",
        "f029999",
    ]
    del indexes, few
    assert free_chunks() == before


def test_drafts_and_rows_share_with_them() -> None:
    gc.collect()
    before = free_chunks()
    table, rows = Table(tempfile.TemporaryFile), Rows(tempfile.TemporaryFile)
    for e in entries(50_000):
        table[e.path] = e
        rows.add(e.path, e)
    assert not table.large
    assert free_chunks() < before - 20
    for e in entries(120_000):
        table[e.path] = e
    assert table.large
    assert len(table) == 120_000
    del table, rows
    assert free_chunks() == before


def test_what_is_collected_while_another_asks_comes_back() -> None:
    """The collector may come at any time, also where its thread has the lock."""
    before = free_chunks()
    share = Share()
    assert share.more(room.FEW)
    with Share._lock:
        del share
    assert free_chunks() == before
