"""Layers as eStargz: gzip tars with a table of contents, of which a snapshotter fetches what is read.

The blob is a series of gzip members: one begins where the bytes of a file begin, and one every CHUNK_BYTES
in them; then one that holds `stargz.index.json`, the table, and the end of the tar; then an empty one of 51
bytes, the footer, which says where the table's begins. Whoever knows nothing of it reads a gzip tar with two
files more. The first entry is `.no.prefetch.landmark`: nothing is to be fetched before it is asked for.

Why made of finished tars: what an extended header of a base's layer says stays as it is, and steps never see
the two files. Members are compressed by any number of threads and written in order, so the bytes are always
the same; rows of the table go to a spool, where they wait no longer than their file is read.
Spec: docs/estargz.md of containerd/stargz-snapshotter.
Trust: a base's tar is hostile: it is read by tarread.py, with its limits. What the table cannot say without
loss, a name that is not UTF-8, is refused.
Threads: one, and a pool that lives as long as the call.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

from imagesmith.errors import LimitExceeded
from imagesmith.fs.entry import Entry
from imagesmith.fs.limits import EXTENDED_BYTES
from imagesmith.layer.codecs import Codec
from imagesmith.layer.decompress import GZIP_HEADER
from imagesmith.layer.estargztable import Row, attributes_of, fields_of
from imagesmith.layer.stream import LayerResult, Sink
from imagesmith.layer.tarread import Reader, read_layer
from imagesmith.layer.tarwrite import header
from imagesmith.oci.digest import Digest
from imagesmith.oci.mediatype import OCI_LAYER_GZIP

__all__ = ["CHUNK_BYTES", "LANDMARK", "SIZE_NOTE", "TABLE", "TABLE_NOTE", "write_estargz"]

#: How much of a file is one member.
CHUNK_BYTES = 4 << 20
TABLE, LANDMARK = "stargz.index.json", ".no.prefetch.landmark"
#: Annotations of the layer: the digest of the table, and the size (bytes) of the whole tar.
TABLE_NOTE = "containerd.io/snapshot/stargz/toc.digest"
SIZE_NOTE = "io.containers.estargz.uncompressed-size"

#: Entries of an earlier table, which say nothing of this one.
_OURS = (TABLE, LANDMARK, ".prefetch.landmark")
_BLOCK = 512
#: A member so small is compressed at once: to hand it over takes longer.
_SMALL_BYTES = 1 << 15
#: A larger table is stored as it is, in pieces: readers take no larger ones, and memory is bounded.
_MOST_TABLE_BYTES = 50 << 20
#: A compressed member, and the digest of the file's bytes in it.
_Done = tuple[bytes, str]


class _Writer:
    """Writes members, and rows as soon as they and all before them are known."""

    def __init__(
        self, sink: Sink, codec: Codec, pool: ThreadPoolExecutor, workers: int, spool: BinaryIO
    ) -> None:
        self._sink, self._codec, self._pool, self._spool = sink, codec, pool, spool
        self._most = workers + 1
        self._pending: deque[tuple[Future[_Done] | _Done, Row | None, bool]] = deque()
        self._rows: deque[Row] = deque()
        self._written_rows = 0
        self.raw, self.blob = hashlib.sha256(), hashlib.sha256()
        self.raw_size = self.offset = 0

    def row(self, row: Row) -> None:
        """Add a row of the table."""
        self._rows.append(row)
        if not row.waits:
            self._flush()

    def member(self, data: bytes, chunk: int = 0, row: Row | None = None, *, whole: bool = False) -> None:
        """Add a member, of which so many bytes from the first on are a file's, which the row is about.

        With `whole` they are all that the file has.
        """
        self.raw.update(data)
        self.raw_size += len(data)
        small = len(data) <= _SMALL_BYTES
        done = self._made(data, chunk) if small else self._pool.submit(self._made, data, chunk)
        self._pending.append((done, row, whole))
        while len(self._pending) > self._most:
            self._next()

    def _made(self, data: bytes, chunk: int) -> _Done:
        seen = f"sha256:{hashlib.sha256(memoryview(data)[:chunk]).hexdigest()}" if chunk else ""
        return self._codec.compressor()(data), seen

    def _next(self) -> None:
        done, row, whole = self._pending.popleft()
        out, digest = done.result() if isinstance(done, Future) else done
        if row is not None:
            alone = {"digest": digest} if whole else {}
            row.know(offset=self.offset, chunkDigest=digest, **alone)
        self.write(out)
        self._flush()

    def write(self, data: bytes) -> None:
        """Append bytes of the blob."""
        self.blob.update(data)
        self.offset += len(data)
        self._sink.write(data)

    def _flush(self) -> None:
        while self._rows and not self._rows[0].waits:
            begin = b"," if self._written_rows else b'{"version":1,"entries":['
            self._spool.write(begin + self._rows.popleft().to_json())
            self._written_rows += 1

    def table(self) -> str:
        """Write all that is left, the table and the footer; returns the table's digest."""
        while self._pending:
            self._next()
        self._spool.write(b"]}")
        size = self._spool.tell()
        seen, begin = hashlib.sha256(), self.offset
        head, tail = header(Entry(TABLE, "f", 0, size=size)), bytes(-size % _BLOCK + 2 * _BLOCK)
        pieces = self._pieces(head, tail, seen)
        if size <= _MOST_TABLE_BYTES:
            self.write(self._codec.compressor()(b"".join(pieces)))
        else:
            for piece in _stored(pieces):
                self.write(piece)
        self.write(_footer(begin))
        return f"sha256:{seen.hexdigest()}"

    def _pieces(self, head: bytes, tail: bytes, seen: hashlib._Hash) -> Iterator[bytes]:
        """The tar's last entry and its end; `seen` is told the table itself."""
        self._spool.seek(0)
        self._raw_piece(head)
        yield head
        while data := self._spool.read(1 << 20):
            seen.update(data)
            self._raw_piece(data)
            yield data
        self._raw_piece(tail)
        yield tail

    def _raw_piece(self, data: bytes) -> None:
        self.raw.update(data)
        self.raw_size += len(data)


