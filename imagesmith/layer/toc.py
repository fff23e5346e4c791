"""Read the table of contents of an eStargz or zstd:chunked layer: entries, and where in the blob bytes are.

Why: with its table a layer is looked into without the layer: names and metadata from the table, a file from
the few members that hold it. Both kinds have the same rows; they differ in where the table is and in how its
digest is told, in annotations of the layer that the manifest's digest vouches for.
Spec: docs/estargz.md of containerd/stargz-snapshotter; containers/storage, pkg/chunked (zstd:chunked).
Trust: the table is its maker's word: whoever unpacks the whole layer may see other files, if that lied. It is
read as a tar is: names are cleaned, limits hold, digests of chunks are checked, what is unpacked is counted.
A row that tells no digest of what it stands for makes the table unusable, and the layer is read whole.
Threads: any.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import os
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

from imagesmith.errors import DigestMismatch, InvalidDocument, UnsafeArchive
from imagesmith.fs.entry import BytesContent, Entry
from imagesmith.fs.limits import CAPABILITY_BYTES
from imagesmith.layer.decompress import decompressed
from imagesmith.layer.estargz import TABLE, TABLE_NOTE
from imagesmith.layer.tarread import as_layer_entry, read_archive
from imagesmith.oci.digest import Digest, digest_bytes
from imagesmith.oci.times import parse_ns
from imagesmith.values import frozen

__all__ = ["ChunkContent", "Part", "has_table", "read_table"]

#: Reads so many bytes of a blob from an offset on; None where that cannot be done.
Part = Callable[[int, int], bytes | None]

#: Annotations of zstd:chunked, now and before: the digest of the packed table, and
#: `offset:size:unpacked size:kind` of it.
_CHUNKED = ("io.github.containers.zstd-chunked.", "io.containers.zstd-chunked.")
_DIGEST, _PLACE = "manifest-checksum", "manifest-position"
_FOOTER_BYTES = 51
#: Of a table, packed and unpacked; of its rows, and of all values in them. More, and the layer is read whole.
_MOST_BYTES, _MOST_ROWS, _MOST_VALUES = 64 << 20, 1_000_000, 8_000_000
#: Of one chunk: what must be read to check any of it.
_MOST_CHUNK = 64 << 20
_KINDS = {"reg": "f", "dir": "d", "symlink": "l", "hardlink": "h", "char": "c", "block": "b", "fifo": "p"}
_OURS = (TABLE, ".no.prefetch.landmark", ".prefetch.landmark")
_MAX_ID = 0xFFFFFFFE


@frozen(kw_only=True)
class _Chunk:
    """A piece of a file: where its member is in the blob, what to pass over in it, its size and digest.

    A hole has the digest "".
    """

    begin: int
    end: int
    inner: int
    size: int
    digest: str


class ChunkContent:
    """The bytes of a file that are read from a blob chunk by chunk, each checked; see fs.entry.Content."""

    __slots__ = ("chunks", "part", "path")

    def __init__(self, part: Part, path: str, chunks: tuple[_Chunk, ...]) -> None:
        self.part, self.path, self.chunks = part, path, chunks

    def packed(self) -> tuple[Part, str, tuple[tuple[int, int, int, int, str], ...]]:
        """See fs.entry.Packed."""
        return self.part, self.path, tuple((c.begin, c.end, c.inner, c.size, c.digest) for c in self.chunks)

    @classmethod
    def unpacked(cls, part: Part, path: str, chunks: list[list[Any]]) -> ChunkContent:
        """See fs.entry.Packed."""
        made = (_Chunk(begin=b, end=e, inner=i, size=s, digest=d) for b, e, i, s, d in chunks)
        return cls(part, path, tuple(made))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ChunkContent) and self.chunks == other.chunks and self.part is other.part

    def __hash__(self) -> int:
        return hash(self.chunks)

    def open(self) -> BinaryIO:
        """Open the file's bytes; see fs.entry.Content."""
        return io.BufferedReader(_ChunkReader(self), 1 << 18)

    def pieces(self) -> Iterator[bytes]:
        """The bytes, a chunk at a time.

        Raises:
            DigestMismatch: a chunk is not what the table says.
            InvalidDocument: it cannot be unpacked, or the place stopped giving parts.
        """
        for chunk in self.chunks:
            if not chunk.digest:
                yield from _zeros(chunk.size)
                continue
            packed = self.part(chunk.begin, chunk.end - chunk.begin)
            if packed is None:
                raise InvalidDocument(f"{self.path!r}: the registry stopped to give parts of its layer")
            with decompressed(io.BytesIO(packed)) as stream:
                if chunk.inner:
                    _pass_over(stream, chunk.inner)
                data = stream.read(chunk.size)
            if str(digest_bytes(data)) != chunk.digest:
                raise DigestMismatch(
                    f"{self.path!r}: a chunk of its layer has digest {digest_bytes(data)}, not {chunk.digest}"
                )
            yield data


