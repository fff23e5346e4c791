"""Windows files with nothing but a version resource, written by hand from Microsoft's descriptions."""

from __future__ import annotations

import struct
from collections.abc import Mapping

__all__ = ["pe"]

_AT = 0x1000  # where the only section is loaded


def _block(name: str, value: bytes, below: bytes = b"", count: int | None = None) -> bytes:
    """A block of VS_VERSIONINFO: three numbers, its name, its value, the blocks below it."""
    head = name.encode("utf-16-le") + b"\0\0"
    head += b"\0" * (-(6 + len(head)) % 4)
    whole = head + value + b"\0" * (-len(value) % 4 if below else 0) + below
    return struct.pack("<3H", 6 + len(whole), len(value) if count is None else count, 1) + whole


def pe(texts: Mapping[str, str], *, wide: bool = True) -> bytes:
    """A library whose version resource has these texts."""
    rows = b""
    for name, value in texts.items():
        text = value.encode("utf-16-le") + b"\0\0"
        rows += b"\0" * (-len(rows) % 4) + _block(name, text, count=len(text) // 2)
    strings = _block("StringFileInfo", b"", _block("040904b0", b"", rows))
    info = _block("VS_VERSION_INFO", struct.pack("<I48x", 0xFEEF04BD), strings)
    tree = b""
    for depth, name in enumerate((16, 1, 1033)):
        below = 24 * (depth + 1) | (1 << 31 if depth < 2 else 0)
        tree += struct.pack("<12x2H", 0, 1) + struct.pack("<II", name, below)
    tree += struct.pack("<IIII", _AT + 88, len(info), 0, 0)
    section = tree + info
    optional = (b"\x0b\x02" if wide else b"\x0b\x01").ljust(112 if wide else 96, b"\0")
    optional += bytes(16) + struct.pack("<II", _AT, len(section)) + bytes(8 * 13)
    head = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64)
    head += b"PE\0\0" + struct.pack("<HH12xHH", 0x8664, 1, len(optional), 0x2000) + optional
    begin = len(head) + 40
    head += struct.pack("<8s4I16x", b".rsrc", len(section), _AT, len(section), begin)
    return head + section
