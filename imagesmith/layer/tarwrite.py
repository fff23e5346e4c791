"""Write a layer's tar: the very bytes that Go's archive/tar writes for BuildKit.

Why: a layer's diff_id is the digest of these bytes, so headers, PAX records and padding are BuildKit's, and
a writer made for this is twenty times faster than tarfile. Nothing in the bytes depends on the machine: no
names of users, whole seconds, numeric owners. The common header (short ASCII name, numbers that fit) is put
together from pieces whose sums are known; all others take the long way.
Spec: POSIX.1-2001 pax; Go's archive/tar as BuildKit uses it: USTAR where that can hold a value, a PAX record
where it cannot; two zero blocks end the archive and nothing pads it further.
Trust: entries may be hostile: a name, link or number that a header cannot hold goes into an extended one, and
a file that is not as long as its entry says is an error.
Threads: any number, each with its own entries; the table of known pieces is only a memo.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import BinaryIO
from zlib import adler32

from imagesmith.errors import ContextError
from imagesmith.fs.entry import NAMES, Entry, Whole, name_in_tar
from imagesmith.fs.limits import check_path
from imagesmith.layer.filehash import FileHash
from imagesmith.oci.digest import digest_bytes

__all__ = ["BLOCK_BYTES", "EMPTY_LAYER", "header", "held_ns", "write_layer"]

#: How many bytes the sink gets at a time; the last block is shorter.
BLOCK_BYTES = 1 << 20

_RECORD = 512
_NAME = 100
_PREFIX = 155
_MAX_ID = 0o7777777
_MAX_NUMBER = 0o77777777777
_ZEROS = bytes(_RECORD)
#: Files up to this size are read whole, and written with their header at once.
_SMALL_BYTES = 64 << 10
#: The diff_id of a layer without entries.
EMPTY_LAYER = digest_bytes(_ZEROS * 2)
_PADDING = [_ZEROS[: -n % _RECORD] for n in range(_RECORD)]
_TYPES = {
    "f": b"0", "h": b"1", "l": b"2", "c": b"3", "b": b"4", "d": b"5", "p": b"6", "w": b"0", "o": b"0",
}  # fmt: skip
#: Link, magic, version, empty names of user and group, device 0:0, no prefix: the end of most headers.
_PLAIN_TAIL = bytes(_NAME) + b"ustar\x0000" + bytes(64) + b"0000000\x000000000\x00" + bytes(_PREFIX + 12)
_PLAIN_SUM = sum(_PLAIN_TAIL) + 8 * 32  # the checksum counts itself as eight blanks
_KEPT_OWNERS = 4096
_owners: dict[tuple[str, int, int, int], tuple[bytes, int]] = {}


def held_ns(mtime_ns: int, clamp_s: int | None) -> int:
    """What a layer holds of a time (nanoseconds): whole seconds, and none after the clamp (seconds)."""
    mtime_s = mtime_ns // 1_000_000_000
    return (mtime_s if clamp_s is None or mtime_s <= clamp_s else clamp_s) * 1_000_000_000


def header(entry: Entry, clamp_s: int | None = None) -> bytes:
    """The header blocks of an entry, a PAX header before the last one where USTAR is not enough.

    Args:
        entry: the entry; a whiteout becomes its `.wh.` file, an opaque mark `.wh..wh..opq`.
        clamp_s: a later time (seconds) is written as this one.
    """
    kind = entry.kind
    if kind in "wo":
        return _whiteout(entry)
    mtime = entry.mtime_ns // 1_000_000_000
    if clamp_s is not None and mtime > clamp_s:
        mtime = clamp_s
    if kind == "f" or kind == "d":
        name = (entry.path + "/" if kind == "d" else entry.path).encode(*NAMES)
        size = entry.size if kind == "f" else 0
        if (
            len(name) <= _NAME and 0 <= mtime <= _MAX_NUMBER and size <= _MAX_NUMBER and name.isascii()
            and entry.capability is None and entry.uid <= _MAX_ID and entry.gid <= _MAX_ID
        ):  # fmt: skip
            return _plain(kind, name, entry, size, mtime)
    return _any(entry, mtime, clamp_s)


def _plain(kind: str, name: bytes, entry: Entry, size: int, mtime: int) -> bytes:
    """The header of a file or folder that USTAR holds without splitting its name.

    The low half of adler32 is one more than the sum of bytes, as long as that stays below 65521.
    """
    key = (kind, entry.mode, entry.uid, entry.gid)
    found = _owners.get(key)
    if found is None:
        if len(_owners) >= _KEPT_OWNERS:
            _owners.clear()
        fields = b"%07o\x00%07o\x00%07o\x00" % (entry.mode & 0o7777, entry.uid, entry.gid)
        found = _owners[key] = fields, sum(fields) + _PLAIN_SUM + _TYPES[kind][0] - 2
    fields, base = found
    numbers = b"%011o\x00%011o\x00" % (size, mtime)
    total = base + (adler32(name) & 0xFFFF) + (adler32(numbers) & 0xFFFF)
    return b"%b%b%b%b%06o\x00 %b%b" % (
        name, _ZEROS[: _NAME - len(name)], fields, numbers, total, _TYPES[kind], _PLAIN_TAIL,
    )  # fmt: skip


def _whiteout(entry: Entry) -> bytes:
    """The header of a deletion: an empty file of mode 0, owner 0:0 and time 0."""
    return header(Entry(name_in_tar(entry.path, entry.kind), "f", 0))


def _any(entry: Entry, mtime: int, clamp_s: int | None) -> bytes:
    """The header of any entry, by the rules of Go's Header.allowedFormats."""
    name = (entry.path + "/" if entry.kind == "d" else entry.path).encode(*NAMES)
    link = os.fsencode(entry.link) if entry.kind in "lh" else b""
    records: dict[bytes, bytes] = {}
    if len(link) > _NAME or not link.isascii():
        records[b"linkpath"] = link
    numbers = [entry.mode & 0o7777]
    size = entry.size if entry.kind == "f" else 0
    for key, value, most in (
        (b"uid", entry.uid, _MAX_ID),
        (b"gid", entry.gid, _MAX_ID),
        (b"size", size, _MAX_NUMBER),
        (b"mtime", mtime, _MAX_NUMBER),
    ):
        fits = 0 <= value <= most
        numbers.append(value if fits else 0)
        if not fits:
            records[key] = b"%d" % value
    if entry.capability is not None:
        records[b"SCHILY.xattr.security.capability"] = entry.capability
    split = _split(name)
    # A time too late for USTAR made BuildKit's first header PAX, and rewriting its times keeps the format.
    was_pax = clamp_s is not None and entry.mtime_ns // 1_000_000_000 > _MAX_NUMBER
    if split is None or (len(name) > _NAME and (records or was_pax)):
        records[b"path"] = name
        split = b"", _ascii(name)
    prefix, name_field = split
    own = _block(name_field, _ascii(link), numbers, _TYPES[entry.kind], entry.rdev, prefix)
    return _pax(name, records) + own if records else own