class _ChunkReader(io.RawIOBase):
    """A file over the pieces of a content."""

    def __init__(self, content: ChunkContent) -> None:
        super().__init__()
        self._pieces, self._left = content.pieces(), memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size


def _zeros(size: int) -> Iterator[bytes]:
    """A hole."""
    while size:
        yield bytes(min(size, 1 << 20))
        size -= min(size, 1 << 20)


def _pass_over(stream: BinaryIO, size: int) -> None:
    """Read so many bytes that nobody wants, if they are there."""
    while size and (data := stream.read(min(size, 1 << 20))):
        size -= len(data)


def has_table(annotations: Mapping[str, str]) -> bool:
    """True if a layer's annotations tell the digest of a table of contents."""
    return TABLE_NOTE in annotations or any(f"{prefix}{_DIGEST}" in annotations for prefix in _CHUNKED)


def read_table(annotations: Mapping[str, str], size: int, part: Part) -> list[Entry] | None:
    """The entries of a layer by its table, in the order of the tar; None if there is none that can be used.

    Args:
        annotations: of the layer's descriptor.
        size: of the blob, bytes.
        part: reads some of it.

    Raises:
        DigestMismatch: the table is not what the annotation says.
        UnsafeArchive, LimitExceeded: a name leaves the root, or is too long.
        RegistryError: it could not be read.
    """
    found = _chunked(annotations, size, part)
    if found is None and TABLE_NOTE in annotations:
        found = _stargz(annotations, size, part)
    if found is None:
        return None
    raw, data_end = found
    if raw.count(b"{") + raw.count(b"[") > _MOST_ROWS or raw.count(b",") > _MOST_VALUES:
        return None  # before it takes a hundred times its size as objects
    try:
        document = json.loads(raw)
        rows = document["entries"]
        usable = isinstance(rows, list) and len(rows) <= _MOST_ROWS
        if not usable or not all(isinstance(row, dict) for row in rows):
            return None
        return _Rows(rows, data_end, part).entries()
    except (ValueError, KeyError, TypeError, RecursionError, InvalidDocument):
        return None


def _stargz(annotations: Mapping[str, str], size: int, part: Part) -> tuple[bytes, int] | None:
    """The table of an eStargz blob, and where what it tells of ends."""
    footer = part(size - _FOOTER_BYTES, _FOOTER_BYTES) if size > _FOOTER_BYTES else None
    if footer is None or footer[12:16] != b"SG\x16\x00" or footer[32:38] != b"STARGZ":
        return None
    try:
        begin = int(footer[16:32], 16)
    except ValueError:
        return None
    length = size - _FOOTER_BYTES - begin
    packed = part(begin, length) if 0 < length <= _MOST_BYTES and begin >= 0 else None
    if packed is None:
        return None
    try:
        with decompressed(io.BytesIO(packed)) as plain:
            entry, _ = next(read_archive(plain))
            if entry.path != TABLE or entry.size > _MOST_BYTES:
                return None
            raw = plain.read(entry.size)
    except (StopIteration, UnsafeArchive, InvalidDocument):
        return None
    _check(raw, annotations[TABLE_NOTE])
    return raw, begin


def _chunked(annotations: Mapping[str, str], size: int, part: Part) -> tuple[bytes, int] | None:
    """The same of a zstd:chunked blob."""
    prefix = next((p for p in _CHUNKED if f"{p}{_DIGEST}" in annotations), "")
    words = annotations.get(f"{prefix}{_PLACE}", "").split(":")
    if len(words) != 4 or not all(w.isascii() and w.isdigit() and len(w) < 16 for w in words):
        return None
    begin, length, unpacked, kind = map(int, words)
    if kind != 1 or not 0 < length <= _MOST_BYTES or unpacked > _MOST_BYTES or begin + length > size:
        return None
    packed = part(begin, length)
    if packed is None:
        return None
    _check(packed, annotations[f"{prefix}{_DIGEST}"])
    with decompressed(io.BytesIO(packed), "zstd") as plain:
        return plain.read(unpacked + 1), begin


