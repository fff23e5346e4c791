"""Streams of layers end in a result or in the failure that came first, and leave no thread behind."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import io
import lzma
import os
import random
import threading
import zlib
from collections.abc import Callable, Iterator

import pytest

from imagesmith.errors import InvalidDocument, UsageError
from imagesmith.layer.codecs import Codec
from imagesmith.layer.decompress import decompressed, sniff
from imagesmith.layer.filehash import FileHash
from imagesmith.layer.stream import LayerStream


def zstd(data: bytes) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


PACKED = random.Random(1).randbytes(1 << 20)
COMPRESS = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress, "zstd": zstd}
DATA = bytes(range(256)) * 5000


class Broken:
    """A sink whose disk is full after some blocks."""

    def __init__(self, takes: int) -> None:
        self.takes = takes

    def write(self, data: bytes) -> None:
        self.takes -= 1
        if self.takes < 0:
            raise OSError(28, "No space left on device")


@pytest.mark.parametrize("takes", [0, 1, 7])
@pytest.mark.parametrize("workers", [1, 3])
def test_failure_of_the_sink_reaches_the_writer_and_ends_all_threads(takes: int, workers: int) -> None:
    before = threading.active_count()
    stream = LayerStream(Codec(), Broken(takes), workers=workers)
    with pytest.raises(OSError, match="No space left"):  # noqa: PT012 - whichever of the two is next
        for _ in range(50):
            stream.write(bytes(1 << 20))
        stream.finish()
    stream.abort()
    assert threading.active_count() <= before


def test_failure_of_the_listener_reaches_the_writer() -> None:
    def listener(_data: bytes) -> None:
        raise ConnectionError("gone")

    stream = LayerStream(Codec("zstd"), io.BytesIO(), on_compressed=listener)
    stream.write(b"x")
    with pytest.raises(ConnectionError, match="gone"):
        stream.finish()
    stream.abort()


def test_aborted_stream_leaves_no_thread() -> None:
    before = threading.active_count()
    stream = LayerStream(Codec(), io.BytesIO())
    stream.write(DATA)
    stream.abort()
    stream.abort()
    assert threading.active_count() <= before


def test_gzip_is_of_members_that_every_reader_takes_and_says_nothing_of_the_machine() -> None:
    out = io.BytesIO()
    stream = LayerStream(Codec(), out)
    stream.write(DATA * 3)
    stream.finish()
    blob = out.getvalue()
    assert blob[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
    assert gzip.decompress(blob) == DATA * 3


@pytest.mark.parametrize(
    ("name", "level"),
    [("gzip", "10"), ("gzip", "x"), ("zstd", "23"), ("zstd", "-1"), ("uncompressed", "1"), ("lz4", "")],
)
def test_compression_that_does_not_exist_is_refused(name: str, level: str) -> None:
    with pytest.raises(UsageError, match=r"compression"):
        Codec.parse(name, level)


@pytest.mark.parametrize("level", [0, 1, 6, 9])
@pytest.mark.parametrize(
    "data", [DATA, b"", b"x", bytes(0xFFFF), bytes(0x10000), random.Random(1).randbytes(1 << 20)]
)
def test_every_level_of_gzip_is_read_back(level: int, data: bytes) -> None:
    member = Codec("gzip", level).compressor()(data)
    assert zlib.decompress(member, 31) == data


def test_block_that_is_packed_already_is_stored_and_one_that_is_so_in_part_is_not() -> None:
    compress = Codec().compressor()
    assert PACKED[: 1 << 15] in compress(PACKED)
    text = (b"some words that come again and again, " * 30000)[: 1 << 20]
    assert len(compress(text)) < len(text) // 20
    half = PACKED[: 1 << 19] + text[: 1 << 19]
    assert len(compress(half)) < len(half) * 0.55


@pytest.mark.parametrize("kind", COMPRESS)
def test_stream_is_told_by_its_first_bytes_and_read_to_its_true_end(kind: str) -> None:
    blob = COMPRESS[kind](DATA) + COMPRESS[kind](b"more")
    assert sniff(blob) == kind
    assert decompressed(io.BytesIO(blob)).read() == DATA + b"more"


@pytest.mark.parametrize("kind", COMPRESS)
def test_damaged_and_short_streams_are_errors(kind: str) -> None:
    blob = COMPRESS[kind](DATA)
    for bad in (blob[:-5], blob[: len(blob) // 2], blob[:20] + bytes(8) + blob[28:]):
        with pytest.raises(InvalidDocument, match=kind):
            decompressed(io.BytesIO(bad)).read()


def test_gzip_of_many_members_is_read_in_pieces_of_any_size_and_ends_before_its_padding() -> None:
    data = os.urandom(300_000) + bytes(3_000_000)
    blob = b"".join(gzip.compress(data[at : at + 200_000]) for at in range(0, len(data), 200_000))
    for padding in (b"", bytes(1), bytes(100_000)):
        for size in (1000, 1 << 16, 10_000_000):
            stream = decompressed(io.BytesIO(blob + padding))
            assert b"".join(iter(lambda s=stream, n=size: s.read(n), b"")) == data
    with pytest.raises(InvalidDocument, match="gzip"):
        decompressed(io.BytesIO(blob + bytes(7) + b"rubbish")).read()
    with pytest.raises(InvalidDocument, match="gzip"):
        decompressed(io.BytesIO(blob[:-5] + bytes(1) + blob[-4:])).read()  # another length at the end


def test_plain_bytes_pass_as_they_are() -> None:
    for data in (b"", b"a", b"\x1f", b"plain text"):
        assert sniff(data) == ""
        assert decompressed(io.BytesIO(data)).read() == data


def test_window_of_gigabytes_is_refused() -> None:
    """A frame header that asks for 2 GiB of memory."""
    with pytest.raises(InvalidDocument, match="zstd"):
        decompressed(io.BytesIO(b"\x28\xb5\x2f\xfd\x00\xa8" + bytes(20))).read()


def test_a_few_bytes_of_zstd_do_not_fill_the_memory() -> None:
    """64 MiB of zeros in two kilobytes: nothing near that is decoded before somebody reads it."""
    import tracemalloc

    blob = zstd(bytes(64 << 20)) * 4
    tracemalloc.start()
    try:
        stream = decompressed(io.BytesIO(blob))
        assert not any(stream.read(1 << 20))
        assert tracemalloc.get_traced_memory()[1] < 160 << 20
    finally:
        tracemalloc.stop()


class Held:
    """A sink that takes nothing before so many blocks came, and knows how many it did not have at most."""

    def __init__(self, blocks: int) -> None:
        self.wanted, self.written, self.taken, self.most = blocks, 0, 0, 0
        self.enough = threading.Event()

    def came(self) -> None:
        self.written += 1
        if self.written >= self.wanted:
            self.enough.set()

    def write(self, _data: bytes) -> None:
        assert self.enough.wait(60), "fewer blocks than threads are under way"
        self.most = max(self.most, self.written - self.taken)
        self.taken += 1


@pytest.mark.parametrize(("name", "threads"), [("gzip", 16), ("zstd", 8)])
def test_sixteen_processors_compress_at_once_within_a_bound(
    monkeypatch: pytest.MonkeyPatch, name: str, threads: int
) -> None:
    together = threading.Barrier(threads)

    def compress(block: bytes) -> bytes:
        with contextlib.suppress(threading.BrokenBarrierError):
            together.wait(60)
        return block[:1]

    codec = Codec(name)
    monkeypatch.setattr(Codec, "compressor", lambda _self: compress)
    sink = Held(threads)
    stream = LayerStream(codec, sink, workers=16)
    block = bytes(codec.block_bytes)
    for _ in range(8 * threads):
        stream.write(block)
        sink.came()
    stream.finish()
    assert not together.broken
    assert sink.most <= threads + (4 << 20) // codec.block_bytes + 4  # those that wait, and in hands


@pytest.mark.parametrize("sizes", [(), (1,), (1 << 20,), (10, 1 << 20, 10), (1 << 18, 1 << 20)])
def test_large_files_are_hashed_beside_and_one_after_the_other(sizes: tuple[int, ...]) -> None:
    before = threading.active_count()
    with contextlib.closing(FileHash()) as hasher:
        for n in range(3):
            whole = hashlib.sha256()
            for size in sizes:
                data = bytes([n]) * size
                whole.update(data)
                hasher.update(data)
            assert hasher.hexdigest() == whole.hexdigest()
        hasher.update(bytes(1 << 20))  # given up in the middle
    assert threading.active_count() <= before


@pytest.fixture
def few_threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let so many threads be started, and no more."""

    def few(count: int) -> None:
        start, left = threading.Thread.start, iter(range(count))

        def starts(self: threading.Thread) -> None:
            if next(left, None) is None:
                raise RuntimeError("can't start new thread")
            start(self)

        monkeypatch.setattr(threading.Thread, "start", starts)

    return few


