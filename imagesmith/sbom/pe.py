"""What the version resource of a Windows program or library says: names, versions, the maker.

Why: .NET's assemblies are such files on Linux as well, and Python's installers bring some.
Spec: Microsoft's PE Format (headers, sections, the resource section), and VS_VERSIONINFO of the Windows API.
Trust: hostile. Tables, texts and their nesting are bounded, every place is looked up in the file before it is
read, and what lies outside is ValueError.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from imagesmith.sbom.parts import exactly

__all__ = ["LEAST_BYTES", "MAGIC", "version_texts"]

MAGIC = b"MZ"
#: No smaller file is one with anything in it.
LEAST_BYTES = 97

_MOST_SECTIONS, _MOST_ENTRIES, _MOST_TEXTS, _RESOURCE_BYTES = 1000, 4096, 500, 1 << 20
_VERSION, _BELOW = 16, 1 << 31
_WHAT = "a PE file"
#: Place in memory, place in the file, and size (bytes).
_Span = tuple[int, int, int]


def version_texts(file: BinaryIO, size: int) -> dict[str, str]:
    """The texts of the version resource by their names; empty if the file has none.

    Args:
        file: open, seekable.
        size: of the file, bytes.

    Raises:
        ValueError: it is no PE file, or a damaged one.
    """
    head = exactly(file, size, 0, 64, _WHAT)
    (at,) = struct.unpack_from("<I", head, 60)
    coff = exactly(file, size, at, 24, _WHAT)
    if coff[:4] != b"PE\0\0":
        raise ValueError("no PE file")
    sections, optional_bytes = struct.unpack_from("<H", coff, 6)[0], struct.unpack_from("<H", coff, 20)[0]
    optional = exactly(file, size, at + 24, optional_bytes, _WHAT)
    resources = (112 if optional[:2] == b"\x0b\x02" else 96) + 2 * 8  # the third of the data directories
    if len(optional) < resources + 8 or sections > _MOST_SECTIONS:
        return {}
    (root,) = struct.unpack_from("<I", optional, resources)
    table = exactly(file, size, at + 24 + optional_bytes, sections * 40, _WHAT)
    spans = [(row[1], row[3], row[2]) for row in struct.iter_unpack("<8x4I16x", table)]
    if not root:
        return {}
    place = _found(file, size, _placed(spans, root))
    if place is None:
        return {}
    where, length = struct.unpack("<II", exactly(file, size, place, 8, _WHAT))
    raw = exactly(file, size, _placed(spans, where), min(length, _RESOURCE_BYTES), _WHAT)
    out: dict[str, str] = {}
    for name, value in _texts(raw, 0, len(raw), 0):
        if len(out) < _MOST_TEXTS:
            out.setdefault(name, value)
    return out


def _placed(spans: list[_Span], address: int) -> int:
    """Where in the file something lies that is loaded at an address."""
    for begin, offset, size in spans:
        if begin <= address < begin + size:
            return offset + address - begin
    raise ValueError(f"{_WHAT} with nothing at the address {address:#x}")


def _found(file: BinaryIO, size: int, root: int) -> int | None:
    """Where the entry of the version resource lies: of that type the first, in its first language."""
    at, wanted = root, _VERSION
    for _ in range(3):
        named, numbered = struct.unpack("<12x2H", exactly(file, size, at, 16, _WHAT))
        count = named + numbered
        if count > _MOST_ENTRIES:
            raise ValueError(f"{_WHAT} with {count} resources of one kind, more than {_MOST_ENTRIES}")
        rows = struct.iter_unpack("<II", exactly(file, size, at + 16, count * 8, _WHAT))
        place: int | None = next((to for name, to in rows if wanted in (name, 0)), None)
        if place is None:
            return None
        if not place & _BELOW:
            return root + place
        at, wanted = root + (place & ~_BELOW), 0
    return None


def _texts(raw: bytes, at: int, end: int, depth: int) -> Iterator[tuple[str, str]]:
    """Names and values of the blocks in a part of the resource: those with texts are its fourth level."""
    while at + 6 <= end and depth < 4:
        length, value, _ = struct.unpack_from("<3H", raw, at)
        stop = min(at + length, end)
        name, after = _wide(raw, at + 6, stop)
        if length < 6:
            return
        if depth == 3:
            yield name, _wide(raw, after, stop)[0]
        else:
            below = after if depth else after + -(-value // 4) * 4  # the first has numbers before its blocks
            yield from _texts(raw, below, stop, depth + 1)
        at += -(-length // 4) * 4


def _wide(raw: bytes, at: int, end: int) -> tuple[str, int]:
    """A text of UTF-16 up to its NUL, and the next multiple of 4 behind that."""
    stop = at
    while stop + 1 < end and raw[stop : stop + 2] != b"\0\0":
        stop += 2
    return raw[at:stop].decode("utf-16-le", "replace"), -(-(stop + 2) // 4) * 4
