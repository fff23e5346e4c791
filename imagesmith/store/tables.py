"""A layer's index as a table that travels beside a cache: packed here, and read where the layer is not.

    ["imagesmith-table-1", diff_id, {"etc/passwd": "<base64>", ...}]
    ["usr/bin/x", "f", 493, 0, 0, 1234, 1700000000000000000, 8192, ""]
    ...
    "end"

Why: COPY, WORKDIR and --chown need to know what is at a path, and the owners' names; a layer of hundreds of
megabytes has a table of some kilobytes. Its rows are those of the index (indexfile.py) without the digests of
files, so that it has the same bytes whether those were worked out or not. gzip, for another decoder takes as
long to load as a table to be unpacked.
Why not the table that an eStargz layer has: it rounds times to seconds and leaves out two files that the tar
has, so that a step would make another layer where the tar was read.
Trust: hostile. What is unpacked, rows and lines are counted, and each row passes the door of tars: what no
tar could give is refused. What a row says is its maker's word: a table serves the build that was given it,
and never becomes a layer's index. Bytes of files are those of the layer itself, which is fetched for them
and must have the file that the table tells of; all that a table brings along are the two files of names.
Threads: any.
"""

from __future__ import annotations

import base64
import binascii
import io
import itertools
import json
import os
import re
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from imagesmith.errors import DigestMismatch, InvalidDocument, LimitExceeded, UnsafeArchive
from imagesmith.fs.entry import Entry, name_in_tar
from imagesmith.fs.limits import CAPABILITY_BYTES
from imagesmith.layer.decompress import decompressed
from imagesmith.layer.tarread import as_layer_entry
from imagesmith.oci.digest import Digest
from imagesmith.store.indexfile import END, HEAD

if TYPE_CHECKING:
    from imagesmith.store.layers import StoredLayer

__all__ = ["MOST_BYTES", "ToldContent", "packed_table", "read_table"]

#: Of a packed table, and of what is unpacked; larger ones are not made, and not read.
MOST_BYTES, _MOST_PLAIN = 8 << 20, 64 << 20
_MOST_ROWS, _MOST_LINE, _PIECE = 500_000, 1 << 16, 1 << 16
_FORMAT = "imagesmith-table-1"
#: The files that come along, if they are no larger than this.
_NAMES, _MOST_NAMES = ("etc/passwd", "etc/group"), 16 << 10
_MAX_ID, _MAX_NS, _MAX_SIZE = 0xFFFFFFFE, 10**21, 1 << 50
#: How a row ends that has a digest, which a link alone may look like; and one with nothing behind the link.
_DIGEST = re.compile(rb'(,[0-9]+,[0-9]+,"[0-9A-Za-z+/=]*"),"[0-9a-f]{64}"\]\n')
_NOTHING = b',0,0,"",""]\n'


# --- making one ---------------------------------------------------------------------------------


def packed_table(layer: StoredLayer) -> bytes | None:
    """The table of a layer whose index is in the store; None of others, and of one that is too large."""
    try:
        with (layer.folder / "index").open("rb") as f:
            rows = f.read(_MOST_PLAIN)
    except OSError:
        return None
    if not rows.startswith(HEAD) or not rows.endswith(END) or rows.count(b"\n") > _MOST_ROWS:
        return None
    rows = _DIGEST.sub(rb'\1,""]\n', rows[len(HEAD) :]).replace(_NOTHING, b"]\n")
    names = {path: data for path in _NAMES if (data := _names_in(layer, rows, path)) is not None}
    head = json.dumps([_FORMAT, str(layer.diff_id), names], separators=(",", ":")).encode()
    packer = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    packed = packer.compress(head + b"\n") + packer.compress(rows) + packer.flush()
    return packed if len(packed) <= MOST_BYTES and len(rows) + len(head) < _MOST_PLAIN else None


def _names_in(layer: StoredLayer, rows: bytes, path: str) -> str | None:
    """A small file of the layer, if its bytes are at hand."""
    at = max(rows.rfind(f'\n["{path}",'.encode()) + 1, 0)
    if not rows.startswith(f'["{path}","f",'.encode(), at):
        return None
    row = json.loads(rows[at : rows.index(b"\n", at)])
    data = layer.at_hand(path, row[7], row[5]) if row[5] <= _MOST_NAMES else None
    return None if data is None else base64.b64encode(data).decode()


# --- reading one --------------------------------------------------------------------------------


class ToldContent:
    """The bytes of a file of a layer that only a table has told of; the layer is fetched for them.

    `names` are those of a file of names as the table has them, good for looking up owners and nothing else.
    """

    __slots__ = ("layer", "names", "path", "size")

    def __init__(self, layer: StoredLayer, path: str, size: int, names: bytes | None = None) -> None:
        self.layer, self.path, self.size, self.names = layer, path, size, names

    def packed(self) -> tuple[StoredLayer, str, int, str | None]:
        """See fs.entry.Packed."""
        return self.layer, self.path, self.size, self.names.decode("latin-1") if self.names else None

    @classmethod
    def unpacked(cls, layer: StoredLayer, path: str, size: int, names: str | None) -> ToldContent:
        """See fs.entry.Packed."""
        return cls(layer, path, size, names.encode("latin-1") if names else None)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ToldContent) and (self.path, self.layer) == (other.path, other.layer)

    def __hash__(self) -> int:
        return hash((self.path, self.layer))

    def open(self) -> BinaryIO:
        """Open the file's bytes; see fs.entry.Content.

        Raises:
            DigestMismatch: the layer has no such file.
        """
        self.layer.unpack("tar")
        e = self.layer.index().entries.get(self.path)
        if e is None or e.content is None or e.size != self.size:
            raise DigestMismatch(
                f"layer {self.layer.diff_id}: a cache told of /{self.path} with {self.size} bytes, and the "
                "layer has no such file"
            )
        return e.content.open()


