"""Sparse files in GNU tar's archives: which pieces of a file an archive holds, and where they belong.

Why: `tar --sparse` leaves holes out. ADD of such an archive gives the whole file, as it does with BuildKit.
Spec: GNU tar's manual, "Storing Sparse Files": the old GNU format, PAX 0.1 and 1.0.
Trust: a map is hostile: its pieces must come in order, lie within the file and be what is stored, no more;
there are at most PIECES of them, and each block of a map is looked at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import BinaryIO

from imagesmith.errors import LimitExceeded, UnsafeArchive
from imagesmith.fs.limits import PIECES

__all__ = ["Pieces", "pieces_of"]

_BLOCK = 512
#: Of a number of a map, in decimal.
_MOST_DIGITS = 19


class Pieces:
    """The content of a sparse member: (offset in the file, bytes) of what is stored, one behind the other."""

    __slots__ = ("pieces", "size")

    def __init__(self, pieces: list[tuple[int, int]], size: int) -> None:
        self.pieces, self.size = pieces, size

    def open(self) -> BinaryIO:
        """There is nothing to read before `expand`."""
        raise UnsafeArchive("tar: sparse files are not supported here")

    def expand(self, archive: int, offset: int, into: int, at: int) -> None:
        """Write the file at `at` of the descriptor `into`; what is stored starts at `offset` of `archive`.

        Raises:
            UnsafeArchive: the archive ends early.
        """
        os.truncate(into, at + self.size)
        for start, length in self.pieces:
            done = 0
            while done < length:
                data = os.pread(archive, min(length - done, 1 << 20), offset)
                if not data:
                    raise UnsafeArchive("tar: unexpected EOF in a sparse file")
                os.pwrite(into, data, at + start + done)
                done += len(data)
                offset += len(data)


def pieces_of(
    head: bytes,
    pax: Mapping[str, bytes],
    stored: int,
    block: Callable[[], bytes],
    number: Callable[[bytes, str], int],
) -> tuple[Pieces, int] | None:
    """The map of a member and the bytes that are stored behind it; None if it is not sparse.

    Args:
        head: the member's header block.
        pax: its extended headers.
        stored: its size as the header has it, in bytes.
        block: reads the next block of the archive.
        number: reads a number of a header.

    Raises:
        UnsafeArchive: the map is damaged, or of a form that is not known.
        LimitExceeded: it has too many pieces.
    """
    if head[156:157] == b"S":
        return _old(head, stored, block, number)
    if not any(key.startswith("GNU.sparse.") for key in pax):
        return None
    if pax.get("GNU.sparse.major") == b"1" and pax.get("GNU.sparse.minor") == b"0":
        numbers, read = _map_before_data(block)
        return _checked(numbers, _decimal(pax.get("GNU.sparse.realsize", b"")), stored - read)
    if "GNU.sparse.map" not in pax:
        raise UnsafeArchive("tar: sparse files of this form are not supported")
    if pax["GNU.sparse.map"].count(b",") > 2 * PIECES:
        raise _too_many()
    numbers = [_decimal(word) for word in pax["GNU.sparse.map"].split(b",")]
    return _checked(numbers, _decimal(pax.get("GNU.sparse.size", b"")), stored)


def _old(
    head: bytes, stored: int, block: Callable[[], bytes], number: Callable[[bytes, str], int]
) -> tuple[Pieces, int]:
    numbers: list[int] = []

    def take(fields: bytes) -> None:
        for n in range(0, len(fields), 24):
            if fields[n : n + 1] == b"\0":
                break
            numbers.extend(number(fields[m : m + 12], "sparse map") for m in (n, n + 12))

    take(head[386:482])
    more = head[482:483] not in (b"\0", b"")
    while more:
        if len(numbers) > 2 * PIECES:
            raise _too_many()
        data, before = block(), len(numbers)
        take(data[:504])
        more = data[504:505] != b"\0"
        if more and len(numbers) == before:
            raise UnsafeArchive("tar: a sparse map with an empty block before its end")
    return _checked(numbers, number(head[483:495], "real size"), stored)


def _map_before_data(block: Callable[[], bytes]) -> tuple[list[int], int]:
    """PAX 1.0: decimal lines before the data, padded to a block. Returns them and the bytes read."""
    numbers: list[int] = []
    rest, read, wanted = b"", 0, 1
    while len(numbers) < wanted:
        data = block()
        read += len(data)
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if len(numbers) == wanted:
                break
            numbers.append(_decimal(line))
            if len(numbers) == 1:
                wanted += 2 * numbers[0]
        if wanted > 2 * PIECES + 1:
            raise _too_many()
        if len(numbers) < wanted and len(rest) > _MOST_DIGITS:
            raise UnsafeArchive(f"tar: sparse map: {rest[:30]!r} is not a number")
    return numbers[1:], read


def _too_many() -> LimitExceeded:
    return LimitExceeded(f"tar: a sparse map of more than {PIECES} pieces")


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > _MOST_DIGITS:
        raise UnsafeArchive(f"tar: sparse map: {text[:30]!r} is not a number")
    return int(text)


def _checked(numbers: list[int], size: int, stored: int) -> tuple[Pieces, int]:
    pieces = list(zip(numbers[::2], numbers[1::2], strict=False))
    end = 0
    for start, length in pieces:
        if start < end or length < 0:
            raise UnsafeArchive("tar: a sparse map whose pieces overlap")
        end = start + length
    if len(numbers) % 2 or end > size or sum(length for _, length in pieces) != stored:
        raise UnsafeArchive("tar: a sparse map that does not fit its file")
    return Pieces(pieces, size), stored
