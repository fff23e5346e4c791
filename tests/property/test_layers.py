"""Layers as a whole: what is written is what the standard library reads, whatever the tree."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable

from hypothesis import example, given, settings
from hypothesis import strategies as st

from imagesmith.fs.entry import Entry, sort_key
from imagesmith.fs.view import LayerIndex, View, flat
from imagesmith.layer.codecs import Codec
from imagesmith.layer.decompress import decompressed
from imagesmith.layer.diff import layer_entries
from imagesmith.layer.stream import LayerStream
from imagesmith.layer.tarread import read_layer
from imagesmith.layer.tarwrite import write_layer

_KINDS = {
    "f": tarfile.REGTYPE, "d": tarfile.DIRTYPE, "l": tarfile.SYMTYPE, "c": tarfile.CHRTYPE,
    "b": tarfile.BLKTYPE, "p": tarfile.FIFOTYPE,
}  # fmt: skip


class Bytes:
    """Content in memory; two of the same bytes are two files."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def open(self) -> io.BytesIO:
        return io.BytesIO(self.data)


# --- trees -------------------------------------------------------------------------------------

names = st.one_of(
    st.sampled_from(["a", "b", "c", "ü", "x.y", "-", " ", "\udcff\udcfe", "\n", "name" * 20, "n" * 120]),
    st.text(
        st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=6
    ).filter(lambda n: n not in (".", "..") and not n.startswith(".wh.") and len(n.encode()) < 250),
)
ids = st.one_of(st.integers(0, 3), st.integers(0, 2**32 - 2))
times = st.one_of(st.integers(-(10**10), 10**11), st.sampled_from([0, -1, 8**11 - 1, 8**11])).map(
    lambda seconds: seconds * 10**9
)


def metadata(kind: str, path: str, draw: st.DrawFn) -> Entry:
    """An entry of a kind with drawn owner, mode and time."""
    e = Entry(path, kind, draw(st.integers(0, 0o7777)), draw(ids), draw(ids), mtime_ns=draw(times))
    if kind == "f":
        data = draw(st.binary(max_size=2000))
        e.size, e.content = len(data), Bytes(data)
        if draw(st.integers(0, 9)) == 0:
            e.capability = bytes.fromhex("0100000200040000000000000000000000000000")
    elif kind == "l":
        e.link, e.mode = (
            draw(
                st.text(
                    st.characters(exclude_characters="\0", exclude_categories=["Cs"]),
                    min_size=1,
                    max_size=120,
                )
            ),
            0o777,
        )
    elif kind in "cb":
        e.rdev = draw(st.tuples(st.integers(1, 4095), st.integers(0, 0xFFFFF)))
    return e


@st.composite
def trees(draw: st.DrawFn) -> dict[str, Entry]:
    """A file system by path, parents included."""
    tree: dict[str, Entry] = {}
    folders = [""]
    for _ in range(draw(st.integers(0, 14))):
        folder, name = draw(st.sampled_from(folders)), draw(names)
        path = f"{folder}/{name}" if folder else name
        if path in tree or len(path) > 900:
            continue
        kind = draw(st.sampled_from("fffddlcbp"))
        tree[path] = metadata(kind, path, draw)
        if kind == "d":
            folders.append(path)
    return tree


def ordered(tree: dict[str, Entry]) -> list[Entry]:
    return [tree[path] for path in sorted(tree, key=sort_key)]


def written(entries: Iterable[Entry]) -> bytes:
    out: list[bytes] = []
    write_layer(entries, out.append)
    return b"".join(out)


