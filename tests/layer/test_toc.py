"""Tables of contents say what a reading of the whole layer says, and are believed by their digests alone."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import random
import struct
import tarfile
import zlib
from typing import Any

import pytest

from imagesmith.errors import DigestMismatch, ImagesmithError, InvalidDocument, UnsafeArchive
from imagesmith.fs.entry import Entry
from imagesmith.fs.table import Packing
from imagesmith.layer.decompress import decompressed
from imagesmith.layer.estargz import TABLE_NOTE
from imagesmith.layer.tarread import read_layer
from imagesmith.layer.toc import ChunkContent, Part, has_table, read_table
from tests.layer.test_estargz import LANDMARK, LARGE, TABLE, a_tar, made

CHUNKED = "io.github.containers.zstd-chunked.manifest-"


def part_of(blob: bytes, asked: list[tuple[int, int]] | None = None) -> Part:
    def part(offset: int, size: int) -> bytes | None:
        if asked is not None:
            asked.append((offset, size))
        assert 0 <= offset <= offset + size <= len(blob)
        return blob[offset : offset + size]

    return part


def told(e: Entry) -> tuple[object, ...]:
    return (
        e.path,
        e.kind,
        e.mode if e.kind not in "wo" else 0,
        e.uid,
        e.gid,
        e.size,
        e.mtime_ns,
        e.link,
        e.rdev,
    )


def content(e: Entry) -> bytes:
    assert e.content is not None
    with e.content.open() as f:
        return f.read(e.size)


def gz(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return packer.compress(data) + packer.flush()


def stargz(rows: list[dict[str, Any]], data: bytes = b"") -> tuple[dict[str, str], bytes]:
    """A blob with a table of any rows, and the annotations of its layer."""
    table = json.dumps({"version": 1, "entries": rows}).encode()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo(TABLE)
        info.size = len(table)
        tar.addfile(info, io.BytesIO(table))
    field = b"%016xSTARGZ" % len(data)
    extra = struct.pack("<2sH", b"SG", len(field)) + field
    footer = b"\x1f\x8b\x08\x04" + bytes(5) + b"\xff" + struct.pack("<H", len(extra)) + extra
    footer += struct.pack("<BHHII", 1, 0, 0xFFFF, 0, 0)
    return {TABLE_NOTE: sha(table)}, data + gz(out.getvalue()) + footer


def sha(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def read(annotations: dict[str, str], blob: bytes) -> list[Entry] | None:
    return read_table(annotations, len(blob), part_of(blob))


def test_table_says_what_the_tar_says() -> None:
    blob, _, digest = made(a_tar())
    entries = read({TABLE_NOTE: digest}, blob)
    assert entries is not None
    with decompressed(io.BytesIO(blob)) as plain:
        whole = [e for e, _ in read_layer(plain) if e.path not in (TABLE, LANDMARK)]
    assert [told(e) for e in entries] == [told(e) for e in whole]


def test_file_is_read_from_its_chunks_alone() -> None:
    blob, _, digest = made(a_tar())
    asked: list[tuple[int, int]] = []
    entries = read_table({TABLE_NOTE: digest}, len(blob), part_of(blob, asked))
    assert entries is not None
    files = {e.path: e for e in entries}
    asked.clear()
    assert content(files["d/small"]) == b"small"
    assert content(files["d/empty"]) == b""
    assert sum(size for _, size in asked) < 1000
    assert content(files["d/large"]) == LARGE
    assert len(asked) == 4  # one, and three of the large one


def test_content_is_the_same_when_it_was_written_down() -> None:
    blob, _, digest = made(a_tar())
    entries = read({TABLE_NOTE: digest}, blob)
    assert entries is not None
    packing = Packing()
    (large,) = (e for e in entries if e.path == "d/large")
    again = packing.entry(json.loads(json.dumps(packing.row(large))))
    assert again.content == large.content
    assert content(again) == LARGE


def test_damage_is_told() -> None:
    blob, _, digest = made(a_tar())
    with pytest.raises(DigestMismatch, match="table of contents"):
        read({TABLE_NOTE: sha(b"other")}, blob)
    entries = read({TABLE_NOTE: digest}, blob)
    assert entries is not None
    (small,) = (e for e in entries if e.path == "d/small")
    assert isinstance(small.content, ChunkContent)
    chunk = small.content.chunks[0]
    broken = bytearray(blob)
    broken[chunk.begin : chunk.end] = gz(b"SMALL".ljust(512, b"\0")).ljust(chunk.end - chunk.begin, b"\0")
    small.content.part = part_of(bytes(broken))
    with pytest.raises(DigestMismatch, match="'d/small': a chunk"):
        content(small)
    small.content.part = lambda _offset, _size: None
    with pytest.raises(InvalidDocument, match="stopped"):
        content(small)


def test_zstd_chunked_is_read_as_well() -> None:
    import zstandard

    pack = zstandard.ZstdCompressor().compress
    first, second = b"x" * 3000, random.Random(1).randbytes(500)
    head = pack(b"a header")
    data = head + pack(first) + pack(second)
    middle = len(head) + len(pack(first))
    rows = [
        {"type": "dir", "name": "etc/", "mode": 0o755, "modtime": "2001-09-09T01:46:40Z"},
        {"type": "reg", "name": "etc/f", "mode": 0o600, "size": 7500, "digest": sha(b""), "uid": 5,
         "offset": len(head), "endOffset": middle, "chunkSize": 3000, "chunkDigest": sha(first),
         "xattrs": {"security.capability": base64.b64encode(b"cap").decode()}},
        {"type": "chunk", "name": "etc/f", "chunkOffset": 3000, "chunkSize": 4000, "chunkType": "zeros"},
        {"type": "chunk", "name": "etc/f", "chunkOffset": 7000, "offset": middle, "endOffset": len(data),
         "chunkDigest": sha(second)},
        {"type": "hardlink", "name": "g", "linkName": "etc/f"},
        {"type": "reg", "name": "etc/.wh.old"},
    ]  # fmt: skip
    table = json.dumps({"version": 1, "entries": rows}).encode()
    packed = pack(table)
    notes = {
        f"{CHUNKED}checksum": sha(packed),
        f"{CHUNKED}position": f"{len(data)}:{len(packed)}:{len(table)}:1",
    }
    entries = read(notes, data + packed)
    assert entries is not None
    assert [(e.path, e.kind, e.mode) for e in entries] == [
        ("etc", "d", 0o755), ("etc/f", "f", 0o600), ("g", "h", 0), ("etc/old", "w", 0o644),
    ]  # fmt: skip
    assert entries[0].mtime_ns == 10**18
    assert entries[1].capability == b"cap"
    assert content(entries[1]) == first + bytes(4000) + second
    older = {key.replace("io.github.", "io."): value for key, value in notes.items()}
    assert len(read(older, data + packed) or ()) == 4
    with pytest.raises(DigestMismatch):
        read({**notes, f"{CHUNKED}checksum": sha(b"")}, data + packed)


GOOD = {"type": "reg", "name": "f", "size": 3, "offset": 1, "chunkDigest": sha(b"abc")}


@pytest.mark.parametrize(
    "row",
    [
        {"type": "socket", "name": "s"},
        {"name": "s"},
        {"type": "reg", "name": 5},
        {"type": "reg", "name": "f\0"},
        {"type": "dir", "name": "d", "mode": -1},
        {"type": "dir", "name": "d", "mode": True},
        {"type": "dir", "name": "d", "uid": 1 << 40},
        {"type": "dir", "name": "d", "modtime": "yesterday"},
        {"type": "dir", "name": "d", "xattrs": {"security.capability": "!"}},
        {"type": "dir", "name": "d", "xattrs": {"security.capability": "A" * 400}},
        {**GOOD, "chunkDigest": ""},
        {**GOOD, "chunkDigest": "sha512:" + "a" * 128},
        {**GOOD, "size": 1 << 60},
        {**GOOD, "chunkSize": 4},
        {**GOOD, "chunkSize": 2},
        {**GOOD, "chunkOffset": 1},
        {**GOOD, "offset": 10_000},
        {**GOOD, "endOffset": 10_000},
        {**GOOD, "innerOffset": 1 << 40},
        [],
        "row",
        None,
    ],
    ids=repr,
)
def test_table_that_cannot_be_used_is_not(row: Any) -> None:
    assert read(*stargz([GOOD], b"1234567890")) is not None
    assert read(*stargz([row], b"1234567890")) is None


def test_names_do_not_leave_the_root() -> None:
    for name in ("../x", "d/../../x"):
        with pytest.raises(UnsafeArchive, match="leaves the root"):
            read(*stargz([{"type": "dir", "name": name}]))


@pytest.mark.parametrize("limit", ["_MOST_ROWS", "_MOST_VALUES"])
def test_what_would_be_many_objects_is_not_made(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_raw: bytes) -> None:
        raise AssertionError("it was parsed")

    monkeypatch.setattr(f"imagesmith.layer.toc.{limit}", 100)
    monkeypatch.setattr("imagesmith.layer.toc.json.loads", never)
    assert read(*stargz([{}] * 101)) is None


@pytest.mark.parametrize("place", ["", "1:2:3", "a:1:1:1", "0:0:0:1", "0:99999:1:1", "0:1:1:2", "-1:1:1:1"])
def test_place_of_a_table_that_is_none(place: str) -> None:
    assert read({f"{CHUNKED}checksum": sha(b""), f"{CHUNKED}position": place}, b"x" * 100) is None


def test_layers_without_a_table() -> None:
    assert not has_table({})
    assert has_table({TABLE_NOTE: ""})
    for blob in (b"", b"short", bytes(200), gz(b"x" * 1000)):
        assert read({TABLE_NOTE: sha(b"")}, blob) is None
    assert read_table({TABLE_NOTE: sha(b"")}, 1000, lambda _offset, _size: None) is None


def test_whatever_is_broken_ends_as_an_answer() -> None:
    blob, _, digest = made(a_tar())
    chance = random.Random(3)
    for _ in range(60):
        broken = bytearray(blob)
        for _ in range(3):
            broken[chance.randrange(len(broken) - 2000, len(broken))] = chance.randrange(256)
        try:
            read({TABLE_NOTE: digest}, bytes(broken))
        except ImagesmithError:
            continue
