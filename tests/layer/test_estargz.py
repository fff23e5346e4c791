"""eStargz layers hold to the rules of stargz-snapshotter's documents, by another reader."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import random
import struct
import tarfile
import tempfile
import tracemalloc
import zlib
from typing import Any

import pytest

from imagesmith.errors import LimitExceeded, UnsafeArchive, UsageError
from imagesmith.layer import estargz
from imagesmith.layer.estargz import CHUNK_BYTES, write_estargz

LANDMARK, TABLE = ".no.prefetch.landmark", "stargz.index.json"
LARGE = random.Random(7).randbytes(CHUNK_BYTES + 1000) + bytes(CHUNK_BYTES)


def a_tar() -> bytes:
    """A layer with everything that a table has words for."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:

        def add(name: str, kind: bytes, data: bytes = b"", **fields: Any) -> None:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.mode, info.mtime = kind, len(data), 0o644, 1_600_000_000
            for key, value in fields.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))

        add("d", tarfile.DIRTYPE, mode=0o2755)
        add("d/large", tarfile.REGTYPE, LARGE, uid=1000, gid=50)
        add("d/exact", tarfile.REGTYPE, bytes(CHUNK_BYTES))
        add("d/small", tarfile.REGTYPE, b"small", mode=0o4755)
        add("d/empty", tarfile.REGTYPE, b"", mtime=0)
        add("d/link", tarfile.SYMTYPE, linkname="../ä")
        add("d/hard", tarfile.LNKTYPE, linkname="d/small")
        add("d/null", tarfile.CHRTYPE, devmajor=1, devminor=3)
        add("d/disk", tarfile.BLKTYPE, devmajor=8, devminor=1)
        add("d/pipe", tarfile.FIFOTYPE)
        add("d/.wh.gone", tarfile.REGTYPE, mode=0)
        add("d/.wh..wh..opq", tarfile.REGTYPE, mode=0)
        add(
            "n" * 200 + "/x", tarfile.REGTYPE, b"attributes",
            pax_headers={"SCHILY.xattr.user.a": "b", "SCHILY.xattr.trusted.c": "d"},
        )  # fmt: skip
    return out.getvalue()


def made(tar: bytes, **words: Any) -> tuple[bytes, Any, str]:
    """The blob, the result and the digest of the table."""
    blob = io.BytesIO()
    with tempfile.TemporaryFile() as spool:
        result, seen, table = write_estargz(io.BytesIO(tar), blob, spool=spool, **words)
    assert str(seen) == f"sha256:{hashlib.sha256(tar).hexdigest()}"
    return blob.getvalue(), result, str(table)


def member(blob: bytes, at: int) -> tuple[bytes, int]:
    """What the one gzip member at a place holds, and where it ends."""
    reader = zlib.decompressobj(31)
    data = reader.decompress(blob[at:])
    assert reader.eof
    return data, len(blob) - len(reader.unused_data)


