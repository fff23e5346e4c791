"""A table tells what the layer's index tells, is refused where no layer could be so, and brings no bytes."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.concurrency import Cancel
from imagesmith.errors import DigestMismatch, ImagesmithError, InvalidDocument, LimitExceeded, UnsafeArchive
from imagesmith.fs.entry import BytesContent, Entry
from imagesmith.fs.table import Packing
from imagesmith.layer.codecs import Codec
from imagesmith.solve.layerwriter import LayerWriter
from imagesmith.store import tables
from imagesmith.store.layers import StoredLayer
from imagesmith.store.store import Store
from imagesmith.store.tables import ToldContent, packed_table, read_table

PASSWD = b"root:x:0:0::/:/bin/sh\napp:x:7:8::/:\n"
ENTRIES = (
    Entry("d", "d", 0o755, 1, 2, mtime_ns=5 * 10**9 + 7),
    Entry("d", "o"),
    Entry("d/a", "f", 0o644, size=3, mtime_ns=1, content=BytesContent(b"abc")),
    Entry("d/b", "h", link="d/a"),
    Entry("d/empty", "f", 0o4755),
    Entry("d/gone", "w"),
    Entry("d/null", "c", 0o666, rdev=(1, 3)),
    Entry("d/\udcff", "l", 0o777, link="é/../\udc80"),
    Entry("etc", "d", 0o755),
    Entry("etc/passwd", "f", size=len(PASSWD), content=BytesContent(PASSWD)),
    Entry("ping", "f", 0o755, capability=bytes(range(20))),
    Entry("run/" + "ab" * 32, "f", size=1, content=BytesContent(b"x")),
    Entry("run/current", "l", 0o777, link="ab" * 32),  # which looks as a digest does
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store(tmp_path_factory.mktemp("store")) as store:
        yield store


def put(store: Store, *, learn: bool = False, entries: tuple[Entry, ...] = ENTRIES) -> StoredLayer:
    """A layer, as another process finds it."""
    writer = LayerWriter(store, Codec(), 1, None)
    told = (lambda _: None) if learn else None
    diff_id, d = writer.write([*entries], Cancel(), learn=told, form="tar")
    return StoredLayer(store.layers, diff_id, d.digest)


def rows(entries: Iterator[Entry]) -> list[tuple[object, ...]]:
    return [
        (e.path, e.kind, e.mode, e.uid, e.gid, e.size, e.mtime_ns, e.link, e.rdev, e.capability)
        for e in entries
    ]


def repacked(packed: bytes, change: object = None, lines: list[object] | None = None) -> bytes:
    """A table with lines behind its head in place of its own, or with a row more."""
    head, *rest = gzip.decompress(packed).splitlines(keepends=True)
    if lines is not None:
        rest = [json.dumps(line).encode() + b"\n" for line in lines] + [b'"end"\n']
    if change is not None:
        rest.insert(0, json.dumps(change).encode() + b"\n")
    return gzip.compress(head + b"".join(rest))


def test_table_tells_what_the_index_tells(store: Store) -> None:
    layer = put(store)
    packed = packed_table(layer)
    assert packed is not None
    assert rows(read_table(packed, layer)) == rows(layer.entries())


def test_table_has_the_same_bytes_whether_files_were_hashed_or_not(tmp_path: Path) -> None:
    found = set()
    for learn in (False, True):
        with Store(tmp_path / f"{learn}") as store:
            layer = put(store, learn=learn)
            assert bool(list(layer.digests())) == learn
            found.add(packed_table(layer))
    assert len(found) == 1


def test_bytes_are_the_layers_and_names_come_along(store: Store) -> None:
    layer = put(store)
    packed = packed_table(layer)
    assert packed is not None
    found = {e.path: e for e in read_table(packed, layer)}
    content = found["d/a"].content
    assert isinstance(content, ToldContent)
    assert content.names is None
    with content.open() as f:
        assert f.read(3) == b"abc"
    names = found["etc/passwd"].content
    assert isinstance(names, ToldContent)
    assert names.names == PASSWD
    packing = Packing()
    again = packing.entry(packing.row(found["etc/passwd"])).content
    assert isinstance(again, ToldContent)
    assert (again, again.names) == (names, PASSWD)


@pytest.mark.parametrize("lie", [["d/a", "f", 0o644, 0, 0, 4], ["d/x", "f", 0o644, 0, 0, 3]])
def test_file_that_the_layer_has_not_is_not_opened(store: Store, lie: list[object]) -> None:
    layer = put(store)
    packed = packed_table(layer)
    assert packed is not None
    (e,) = read_table(repacked(packed, lines=[[*lie, 0, 0, ""]]), layer)
    assert e.content is not None
    with pytest.raises(DigestMismatch, match="the layer has no such file"):
        e.content.open()


FINE = ["a", "f", 0o644, 0, 0, 0, 0, 0, ""]


def test_row_that_is_fine_is_read(store: Store) -> None:
    layer = put(store)
    packed = packed_table(layer)
    assert packed is not None
    assert next(read_table(repacked(packed, FINE), layer)).path == "a"


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, "../a"), (0, "/a"), (0, "a//b"), (0, "a/./b"), (0, "a/"), (0, ".wh.a"), (0, ".wh..wh.plnk/a"),
        (0, "a\0b"), (0, "a" * 256), (0, "a/" * 2500 + "a"), (0, ""), (0, "\ud800"), (0, 7), (0, None),
        (1, "x"), (1, ""), (1, ["f"]), (2, -1), (2, 0o10000), (2, 1.5), (2, True), (2, "1"),
        (3, -1), (3, 1 << 32), (4, 0xFFFFFFFF), (5, -1), (5, 1 << 60), (6, 10**22), (6, None),
        (8, 7), (8, "a\0"),
    ],
)  # fmt: skip
def test_row_that_no_layer_has_is_refused(store: Store, at: int, value: object) -> None:
    layer = put(store)
    packed = packed_table(layer)
    assert packed is not None
    row = [*FINE]
    row[at] = value
    with pytest.raises((InvalidDocument, UnsafeArchive, LimitExceeded)):
        list(read_table(repacked(packed, row), layer))


@pytest.mark.parametrize(
    "row",
    [
        {}, [], [FINE], FINE[:-1], [*FINE, 1], "end", 7,
        ["a", "h", 0, 0, 0, 0, 0, 0, "../b"], ["a", "h", 0, 0, 0, 0, 0, 0, "a"],
        ["", "l", 0, 0, 0, 0, 0, 0, "a"],
        ["a", "l", 0, 0, 0, 0, 0, 0, "x" * 4096], ["", "w", 0, 0, 0, 0, 0, 0, ""],
        [*FINE, 0, 0, "!", ""], [*FINE, 0, 0, "A" * 400, ""],
        ["a", "c", 0, 0, 0, 0, 0, 0, "", 1 << 20, 0, "", ""],
    ],
)  # fmt: skip
def test_row_of_another_form_is_refused(store: Store, row: object) -> None:
    layer = put(store)
    packed = packed_table(layer)
    assert packed is not None
    with pytest.raises((InvalidDocument, UnsafeArchive, LimitExceeded)):
        list(read_table(repacked(packed, row), layer))


def test_table_of_another_layer_is_refused(store: Store) -> None:
    one, other = put(store), put(store, entries=ENTRIES[:3])
    packed = packed_table(one)
    assert packed is not None
    with pytest.raises(InvalidDocument, match="another layer"):
        list(read_table(packed, other))


@pytest.mark.parametrize("limit", ["_MOST_PLAIN", "_MOST_ROWS", "_MOST_LINE"])
def test_what_a_table_may_be_is_counted(store: Store, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    layer = put(store)
    packed = packed_table(layer)
    assert packed is not None
    monkeypatch.setattr(tables, "_PIECE", 64)
    monkeypatch.setattr(tables, limit, 5)
    with pytest.raises(LimitExceeded):
        list(read_table(packed, layer))
    assert (packed_table(layer) is None) == (limit != "_MOST_LINE")


def test_large_table_is_not_unpacked_whole(store: Store) -> None:
    layer = put(store)
    bomb = gzip.compress(bytes(80 << 20))
    with pytest.raises(LimitExceeded):
        list(read_table(bomb, layer))


@given(st.randoms(use_true_random=False), st.sampled_from(["flip", "cut", "rows", "swap"]))
def test_damaged_table_is_refused_or_tells_of_what_a_layer_may_have(
    store: Store, r: random.Random, how: str
) -> None:
    layer = put(store)
    packed = packed_table(layer)
    assert packed is not None
    if how == "cut":
        packed = packed[: r.randrange(len(packed))]
    elif how == "flip":
        raw = bytearray(packed)
        for _ in range(r.randint(1, 4)):
            raw[r.randrange(len(raw))] ^= 1 << r.randrange(8)
        packed = bytes(raw)
    else:
        plain = bytearray(gzip.decompress(packed))
        for _ in range(r.randint(1, 6)):
            at = r.randrange(len(plain))
            if how == "swap":
                plain[at] = r.choice(b'[]{}",\\/.09afwho\n\0\xff')
            else:
                del plain[at : at + r.randint(1, 40)]
        packed = gzip.compress(bytes(plain))
    try:
        found = list(read_table(packed, layer))
    except ImagesmithError:
        return
    for e in found:
        assert not e.path.startswith("/")
        assert ".." not in e.path.split("/")
        assert e.kind in "fdlhcbpwo"
