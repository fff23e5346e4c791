"""Compressed streams, told by their first bytes and read to their true end.

Why: media types lie (a layer called gzip may be plain or zstd), gzip may have many members and zstd many
frames, and readers that stop after the first lose data silently.
Trust: hostile; a zstd window or an xz dictionary above 128 MiB is refused, what follows the data is an error
unless it is zero.
"""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from typing import BinaryIO, Protocol

from imagesmith.errors import InvalidDocument

__all__ = ["GZIP_HEADER", "decompressed", "sniff"]

#: The header that Go writes: deflate, no name, no time, unknown system.
GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"

_MAGIC = ((b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ\x00", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"))
_CHUNK = 1 << 18
#: zlib's word for a gzip header and trailer around the data.
_GZIP = 16 + zlib.MAX_WBITS
#: A member is decoded whole if neither it nor what it stands for is larger.
_MOST_MEMBER = (1 << 20) + (1 << 17)
#: How any member begins.
_GZIP_MAGIC = b"\x1f\x8b\x08"
#: A header, an empty deflate stream and a trailer.
_LEAST_MEMBER = 20
#: What a read does not use up is copied for the next one, so pieces are not large.
_GZIP_PIECE = 1 << 16
#: All that a piece holds is decoded at once, and four bytes may stand for 128 KiB.
_ZSTD_PIECE = 1 << 12
_MOST_WINDOW = 128 << 20


class _Reads(Protocol):
    def read(self, size: int, /) -> bytes: ...


def sniff(head: bytes) -> str:
    """The compression of these first bytes: gzip, bzip2, xz, zstd, or '' for none that is known."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if len(head) >= 4 and head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F:
        return "zstd"
    return ""


class _Reader(io.RawIOBase):
    """Turns errors of the decoders into ours, and bounds each read."""

    def __init__(self, source: _Reads, what: str) -> None:
        super().__init__()
        self._source, self._what = source, what

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            return b"".join(iter(lambda: self.read(_CHUNK), b""))
        try:
            return self._source.read(size)
        except (EOFError, OSError, zlib.error, lzma.LZMAError, ValueError) as e:
            said = "unexpected EOF" if isinstance(e, EOFError) else str(e)
            raise InvalidDocument(f"{self._what} stream: {said}") from e

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]  # any writable buffer
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)


class _Peeked(io.RawIOBase):
    """A stream whose first bytes were read already."""

    def __init__(self, head: bytes, source: _Reads) -> None:
        super().__init__()
        self._head, self._source = head, source

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self._head:
            data, self._head = (self._head, b"") if size < 0 else (self._head[:size], self._head[size:])
            return data + self.read(-1) if size < 0 else data
        if size < 0:
            return b"".join(iter(lambda: self._source.read(_CHUNK), b""))
        return self._source.read(size)

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]  # any writable buffer
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)


class _Pieces:
    """Reads of any size out of pieces that a decoder gives."""

    def __init__(self) -> None:
        self._out = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        if len(self._out) >= size > 0:
            data, self._out = self._out[:size].tobytes(), self._out[size:]
            return data
        parts = []
        while size and (self._out or self._fill()):
            parts.append(self._out[:size])
            self._out = self._out[size:]
            size -= len(parts[-1])
        return b"".join(parts)

    def _fill(self) -> bool:
        """Put the next piece into `_out`; False at the end."""
        raise NotImplementedError


class _Gzip(_Pieces):
    """A gzip stream of one member or several; zeros behind the last one are padding.

    The standard library's reader gives eight kilobytes at a time and sums them up in Python. Members of a
    mebibyte, as our own layers have them, are decoded whole, in half the time.
    """

    def __init__(self, source: _Reads) -> None:
        super().__init__()
        self._source, self._left = source, b""
        self._member: zlib._Decompress | None = None
        self._begun = False
        self._whole = True

    def _fill(self) -> bool:
        while True:
            if self._member is None or self._member.eof:
                if self._member is not None and not self._next_member(self._member.unused_data):
                    return False
                if self._whole and self._fill_whole():
                    return True
                self._member = zlib.decompressobj(_GZIP)
            data = self._left or self._source.read(_GZIP_PIECE)
            out = self._member.decompress(data, _CHUNK)
            self._left = self._member.unconsumed_tail
            self._begun = self._begun or bool(data)
            if out:
                self._out = memoryview(out)
                return True
            if not data and not self._member.eof:
                if self._begun:
                    raise EOFError
                return False

    def _next_member(self, data: bytes) -> bool:
        """Go to the next member; False if there is none."""
        data = data.lstrip(b"\0")
        while not data:
            more = self._source.read(_GZIP_PIECE)
            if not more:
                return False
            data = more.lstrip(b"\0")
        self._left = data
        return True

    def _fill_whole(self) -> bool:
        """Put the next member into `_out`, if it is a small one before another, and is as its end says.

        Where it ends is guessed from the next one's header. What is not sure to be one member, the last one
        and any other stream are left to zlib.
        """
        import deflate

        data, end, seen = self._left, -1, len(GZIP_HEADER)
        while end < 0 and len(data) < _MOST_MEMBER and (not data or data.startswith(GZIP_HEADER)):
            more = self._source.read(_CHUNK)
            if not more:
                break
            data += more
            end = data.find(GZIP_HEADER, seen)
            seen = max(seen, len(data) - len(GZIP_HEADER))
        self._left = data
        size = int.from_bytes(data[end - 4 : end], "little") if end > _LEAST_MEMBER else 0
        if not 0 < size <= _MOST_MEMBER:
            self._whole = False
            return False
        if data.find(_GZIP_MAGIC, len(_GZIP_MAGIC), end) >= 0:  # what may be another member between them
            return False
        member = memoryview(data)[:end]
        try:
            out = deflate.gzip_decompress(member, size)
        except deflate.DeflateError:
            out = bytearray()
        self._whole = len(out) == size and deflate.crc32(out) == int.from_bytes(member[-8:-4], "little")
        if self._whole:
            self._out, self._left, self._begun = memoryview(out), data[end:], True
            self._member = None  # the next one begins where this one ended
        return self._whole


class _Zstd(_Pieces):
    """A zstd stream; the decoder's own error turned into a ValueError, an early end into an EOFError."""

    def __init__(self, source: BinaryIO) -> None:
        import zstandard

        super().__init__()
        self._error = zstandard.ZstdError
        self._source = source
        self._decoder = zstandard.ZstdDecompressor(max_window_size=_MOST_WINDOW)
        self._frame = self._decoder.decompressobj()
        self._open = False

    def _fill(self) -> bool:
        while True:
            data = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._frame, self._open = self._decoder.decompressobj(), False
            data = data or self._source.read(_ZSTD_PIECE)
            if not data:
                if self._open:
                    raise EOFError
                return False
            self._open = True
            try:
                self._out = memoryview(self._frame.decompress(data))
            except self._error as e:
                raise ValueError(str(e)) from e
            if self._out:
                return True