@pytest.mark.parametrize("name", ["gzip", "zstd", "uncompressed"])
@pytest.mark.parametrize("count", range(6))
def test_threads_that_cannot_be_started_are_told_or_done_without(
    few_threads: Callable[[int], None], count: int, name: str
) -> None:
    before, sink = threading.active_count(), io.BytesIO()
    few_threads(count)
    stream = LayerStream(Codec(name), sink, workers=16)
    data = bytes(20 << 20)
    with pytest.raises(RuntimeError, match="new thread") if count < 3 else contextlib.nullcontext():
        try:
            stream.write(data)
            assert stream.finish().diff_id.hex == hashlib.sha256(data).hexdigest()
        finally:
            stream.abort()
    assert threading.active_count() <= before


def test_large_files_are_hashed_where_no_thread_is_to_be_had(few_threads: Callable[[int], None]) -> None:
    few_threads(0)
    with contextlib.closing(FileHash()) as hasher:
        for _ in range(2):
            hasher.update(b"x")
            hasher.update(bytes(1 << 20))
            assert hasher.hexdigest() == hashlib.sha256(b"x" + bytes(1 << 20)).hexdigest()


def test_stream_that_is_interrupted_while_it_waits_ends() -> None:
    before, sink = threading.active_count(), Broken(1 << 30)
    stream = LayerStream(Codec("zstd"), sink, workers=1)
    for name in ("_waiting", "_ordered"):
        put, left = getattr(stream, name).put, iter(range(2))

        def interrupted(
            block: object, put: Callable[[object], None] = put, left: Iterator[int] = left
        ) -> None:
            if block is not None and next(left, None) is None:
                raise KeyboardInterrupt
            put(block)

        setattr(getattr(stream, name), "put", interrupted)  # noqa: B010 - a method
    with pytest.raises(KeyboardInterrupt):
        stream.write(bytes(40 << 20))
    stream.abort()
    assert threading.active_count() <= before
