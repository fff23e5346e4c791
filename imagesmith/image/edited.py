"""An image that does not exist yet: new documents in memory, new layers in the store, the rest where it was.

Why: editing a config or a manifest moves no layer; the result is copied like any image, and what the
target has already is not sent.
Trust: documents of the image are others', and come through the strict door.
Threads: any, once it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from imagesmith.errors import NotAnImage, NotFound
from imagesmith.interfaces import ImageSource
from imagesmith.oci.config import check_image
from imagesmith.oci.digest import Digest, digest_bytes
from imagesmith.oci.model import Descriptor, Index, Manifest
from imagesmith.store.blobs import BlobStore
from imagesmith.transports.convert import converted
from imagesmith.transports.documents import config_of, document_of
from imagesmith.transports.stored import file_pieces
from imagesmith.values import replace

if TYPE_CHECKING:
    from imagesmith.oci.identity import Identity

__all__ = ["Change", "Edited", "edit_image", "layers_of"]

#: Takes a manifest and its config's bytes, returns the new ones.
Change = Callable[[Manifest, bytes], tuple[Manifest, bytes]]


class Edited:
    """An image of parts; ImageSource."""

    def __init__(self, name: str, blobs: BlobStore) -> None:
        """Begin with nothing; `blobs` is where new layers are."""
        self.name = name
        self._blobs = blobs
        self._documents: dict[Digest, bytes] = {}
        self._places: dict[Digest, ImageSource] = {}
        self._base: ImageSource | None = None
        self._root: Descriptor | None = None
        #: Of an index, what the source lacks, which is left out.
        self.absent: list[Descriptor] = []
        #: The attestations of what changed, which are left out.
        self.outdated: list[Descriptor] = []

    @property
    def identity(self) -> Identity:
        """An image that is made here; see ImageSource."""
        from imagesmith.oci.identity import Identity

        return Identity(transport="")

    def add(self, raw: bytes) -> Digest:
        """Add a document or another small blob."""
        digest = digest_bytes(raw)
        self._documents[digest] = raw
        return digest

    def rest(self, base: ImageSource) -> None:
        """Say where everything is that is not new."""
        self._base = base

    def found_at(self, digest: Digest, place: ImageSource) -> None:
        """Say where a single blob or manifest is."""
        self._places.setdefault(digest, place)

    def set_root(self, d: Descriptor) -> None:
        """Say what the image is."""
        self._root = d

    def root(self) -> Descriptor:
        """See ImageSource."""
        assert self._root is not None
        return self._root

    def lacks(self, d: Descriptor) -> bool:
        """True if the place behind lacks part of what is not new; see ImageSource."""
        if d.digest in self._documents:
            return False
        place = self._places.get(d.digest, self._base)
        return place is None or place.lacks(d)

    def origin(self, digest: Digest) -> ImageSource:
        """The place behind that holds a blob; itself for what is new."""
        place = self._places.get(digest, self._base)
        if digest in self._documents or self._blobs.has(digest) or place is None:
            return self
        return place.origin(digest)

    def _place(self, digest: Digest) -> ImageSource:
        place = self._places.get(digest, self._base)
        if place is None:
            raise NotFound(f"{self.name}: nothing says where {digest} is")
        return place

    def document(self, d: Descriptor) -> bytes:
        """See ImageSource."""
        raw = self._documents.get(d.digest)
        return self._place(d.digest).document(d) if raw is None else raw

    def pieces(self, d: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """See ImageSource."""
        raw = self._documents.get(d.digest)
        if raw is not None:
            return iter([raw[offset:]])
        if self._blobs.has(d.digest):
            return file_pieces(self._blobs, d.digest, offset)
        return self._place(d.digest).pieces(d, offset)

    def referrers(self, digest: Digest) -> list[Descriptor]:
        """See ImageSource; what referred to the old image says nothing of the new one."""
        del digest
        return []

    def tagged(self, tag: str) -> None:
        """See ImageSource; a new image has no signature yet."""
        del tag


def edit_image(
    source: ImageSource,
    root: Descriptor,
    blobs: BlobStore,
    change: Change,
    *,
    index_annotations: Mapping[str, str] | None = None,
) -> Edited:
    """Change every image manifest below a descriptor; attestations of changed images are left out.

    Args:
        source: the image.
        root: its manifest or index.
        blobs: where new layers are.
        change: makes the new manifest and config; called for each platform.
        index_annotations: set on the index, if it is one.

    Raises:
        NotAnImage: the root is an artifact.
    """
    out = Edited(source.name, blobs)
    out.rest(source)
    out.set_root(_edited(source, root, out, change, index_annotations or {}, 0))
    return out


def _edited(
    source: ImageSource,
    d: Descriptor,
    out: Edited,
    change: Change,
    annotations: Mapping[str, str],
    depth: int,
) -> Descriptor:
    document = document_of(source, d)
    if isinstance(document, Manifest):
        try:
            _check(source, document)
        except NotAnImage:
            if not depth:
                raise
            return d  # among the images of an index one stays as it is
        manifest, config = change(document, source.document(document.config))
        out.add(config)
        out.add(manifest.raw)
        return replace(manifest.descriptor(), platform=d.platform, annotations=d.annotations)
    if depth > 4:
        raise NotFound(f"{source.name}: indexes nested too deeply")
    lacks = [source.lacks(m) for m in document.manifests]
    there = [m for m, lacking in zip(document.manifests, lacks, strict=True) if not lacking]
    out.absent += [m for m, lacking in zip(document.manifests, lacks, strict=True) if lacking]
    images = [m for m in there if not m.is_attestation]
    if out.absent and not images:
        raise NotFound(f"{source.name}: none of the index's images is there")
    children = {m.digest: _edited(source, m, out, change, {}, depth + 1) for m in images}
    changed = {str(old) for old, new in children.items() if new.digest != old}
    outdated = [m for m in there if m.about in changed]
    out.outdated += outdated
    changed |= {str(m.digest) for m in out.absent}
    kept = [m for m in there if m.about not in changed]
    index = _annotated(document, kept, annotations)
    index = converted(index, "", children)  # type: ignore[assignment]  # of an index comes an index
    out.add(index.raw)
    return replace(index.descriptor(), annotations=d.annotations)


def _annotated(index: Index, kept: list[Descriptor], annotations: Mapping[str, str]) -> Index:
    if tuple(kept) == index.manifests and not annotations:
        return index
    merged = {k: v for k, v in {**index.annotations, **annotations}.items() if v}
    return Index.build(
        kept,
        media_type=index.media_type,
        subject=index.subject,
        artifact_type=index.artifact_type,
        annotations=merged,
    )


def _check(source: ImageSource, manifest: Manifest) -> None:
    """Refuse an artifact, with the name of its place."""
    try:
        check_image(manifest)
    except NotAnImage as e:
        raise NotAnImage(f"{source.name}: {e.message}") from e


def layers_of(source: ImageSource, manifest: Manifest) -> list[tuple[Digest, Descriptor]]:
    """The layers of an image with their diff_ids, bottom first.

    Raises:
        NotAnImage: it is an artifact.
        NotFound: its config does not fit.
    """
    _check(source, manifest)
    config = config_of(source, manifest)
    if len(config.diff_ids) != len(manifest.layers):
        raise NotFound(f"{source.name}: {len(manifest.layers)} layers but {len(config.diff_ids)} diff_ids")
    return list(zip(config.diff_ids, manifest.layers, strict=True))
