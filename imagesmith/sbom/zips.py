"""Zip archives by their central directory: the names in them, and one file's bytes at a time.

Why our own: `zipfile` makes an object of 500 bytes for each of the 50,000 classes of a jar, and unpacks
however much a file says it holds. Here rows are passed over by name, and all that is unpacked is counted.
Spec: PKWARE's APPNOTE: end of central directory and its ZIP64 forms, central and local headers, methods
stored and deflated; an archive may stand behind something else, as executable jars do.
Trust: hostile. The directory, the number of rows and what is unpacked are bounded; rows that name places
outside the archive are ValueError.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import BinaryIO

from imagesmith.sbom.parts import Part, exactly
from imagesmith.values import frozen

__all__ = ["Budget", "Row", "Zip"]

_END, _END64, _PLACE64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_DIRECTORY_BYTES, _MOST_ROWS, _MOST_WANTED = 64 << 20, 500_000, 20_000
_STORED, _DEFLATED, _ENCRYPTED = 0, 8, 1
_BLOCK = 1 << 16
_FULL = 0xFFFFFFFF


class Budget:
    """How many bytes may still be unpacked of an archive and all that is in it."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, count: int) -> None:
        """Count bytes.

        Raises:
            ValueError: that is more than is left.
        """
        self.left -= count
        if self.left < 0:
            raise ValueError("archives that unpack to too much")


@frozen
class Row:
    """One file of an archive: where its local header is, how it is packed, and its sizes (bytes)."""

    name: str
    offset: int
    method: int
    packed: int
    size: int


class Zip:
    """An archive that is open.

    rows    the files whose names were wanted, in the archive's order
    """

    def __init__(self, file: BinaryIO, size: int, wanted: Callable[[str], bool], budget: Budget) -> None:
        """Read the central directory.

        Args:
            file: open, seekable.
            size: of the file, bytes.
            wanted: is asked about each name.
            budget: the bytes of the directory count as well: an archive may lie in itself many times.

        Raises:
            ValueError: it is no archive, or one that is damaged or too large.
        """
        self._file, self._size = file, size
        count, length, offset, end = self._end()
        if length > _DIRECTORY_BYTES or count > _MOST_ROWS or length > end:
            raise ValueError(f"an archive with {count} files, listed in {length} bytes")
        budget.take(length)
        self._before = end - length - offset  # what the archive stands behind
        if self._before < 0:
            raise ValueError("an archive whose list is not where it says")
        self.rows = self._listed(self._read(end - length, length), count, wanted)

    def _read(self, offset: int, length: int) -> bytes:
        return exactly(self._file, self._size, offset, length, "an archive")

    def _end(self) -> tuple[int, int, int, int]:
        """Of the central directory: rows, bytes, where it says it begins, where it ends."""
        start = max(0, self._size - 22 - 0xFFFF)
        tail = self._read(start, self._size - start)
        at = tail.rfind(_END, 0, max(0, len(tail) - 18))
        if at < 0:
            raise ValueError("no zip archive")
        count, length, offset = struct.unpack_from("<HII", tail, at + 10)
        end = start + at
        if end >= 76 and self._read(end - 20, 4) == _PLACE64:
            large = self._read(end - 76, 56)  # of the usual length, without further fields
            if large[:4] == _END64:
                count, length, offset = struct.unpack_from("<QQQ", large, 32)
                end -= 76
        return count, length, offset, end

    def _listed(self, raw: bytes, count: int, wanted: Callable[[str], bool]) -> list[Row]:
        rows: list[Row] = []
        at = 0
        for _ in range(count):
            if raw[at : at + 4] != b"PK\x01\x02" or at + 46 > len(raw):
                raise ValueError("an archive whose list is damaged")
            flags, method = struct.unpack_from("<HH", raw, at + 8)
            packed, size, name_bytes, more_bytes, comment_bytes = struct.unpack_from("<IIHHH", raw, at + 20)
            offset = struct.unpack_from("<I", raw, at + 42)[0]
            begin = at + 46
            at = begin + name_bytes + more_bytes + comment_bytes
            name = raw[begin : begin + name_bytes].decode("utf-8", "replace")
            if flags & _ENCRYPTED or not wanted(name):
                continue
            if _FULL in (packed, size, offset):
                more = raw[begin + name_bytes : begin + name_bytes + more_bytes]
                size, packed, offset = _large(more, size, packed, offset)
            if len(rows) == _MOST_WANTED:
                raise ValueError(f"an archive with more than {_MOST_WANTED} files to read")
            rows.append(Row(name, offset, method, packed, size))
        return rows

    def _begin(self, row: Row) -> int:
        """Where the packed bytes of a file begin."""
        at = self._before + row.offset
        head = self._read(at, 30)
        if head[:4] != b"PK\x03\x04":
            raise ValueError(f"an archive without {row.name[:100]!r} where it lists it")
        name_bytes, more_bytes = struct.unpack_from("<HH", head, 26)
        begin: int = at + 30 + name_bytes + more_bytes
        return begin

    def content(self, row: Row, limit_bytes: int, budget: Budget) -> bytes:
        """The bytes of a file.

        Raises:
            ValueError: there are more than the limit or the budget, it is packed otherwise, or damaged.
        """
        if row.size > limit_bytes:
            raise ValueError(f"{row.name[:100]!r} of {row.size} bytes, more than {limit_bytes}")
        at = self._begin(row)
        if row.method == _STORED:
            budget.take(row.packed)
            if row.packed > limit_bytes:
                raise ValueError(f"{row.name[:100]!r} of {row.packed} bytes, more than {limit_bytes}")
            return self._read(at, row.packed)
        if row.method != _DEFLATED:
            raise ValueError(f"{row.name[:100]!r} is packed by the method {row.method}")
        unpacking, parts, done, left = zlib.decompressobj(-15), [], 0, row.packed
        while left > 0 and not unpacking.eof:
            piece = self._read(at, min(left, _BLOCK))
            at, left = at + len(piece), left - len(piece)
            while piece:
                out = unpacking.decompress(piece, _BLOCK)
                budget.take(len(out))
                done += len(out)
                if done > limit_bytes:
                    raise ValueError(f"{row.name[:100]!r} unpacks to more than {limit_bytes} bytes")
                parts.append(out)
                piece = unpacking.unconsumed_tail
        return b"".join(parts)

    def inner(self, row: Row, limit_bytes: int, budget: Budget) -> tuple[BinaryIO, int]:
        """A file, open, and its size: where it lies if it is stored, else unpacked into memory.

        Raises:
            ValueError: see `content`.
        """
        if row.method == _STORED:
            at = self._begin(row)
            if at + row.packed > self._size:
                raise ValueError("an archive whose file ends outside")
            return io.BufferedReader(Part(self._file, at, row.packed), _BLOCK), row.packed
        data = self.content(row, limit_bytes, budget)
        return io.BytesIO(data), len(data)


def _large(more: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """The three numbers, those that do not fit from the ZIP64 field behind the name."""
    at = 0
    while at + 4 <= len(more):
        kind, length = struct.unpack_from("<HH", more, at)
        if kind == 1:
            field, out = more[at + 4 : at + 4 + length], []
            for number in (size, packed, offset):
                if number == _FULL and len(field) >= 8:
                    number, field = int.from_bytes(field[:8], "little"), field[8:]
                out.append(number)
            return out[0], out[1], out[2]
        at += 4 + length
    return size, packed, offset