def _check(raw: bytes, expected: str) -> None:
    found = digest_bytes(raw)
    if str(found) != expected:
        raise DigestMismatch(f"a layer's table of contents has digest {found}, not {expected[:100]}")


class _Rows:
    """The rows of a table, made entries."""

    def __init__(self, rows: list[dict[str, Any]], end: int, part: Part) -> None:
        self._rows, self._part = rows, part
        self._ends = sorted({o for row in rows if 0 < (o := _number(row, "offset")) < end} | {end})

    def entries(self) -> list[Entry]:
        """All of them; raises InvalidDocument for a table that cannot be used."""
        out: list[Entry] = []
        at = 0
        while at < len(self._rows):
            row, pieces = self._rows[at], [self._rows[at]]
            at += 1
            while at < len(self._rows) and self._rows[at].get("type") == "chunk":
                pieces.append(self._rows[at])
                at += 1
            raw = _entry(row)
            size = raw.size
            e = None if raw.path.strip("/") in _OURS else as_layer_entry(raw)
            if e is None:
                continue
            if e.kind == "f":
                e.content = self._content(e.path, size, pieces) if size else BytesContent(b"")
            out.append(e)
        return out

    def _content(self, path: str, size: int, pieces: list[dict[str, Any]]) -> ChunkContent:
        chunks, at = [], 0
        for row in pieces:
            if _number(row, "chunkOffset") != at:
                raise InvalidDocument("chunks that do not follow each other")
            length = _number(row, "chunkSize") or size - at
            if not 0 < length <= size - at:
                raise InvalidDocument("a chunk of no size, or one that is too long")
            chunks.append(self._chunk(row, length, alone=len(pieces) == 1))
            at += length
        if at != size:
            raise InvalidDocument("chunks that end too early")
        return ChunkContent(self._part, path, tuple(chunks))

    def _chunk(self, row: dict[str, Any], size: int, *, alone: bool) -> _Chunk:
        if row.get("chunkType") == "zeros":
            return _Chunk(begin=0, end=0, inner=0, size=size, digest="")
        begin, inner = _number(row, "offset"), _number(row, "innerOffset")
        if begin >= self._ends[-1]:
            raise InvalidDocument("a chunk that begins behind the data")
        end = _number(row, "endOffset") or self._ends[bisect_right(self._ends, begin)]
        if max(size, inner) > _MOST_CHUNK or not 0 < end - begin <= _MOST_CHUNK or end > self._ends[-1]:
            raise InvalidDocument("a chunk that is too large")
        digest = Digest.parse(str(row.get("chunkDigest") or (row.get("digest") if alone else "")))
        if digest.algorithm != "sha256":
            raise InvalidDocument("a chunk whose digest is not of sha256")
        return _Chunk(begin=begin, end=end, inner=inner, size=size, digest=str(digest))


def _number(row: dict[str, Any], key: str, most: int = 1 << 50) -> int:
    value = row.get(key) or 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise InvalidDocument(f"{key} is no number that it may be")
    return value


def _text(row: dict[str, Any], key: str) -> str:
    value = row.get(key) or ""
    if not isinstance(value, str) or "\0" in value:
        raise InvalidDocument(f"{key} is no text")
    return os.fsdecode(value.encode())


def _entry(row: dict[str, Any]) -> Entry:
    """The entry of a row, with its raw name."""
    kind = _KINDS.get(row.get("type", ""))
    if kind is None:
        raise InvalidDocument("a row of a type that is not known")
    time = row.get("modtime") or ""
    attributes = row.get("xattrs") or {}
    capability = attributes.get("security.capability") if isinstance(attributes, dict) else None
    try:
        value = base64.b64decode(capability, validate=True) if isinstance(capability, str) else None
    except binascii.Error as e:
        raise InvalidDocument("xattrs: not base64") from e
    if value is not None and len(value) > CAPABILITY_BYTES:
        raise InvalidDocument("xattrs: a capability that is too long")
    return Entry(
        _text(row, "name"),
        kind,
        _number(row, "mode") & 0o7777,
        _number(row, "uid", _MAX_ID),
        _number(row, "gid", _MAX_ID),
        _number(row, "size") if kind == "f" else 0,
        parse_ns(time) if isinstance(time, str) and time else 0,
        _text(row, "linkName") if kind in "lh" else "",
        (_number(row, "devMajor", 0xFFF), _number(row, "devMinor", 0xFFFFF)) if kind in "cb" else (0, 0),
        value,
    )