def _stored(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """One gzip member that holds pieces as they are."""
    crc = size = 0
    yield GZIP_HEADER
    for piece in pieces:
        crc, size = zlib.crc32(piece, crc), size + len(piece)
        for at in range(0, len(piece), 0xFFFF):
            part = piece[at : at + 0xFFFF]
            yield struct.pack("<BHH", 0, len(part), len(part) ^ 0xFFFF) + part
    yield struct.pack("<BHHII", 1, 0, 0xFFFF, crc, size & 0xFFFFFFFF)


def _footer(table: int) -> bytes:
    """An empty gzip member whose extra field says where the table's begins."""
    field = b"%016xSTARGZ" % table
    extra = struct.pack("<2sH", b"SG", len(field)) + field
    head = b"\x1f\x8b\x08\x04" + bytes(5) + b"\xff" + struct.pack("<H", len(extra))
    return head + extra + struct.pack("<BHHII", 1, 0, 0xFFFF, 0, 0)


class _Cutter:
    """Reads a tar for read_layer, and cuts what that reads into members."""

    def __init__(self, tar: Reader, writer: _Writer) -> None:
        self._tar, self._writer = tar, writer
        self.seen = hashlib.sha256()
        self._held: list[bytes] = []  # the member that is begun
        self._held_size = self._chunk = 0
        self._row: Row | None = None
        self._span: list[bytes] = []  # headers since the last entry
        self._span_size = 0
        self._left = self._padding = 0  # of the file that is being read
        self._dropping = False
        self._size, self._name = 0, ""
        self._file: hashlib._Hash | None = None
        self._first: Row | None = None

    def run(self) -> None:
        """Read the tar to its end."""
        self._landmark()
        for entry, _ in read_layer(self):
            self._entry(entry)
        while self._read(1 << 20):
            pass  # what is behind the tar's end belongs to its digest
        self._flush()

    def _landmark(self) -> None:
        entry = Entry(LANDMARK, "f", 0, size=1)
        self._hold(header(entry))
        self._begin(entry, {})
        for data in (b"\x0f", bytes(511)):
            self._take(data)

    def _read(self, size: int) -> bytes:
        data = self._tar.read(size)
        self.seen.update(data)
        return data

    def read(self, size: int, /) -> bytes:
        """See tarread.Reader."""
        data = self._read(size)
        self._take(data)
        return data

    def _take(self, data: bytes) -> None:
        """Put bytes where they belong: into the file that is read, its padding, or the next headers."""
        while data:
            if self._left:
                room = CHUNK_BYTES - self._chunk
                piece = data[: self._left if self._dropping else min(self._left, room)]
                self._left -= len(piece)
                if not self._dropping:
                    self._content(piece)
            elif self._padding:
                piece = data[: self._padding]
                self._padding -= len(piece)
                if not self._dropping:
                    self._hold(piece)
            else:
                piece = data
                self._span.append(piece)
                self._span_size += len(piece)
                if self._span_size > 2 * EXTENDED_BYTES:
                    raise LimitExceeded(f"tar: {self._span_size} bytes of headers before one entry")
            data = data[len(piece) :] if len(piece) < len(data) else b""

    def _content(self, piece: bytes) -> None:
        self._hold(piece)
        self._chunk += len(piece)
        if self._file is not None:
            self._file.update(piece)
        if self._left and self._chunk == CHUNK_BYTES:
            self._flush()
            self._next_chunk()
        elif not self._left and self._file is not None and self._first is not None:
            self._first.know(digest=f"sha256:{self._file.hexdigest()}")

    def _next_chunk(self) -> None:
        """Begin a member with the next piece of the file; the last one has no size of its own."""
        fields: dict[str, object] = {
            "name": self._name,
            "type": "chunk",
            "offset": 0,
            "chunkOffset": self._size - self._left,
            "chunkSize": CHUNK_BYTES if self._left > CHUNK_BYTES else 0,
        }
        self._row = Row(fields, 1)
        self._writer.row(self._row)

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self._held_size += len(data)

    def _flush(self) -> None:
        """End the member."""
        if self._held:
            whole = self._row is self._first and self._file is None
            self._writer.member(b"".join(self._held), self._chunk, self._row, whole=whole)
        self._held, self._held_size, self._chunk, self._row = [], 0, 0, None

    def _entry(self, entry: Entry) -> None:
        """An entry, whose headers were read just now."""
        span = b"".join(self._span)
        self._span, self._span_size = [], 0
        self._dropping = entry.path in _OURS
        if not self._dropping:
            self._hold(span)
        size = entry.size if entry.kind == "f" else 0
        if self._dropping:
            self._left, self._padding = size, -size % _BLOCK
            return
        self._begin(entry, attributes_of(span))
        if self._held_size > CHUNK_BYTES and not size:
            self._flush()

    def _begin(self, entry: Entry, attributes: dict[str, str]) -> None:
        """Add the row of an entry; what a file holds begins a member."""
        fields = fields_of(entry, attributes)
        if entry.kind != "f" or not entry.size:
            self._writer.row(Row(fields))
            return
        self._flush()
        self._left = self._size = entry.size
        self._name = str(fields["name"])
        self._padding = -entry.size % _BLOCK
        several = entry.size > CHUNK_BYTES
        self._file = hashlib.sha256() if several else None
        self._first = self._row = Row(fields, 1 + several)
        if several:
            fields["chunkSize"] = CHUNK_BYTES
        self._writer.row(self._row)


def write_estargz(
    tar: Reader, sink: Sink, *, level: int = -1, workers: int = 2, spool: BinaryIO
) -> tuple[LayerResult, Digest, Digest]:
    """Write an uncompressed tar as an eStargz layer.

    Args:
        tar: read to its end.
        sink: takes the blob.
        level: of gzip, -1 for the default.
        workers: threads that compress.
        spool: an empty file for the table.

    Returns:
        The layer, whose diff_id is that of the tar with the table in it; the digest of the tar that was read;
        the digest of the table.

    Raises:
        UnsafeArchive, LimitExceeded: the tar is hostile.
        UsageError: the table cannot hold a name.
    """
    pool = ThreadPoolExecutor(max(1, workers), thread_name_prefix="estargz")
    try:
        writer = _Writer(sink, Codec("gzip", level), pool, workers, spool)
        cutter = _Cutter(tar, writer)
        cutter.run()
        table = writer.table()
    finally:
        pool.shutdown(cancel_futures=True)
    layer = LayerResult(
        diff_id=Digest("sha256", writer.raw.hexdigest()),
        digest=Digest("sha256", writer.blob.hexdigest()),
        size=writer.offset,
        uncompressed_size=writer.raw_size,
        media_type=OCI_LAYER_GZIP,
    )
    return layer, Digest("sha256", cutter.seen.hexdigest()), Digest.parse(table)
