"""The rows of an eStargz layer's table of contents: one an entry, and one a further piece of a file.

Why apart: what a row says is a matter of entries and tar headers; when its offset is known, one of members
(estargz.py).
Spec: docs/estargz.md of containerd/stargz-snapshotter, "TOC and TOCEntries".
Trust: names, times and attributes are those of a layer, and may be hostile: what JSON or RFC 3339 cannot say
without loss is refused, or left out.
"""

from __future__ import annotations

import base64
import hashlib
import json

from imagesmith.errors import UsageError
from imagesmith.fs.entry import Entry, name_in_tar
from imagesmith.fs.limits import shown
from imagesmith.layer.tarread import pax_records
from imagesmith.oci.times import format_ns

__all__ = ["Row", "attributes_of", "fields_of"]

_BLOCK, _XATTR = 512, "SCHILY.xattr."
_TYPES = {"f": "reg", "d": "dir", "l": "symlink", "h": "hardlink", "c": "char", "b": "block", "p": "fifo",
          "w": "reg", "o": "reg"}  # fmt: skip
#: Times that RFC 3339 can say (seconds); the rest is "unknown".
_FIRST_S, _LAST_S = -62135596800, 253402300799


_EMPTY = f"sha256:{hashlib.sha256().hexdigest()}"


class Row:
    """A row of the table, and how many of its fields are not known yet."""

    __slots__ = ("fields", "waits")

    def __init__(self, fields: dict[str, object], waits: int = 0) -> None:
        self.fields, self.waits = fields, waits

    def know(self, **found: object) -> None:
        """Fill in fields, which were waited for together."""
        self.fields.update(found)
        self.waits -= 1

    def to_json(self) -> bytes:
        """The row as it stands in the table; fields that are empty are left out."""
        fields = {k: v for k, v in self.fields.items() if v}
        return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


def attributes_of(span: bytes) -> dict[str, str]:
    """The extended attributes in the headers of one entry, in base64."""
    if len(span) == _BLOCK:
        return {}
    records: dict[str, bytes] = {}
    at = 0
    while at + _BLOCK < len(span):
        digits = span[at + 124 : at + 135].strip(b" \0")
        size = int(digits, 8) if digits.isdigit() else 0
        kind = span[at + 156 : at + 157]
        if kind == b"x":
            records.update(pax_records(span[at + _BLOCK : at + _BLOCK + size]))
        elif kind not in b"gLK" or not kind:
            records = {}
        at += _BLOCK + size + -size % _BLOCK
    found = ((k.removeprefix(_XATTR), v) for k, v in records.items() if k.startswith(_XATTR))
    return {k: base64.b64encode(v).decode() for k, v in sorted(found)}


def fields_of(entry: Entry, attributes: dict[str, str]) -> dict[str, object]:
    """The row of an entry, fields in the order of the reference's struct; those that are empty are left out.

    Raises:
        UsageError: a name that JSON cannot hold.
    """
    name = f"{entry.path or '.'}/" if entry.kind == "d" else name_in_tar(entry.path, entry.kind)
    for text in (name, entry.link, *attributes):
        if not text.isprintable() and any("\ud800" <= c <= "\udfff" for c in text):
            raise UsageError(
                f"compression=estargz: its table of contents cannot hold the name {shown(entry.path)}, "
                "which is not UTF-8",
                hint="use compression=gzip or zstd",
            )
    seconds = (entry.mtime_ns + 500_000_000) // 1_000_000_000
    plain = entry.kind in "wo"
    return {
        "name": name,
        "type": _TYPES[entry.kind],
        "size": entry.size if entry.kind == "f" else 0,
        "modtime": format_ns(seconds * 10**9) if seconds and _FIRST_S <= seconds <= _LAST_S else "",
        "linkName": entry.link if entry.kind in "lh" else "",
        "mode": 0 if plain else entry.mode,
        "uid": entry.uid,
        "gid": entry.gid,
        "offset": 0,
        "devMajor": entry.rdev[0],
        "devMinor": entry.rdev[1],
        "xattrs": attributes,
        "digest": "" if entry.size or plain or entry.kind != "f" else _EMPTY,
        "chunkOffset": 0,
        "chunkSize": 0,
        "chunkDigest": "",
    }