def _split(name: bytes) -> tuple[bytes, bytes] | None:
    """USTAR's prefix and name of a path; None if only a record can hold it."""
    if not name.isascii():
        return None
    if len(name) <= _NAME:
        return b"", name
    length = len(name)
    if length > _PREFIX + 1:
        length = _PREFIX + 1
    elif name.endswith(b"/"):
        length -= 1
    at = name.rfind(b"/", 0, length)
    rest = len(name) - at - 1
    if at <= 0 or at > _PREFIX or not 0 < rest <= _NAME:
        return None
    return name[:at], name[at + 1 :]


def _ascii(text: bytes) -> bytes:
    """What Go leaves of a name in the header proper, where the record has the whole."""
    return text if text.isascii() else bytes(c for c in text if c < 0x80)


def _text(text: bytes, width: int) -> bytes:
    """A text field; one that is cut loses a slash at the cut, so that no file looks like a folder."""
    if len(text) <= width:
        return text.ljust(width, b"\0")
    cut = text[:width]
    if cut.endswith(b"/"):
        at = len(cut[:-1].rstrip(b"/"))
        cut = cut[:at] + b"\0" + cut[at + 1 :]
    return cut


def _block(
    name: bytes, link: bytes, numbers: list[int], kind: bytes, rdev: tuple[int, int] | None, prefix: bytes
) -> bytes:
    """One header block; `numbers` are mode, uid, gid, size and mtime; a PAX header has no device (None)."""
    mode, uid, gid, size, mtime = numbers
    head = b"%b%07o\x00%07o\x00%07o\x00%011o\x00%011o\x00        %b%bustar\x0000%b%b%b%b" % (
        _text(name, _NAME), mode, uid, gid, size, mtime, kind, _text(link, _NAME), bytes(64),
        bytes(16) if rdev is None else b"%07o\x00%07o\x00" % rdev,
        prefix.ljust(_PREFIX, b"\0"), bytes(12),
    )  # fmt: skip
    return b"%b%06o\x00 %b" % (head[:148], sum(head), head[156:])


