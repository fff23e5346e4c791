"""The cache as a document: what is written for --cache-to, and how it is read for --cache-from.

    {"version": 1, "records": [{"base", "parts", "layer", "diff_id", "created_ns", "note"}, ...]}

`layer` is a position in the layers of the manifest (or image) that holds the document; -1 says that the
layer is not there: with mode=min the stages that the image only copies from are known by their diff_ids, so
that what was copied is found without them. The manifest is an
ordinary OCI image manifest, so that every registry takes it and keeps the layers; its config is this document
under a media type of our own. Inline it is a field of the image's config.

Why not BuildKit's form: a key there is a digest over a graph of BuildKit's own operations, layer by layer;
ours is made of the layers below a step and the files that it takes (solve/key.py), which is why a base
image under another name still hits here. Keys of one kind mean nothing to the other.
Why parts and not keys: the key is computed from the parts when it is read, so a record cannot claim another.
Trust: whoever can write a cache can choose the results of steps, as in every builder; beyond that a document
is read like any other of a registry, strictly, and a layer is checked against its digest and diff_id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from imagesmith.errors import InvalidDocument
from imagesmith.oci.codec import Object, dumps
from imagesmith.oci.digest import Digest
from imagesmith.oci.mediatype import is_layer
from imagesmith.oci.model import Descriptor
from imagesmith.oci.times import format_ns
from imagesmith.solve.key import key_of
from imagesmith.solve.watching import Solved
from imagesmith.store.cachedb import StepRecord
from imagesmith.values import replace

__all__ = ["CONFIG_TYPE", "INLINE", "decode", "encode", "exported", "merged"]

#: The media type of the document as a manifest's config.
CONFIG_TYPE = "application/vnd.imagesmith.cache.config.v1+json"
#: The field of an image's config that holds the document inline.
INLINE = "imagesmith.cache.v1"

_VERSION = 1
_MOST_RECORDS = 50_000
#: What a merged cache holds at most; beyond that the oldest records go, and layers that only they had.
_MOST_MERGED, _MOST_LAYERS, _MOST_OLD_BYTES = 10_000, 2_000, 3 << 20
_FIELDS = ("base", "parts", "diff_id", "created_ns", "note")
_DIFF_ID, _CREATED = "containerd.io/uncompressed", "buildkit/createdat"


def exported(d: Descriptor, diff_id: Digest, created_ns: int) -> Descriptor:
    """A layer as a cache manifest lists it: with its diff_id and the time when it was made."""
    more = {_DIFF_ID: str(diff_id), _CREATED: format_ns(created_ns)}
    return replace(d, annotations={**d.annotations, **more})


def encode(
    solved: Iterable[Solved],
    position: Callable[[Solved], int | None],
    note: Callable[[str], Mapping[str, str]],
    made_ns: int | None = None,
) -> dict[str, Any]:
    """The document of steps.

    Args:
        solved: the steps.
        position: of a step's layer among the layers that go along; None where it stays away.
        note: what is noted beside a key.
        made_ns: when the steps are said to have been made; else when they were.
    """
    records = {}
    for s in solved:
        n = position(s)
        if n is None:
            n = -1
        for r in s.records:
            records[r.key] = {
                "base": r.base,
                "parts": dict(r.parts),
                "layer": n,
                "diff_id": str(s.layer.diff_id),
                "created_ns": r.created_ns if made_ns is None else made_ns,
                "note": dict(note(r.key)),
            }
    return {"version": _VERSION, "records": [records[key] for key in sorted(records)]}


def merged(
    new: tuple[Mapping[str, Any], Sequence[Descriptor]], old: tuple[Mapping[str, Any], Sequence[Descriptor]]
) -> tuple[dict[str, Any], list[Descriptor]]:
    """Two documents, each with its layers, as one; `old` was decoded without an error.

    A record of both is the new one's, unless that came without its layer. One with another result stays
    beside it: steps may stand on either. What is too much is left out of the old one, oldest first.
    """
    layers: list[Descriptor] = list(new[1])
    numbers = {d.digest: n for n, d in enumerate(layers)}
    records = {_identity(r): dict(r) for r in new[0]["records"]}
    room = _MOST_OLD_BYTES
    for r in sorted(old[0]["records"], key=lambda r: -int(r["created_ns"])):
        known, d = records.get(_identity(r)), old[1][r["layer"]] if r["layer"] >= 0 else None
        if (known is not None and (known["layer"] >= 0 or d is None)) or len(records) >= _MOST_MERGED:
            continue
        if d is not None and d.digest not in numbers and len(layers) >= _MOST_LAYERS:
            continue
        kept = {name: r[name] for name in _FIELDS if name in r}
        room -= len(dumps(kept))
        if room < 0:
            break
        if d is not None and d.digest not in numbers:
            numbers[d.digest] = len(layers)
            layers.append(d)
        records[_identity(r)] = {**kept, "layer": -1 if d is None else numbers[d.digest]}
    return {"version": _VERSION, "records": [records[key] for key in sorted(records)]}, layers


def _identity(r: Mapping[str, Any]) -> tuple[str, str]:
    return key_of(r["parts"]), r["diff_id"]


def decode(
    document: Object, layers: Sequence[Descriptor]
) -> tuple[list[StepRecord], dict[str, dict[str, str]]]:
    """The records of a document, and by their keys the notes beside them.

    A key may have several records, of a step that several builds executed with different results.

    Args:
        document: as read.
        layers: of the manifest or image that holds it.

    Raises:
        InvalidDocument: of another version, or malformed.
    """
    if document.integer("version") != _VERSION:
        raise InvalidDocument(f"{document.path}: version {document.integer('version')} is not {_VERSION}")
    items = document.objects("records")
    if len(items) > _MOST_RECORDS:
        raise InvalidDocument(f"{document.path}: more than {_MOST_RECORDS} records")
    records: list[StepRecord] = []
    notes: dict[str, dict[str, str]] = {}
    for o in items:
        record = _record(o, layers)
        records.append(record)
        notes[record.key] = o.text_map("note")
    return records, notes


def _record(o: Object, layers: Sequence[Descriptor]) -> StepRecord:
    n = o.integer("layer", -2)
    if not -1 <= n < len(layers):
        raise InvalidDocument(f"{o.path}: there is no layer {n}")
    diff_id = Digest.parse(o.need_text("diff_id"))
    parts = o.need_obj("parts").data
    layer = _layer(o, layers[n], diff_id).to_json() if n >= 0 else {}
    return StepRecord(
        key=key_of(parts),
        base=o.need_text("base"),
        parts=parts,
        diff_id=str(diff_id),
        layer=layer,
        created_ns=o.integer("created_ns"),
    )


def _layer(o: Object, d: Descriptor, diff_id: Digest) -> Descriptor:
    """A layer as it was before it was exported."""
    if not is_layer(d.media_type):
        raise InvalidDocument(f"{o.path}: {d.media_type[:100]} is not a layer")
    said = d.annotations.get(_DIFF_ID)
    if said is not None and said != str(diff_id):
        raise InvalidDocument(f"{o.path}: the diff_id is not that of the layer")
    kept = {k: v for k, v in d.annotations.items() if k not in (_DIFF_ID, _CREATED)}
    return replace(d, annotations=kept)
