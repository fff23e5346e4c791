"""Layers compressed otherwise on the way: the same files and diff_ids, other blobs and manifests.

Why: zstd unpacks faster, eStargz is read before it is all there, and old registries know gzip only. What is
made is what a build makes of the same layer, to the byte, and the store remembers it.
What an index has attested of an image by its digest is about the image as it was, and stays behind, with a
line; signatures are of the old digest as well. An eStargz layer has another diff_id, for its table is in the
tar: the config says so, and the image ID changes.
Spec: OCI image-spec 1.1, layer.md, manifest.md; stargz-snapshotter's estargz.md.
Trust: layers are others': what is unpacked must have the diff_id that the config says.
Threads: any.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

from imagesmith.concurrency import Cancel
from imagesmith.errors import InvalidDocument
from imagesmith.events import Vertex
from imagesmith.image.forms import is_compressed_so, remembered
from imagesmith.interfaces import ImageSource
from imagesmith.layer.codecs import Codec
from imagesmith.oci import mediatype as mt
from imagesmith.oci.codec import dumps
from imagesmith.oci.config import config_object
from imagesmith.oci.digest import Digest, digest_bytes
from imagesmith.oci.identity import Identity
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.quotas import threads
from imagesmith.solve.layerwriter import LayerWriter
from imagesmith.store.store import Store
from imagesmith.transports.documents import config_of
from imagesmith.transports.stored import file_pieces, write_blob
from imagesmith.values import replace

__all__ = ["Recompressed", "Recompressor"]


class Recompressor:
    """Makes manifests whose layers are in one compression."""

    def __init__(
        self, store: Store, codec: Codec, *, force: bool = False, vertex: Callable[[str], Vertex]
    ) -> None:
        """Prepare.

        Args:
            store: takes the layers, and remembers them.
            codec: the compression.
            force: layers that are compressed so are done again.
            vertex: begins to tell of a layer.
        """
        self._store, self._codec, self._force, self._vertex = store, codec, force, vertex
        self._lock = threading.Lock()
        #: Configs that are new, and all blobs that are.
        self.documents: dict[Digest, bytes] = {}
        self.new: set[Digest] = set()

    def reform(self, source: ImageSource, manifest: Manifest) -> Manifest:
        """The manifest with its layers in the compression; itself where that changes nothing.

        What is no image, and layers that stay where their addresses say, are left as they are.

        Raises:
            DigestMismatch: a layer is not what the config says.
        """
        if not mt.is_image_config(manifest.config.media_type) or not manifest.layers:
            return manifest
        if not all(mt.is_layer(d.media_type) for d in manifest.layers):
            return manifest  # a statement in the form of an image
        config = config_of(source, manifest)
        if len(config.diff_ids) != len(manifest.layers):
            said = f"{len(manifest.layers)} layers but {len(config.diff_ids)} diff_ids"
            raise InvalidDocument(f"{source.name}: {said}")
        made = [self._layer(source, *pair) for pair in zip(config.diff_ids, manifest.layers, strict=True)]
        layers = tuple(d for _, d in made)
        if layers == manifest.layers:
            return manifest
        return Manifest.build(
            self._config(source, manifest, [diff_id for diff_id, _ in made]),
            layers,
            media_type=manifest.media_type,
            subject=manifest.subject,
            artifact_type=manifest.artifact_type,
            annotations=manifest.annotations,
        )

    def _layer(self, source: ImageSource, diff_id: Digest, d: Descriptor) -> tuple[Digest, Descriptor]:
        keeps = d.urls and mt.is_nondistributable(d.media_type)
        if keeps or (is_compressed_so(d, self._codec) and not self._force):
            return diff_id, d

        def make() -> tuple[Digest, Descriptor]:
            with self._vertex(f"compress {d.digest} of {source.name} with {self._codec}") as vertex:
                self._bring(source, d, vertex)
                layer = self._store.layers.layer(diff_id, d.digest)
                return LayerWriter(self._store, self._codec, threads(), None).recompress(layer, Cancel())

        with self._lock:  # it has all processors; images of one index have layers in common
            diff_id, found = remembered(self._store, diff_id, self._codec, None, make)
        self.new.add(found.digest)
        docker = mt.to_docker(d.media_type) == d.media_type and not self._codec.only_oci
        kind = mt.to_docker(found.media_type) if docker else found.media_type
        theirs = {
            k: v for k, v in d.annotations.items() if not k.startswith("containerd.io/snapshot/stargz/")
        }
        notes = {**theirs, **found.annotations}
        return diff_id, replace(found, media_type=kind, annotations=notes)

    def _bring(self, source: ImageSource, d: Descriptor, vertex: Vertex) -> None:
        """Fetch a layer that the store has not got."""
        if not self._store.blobs.has(d.digest):
            write_blob(self._store.blobs, d, source, lambda _current: None)
            vertex.did(str(d.digest), d.size)

    def _config(self, source: ImageSource, manifest: Manifest, diff_ids: Sequence[Digest]) -> Descriptor:
        """The config, with the diff_ids that layers have now."""
        found = config_object(source.document(manifest.config))
        rootfs = found.data["rootfs"]
        now = [str(diff_id) for diff_id in diff_ids]
        if rootfs["diff_ids"] == now:
            return manifest.config
        rootfs["diff_ids"] = now
        raw = dumps(found.data)
        digest = digest_bytes(raw)
        self.documents[digest] = raw
        return replace(manifest.config, digest=digest, size=len(raw))

    def pieces(self, d: Descriptor, offset: int) -> Iterator[bytes] | None:
        """The bytes of what was made here, from an offset on; None for what was not."""
        raw = self.documents.get(d.digest)
        if raw is not None:
            return iter([raw[offset:]])
        if d.digest in self.new or self._store.blobs.has(d.digest):
            return file_pieces(self._store.blobs, d.digest, offset)
        return None


class Recompressed:
    """A place, with what was made of its layers; ImageSource."""

    def __init__(self, place: ImageSource, made: Recompressor) -> None:
        self._place, self._made = place, made

    @property
    def name(self) -> str:
        """The place's; see ImageSource."""
        return self._place.name

    @property
    def identity(self) -> Identity:
        """The place's: a policy is asked about what was there; see ImageSource."""
        return self._place.identity

    def root(self) -> Descriptor:
        """The place's; see ImageSource."""
        return self._place.root()

    def document(self, d: Descriptor) -> bytes:
        """See ImageSource."""
        raw = self._made.documents.get(d.digest)
        return self._place.document(d) if raw is None else raw

    def pieces(self, d: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """See ImageSource."""
        found = self._made.pieces(d, offset)
        return self._place.pieces(d, offset) if found is None else found

    def lacks(self, d: Descriptor) -> bool:
        """See ImageSource."""
        return self._place.lacks(d)

    def origin(self, digest: Digest) -> ImageSource:
        """The place's, or itself for what is new; see ImageSource."""
        return self if digest in self._made.new else self._place.origin(digest)

    def referrers(self, digest: Digest) -> Sequence[Descriptor]:
        """See ImageSource."""
        return self._place.referrers(digest)

    def tagged(self, tag: str) -> Descriptor | None:
        """See ImageSource."""
        return self._place.tagged(tag)
