"""Names of one file over several layers: a layer that gives a file below a further name holds it whole."""

from __future__ import annotations

import io
from typing import BinaryIO

from imagesmith.fs.entry import Entry
from imagesmith.fs.view import LayerIndex, View, flat
from imagesmith.layer.diff import layer_entries


class Bytes:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def open(self) -> BinaryIO:
        return io.BytesIO(self.data)


def file(path: str, data: bytes, mtime_ns: int = 1) -> Entry:
    return Entry(path, "f", size=len(data), mtime_ns=mtime_ns, content=Bytes(data))


def linked() -> tuple[View, list[Entry]]:
    """A view with one file, and the layer of `ln one two` over it, as overlayfs shows that."""
    below = View([LayerIndex([file("one", b"1")])])
    upper = [file("one", b"1"), Entry("two", "h", link="one")]
    return below, layer_entries(upper, set(), below)


def test_names_that_no_layer_links_are_two_files_in_the_view() -> None:
    """The layer's bytes are those of a copy, which steps and caches cannot tell from a link."""
    below, entries = linked()
    rows = list(flat(below.plus(LayerIndex(entries))))
    assert [(e.path, e.kind, e.link) for e in rows] == [("one", "f", ""), ("two", "f", "")]


def test_a_name_that_was_written_later_is_another_file() -> None:
    below, entries = linked()
    view = below.plus(LayerIndex(entries)).plus(LayerIndex([file("one", b"22", 2)]))
    assert [(e.path, e.kind, e.link) for e in flat(view)] == [("one", "f", ""), ("two", "f", "")]
