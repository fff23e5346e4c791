"""Read a tar that may be hostile: a layer from a registry, or an archive that ADD unpacks.

Why: tarfile takes a damaged header for the end, knows no whiteouts and costs twenty microseconds an entry.
Headers are parsed by hand, everything is checked, and what cannot be represented is refused by name.
Spec: POSIX.1-2001 pax, GNU tar's base-256 numbers and long names; OCI image-spec 1.1, layer.md (whiteouts).
Trust: everything here is hostile. Names are cleaned and never leave the root; names, links, attributes,
extended headers and maps have the limits of fs/limits.py, entries and bytes those of Limits; a stream that
ends early is an error. Memory is that of one entry.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from imagesmith.errors import LimitExceeded, UnsafeArchive
from imagesmith.fs.entry import Entry
from imagesmith.fs.limits import EXTENDED_BYTES, check_link, check_path, check_xattrs, shown
from imagesmith.layer.decompress import decompressed, sniff
from imagesmith.layer.sparse import pieces_of
from imagesmith.values import frozen

__all__ = [
    "Limits", "Reader", "Seekable", "as_layer_entry", "decompressed", "is_tar", "pax_records", "read_archive",
    "read_layer", "sniff",
]  # fmt: skip

_BLOCK = 512
#: So much is read rather than passed over.
_SEEK = 1 << 16
_KINDS = {b"0": "f", b"\0": "f", b"7": "f", b"1": "h", b"2": "l", b"3": "c", b"4": "b", b"5": "d", b"6": "p",
          b"S": "f"}  # fmt: skip
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
#: What Python takes for a number beside these (signs, `1_0`) other readers of tars do not.
_OCTAL = re.compile(rb"[0-7]+")
#: Records that stand for a field of the header.
_OF_HEADERS = frozenset((b"path", b"linkpath", b"size", b"uid", b"gid", b"mtime"))
_XATTR = "SCHILY.xattr.security.capability"
#: The last id is the kernel's word for "none"; times beyond these do not fit into any clock.
_MAX_ID, _MAX_S = 0xFFFFFFFE, 10**12


@frozen
class Limits:
    """Caps on what a tar may hold: number of entries, and bytes in all."""

    entries: int = 5_000_000
    total_bytes: int = 1 << 40


class Reader(Protocol):
    """A stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; empty at the end."""


@runtime_checkable
class Seekable(Reader, Protocol):
    """A stream that can pass over bytes."""

    def skip(self, size: int, /) -> bool:
        """Pass over so many bytes; False if they are not there, and nothing was passed over."""


class _Stream:
    """Exact reads with a count of where we are."""

    def __init__(self, source: Reader, limits: Limits) -> None:
        self._source, self._limits = source, limits
        self._pass_over = source.skip if isinstance(source, Seekable) else None
        self.offset = 0

    def exact(self, size: int) -> bytes:
        parts = list(self._pieces(size))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _pieces(self, size: int) -> Iterator[bytes]:
        """The next bytes, as they come."""
        left = self._within_limits(size)
        while left:
            data = self._source.read(min(left, 1 << 20))
            if not data:
                raise UnsafeArchive(f"tar: unexpected EOF at byte {self.offset + size - left}")
            yield data
            left -= len(data)
        self.offset += size

    def _within_limits(self, size: int) -> int:
        if self.offset + size > self._limits.total_bytes:
            raise LimitExceeded(f"tar: more than {self._limits.total_bytes} bytes")
        return size

    def first(self) -> bytes:
        """A header block, or nothing at a clean end."""
        head = self._source.read(_BLOCK)
        if not head:
            return b""
        self.offset += len(head)
        return head if len(head) == _BLOCK else head + self.exact(_BLOCK - len(head))

    def skip(self, size: int) -> None:
        if size > _SEEK and self._pass_over is not None and self._pass_over(self._within_limits(size)):
            self.offset += size
            return
        for _ in self._pieces(size) if size else ():  # not put together: it may be most of the tar
            pass


def _number(field: bytes, what: str) -> int:
    if field[:1] in (b"\x80", b"\xff"):
        value = int.from_bytes(field[1:], "big")
        return value if field[0] == 0x80 else value - (1 << (8 * (len(field) - 1)))
    text = field.split(b"\0", 1)[0].strip()
    if text and not _OCTAL.fullmatch(text):
        raise UnsafeArchive(f"tar: {what} {text[:20]!r} is not a number")
    return int(text or b"0", 8)


def _within(value: int, low: int, high: int, what: str) -> int:
    if not low <= value <= high:
        raise UnsafeArchive(f"tar: {what} {value} is out of range")
    return value


def _checksum_ok(head: bytes) -> bool:
    text = head[148:156].split(b"\0", 1)[0].strip()
    if text and not _OCTAL.fullmatch(text):
        return False
    said = int(text or b"0", 8)
    rest = head[:148] + b"        " + head[156:]
    if sum(rest) == said:
        return True
    return sum(rest) - 256 * sum(b > 127 for b in rest) == said


def is_tar(head: bytes) -> bool:
    """True if these first 512 bytes are a tar header that reads well, and not of an empty tar."""
    return len(head) >= _BLOCK and any(head[:_BLOCK]) and _checksum_ok(head[:_BLOCK])


def pax_records(data: bytes) -> dict[str, bytes]:
    """The records of an extended header.

    Raises:
        UnsafeArchive: they are malformed.
    """
    out: dict[str, bytes] = {}
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 20)
        digits = data[at:space] if space > at else b""
        if not digits.isdigit():
            raise UnsafeArchive("tar: malformed PAX record")
        end = at + int(digits)
        record = data[space + 1 : end]
        if end > len(data) or end <= space or not record.endswith(b"\n"):
            raise UnsafeArchive("tar: malformed PAX record")
        key, equals, value = record[:-1].partition(b"=")
        if not equals or not key or b"\0" in key:
            raise UnsafeArchive("tar: malformed PAX record")
        if value or key not in _OF_HEADERS:  # an empty one leaves what the header has, as in Go
            out[os.fsdecode(key)] = value
        at = end
    return out


def _pax_time(value: bytes) -> int:
    text = value.decode("ascii", "replace")
    sign = -1 if text.startswith("-") else 1
    whole, _, fraction = text.removeprefix("-").partition(".")
    if not whole.isdigit() or (fraction and not fraction.isdigit()):
        raise UnsafeArchive(f"tar: mtime {text[:30]!r} is not a time")
    if len(whole) > 12:  # no file system holds it; what it is more exactly makes no difference
        return sign * _MAX_S * 10**9
    return sign * (int(whole) * 1_000_000_000 + int(fraction.ljust(9, "0")[:9] or 0))


def _pax_int(pax: dict[str, bytes], key: str, default: int) -> int:
    if key not in pax:
        return default
    text = pax[key]
    if not text.isdigit() or len(text) > 20:
        raise UnsafeArchive(f"tar: {key} {text[:30]!r} is not a number")
    return int(text)


def _entries(source: Reader, limits: Limits) -> Iterator[tuple[Entry, int]]:
    """Every member with the raw name as its path, and the offset of its bytes; bytes not read are skipped."""
    stream = _Stream(source, limits)
    pax: dict[str, bytes] = {}
    count = zeros = extended = 0
    while True:
        head = stream.first()
        if not head:
            if pax:
                raise UnsafeArchive("tar: unexpected EOF after an extended header")
            return
        if not any(head):
            zeros += 1
            if zeros == 2:
                return
            continue
        zeros = 0
        if not _checksum_ok(head):
            raise UnsafeArchive(f"tar: invalid header at byte {stream.offset - _BLOCK}")
        kind = head[156:157]
        size = _number(head[124:136], "size")
        if size < 0:
            raise UnsafeArchive("tar: negative size")
        if kind in b"xgLK" and kind:
            extended += size
            _extended(stream, kind, size, extended, pax)
            continue
        extended = 0
        count += 1
        if count > limits.entries:
            raise LimitExceeded(f"tar: more than {limits.entries} entries")
        e = _entry(head, kind, size, pax)
        stored = e.size
        sparse = (
            pieces_of(head, pax, stored, lambda: stream.exact(_BLOCK), _number) if e.kind == "f" else None
        )
        if sparse is not None:
            e.content, stored = sparse
            e.size = sparse[0].size
            if e.size > limits.total_bytes:
                raise LimitExceeded(f"tar: more than {limits.total_bytes} bytes")
        pax = {}
        offset = stream.offset
        yield e, offset
        stream.skip(offset - stream.offset + stored + (-stored % _BLOCK))


def _extended(stream: _Stream, kind: bytes, size: int, together: int, pax: dict[str, bytes]) -> None:
    """Read an extended header; those of one entry may have so many bytes `together`."""
    if together > EXTENDED_BYTES:
        name = os.fsdecode(pax.get("path", b""))
        raise LimitExceeded(
            f"tar: {f'{shown(name)}: ' if name else ''}an extended header of {size} bytes at byte "
            f"{stream.offset - _BLOCK}: those of one entry may have {EXTENDED_BYTES}"
        )
    data = stream.exact(size + (-size % _BLOCK))[:size]
    if kind == b"x":
        pax.update(pax_records(data))
    elif kind in b"LK" and (long := data.split(b"\0", 1)[0]):
        pax["path" if kind == b"L" else "linkpath"] = long


def _entry(head: bytes, kind: bytes, size: int, pax: dict[str, bytes]) -> Entry:
    fields = _HEADER.unpack(head)
    name, mode, uid, gid, _, mtime, _, _, link, magic, _, _, major, minor, prefix = fields
    letter = _KINDS.get(kind)
    if letter is None:
        raise UnsafeArchive(f"tar: entries of type {kind!r} are not supported")
    raw = name.split(b"\0", 1)[0]
    if magic[:6] == b"ustar\0" and prefix[:1] != b"\0":
        raw = prefix.split(b"\0", 1)[0] + b"/" + raw
    raw = pax.get("GNU.sparse.name", pax.get("path", raw))
    size = _pax_int(pax, "size", size)
    if letter == "f" and raw.endswith(b"/"):
        letter = "d"
    if letter == "h" and size and "size" not in pax:
        size = 0
    target = pax.get("linkpath", link.split(b"\0", 1)[0])
    if b"\0" in target:
        raise UnsafeArchive(f"tar: the target of {raw[:100]!r} holds a NUL")
    seconds = 0 if "mtime" in pax else _number(mtime, "mtime")
    path = os.fsdecode(raw)
    check_xattrs(path, pax, "tar: ")
    device = (_number(major, "major"), _number(minor, "minor")) if letter in "cb" else (0, 0)
    return Entry(
        path,
        letter,
        _number(mode, "mode") & 0o7777,
        _within(_pax_int(pax, "uid", _number(uid, "uid")), 0, _MAX_ID, "uid"),
        _within(_pax_int(pax, "gid", _number(gid, "gid")), 0, _MAX_ID, "gid"),
        size if letter == "f" else 0,
        _pax_time(pax["mtime"]) if "mtime" in pax else max(-_MAX_S, min(seconds, _MAX_S)) * 10**9,
        os.fsdecode(target) if letter in "lh" else "",
        (_within(device[0], 0, 0xFFF, "major"), _within(device[1], 0, 0xFFFFF, "minor")),
        pax.get(_XATTR),
    )


def _clean(name: str, *, climb: bool) -> str:
    """A name as a path below the root; `..` is refused, or with `climb` stops at the root."""
    if "\0" in name:
        raise UnsafeArchive(f"tar: a name holds a NUL: {name[:100]!r}")
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            if not climb:
                raise UnsafeArchive(f"tar: {name[:200]!r} leaves the root")
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def read_layer(source: Reader, limits: Limits | None = None) -> Iterator[tuple[Entry, int]]:
    """The entries of a layer, each with the offset of its bytes in the stream.

    Whiteouts become kind `w` with the path that they delete, opaque markers kind `o` with their directory;
    AUFS's own names are passed over. The bytes of a file may be read from `source` before the next entry is
    asked for only by a source that counts: they are skipped here.

    Raises:
        UnsafeArchive: a name that leaves the root, an unknown type, a damaged header, an early end.
        LimitExceeded: more entries or bytes than allowed, or one that is longer than fs/limits.py has it.
    """
    for raw, offset in _entries(source, limits or Limits()):
        _whole(raw)
        e = as_layer_entry(raw)
        if e is not None:
            yield e, offset


def as_layer_entry(e: Entry) -> Entry | None:
    """What an entry with a raw name means in a layer; None for AUFS's own names. See `read_layer`."""
    path = _clean(e.path, climb=False)
    folder, _, name = path.rpartition("/")
    if name == ".wh..wh..opq":
        check_path(folder, "tar: ")
        return Entry(folder, "o")
    if name.startswith(".wh..wh.") or "/.wh..wh." in f"/{folder}":
        return None
    if name.startswith(".wh."):
        victim = name[4:]
        if victim in ("", ".", ".."):
            raise UnsafeArchive(f"tar: {path[:200]!r} deletes nothing")
        path = f"{folder}/{victim}" if folder else victim
        check_path(path, "tar: ")
        return Entry(path, "w")
    if not path and e.kind != "d":
        raise UnsafeArchive("tar: the root is not a directory")
    e.path = path
    _measured(e, climb=False)
    if e.kind == "h" and e.link == path:
        raise UnsafeArchive(f"tar: {path[:200]!r} is a hard link to itself")
    return e


