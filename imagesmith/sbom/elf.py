"""The sections and segments of an ELF file, read without the rest of it.

Why: what compilers note in a binary (sbom/golang.py, sbom/rust.py) is a few kilobytes of up to hundreds of
megabytes. Here two tables are read, the names of sections, and then what is asked for.
Spec: System V gABI, chapters 4 and 5; both classes, both byte orders, more sections than 65,279 included.
Trust: hostile. Tables and names are bounded, every place is looked up in the file before it is read, and what
lies outside is ValueError.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from imagesmith.sbom.parts import exactly
from imagesmith.values import frozen

__all__ = ["LEAST_BYTES", "MAGIC", "Elf", "Section"]

MAGIC = b"\x7fELF"
#: No smaller file is one with anything in it.
LEAST_BYTES = 52

_MOST_SECTIONS, _MOST_SEGMENTS, _NAMES_BYTES = 20_000, 1000, 4 << 20
_LOADED, _NO_BITS = 1, 8
_WRITABLE, _EXECUTABLE = 2, 1


@frozen
class Section:
    """A section: its name, its address in memory, and where it lies in the file (bytes)."""

    name: str
    address: int
    offset: int
    size: int


@frozen
class _Segment:
    flags: int
    offset: int
    address: int
    size: int


class Elf:
    """An ELF file that is open."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        """Read the two tables.

        Args:
            file: open, seekable.
            size: of the file, bytes.

        Raises:
            ValueError: it is no ELF file, or a damaged one.
        """
        self._file, self._size = file, size
        head = self._read(0, min(size, 64))
        if head[:4] != MAGIC or len(head) < LEAST_BYTES or head[4] not in (1, 2) or head[5] not in (1, 2):
            raise ValueError("no ELF file")
        self.wide = head[4] == 2
        self.order = "<" if head[5] == 1 else ">"
        if self.wide and len(head) < 64:
            raise ValueError("an ELF file that ends within its header")
        form, at = ("QQIHHHHHH", 32) if self.wide else ("IIIHHHHHH", 28)
        fields = struct.unpack_from(self.order + form, head, at)
        self._segments = self._read_segments(fields[0], fields[4], fields[5])
        self._sections, self._names = self._read_sections(fields[1], *fields[6:])

    def _read(self, offset: int, length: int) -> bytes:
        return exactly(self._file, self._size, offset, length, "an ELF file")

    def _read_segments(self, offset: int, each: int, count: int) -> list[_Segment]:
        """What is loaded into memory, in the order of the file."""
        form = self.order + ("IIQQQQQQ" if self.wide else "IIIIIIII")
        count = min(count, _MOST_SEGMENTS)
        if not offset or not count or each < struct.calcsize(form):
            return []
        raw, out = self._read(offset, each * count), []
        for at in range(0, each * count, each):
            f = struct.unpack_from(form, raw, at)
            if f[0] == _LOADED and self.wide:
                out.append(_Segment(flags=f[1], offset=f[2], address=f[3], size=f[5]))
            elif f[0] == _LOADED:
                out.append(_Segment(flags=f[6], offset=f[1], address=f[2], size=f[4]))
        return out

    def _read_sections(
        self, offset: int, each: int, count: int, names: int
    ) -> tuple[list[tuple[int, ...]], bytes]:
        """The rows of the sections that lie in the file, and the text that their names are in."""
        form = self.order + ("IIQQQQI" if self.wide else "IIIIIII")
        if not offset or each < struct.calcsize(form):
            return [], b""
        first = struct.unpack_from(form, self._read(offset, struct.calcsize(form)))
        count = count or first[5]  # the true number where it does not fit
        names = first[6] if names == 0xFFFF else names
        if count > _MOST_SECTIONS:
            raise ValueError(f"an ELF file of {count} sections, more than {_MOST_SECTIONS}")
        if names >= count:
            return [], b""
        raw = self._read(offset, each * count)
        rows = [struct.unpack_from(form, raw, at) for at in range(0, each * count, each)]
        text = self._read(rows[names][4], min(rows[names][5], _NAMES_BYTES))
        return [row for row in rows if row[1] not in (0, _NO_BITS) and row[0] < len(text)], text

    @property
    def has_sections(self) -> bool:
        """True unless it was stripped of all its sections."""
        return bool(self._sections)

    def section(self, name: str) -> Section | None:
        """The section of a name, the first one if there are several; None if there is none."""
        sought = name.encode("latin-1") + b"\0"
        for at, _, _, address, offset, size, _ in self._sections:
            if self._names.startswith(sought, at):
                return Section(name, address, offset, size)
        return None

    def content(self, section: Section, limit_bytes: int) -> bytes:
        """The bytes of a section.

        Raises:
            ValueError: there are more than the limit, or they are not in the file.
        """
        if section.size > limit_bytes:
            raise ValueError(f"a section {section.name} of {section.size} bytes, more than {limit_bytes}")
        return self._read(section.offset, section.size)

    def memory(self, address: int, length: int) -> bytes:
        """So many bytes as they are loaded at an address.

        Raises:
            ValueError: the file has nothing for there.
        """
        for s in self._segments:
            if s.address <= address and address + length <= s.address + s.size:
                return self._read(s.offset + address - s.address, length)
        raise ValueError(f"an ELF file with nothing at the address {address:#x}")

    def data(self) -> Section | None:
        """The first segment that is written and not executed: where programs without sections have theirs."""
        for s in self._segments:
            if s.flags & (_WRITABLE | _EXECUTABLE) == _WRITABLE:
                return Section("", s.address, s.offset, min(s.size, max(0, self._size - s.offset)))
        return None
