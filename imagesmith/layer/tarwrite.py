"""Write a layer's tar: the very bytes that Go's archive/tar writes for BuildKit.

Why: a layer's diff_id is the digest of these bytes, so headers, PAX records and padding are BuildKit's, and
the hand-made writer is ten times faster than tarfile. Nothing in them depends on the machine: no names of
users, whole seconds, numeric owners.
Spec: POSIX.1-2001 pax; Go's archive/tar (USTAR where it can hold a value, a PAX record where it cannot).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable

from imagesmith.errors import ContextError
from imagesmith.fs.entry import Entry

__all__ = ["header", "write_layer"]

_BLOCK = 512
_CHUNK = 1 << 20
_TYPES = {"f": b"0", "h": b"1", "l": b"2", "c": b"3", "b": b"4", "d": b"5", "p": b"6", "w": b"0"}
_MAX_ID = 0o7777777
_MAX_SIZE = 0o77777777777
_MAX_TIME = 0o77777777777
_ZEROS = bytes(_BLOCK)
_NO_DEVICE = b"0000000\x000000000\x00"


def _octal(value: int, width: int) -> bytes:
    return b"%0*o\x00" % (width - 1, value)


def _split(name: bytes) -> tuple[bytes, bytes] | None:
    """USTAR's prefix and name of a long path; None if it cannot be split."""
    if len(name) <= 100:
        return b"", name
    length = len(name)
    if length > 156:
        length = 156
    elif name.endswith(b"/"):
        length -= 1
    at = name.rfind(b"/", 0, length)
    rest = len(name) - at - 1
    if at <= 0 or rest > 100 or rest == 0 or at > 155:
        return None
    return name[:at], name[at + 1 :]


def _record(key: bytes, value: bytes) -> bytes:
    body = b" " + key + b"=" + value + b"\n"
    size = len(body) + len(str(len(body)))
    if len(str(size)) + len(body) != size:
        size = len(str(size)) + len(body)
    return str(size).encode() + body


def _ascii(text: bytes) -> bytes:
    return bytes(c for c in text if c < 0x80)


def _block(name: bytes, prefix: bytes, fields: tuple[int, int, int, int, int], kind: bytes, link: bytes, device: bytes) -> bytes:
    mode, uid, gid, size, mtime = fields
    head = (
        name.ljust(100, b"\0")
        + _octal(mode, 8)
        + _octal(uid, 8)
        + _octal(gid, 8)
        + _octal(size, 12)
        + _octal(mtime, 12)
        + b"        "
        + kind
        + link.ljust(100, b"\0")
        + b"ustar\x0000"
        + bytes(64)
        + device
        + prefix.ljust(155, b"\0")
        + bytes(12)
    )
    return head[:148] + b"%06o\0 " % sum(head) + head[156:]


def _names(e: Entry) -> tuple[bytes, bytes]:
    path = os.fsencode(e.path)
    if e.kind == "w":
        folder, slash, name = path.rpartition(b"/")
        path = folder + slash + b".wh." + name
    elif e.kind == "d":
        path += b"/"
    return path, os.fsencode(e.link) if e.kind in "lh" else b""


def header(e: Entry, clamp_s: int | None = None) -> bytes:
    """The header blocks of an entry, a PAX header before it where USTAR is not enough.

    Args:
        e: the entry; a whiteout becomes its `.wh.` file.
        clamp_s: a later time (seconds) is written as this one.
    """
    name, link = _names(e)
    if e.kind == "w":
        mode, uid, gid, size, mtime = 0, 0, 0, 0, 0
    else:
        mtime = e.mtime_ns // 1_000_000_000
        if clamp_s is not None and mtime > clamp_s:
            mtime = clamp_s
        mode, uid, gid, size = e.mode & 0o7777, e.uid, e.gid, e.size if e.kind == "f" else 0
    records: dict[bytes, bytes] = {}
    split = _split(name) if name.isascii() else None
    if len(link) > 100 or not link.isascii():
        records[b"linkpath"] = link
    if uid > _MAX_ID:
        records[b"uid"], uid = b"%d" % uid, 0
    if gid > _MAX_ID:
        records[b"gid"], gid = b"%d" % gid, 0
    if size > _MAX_SIZE:
        records[b"size"], size = b"%d" % size, 0
    if not 0 <= mtime <= _MAX_TIME:
        records[b"mtime"], mtime = b"%d" % mtime, 0
    if e.capability is not None and e.kind != "w":
        records[b"SCHILY.xattr.security.capability"] = e.capability
    if split is None or (records and len(name) > 100):  # in a PAX member Go does not use the prefix field
        records[b"path"] = name
        split = b"", _ascii(name)[:100]
    prefix, short = split
    device = _NO_DEVICE if e.kind not in "cb" else _octal(e.rdev[0], 8) + _octal(e.rdev[1], 8)
    block = _block(short, prefix, (mode, uid, gid, size, mtime), _TYPES[e.kind], _ascii(link)[:100], device)
    return _pax(name, records) + block if records else block


def _pax(name: bytes, records: dict[bytes, bytes]) -> bytes:
    """The extended header of these records, named as Go names it."""
    body = b"".join(_record(k, v) for k, v in sorted(records.items()))
    folder, slash, base = name.rpartition(b"/")
    own = _ascii(folder + slash + b"PaxHeaders.0/" + base)[:100].rstrip(b"/")
    block = _block(own, b"", (0, 0, 0, len(body), 0), b"x", b"", bytes(16))
    return block + body + bytes(-len(body) % _BLOCK)


class _Out:
    """Gathers pieces into blocks of about a megabyte for the sink."""

    def __init__(self, sink: Callable[[bytes], None]) -> None:
        self._sink, self._size = sink, 0
        self._parts: list[bytes] = []
        self.offset = 0

    def write(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        self.offset += len(data)
        if self._size >= _CHUNK:
            self.flush()

    def flush(self) -> None:
        if self._parts:
            self._sink(b"".join(self._parts))
            self._parts, self._size = [], 0


def write_layer(
    entries: Iterable[Entry],
    sink: Callable[[bytes], None],
    *,
    clamp_s: int | None = None,
    on_offset: Callable[[Entry, int], None] | None = None,
    digests: bool = False,
) -> None:
    """Write entries, in the order given, as a whole tar.

    Args:
        entries: in the order of a layer (see layer/diff.py).
        sink: takes blocks of about 1 MiB.
        clamp_s: times after this one (seconds) become it.
        on_offset: told each entry with the offset of its bytes (or of the next header) in the tar.
        digests: fill in `Entry.digest` of every file on the way.

    Raises:
        ContextError: a file has another size than its entry says: it was changed while it was read.
    """
    out = _Out(sink)
    for e in entries:
        out.write(header(e, clamp_s))
        if on_offset is not None:
            on_offset(e, out.offset)
        if e.kind == "f" and e.size:
            _copy(e, out, digests)
            out.write(_ZEROS[: -e.size % _BLOCK])
        elif digests and e.kind == "f":
            e.digest = hashlib.sha256().hexdigest()
    out.write(_ZEROS * 2)
    out.flush()


def _copy(e: Entry, out: _Out, digests: bool) -> None:
    if e.content is None:
        raise ContextError(f"/{e.path}: its content is missing")
    left = e.size
    hasher = hashlib.sha256() if digests and not e.digest else None
    with e.content.open() as f:
        while left:
            data = f.read(min(left, _CHUNK))
            if not data:
                raise ContextError(f"/{e.path}: became shorter while it was read")
            left -= len(data)
            if hasher is not None:
                hasher.update(data)
            out.write(data)
    if hasher is not None:
        e.digest = hasher.hexdigest()