class Snapshotter:
    """Reads a blob as stargz-snapshotter does: footer, table, and each file by its own members."""

    def __init__(self, blob: bytes) -> None:
        self.blob = blob
        footer = blob[-51:]
        assert footer[:4] == b"\x1f\x8b\x08\x04"
        assert footer[10:16] == b"\x1a\0SG\x16\0"
        assert footer[32:38] == b"STARGZ"
        assert footer[38:] == b"\x01\0\0\xff\xff" + bytes(8)
        assert member(footer, 0) == (b"", 51)
        self.table_at = int(footer[16:32], 16)
        tar, end = member(blob, self.table_at)
        assert end == len(blob) - 51
        with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
            (info,) = opened.getmembers()
            assert info.name == TABLE
            self.json = opened.extractfile(info).read()  # type: ignore[union-attr]  # a file
        self.table = json.loads(self.json)
        assert self.table["version"] == 1
        self.rows = [e for e in self.table["entries"] if e["type"] != "chunk"]
        self.files = self._files()

    def _files(self) -> dict[str, bytes]:
        """Every file's bytes, each chunk from the member at its offset and held against its digest."""
        out: dict[str, bytes] = {}
        chunks: dict[str, list[dict[str, Any]]] = {}
        offsets = []
        for e in self.table["entries"]:
            if e["type"] in ("reg", "chunk"):
                chunks.setdefault(e["name"], []).append(e)
                offsets += [e["offset"]] if "offset" in e else []
        assert offsets == sorted(set(offsets))
        for name, parts in chunks.items():
            first = parts[0]
            assert [p["type"] for p in parts] == ["reg", *["chunk"] * (len(parts) - 1)]
            assert "chunkSize" not in parts[-1]
            data = b""
            for part in parts if first.get("size") else ():
                assert part.get("chunkOffset", 0) == len(data)
                size = part.get("chunkSize", first["size"] - len(data))
                piece = member(self.blob, part["offset"])[0][:size]
                assert part["chunkDigest"] == f"sha256:{hashlib.sha256(piece).hexdigest()}"
                data += piece
            assert len(data) == first.get("size", 0)
            if first["name"].rpartition("/")[2][:4] != ".wh.":
                assert first["digest"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
            out[name] = data
        return out


@pytest.mark.parametrize("words", [{}, {"workers": 1}, {"workers": 4}, {"level": 9}, {"level": 0}], ids=str)
def test_blob_is_read_by_its_table_and_as_a_plain_gzip_tar(words: dict[str, int]) -> None:
    tar = a_tar()
    blob, result, table = made(tar, **words)
    found = Snapshotter(blob)
    assert table == f"sha256:{hashlib.sha256(found.json).hexdigest()}"
    assert (str(result.digest), result.size) == (f"sha256:{hashlib.sha256(blob).hexdigest()}", len(blob))
    plain, at = b"", 0
    while at < len(blob):
        data, at = member(blob, at)
        plain += data
    assert str(result.diff_id) == f"sha256:{hashlib.sha256(plain).hexdigest()}"
    assert result.uncompressed_size == len(plain)
    with tarfile.open(fileobj=io.BytesIO(plain)) as now, tarfile.open(fileobj=io.BytesIO(tar)) as before:
        infos, old = now.getmembers(), before.getmembers()
        assert [i.name for i in infos] == [LANDMARK, *(i.name for i in old), TABLE]
        for info in infos[:-1]:
            if info.isreg():
                assert now.extractfile(info).read() == found.files[info.name]  # type: ignore[union-attr]
    assert found.files[LANDMARK] == b"\x0f"
    assert plain[1024 : 1024 + len(tar.rstrip(b"\0"))] == tar.rstrip(
        b"\0"
    )  # not a byte of the layer is another


def test_members_begin_where_the_format_says() -> None:
    blob, *_ = made(a_tar())
    found = Snapshotter(blob)
    at, begins = 0, set()
    while at < len(blob):
        begins.add(at)
        at = member(blob, at)[1]
    wanted = {e["offset"] for e in found.table["entries"] if "offset" in e}
    assert begins == {0, found.table_at, len(blob) - 51} | wanted


def test_table_says_what_the_tar_does() -> None:
    tar = a_tar()
    rows = {e["name"]: e for e in Snapshotter(made(tar)[0]).rows}
    types = {
        b"0": "reg",
        b"5": "dir",
        b"2": "symlink",
        b"1": "hardlink",
        b"3": "char",
        b"4": "block",
        b"6": "fifo",
    }
    with tarfile.open(fileobj=io.BytesIO(tar)) as before:
        infos = before.getmembers()
    for info in infos:
        row = rows[info.name + "/" * info.isdir()]
        assert row["type"] == types[info.type]
        assert (row.get("uid", 0), row.get("gid", 0), row.get("mode", 0)) == (info.uid, info.gid, info.mode)
        assert (row.get("devMajor", 0), row.get("devMinor", 0)) == (info.devmajor, info.devminor)
        assert row.get("linkName", "") == info.linkname
        if ".wh." not in info.name:
            assert row.get("modtime", "") == ("2020-09-13T12:26:40Z" if info.mtime else "")
    assert len(rows) == len(infos) + 1
    attributes = {k: base64.b64decode(v) for k, v in rows["n" * 200 + "/x"]["xattrs"].items()}
    assert attributes == {"user.a": b"b", "trusted.c": b"d"}
    assert "xattrs" not in rows["d/small"]


def test_bytes_do_not_depend_on_threads_or_on_how_the_tar_comes() -> None:
    tar = a_tar()

    class Drips(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 0, 700))

    blobs = {made(tar, workers=n)[0] for n in (1, 3, 8)}
    out = io.BytesIO()
    with tempfile.TemporaryFile() as spool:
        write_estargz(Drips(tar), out, spool=spool)
    assert blobs == {out.getvalue()}


