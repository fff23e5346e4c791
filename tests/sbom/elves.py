"""ELF files and Go's build notes, as small as they can be."""

from __future__ import annotations

import struct
from collections.abc import Mapping

#: Where the first section is loaded.
BASE = 0x400000
_FRAME = bytes.fromhex("3077af0c9274080241e1c107e6d618e6"), bytes.fromhex("f932433186182072008242104116d8f2")


def elf(sections: Mapping[str, bytes], *, wide: bool = True, order: str = "<") -> bytes:
    """A program with these sections, each loaded, one behind the other."""
    head, program, section = (64, 56, 64) if wide else (52, 32, 40)
    names = b"\0" + b"".join(name.encode() + b"\0" for name in (*sections, ".shstrtab"))
    body, rows = b"", [(0, 0, 0, 0)]
    start = head + program
    start += -start % 16
    at = 1
    for name, data in (*sections.items(), (".shstrtab", names)):
        rows.append((at, 3 if name == ".shstrtab" else 1, start + len(body), len(data)))
        body += data + bytes(-len(data) % 16)
        at += len(name) + 1
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    form = "HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"
    out = ident + struct.pack(
        order + form, 2, 62 if wide else 3, 1, BASE, head, start + len(body), 0, head, program, 1, section,
        len(rows), len(rows) - 1,
    )  # fmt: skip
    sizes = start + len(body)
    if wide:
        out += struct.pack(order + "IIQQQQQQ", 1, 6, 0, BASE, BASE, sizes, sizes, 4096)
    else:
        out += struct.pack(order + "IIIIIIII", 1, 0, BASE, BASE, sizes, sizes, 6, 4096)
    out = out.ljust(start, b"\0") + body
    for name_at, kind, offset, size in rows:
        form = "IIQQQQIIQQ" if wide else "IIIIIIIIII"
        address = BASE + offset if offset else 0
        out += struct.pack(order + form, name_at, kind, 3, address, offset, size, 0, 0, 16, 0)
    return out


def offset_of_first(*, wide: bool = True) -> int:
    """Where the first section lies in the file."""
    start = 64 + 56 if wide else 52 + 32
    return start + -start % 16


def framed(lines: str) -> bytes:
    """The lines of a note between their marks."""
    return _FRAME[0] + lines.encode() + _FRAME[1]


def varint(number: int) -> bytes:
    """A number as in the note since Go 1.18."""
    out = b""
    while number >= 0x80:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])


def go_inline(version: str, lines: str) -> bytes:
    """A note of Go 1.18 and later."""
    text = framed(lines)
    head = (b"\xff Go buildinf:" + bytes([8, 2])).ljust(32, b"\0")
    return head + varint(len(version)) + version.encode() + varint(len(text)) + text


def go_pointers(version: str, lines: str, *, wide: bool = True, order: str = "<") -> bytes:
    """A note of before Go 1.18, as the first section of a program that `elf` makes."""
    word, width = ("Q", 8) if wide else ("I", 4)
    text, begin = framed(lines), BASE + offset_of_first(wide=wide)
    headers = 32 + 4 * width
    head = b"\xff Go buildinf:" + bytes([width, 0 if order == "<" else 1])
    head += struct.pack(order + word * 2, begin + 32, begin + 32 + 2 * width)
    strings = struct.pack(
        order + word * 4, begin + headers, len(version), begin + headers + len(version), len(text)
    )
    return head.ljust(32, b"\0") + strings + version.encode() + text