def _pax(name: bytes, records: dict[bytes, bytes]) -> bytes:
    """The extended header of these records, named as Go names it."""
    body = b"".join(_record(key, value) for key, value in sorted(records.items()))
    folder, slash, base = name.rpartition(b"/")
    own = _ascii(folder + slash + b"PaxHeaders.0/" + base)[:_NAME].rstrip(b"/")
    return _block(own, b"", [0, 0, 0, len(body), 0], b"x", None, b"") + body + _PADDING[len(body) % _RECORD]


def _record(key: bytes, value: bytes) -> bytes:
    """`LENGTH key=value` and a line feed, the length counting its own digits."""
    body = b" %b=%b\n" % (key, value)
    size = len(body) + len(str(len(body)))
    if len(str(size)) + len(body) != size:
        size += 1
    return b"%d%b" % (size, body)


class _Out:
    """Gathers pieces into blocks of exactly BLOCK_BYTES for the sink; `offset` is the place in the tar."""

    __slots__ = ("_parts", "_sink", "offset", "room")

    def __init__(self, sink: Callable[[bytes], None]) -> None:
        self._sink = sink
        self._parts: list[bytes] = []
        self.room = BLOCK_BYTES
        self.offset = 0

    def write(self, data: bytes) -> None:
        size = len(data)
        self.offset += size
        if size < self.room:
            self._parts.append(data)
            self.room -= size
            return
        while len(data) >= self.room:
            head, data = (data, b"") if len(data) == self.room else (data[: self.room], data[self.room :])
            self._parts.append(head)
            self.flush()
        if data:
            self._parts.append(data)
            self.room -= len(data)

    def flush(self) -> None:
        if self._parts:
            self._sink(self._parts[0] if len(self._parts) == 1 else b"".join(self._parts))
            self._parts, self.room = [], BLOCK_BYTES


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
        sink: takes the tar in blocks of BLOCK_BYTES, the last one shorter.
        clamp_s: times after this one (seconds) become it.
        on_offset: told each entry, when it is written, with the offset of its bytes (or of the next header).
        digests: fill in `Entry.digest` of every file on the way where it is not known.

    Raises:
        ContextError: a file cannot be read, or has become shorter than its entry says.
        LimitExceeded: a path is longer than whoever reads the layer would take it.
    """
    out = _Out(sink)
    write = out.write
    with contextlib.closing(FileHash()) as hasher:
        for entry in entries:
            check_path(entry.path)
            data = header(entry, clamp_s)
            offset = out.offset + len(data)
            if entry.kind == "f":
                size, hashes = entry.size, digests and not entry.digest
                if size <= _SMALL_BYTES:
                    whole = _whole(entry) if size else b""
                    if hashes:
                        entry.digest = sha256(whole).hexdigest()
                    data += whole + _PADDING[size % _RECORD]
                else:
                    write(data)
                    _copy(entry, out, hasher if hashes else None)
                    if hashes:
                        entry.digest = hasher.hexdigest()
                    data = _PADDING[size % _RECORD]
            write(data)
            if on_offset is not None:
                on_offset(entry, offset)
    write(_ZEROS * 2)
    out.flush()


def _whole(entry: Entry) -> bytes:
    """Exactly the entry's bytes, of a small file."""
    if hasattr(entry.content, "whole"):
        content: Whole = entry.content  # type: ignore[assignment]  # it has what that has
        try:
            data = content.whole(entry.size)
        except OSError as e:
            raise _unreadable(entry, e) from e
        if len(data) == entry.size:
            return data
    with _opened(entry) as source:
        data = _read(source, entry.size, entry)
        while len(data) < entry.size:
            data += _read(source, entry.size - len(data), entry)
    return data


def _copy(entry: Entry, out: _Out, hasher: FileHash | None) -> None:
    """Write exactly the entry's bytes, read in pieces that end where the sink's blocks do."""
    left = entry.size
    with _opened(entry) as source:
        while left:
            data = _read(source, min(left, out.room), entry)
            left -= len(data)
            if hasher is not None:
                hasher.update(data)
            out.write(data)


def _opened(entry: Entry) -> BinaryIO:
    if entry.content is None:
        raise ContextError(f"/{entry.path}: its content is missing")
    try:
        return entry.content.open()
    except OSError as e:
        raise _unreadable(entry, e) from e


def _read(source: BinaryIO, most: int, entry: Entry) -> bytes:
    """The next bytes of an entry that has some left."""
    try:
        data = source.read(most)
    except OSError as e:
        raise _unreadable(entry, e) from e
    if not data:
        raise ContextError(f"/{entry.path}: became shorter while it was read")
    return data


def _unreadable(entry: Entry, e: OSError) -> ContextError:
    return ContextError(f"/{entry.path}: cannot be read: {e.strerror or e}")