def test_layer_with_a_table_gets_a_new_one() -> None:
    first, result, _ = made(a_tar())
    plain = b"".join(_members(first))
    assert made(plain)[0] == first
    assert str(result.diff_id) == f"sha256:{hashlib.sha256(plain).hexdigest()}"


def _members(blob: bytes) -> list[bytes]:
    at, out = 0, []
    while at < len(blob):
        data, at = member(blob, at)
        out.append(data)
    return out


def test_table_too_large_for_memory_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    tar = a_tar()
    usual = Snapshotter(made(tar)[0])
    monkeypatch.setattr(estargz, "_MOST_TABLE_BYTES", 100)
    assert Snapshotter(made(tar)[0]).json == usual.json


def test_empty_layer_has_a_landmark_and_a_table() -> None:
    found = Snapshotter(made(bytes(1024))[0])
    assert [e["name"] for e in found.rows] == [LANDMARK]


@pytest.mark.parametrize("where", ["name", "linkname"])
def test_name_that_the_table_cannot_hold_is_refused(where: str) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        info = tarfile.TarInfo("x")
        info.type = tarfile.SYMTYPE
        setattr(info, where, "b\udcff")
        tar.addfile(info)
    with pytest.raises(UsageError, match="estargz: its table of contents cannot hold the name"):
        made(out.getvalue())


def test_time_that_no_calendar_has_is_left_out() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("x")
        info.mtime = 10**12
        tar.addfile(info)
    (_, row) = Snapshotter(made(out.getvalue())[0]).rows
    assert "modtime" not in row


def test_hostile_tar_is_refused() -> None:
    tar = a_tar()
    with pytest.raises(UnsafeArchive):
        made(tar[: len(tar) // 2])
    header = bytearray(tarfile.TarInfo(".wh..wh.plnk").tobuf())
    header[124:136] = b"%011o\0" % (64 << 20)  # a name that is passed over, with much in it
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    with pytest.raises(LimitExceeded):
        made(bytes(header) + bytes(65 << 20))


def test_memory_is_that_of_a_few_chunks() -> None:
    size = 256 << 20
    info = tarfile.TarInfo("zeros")
    info.size = size

    class Zeros:
        """A tar with a large file and many folders, of which little is ever there."""

        def __init__(self) -> None:
            self.left = size
            self.parts = [info.tobuf(), *(tarfile_folder(n) for n in range(20_000)), bytes(1024)]
            self.head = self.parts.pop(0)

        def read(self, most: int, /) -> bytes:
            if self.head:
                data, self.head = self.head[:most], self.head[most:]
                return data
            if self.left:
                data = bytes(min(most, self.left))
                self.left -= len(data)
                return data
            if not self.parts:
                return b""
            self.head = self.parts.pop(0)
            return self.read(most)

    class Nowhere:
        def write(self, data: bytes, /) -> None:
            pass

    zeros = Zeros()
    tracemalloc.start()
    try:
        with tempfile.TemporaryFile() as spool:
            result, *_ = write_estargz(zeros, Nowhere(), workers=2, spool=spool)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result.uncompressed_size > size
    assert peak < 64 << 20


def tarfile_folder(n: int) -> bytes:
    info = tarfile.TarInfo(f"d{n}")
    info.type = tarfile.DIRTYPE
    return info.tobuf()


def test_footer_is_the_one_of_the_format() -> None:
    assert estargz._footer(0x1234)[16:38] == b"0000000000001234STARGZ"
    assert struct.unpack("<H", estargz._footer(0)[10:12]) == (26,)
