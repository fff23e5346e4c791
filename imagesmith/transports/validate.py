"""Checking an image to its last byte: digests, sizes, platforms, diff_ids.

Why: a registry or a layout may have lost or damaged what its manifests name, and not know it.
Spec: OCI image-spec 1.1: manifest.md, image-index.md, config.md.
Trust: everything looked at is others': documents come through the strict door, layers through
layer/tarread.py.
"""

from __future__ import annotations

import hashlib

from imagesmith.errors import DigestMismatch, InvalidDocument, NotAnImage, NotFound
from imagesmith.interfaces import ImageSource
from imagesmith.layer.decompress import decompressed
from imagesmith.oci import mediatype as mt
from imagesmith.oci.config import check_image
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor, Index, Manifest
from imagesmith.transports.documents import config_of, parsed
from imagesmith.transports.files import PieceFile

__all__ = ["validate"]


def validate(source: ImageSource, *, layers: bool = True, sparse: bool = False) -> str:
    """Read an image and return a line on what was there.

    Args:
        source: the image.
        layers: read the layers, too, and compare them with the config's diff_ids.
        sparse: an index may name platforms that are not there, such as those that nobody pulled.

    Raises:
        DigestMismatch: content is not what its descriptor or its config says.
        NotFound: something is missing.
        InvalidDocument: a document breaks its specification.
        NotAnImage: it is an artifact, whose content has been checked.
    """
    check = _Check(source, layers, sparse)
    root = source.root()
    check.visit(root, 0)
    if root.digest in check.artifacts:
        said = check.artifacts[root.digest]
        raise NotAnImage(f"{source.name}: {said}; its content is as its digests say")
    if check.absent and not check.manifests:
        raise NotFound(f"{source.name}: none of the index's images is there")
    if not check.manifests:
        raise InvalidDocument(f"{source.name}: an index without manifests")
    read = f"{len(check.blobs)} blobs, {check.bytes} bytes" if layers else "layers not read"
    absent = f"; {check.absent} not there" if check.absent else ""
    return f"{len(check.manifests)} manifests, {read}{absent}"


class _Check:
    def __init__(self, source: ImageSource, layers: bool, sparse: bool) -> None:
        self._source, self._layers, self._sparse = source, layers, sparse
        self.absent = 0
        self.manifests: set[Digest] = set()
        self.artifacts: dict[Digest, str] = {}
        self.blobs: set[Digest] = set()
        self.bytes = 0

    def visit(self, d: Descriptor, depth: int) -> None:
        if depth > 5:
            raise InvalidDocument(f"{self._source.name}: indexes nested too deeply")
        if d.digest in self.manifests:
            return
        raw = self._source.document(d)
        if len(raw) != d.size:
            raise DigestMismatch(f"{d.digest}: {len(raw)} bytes, its descriptor says {d.size}")
        document = parsed(self._source, d, raw)
        if isinstance(document, Index):
            for child in document.manifests:
                if self._sparse and not self._is_there(child):
                    self.absent += 1
                    continue
                self.visit(child, depth + 1)
        else:
            self.manifests.add(d.digest)
            self._manifest(document, d)

    def _is_there(self, d: Descriptor) -> bool:
        try:
            self._source.document(d)
        except NotFound:
            return False
        return True

    def _manifest(self, manifest: Manifest, d: Descriptor) -> None:
        raw = self._source.document(manifest.config)
        if len(raw) != manifest.config.size:
            raise DigestMismatch(
                f"config {manifest.config.digest}: {len(raw)} bytes, not {manifest.config.size}"
            )
        diff_ids: tuple[Digest, ...] = ()
        try:
            check_image(manifest)
        except NotAnImage as e:
            self.artifacts[d.digest] = e.message
        else:
            config = config_of(self._source, manifest)
            diff_ids = config.diff_ids
            if len(diff_ids) != len(manifest.layers):
                raise InvalidDocument(
                    f"{d.digest}: {len(manifest.layers)} layers but {len(diff_ids)} diff_ids"
                )
            full = sum(not h.empty_layer for h in config.history)
            if config.history and full != len(diff_ids):
                raise InvalidDocument(f"{d.digest}: history has {full} layers, the config {len(diff_ids)}")
            have = config.platform
            if d.platform is not None and (d.platform.os, d.platform.architecture) != (
                have.os,
                have.architecture,
            ):
                raise InvalidDocument(f"{d.digest}: listed as {d.platform}, but its config says {have}")
        if self._layers:
            for n, layer in enumerate(manifest.layers):
                if not (layer.urls and mt.is_nondistributable(layer.media_type)):
                    self._layer(layer, diff_ids[n] if diff_ids and mt.is_layer(layer.media_type) else None)

    def _layer(self, d: Descriptor, diff_id: Digest | None) -> None:
        if d.digest in self.blobs:
            return
        self.blobs.add(d.digest)
        self.bytes += d.size
        source = PieceFile(self._source.pieces(d))
        if diff_id is not None:
            seen = hashlib.new(diff_id.algorithm)
            plain = decompressed(source)
            while data := plain.read(1 << 20):
                seen.update(data)
            if seen.hexdigest() != diff_id.hex:
                raise DigestMismatch(f"layer {d.digest}: its diff_id is not {diff_id}, which the config says")
        while source.read(1 << 20):
            pass  # to the verified end
        if source.seen != d.size:
            raise NotFound(f"layer {d.digest}: {source.seen} bytes, expected {d.size}")
