"""Two layers that should be one: what differs between them, entry by entry, down to the field.

Why: two diff_ids say that something differs and not what. Both tars are read entry by entry; an entry that
one of them lacks, a field that is another, bytes from which offset on, and where all of that agrees the order
and the headers themselves.
Trust: tars come from registries; they are read by tarread.py, and nothing is written anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from imagesmith.fs.entry import Entry
from imagesmith.layer.tarread import read_archive
from imagesmith.values import frozen

__all__ = ["Difference", "compare_tars"]

_PIECE = 1 << 16
_KINDS = {
    "f": "file", "d": "directory", "l": "symbolic link", "h": "hard link", "c": "character device",
    "b": "block device", "p": "fifo", "w": "whiteout", "o": "opaque directory",
}  # fmt: skip


@frozen
class Difference:
    """One field of one entry: `there` is what the first tar has, `here` the second; `path` is absolute."""

    path: str
    field: str
    there: str
    here: str

    def __str__(self) -> str:
        return f"{self.path}: {self.field}: {self.there} there, {self.here} here"


def compare_tars(there: BinaryIO, here: BinaryIO) -> Iterator[Difference]:
    """The differences of two uncompressed, seekable tars, in the order of the first, what it lacks last.

    Raises:
        UnsafeArchive: one of them is damaged.
    """
    theirs, ours = _read(there), _read(here)
    found = False
    for path, (e, offset) in theirs.items():
        other = ours.get(path)
        if other is None:
            found = True
            yield Difference(f"/{path}", "entry", _KINDS[e.kind], "missing")
            continue
        for difference in _fields(e, other[0]):
            found = True
            yield difference
        if e.kind == other[0].kind == "f":
            for difference in _bytes(there, e, offset, here, *other):
                found = True
                yield difference
    for path, (e, _) in ours.items():
        if path not in theirs:
            found = True
            yield Difference(f"/{path}", "entry", "missing", _KINDS[e.kind])
    if not found:
        yield from _layout(list(theirs), list(ours), there, here)


def _read(tar: BinaryIO) -> dict[str, tuple[Entry, int]]:
    """The entries by path with the offsets of their bytes; of several with one path the last one counts."""
    tar.seek(0)
    out: dict[str, tuple[Entry, int]] = {}
    for e, offset in read_archive(tar):
        out.pop(e.path, None)
        out[e.path] = e, offset
    return out


def _fields(a: Entry, b: Entry) -> Iterator[Difference]:
    path = f"/{a.path}"
    if a.kind != b.kind:
        yield Difference(path, "type", _KINDS[a.kind], _KINDS[b.kind])
        return
    pairs = (
        ("mode", f"{a.mode:04o}", f"{b.mode:04o}"),
        ("owner", f"{a.uid}:{a.gid}", f"{b.uid}:{b.gid}"),
        ("time", str(a.mtime_ns // 1_000_000_000), str(b.mtime_ns // 1_000_000_000)),
        ("link", a.link, b.link),
        ("device", "{}:{}".format(*a.rdev), "{}:{}".format(*b.rdev)),
        ("capability", (a.capability or b"").hex() or "none", (b.capability or b"").hex() or "none"),
    )
    for field, there, here in pairs:
        if there != here:
            yield Difference(path, field, there, here)


def _bytes(
    there: BinaryIO, a: Entry, at: int, here: BinaryIO, b: Entry, other_at: int
) -> Iterator[Difference]:
    """Where the contents of two files part."""
    seen, least = 0, min(a.size, b.size)
    while seen < least:
        there.seek(at + seen)
        here.seek(other_at + seen)
        size = min(_PIECE, least - seen)
        p, q = there.read(size), here.read(size)
        if p != q:
            n = next(n for n in range(size) if p[n : n + 1] != q[n : n + 1])
            yield Difference(
                f"/{a.path}", f"bytes, at {seen + n}", repr(p[n : n + 16])[1:], repr(q[n : n + 16])[1:]
            )
            return
        seen += size
    if a.size != b.size:
        yield Difference(f"/{a.path}", "size", str(a.size), str(b.size))


def _layout(theirs: list[str], ours: list[str], there: BinaryIO, here: BinaryIO) -> Iterator[Difference]:
    """The order of equal entries, or else the first byte of the tars that differs."""
    for p, q in zip(theirs, ours, strict=True):
        if p != q:
            yield Difference(f"/{p}", "order", f"/{p}", f"/{q}")
            return
    there.seek(0)
    here.seek(0)
    offset = 0
    while True:
        a, b = there.read(_PIECE), here.read(_PIECE)
        if a != b:
            n = next((n for n in range(min(len(a), len(b))) if a[n] != b[n]), min(len(a), len(b)))
            yield Difference(
                "/", f"encoding of the tar, at {offset + n}", repr(a[n : n + 16]), repr(b[n : n + 16])
            )
            return
        if not a:
            return
        offset += len(a)