def read_table(packed: bytes, layer: StoredLayer) -> Iterator[Entry]:
    """The entries of a layer by its table, in the order of the tar.

    Raises:
        InvalidDocument: it is damaged, of another layer or another format.
        UnsafeArchive, LimitExceeded: it has what no layer may have.
    """
    batches = _batches(packed)
    first = next(batches, [b""])
    names = _head(first.pop(0), layer.diff_id)
    count, ended = 0, False
    for lines in itertools.chain((first,), batches):
        if ended:
            raise InvalidDocument("a table goes on behind its end")
        if lines and lines[-1] == END[:-1]:
            lines.pop()
            ended = True
        rows = _parsed(b"[" + b",".join(lines) + b"]")
        count += len(lines)
        if len(rows) != len(lines):
            raise InvalidDocument("a table whose lines are no rows")
        if count > _MOST_ROWS:
            raise LimitExceeded(f"a table has more than {_MOST_ROWS} rows")
        for row in rows:
            e = _entry(row)
            if e.kind == "f":
                e.content = ToldContent(layer, e.path, e.size, names.get(e.path))
            yield e
    if not ended:
        raise InvalidDocument("a table ends too early")


def _batches(packed: bytes) -> Iterator[list[bytes]]:
    """Its lines, some hundreds at a time."""
    plain, rest, total = decompressed(io.BytesIO(packed), "gzip"), b"", 0
    while data := plain.read(_PIECE):
        total += len(data)
        *lines, rest = (rest + data).split(b"\n")
        if total > _MOST_PLAIN or len(rest) > _MOST_LINE:
            raise LimitExceeded("a table is too large, or a line of it")
        if lines:
            yield lines
    if rest:
        raise InvalidDocument("a table ends too early")


def _parsed(raw: bytes) -> Any:  # noqa: ANN401 - any JSON
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as e:
        raise InvalidDocument("a table that is no JSON") from e


def _head(line: bytes, diff_id: Digest) -> dict[str, bytes]:
    """The files that came along."""
    head = _parsed(line)
    if not isinstance(head, list) or len(head) != 3 or head[0] != _FORMAT or not isinstance(head[2], dict):
        raise InvalidDocument("a table of another format")
    if head[1] != str(diff_id):
        raise InvalidDocument("a table of another layer")
    return {path: _bytes(head[2][path], _MOST_NAMES) for path in _NAMES if path in head[2]}


def _bytes(text: object, most: int) -> bytes:
    try:
        data = base64.b64decode(text, validate=True) if isinstance(text, str) else None
    except (binascii.Error, ValueError) as e:
        raise InvalidDocument("a table with bytes that are not base64") from e
    if data is None or len(data) > most:
        raise InvalidDocument("a table with bytes that are none, or too many")
    return data


def _entry(row: object) -> Entry:
    """The entry of a row."""
    if not isinstance(row, list) or len(row) not in (9, 13):
        raise InvalidDocument("a table with a row of another form")
    path, kind, mode, uid, gid, size, mtime_ns, _, link, *more = row
    path, link = _text(path), _text(link)
    if kind not in ("f", "d", "l", "h", "c", "b", "p", "w", "o"):
        raise InvalidDocument("a table with an entry of no kind")
    device, capability = (0, 0), None
    if more:
        major, minor, packed, _ = more
        if kind in "cb":
            device = _number(major, 0, 0xFFF), _number(minor, 0, 0xFFFFF)
        capability = _bytes(packed, CAPABILITY_BYTES) or None
    raw = Entry(
        name_in_tar(path, kind),
        "f" if kind in "wo" else kind,
        _number(mode, 0, 0o7777),
        _number(uid, 0, _MAX_ID),
        _number(gid, 0, _MAX_ID),
        _number(size, 0, _MAX_SIZE) if kind == "f" else 0,
        _number(mtime_ns, -_MAX_NS, _MAX_NS),
        link if kind in "lh" else "",
        device,
        capability,
    )
    link = raw.link
    e = as_layer_entry(raw)
    if e is None or (e.path, e.kind) != (path, kind) or (kind == "h" and e.link != link):
        raise UnsafeArchive(f"a table tells of {path[:100]!r}, which is no path of a layer")
    return e


def _number(value: object, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise InvalidDocument("a table with a number that cannot be")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise InvalidDocument("a table with a name that is none")
    if value.isascii():
        return value
    try:
        return os.fsdecode(os.fsencode(value))
    except UnicodeEncodeError as e:
        raise InvalidDocument("a table with a name that is none") from e