def told(entries: Iterable[Entry]) -> list[tuple[object, ...]]:
    """What a layer can tell of entries."""
    return [
        (e.path, e.kind, e.mode, e.uid, e.gid, e.size, e.mtime_ns // 10**9, e.link, e.rdev, e.capability)
        for e in entries
    ]


def read(data: bytes) -> list[Entry]:
    out = []
    for e, offset in read_layer(io.BytesIO(data)):
        if e.kind == "f":
            e.content = Bytes(data[offset : offset + e.size])
        out.append(e)
    return out


# --- properties --------------------------------------------------------------------------------


@given(trees())
def test_standard_library_reads_what_is_written(tree: dict[str, Entry]) -> None:
    entries = ordered(tree)
    with tarfile.open(fileobj=io.BytesIO(written(entries)), mode="r:", encoding="utf-8") as archive:
        members = archive.getmembers()
        assert [
            (m.name, m.type, m.mode, m.uid, m.gid, m.size, int(m.mtime), m.linkname if m.issym() else "",
             (m.devmajor, m.devminor) if m.isdev() and not m.isfifo() else (0, 0))
            for m in members
        ] == [
            (e.path, _KINDS[e.kind], e.mode, e.uid, e.gid, e.size, e.mtime_ns // 10**9, e.link, e.rdev)
            for e in entries
        ]  # fmt: skip
        for e, m in zip(entries, members, strict=True):
            if isinstance(e.content, Bytes):
                content = archive.extractfile(m)
                assert content is not None
                assert content.read() == e.content.data


@given(trees())
def test_reading_what_was_written_gives_the_tree_back(tree: dict[str, Entry]) -> None:
    entries = ordered(tree)
    data = written(entries)
    got = read(data)
    assert told(got) == told(entries)
    assert [e.content.data for e in got if isinstance(e.content, Bytes)] == [
        e.content.data for e in entries if isinstance(e.content, Bytes)
    ]
    assert len(data) % 512 == 0
    assert data.endswith(bytes(1024))


@given(trees())
def test_what_the_standard_library_writes_is_read(tree: dict[str, Entry]) -> None:
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:", format=form, encoding="utf-8") as archive:
            for e in ordered(tree):
                m = tarfile.TarInfo(e.path)
                m.type, m.mode, m.uid, m.gid, m.size = _KINDS[e.kind], e.mode, e.uid, e.gid, e.size
                m.mtime, m.linkname, (m.devmajor, m.devminor) = e.mtime_ns // 10**9, e.link, e.rdev
                content = e.content
                archive.addfile(m, io.BytesIO(content.data) if isinstance(content, Bytes) else None)
        plain = [(*row[:-1], None) for row in told(ordered(tree))]
        assert told(read(out.getvalue())) == plain


@given(trees(), trees())
def test_difference_of_two_trees_applied_to_the_first_is_the_second(
    a: dict[str, Entry], b: dict[str, Entry]
) -> None:
    """As a copying snapshotter sees it: all of b is touched, what only a has is deleted.

    A folder of which nothing but the time has changed is left out, as BuildKit does it.
    """
    for path, e in b.items():
        if e.kind == "d" and path in a and a[path].kind == "d":
            e.mtime_ns = a[path].mtime_ns
    lower = View([LayerIndex(ordered(a))])
    upper = ordered(b)
    gone = [
        Entry(path, "w")
        for path in a
        if path not in b
        and (not (parent := path.rpartition("/")[0]) or (parent in b and b[parent].kind == "d"))
    ]
    layer = LayerIndex(read(written(layer_entries([*upper, *gone], set(), lower))))
    assert told(flat(View([*lower.layers, layer]))) == told(upper)


@given(trees(), trees())
def test_opaque_folders_hide_what_was_below(a: dict[str, Entry], b: dict[str, Entry]) -> None:
    """All of b in folders that were made anew: the layer names each thing that vanished."""
    lower = View([LayerIndex(ordered(a))])
    opaques = {path for path, e in b.items() if e.kind == "d" and path in a}
    top = {path for path in a if "/" not in path and path not in b}
    entries = layer_entries([*ordered(b), *(Entry(path, "w") for path in top)], opaques, lower)
    assert all(e.kind != "o" for e in entries)
    assert told(flat(View([*lower.layers, LayerIndex(entries)]))) == told(ordered(b))


@settings(max_examples=20)
@given(st.binary(max_size=3 << 20), st.sampled_from(["gzip", "zstd", "uncompressed"]), st.integers(1, 7))
@example(b"", "gzip", 2)
def test_any_number_of_workers_gives_the_same_bytes(data: bytes, name: str, workers: int) -> None:
    def run(count: int, piece: int) -> tuple[bytes, object]:
        out = io.BytesIO()
        stream = LayerStream(Codec(name), out, workers=count)
        for at in range(0, len(data), piece):
            stream.write(data[at : at + piece])
        result = stream.finish()
        return out.getvalue(), result

    first, result = run(1, 1 << 20)
    again, other = run(workers, 77_777)
    assert result == other
    assert first == again


def test_stream_tells_both_digests_and_both_sizes() -> None:
    data = b"layer" * 500_000
    for name in ("gzip", "zstd", "uncompressed"):
        out = io.BytesIO()
        stream = LayerStream(Codec(name), out, workers=2)
        stream.write(data)
        result = stream.finish()
        blob = out.getvalue()
        assert decompressed(io.BytesIO(blob)).read() == data
        assert result.diff_id.hex == hashlib.sha256(data).hexdigest()
        assert (result.digest.hex, result.size) == (hashlib.sha256(blob).hexdigest(), len(blob))
        assert result.uncompressed_size == len(data)
