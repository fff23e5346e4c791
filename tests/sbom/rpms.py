"""RPM headers, and the three forms of rpm's database, written by hand from their descriptions."""

from __future__ import annotations

import sqlite3
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["HEADERS", "berkeley", "header", "ndb", "sqlite"]

Value = str | int | Sequence[str] | Sequence[int]


def header(fields: Mapping[int, Value]) -> bytes:
    """A header with these tags."""
    index, data = b"", b""
    for tag, value in fields.items():
        many = [value] if isinstance(value, str | int) else list(value)
        if isinstance(value, int) or (not isinstance(value, str) and many and isinstance(many[0], int)):
            data += b"\0" * (-len(data) % 4)
            kind, raw = 4, b"".join(struct.pack(">I", n) for n in many)
        else:
            kind = 6 if isinstance(value, str) else 8
            raw = b"".join(str(text).encode() + b"\0" for text in many)
        index += struct.pack(">IIII", tag, kind, len(data), len(many))
        data += raw
    return struct.pack(">II", len(fields), len(data)) + index + data


def _named(name: str, version: str) -> dict[int, Value]:
    return {1000: name, 1001: version, 1002: "1.el9", 1022: "noarch"}


#: Three packages, one of them of many pages, and a key, which rpm lists as one.
HEADERS: list[bytes] = [
    header({**_named("one", "1.0"), 1011: "ACME", 1014: "GPLv2+ and MIT", 1020: "https://example.org/",
            1004: "the first", 1044: "one-1.0-1.el9.src.rpm"}),
    header({**_named("two", "2.0"), 1003: 7, 1015: "Jane Doe <jane@example.org>", 1014: "ASL 2.0"}),
    header({**_named("large", "3.0"), 1116: [0, 1] * 400, 1117: [f"file{n}" for n in range(800)],
            1118: ["/usr/", "/etc/x/"]}),
    header({1000: "gpg-pubkey", 1001: "abc", 1002: "1", 1015: "ACME (9) <key@example.org>"}),
]  # fmt: skip


def sqlite(path: Path, headers: Sequence[bytes] = HEADERS, *, log: bool = False) -> dict[str, bytes]:
    """The files of an SQLite database; with `log`, what was written last is in its log only."""
    path.unlink(missing_ok=True)
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA wal_autocheckpoint = 0")
    db.execute("CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")
    for n, raw in enumerate(headers):
        if n == len(headers) - 1 or not log:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.execute("INSERT INTO Packages (blob) VALUES (?)", (raw,))
    if not log:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    files = {"rpmdb.sqlite": path.read_bytes(), "rpmdb.sqlite-wal": Path(f"{path}-wal").read_bytes()}
    db.close()
    return files


def ndb(headers: Sequence[bytes] = HEADERS) -> bytes:
    """rpm's lib/backend/ndb/rpmpkg.c: a page of slots, then blobs in blocks of 16 bytes."""
    out = bytearray(struct.pack("<4sIIII", b"RpmP", 0, 1, 1, len(headers) + 1).ljust(4096, b"\0"))
    for n in range(254):
        struct.pack_into("<4sIII", out, 32 + 16 * n, b"Slot", 0, 0, 0)
    for n, raw in enumerate(headers, 1):
        blocks = (16 + len(raw) + 12 + 15) // 16
        struct.pack_into("<4sIII", out, 16 + 16 * n, b"Slot", n, len(out) // 16, blocks)
        body = struct.pack("<4sIII", b"BlbS", n, 1, len(raw)) + raw
        tail = struct.pack("<II4s", zlib.adler32(body), len(raw), b"BlbE")
        out += body.ljust(blocks * 16 - 12, b"\0") + tail
    return bytes(out)


def berkeley(headers: Sequence[bytes] = HEADERS, *, order: str = "<", page: int = 512) -> bytes:
    """Berkeley DB's dbinc/db_page.h: a page of metadata, one of entries, then chains of overflow pages."""
    pages: list[bytes] = [b"", b""]
    items: list[bytes] = []
    for n, raw in enumerate(headers):
        room = page - 26
        parts = [raw[at : at + room] for at in range(0, len(raw), room)]
        items += [
            b"\1" + struct.pack(f"{order}I", n),
            b"\3\0\0\0" + struct.pack(f"{order}II", len(pages), len(raw)),
        ]
        for k, part in enumerate(parts):
            following = len(pages) + 1 if k < len(parts) - 1 else 0
            pages.append(_page(order, len(pages), following, 1, len(part), 7, part, page))
    places, body = [], b""
    for item in items:  # from the end of the page down
        body = item + body
        places.append(page - len(body))
    table = struct.pack(f"{order}{len(places)}H", *places)
    entries = table + body.rjust(page - 26 - len(table), b"\0")
    pages[1] = _page(order, 1, 0, len(items), places[-1], 13, entries, page)
    meta = struct.pack(f"{order}IIIIIIBBBBI", 0, 0, 0, 0x061561, 9, page, 0, 8, 0, 0, 0)
    pages[0] = (meta + struct.pack(f"{order}I", len(pages) - 1)).ljust(page, b"\0")
    return b"".join(pages)


def _page(
    order: str, number: int, following: int, count: int, offset: int, kind: int, body: bytes, size: int
) -> bytes:
    head = struct.pack(f"{order}IIIIIHHBB", 0, 0, number, 0, following, count, offset, 0, kind)
    return (head + body).ljust(size, b"\0")