class _Xz(_Pieces):
    """An xz stream or several; the standard library's reader lets the stream say how much memory it needs."""

    def __init__(self, source: BinaryIO) -> None:
        super().__init__()
        self._source, self._left = source, b""
        self._decoder = self._new()

    @staticmethod
    def _new() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MOST_WINDOW + (1 << 20))

    def _fill(self) -> bool:
        while True:
            if self._decoder.eof:
                self._left = (self._decoder.unused_data or self._source.read(_CHUNK)).lstrip(b"\0")
                while not self._left:
                    data = self._source.read(_CHUNK)
                    if not data:
                        return False
                    self._left = data.lstrip(b"\0")
                self._decoder = self._new()
            if self._decoder.needs_input and not self._left:
                self._left = self._source.read(_CHUNK)
                if not self._left:
                    raise EOFError
            self._out = memoryview(self._decoder.decompress(self._left, _CHUNK))
            self._left = b""
            if self._out:
                return True


def decompressed(source: _Reads, kind: str | None = None) -> BinaryIO:
    """The plain bytes of a stream, whatever of gzip, bzip2, xz and zstd it is compressed with.

    Args:
        source: the stream.
        kind: the compression if it is known; None looks at the first bytes.

    Raises:
        InvalidDocument: while it is read, if the stream is damaged or ends early.
    """
    head = b""
    while kind is None and len(head) < 6:
        data = source.read(6 - len(head))
        if not data:
            break
        head += data
    found = sniff(head) if kind is None else kind
    raw = io.BufferedReader(_Peeked(head, source), _CHUNK)
    if not found:
        return raw
    if found == "gzip":
        return _Reader(_Gzip(raw), "gzip")  # type: ignore[return-value]  # a RawIOBase reads
    if found == "bzip2":
        return _Reader(bz2.BZ2File(raw), "bzip2")  # type: ignore[return-value]
    if found == "xz":
        return _Reader(_Xz(raw), "xz")  # type: ignore[return-value]
    return _Reader(_Zstd(raw), "zstd")  # type: ignore[return-value]
