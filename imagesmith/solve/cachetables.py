"""The tables of layers in a cache's document: small ones in it, others as blobs of the manifest.

    {"version": 1, "records": [...], "tables": [{"diff_id", "data"}, {"diff_id", "layer"}, ...]}

`data` is the table in base64, `layer` its position among the layers of the manifest, behind those that the
records name. Tables are of the steps' layers and of those of their base images, whose blobs are elsewhere.
Why in the document: most steps add some files, and a request for each costs more than their tables. Readers
of before pass over both. Inline caches have none, for an image is not made larger for its builds.
Trust: whoever writes a cache may write anything here; a table that is not as it should be is left out.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from imagesmith.errors import InvalidDocument
from imagesmith.oci.codec import Object
from imagesmith.oci.digest import Digest, digest_bytes
from imagesmith.oci.model import Descriptor
from imagesmith.values import frozen

__all__ = ["Table", "tables_in", "with_tables"]

#: The media type of a table.
_TYPE = "application/vnd.imagesmith.cache.table.v1+gzip"
#: A table up to this size (bytes) is in the document, and so many bytes of them together.
_SMALL, _MOST_SMALL = 2 << 10, 64 << 10
#: So many tables a cache has.
_MOST_TABLES = 1_000


@frozen
class Table:
    """A table as a cache holds it: its bytes, or the blob."""

    data: bytes = b""
    blob: Descriptor | None = None


def with_tables(
    document: Mapping[str, Any], layers: Sequence[Descriptor], tables: Iterable[tuple[Digest, Table]]
) -> tuple[dict[str, Any], list[Descriptor], list[bytes]]:
    """A document and its layers with tables, as many as there may be, the first ones first.

    Returns them with those tables that are blobs of their own and whose bytes are given.
    """
    rows: list[dict[str, Any]] = []
    everything, blobs, room = list(layers), list[bytes](), _MOST_SMALL
    for diff_id, table in dict(tables).items():
        if len(rows) == _MOST_TABLES:
            break
        small = table.blob is None and len(table.data) <= min(_SMALL, room)
        row: dict[str, Any] = {"diff_id": str(diff_id)}
        if small:
            room -= len(table.data)
            row["data"] = base64.b64encode(table.data).decode()
        else:
            if table.blob is None:
                blobs.append(table.data)
            row["layer"] = len(everything)
            everything.append(table.blob or _descriptor(table.data))
        rows.append(row)
    return {**document, **({"tables": rows} if rows else {})}, everything, blobs


def _descriptor(data: bytes) -> Descriptor:
    return Descriptor(media_type=_TYPE, digest=digest_bytes(data), size=len(data))


def tables_in(document: Object, layers: Sequence[Descriptor]) -> dict[Digest, Table]:
    """The tables of a document, those left out that are not as they should be; none where that is no list."""
    found: dict[Digest, Table] = {}
    try:
        rows = document.objects("tables")[:_MOST_TABLES]
    except InvalidDocument:
        return found
    for o in rows:
        try:
            diff_id, n = Digest.parse(o.need_text("diff_id")), o.integer("layer", -1)
            if 0 <= n < len(layers) and layers[n].media_type == _TYPE:
                found[diff_id] = Table(blob=layers[n])
            elif data := base64.b64decode(o.text("data"), validate=True):
                found[diff_id] = Table(data)
        except (InvalidDocument, binascii.Error, ValueError):
            continue
    return found
