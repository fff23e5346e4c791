"""Write a layer: a tar of entries, its diff_id, its blob in the store and its index, all in one pass."""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from imagesmith.concurrency import Cancel
from imagesmith.errors import DigestMismatch
from imagesmith.fs.entry import Entry
from imagesmith.fs.room import FEW
from imagesmith.layer.codecs import Codec
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor
from imagesmith.store.disk import spool
from imagesmith.store.layers import Form, StoredLayer
from imagesmith.store.store import Store
from imagesmith.values import replace

if TYPE_CHECKING:
    from imagesmith.layer.stream import LayerResult

__all__ = ["LayerWriter", "Tap"]


class Tap(Protocol):
    """Takes the bytes of a blob while it is made."""

    def write(self, data: bytes, /) -> None:
        """The next bytes."""

    def abort(self) -> None:
        """There will be no such blob."""


class LayerWriter:
    """Writes layers in one compression, under one clamp of times (seconds, None for none)."""

    def __init__(self, store: Store, codec: Codec, workers: int, clamp_s: int | None) -> None:
        self._store, self._codec, self._workers, self.clamp_s = store, codec, workers, clamp_s

    @property
    def codec_name(self) -> str:
        """The compression and its level, for the cache key."""
        return str(self._codec)

    def held_ns(self, mtime_ns: int) -> int:
        """What its layers hold of a time; both in nanoseconds."""
        from imagesmith.layer.tarwrite import held_ns

        return held_ns(mtime_ns, self.clamp_s)

    def write(
        self,
        entries: Iterable[Entry],
        cancel: Cancel,
        *,
        learn: Callable[[Entry], None] | None = None,
        once: bool = False,
        form: Form = "",
        tap: Tap | None = None,
    ) -> tuple[Digest, Descriptor]:
        """Write the entries, already in order, as a layer.

        Its index has the times that the tar has: a later step sees what whoever reads the layer sees, be it
        made now, taken from the cache or fetched. A file whose name begins with `.wh.` is a deletion to them.

        Args:
            entries: what the layer holds. Of a sequence it is remembered, and the index need not be read.
            cancel: looked at once a block.
            learn: takes each entry with its file's digest, which is not worked out without.
            once: nobody looks at the entries again: a file's content is let go of as soon as it is written,
                for there may be tens of thousands, and the index takes the entries themselves.
            form: how the tar is kept as well, for a step that will want it.
            tap: takes the compressed bytes.
        """
        from imagesmith.layer.tarwrite import held_ns, write_layer

        layers, offsets, clamp_s = self._store.layers, array("q"), self.clamp_s
        known = entries if isinstance(entries, Sequence) and len(entries) <= FEW else None
        with contextlib.ExitStack() as stack:
            index = stack.enter_context(layers.new_index())
            kept = stack.enter_context(layers.new_tar(form)) if form else None

            def written(entry: Entry, offset: int) -> None:
                nonlocal known
                if "/.wh." not in f"/{entry.path}":
                    index.add(entry, offset, held_ns(entry.mtime_ns, clamp_s))
                else:
                    known = None
                    if (read := _as_read(entry)) is not None:
                        index.add(read, offset, held_ns(read.mtime_ns, clamp_s))
                if learn is not None:
                    learn(entry)
                if once:
                    entry.content = None
                if known is not None:
                    offsets.append(offset)

            def tar(sink: Callable[[bytes], None]) -> None:
                write_layer(entries, sink, clamp_s=clamp_s, digests=learn is not None, on_offset=written)

            result = self._stream(tar, cancel, kept.write if kept is not None else None, tap)
            stored = layers.layer(result.diff_id, result.digest)
            if index.keep(result.diff_id) and known is not None:
                stored.just_written(known, offsets, clamp_s, own=once)
            if kept is not None:
                kept.keep(stored.folder, stored.index)
        return result.diff_id, self._descriptor(result)

    def recompress(self, layer: StoredLayer, cancel: Cancel) -> tuple[Digest, Descriptor]:
        """Write the tar of a stored layer, fetched if it must be, as it is; for estargz, with its table.

        Raises:
            NotFound: none of the layer's blobs can be had.
            DigestMismatch: the blob is not what its diff_id says.
        """
        from imagesmith.layer.decompress import decompressed

        if self._codec.is_estargz:
            return self._with_table(layer, cancel)
        blob, raw = layer.open_blob()

        def tar(sink: Callable[[bytes], None]) -> None:
            with raw:
                plain = decompressed(raw)
                while data := plain.read(1 << 20):
                    sink(data)

        result = self._stream(tar, cancel)
        if result.diff_id != layer.diff_id:
            raise DigestMismatch(f"layer {blob}: its diff_id is {result.diff_id}, not {layer.diff_id}")
        return result.diff_id, self._descriptor(result)

    def _with_table(self, layer: StoredLayer, cancel: Cancel) -> tuple[Digest, Descriptor]:
        """Write an eStargz layer; its diff_id is another, for the table is in the tar."""
        from imagesmith.layer.decompress import decompressed
        from imagesmith.layer.estargz import SIZE_NOTE, TABLE_NOTE, write_estargz

        blobs = self._store.blobs
        blob, raw = layer.open_blob()
        with raw, spool(blobs.ingest, "keep a layer's table") as rows, blobs.writer(hashes=False) as out:

            class Checked:
                """The blob's file, unless somebody asked to stop."""

                def write(self, data: bytes, /) -> None:
                    cancel.check()
                    out.write(data)

            tar = decompressed(raw)
            result, seen, table = write_estargz(
                tar, Checked(), level=self._codec.level, workers=self._workers, spool=rows
            )
            if seen != layer.diff_id:
                raise DigestMismatch(f"layer {blob}: its diff_id is {seen}, not {layer.diff_id}")
            out.commit(result.digest, result.size)
        notes = {TABLE_NOTE: str(table), SIZE_NOTE: str(result.uncompressed_size)}
        d = self._descriptor(result)
        return result.diff_id, replace(d, annotations={**d.annotations, **notes})

    def _stream(
        self,
        tar: Callable[[Callable[[bytes], None]], None],
        cancel: Cancel,
        on_raw: Callable[[bytes], None] | None = None,
        tap: Tap | None = None,
    ) -> LayerResult:
        """Compress what `tar` writes, into a blob of the store."""
        from imagesmith.layer.stream import LayerStream

        with self._store.blobs.writer(hashes=False) as blob:
            further = tap.write if tap is not None else None
            stream = LayerStream(self._codec, blob, self._workers, on_compressed=further, on_raw=on_raw)
            try:

                def sink(data: bytes) -> None:
                    cancel.check()
                    stream.write(data)

                tar(sink)
                result = stream.finish()
            except BaseException:
                stream.abort()
                if tap is not None:
                    tap.abort()
                raise
            blob.commit(result.digest, result.size)
        return result

    def _descriptor(self, result: LayerResult) -> Descriptor:
        annotations = {} if self.clamp_s is None else {"buildkit/rewritten-timestamp": str(self.clamp_s)}
        return Descriptor(
            media_type=result.media_type, digest=result.digest, size=result.size, annotations=annotations
        )


def _as_read(entry: Entry) -> Entry | None:
    """What an entry with a name of a deletion is to whoever reads the layer; None if it is nothing.

    Raises:
        UnsafeArchive: no layer can have it.
    """
    from imagesmith.fs.entry import name_in_tar
    from imagesmith.fs.entry import replace as another
    from imagesmith.layer.tarread import as_layer_entry

    return as_layer_entry(another(entry, path=name_in_tar(entry.path, entry.kind)))
