"""Layers that come as tars, or are made here: brought into the store as blobs.

Why: a compressed one stays as it is, so that its digest does; a plain one becomes gzip, for registries and
manifests want layers so.
Spec: OCI image-spec 1.1, layer.md.
Trust: tars come from anywhere; they are hashed, not read, and `check` sees a diff_id before there is a blob.
Threads: any.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from imagesmith.layer.codecs import Codec
from imagesmith.layer.decompress import decompressed, sniff
from imagesmith.layer.stream import LayerStream
from imagesmith.oci import mediatype as mt
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor
from imagesmith.store.store import Store
from imagesmith.transports.files import PieceFile

__all__ = ["bring_layer", "new_layer"]

_KEPT = {"gzip": mt.OCI_LAYER_GZIP, "zstd": mt.OCI_LAYER_ZSTD}
_CHUNK = 1 << 20


def _any(_diff_id: Digest) -> None:
    """Every layer will do."""


def bring_layer(
    pieces: Callable[[], Iterator[bytes]], store: Store, check: Callable[[Digest], None] = _any
) -> tuple[Digest, Descriptor]:
    """Store a tar, plain or compressed, as a layer; returns its diff_id and its blob.

    Args:
        pieces: begins to read it; called twice for one that stays as it is.
        store: takes the blob.
        check: is told the diff_id, and raises where it is not the one that is wanted.
    """
    source = PieceFile(pieces())
    kind = sniff(source.peek(6))
    plain = decompressed(source, kind)
    if kind not in _KEPT:
        return new_layer(lambda sink: _pour(plain.read, sink), store, check)
    seen = hashlib.sha256()
    _pour(plain.read, seen.update)
    diff_id = Digest("sha256", seen.hexdigest())
    check(diff_id)
    with store.blobs.writer() as blob:
        for piece in pieces():
            blob.write(piece)
        digest, size = blob.commit()
    return diff_id, Descriptor(media_type=_KEPT[kind], digest=digest, size=size)


def new_layer(
    tar: Callable[[Callable[[bytes], None]], None],
    store: Store,
    check: Callable[[Digest], None] = _any,
    workers: int = 2,
) -> tuple[Digest, Descriptor]:
    """Store as a layer, with gzip, what `tar` writes; returns its diff_id and its blob."""
    with store.blobs.writer(hashes=False) as blob:
        stream = LayerStream(Codec.parse("gzip", ""), blob, workers=workers)
        try:
            tar(stream.write)
            result = stream.finish()
        except BaseException:
            stream.abort()
            raise
        check(result.diff_id)
        blob.commit(result.digest, result.size)
    return result.diff_id, Descriptor(media_type=result.media_type, digest=result.digest, size=result.size)


def _pour(read: Callable[[int], bytes], sink: Callable[[bytes], object]) -> None:
    while data := read(_CHUNK):
        sink(data)