def _measured(e: Entry, *, climb: bool) -> None:
    """Refuse what is too long; clean what a hard link names."""
    check_path(e.path, "tar: ")
    if e.kind == "h":
        e.link = _clean(e.link, climb=climb)
        check_path(e.link, f"tar: {shown(e.path)}: a hard link to ")
    elif e.kind == "l":
        check_link(e.path, e.link, "tar: ")


def _whole(e: Entry) -> None:
    if e.content is not None:
        raise UnsafeArchive(f"tar: {e.path[:200]!r}: sparse files are not supported")


def read_archive(
    source: Reader, limits: Limits | None = None, *, sparse: bool = False
) -> Iterator[tuple[Entry, int]]:
    """The entries of an ordinary archive: `..` stops at the root, `.wh.` names are files like others.

    With `sparse` a file that is stored without its holes has `layer.sparse.Pieces` as its content, without it
    is refused.

    Raises:
        UnsafeArchive: an unknown type, a damaged header, an early end.
        LimitExceeded: more entries or bytes than allowed, or one that is longer than fs/limits.py has it.
    """
    for e, offset in _entries(source, limits or Limits()):
        if not sparse:
            _whole(e)
        e.path = _clean(e.path, climb=True)
        _measured(e, climb=True)
        yield e, offset
