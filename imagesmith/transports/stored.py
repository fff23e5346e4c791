"""The store as a place: images by their names, with blobs that may still be elsewhere.

Why: a build pushes an image whose base layers nobody has fetched; `elsewhere` says where such a blob is, so
that it goes from registry to registry, or is mounted, without a detour over the disk.
Trust: documents are others', and come through the strict door.
Threads: any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from imagesmith.errors import NotFound
from imagesmith.interfaces import ImageSource
from imagesmith.oci import mediatype as mt
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor, parse_document, referrer_descriptor
from imagesmith.oci.names import ImageRef
from imagesmith.store.blobs import BlobStore
from imagesmith.store.store import Store
from imagesmith.transports.documents import parsed
from imagesmith.transports.lacking import lacks

if TYPE_CHECKING:
    from imagesmith.oci.identity import Identity

__all__ = ["StorePlace", "file_pieces", "write_blob", "write_pieces"]

_CHUNK = 1 << 17


def file_pieces(blobs: BlobStore, digest: Digest, offset: int) -> Iterator[bytes]:
    """The bytes of a stored blob from an offset on; they were verified when they were stored."""
    with blobs.open(digest) as f:
        f.seek(offset)
        while data := f.read(_CHUNK):
            yield data


def write_blob(blobs: BlobStore, d: Descriptor, source: ImageSource, progress: Callable[[int], None]) -> None:
    """Bring a blob into a blob store; what arrives is checked against the descriptor."""
    write_pieces(blobs, d, source.pieces(d), progress)


def write_pieces(
    blobs: BlobStore, d: Descriptor, pieces: Iterator[bytes], progress: Callable[[int], None]
) -> None:
    """The same of the blob's bytes as they come; they need not be checked before."""
    with blobs.writer(d.digest.algorithm, d.digest) as out:
        for piece in pieces:
            out.write(piece)
            progress(out.size)
        out.commit(d.digest, d.size)


class StorePlace:
    """A name in the store, or a manifest in it; ImageSource and ImageTarget."""

    in_order = False
    sparse = True

    def __init__(
        self,
        store: Store,
        ref: ImageRef | None = None,
        root: Descriptor | None = None,
        elsewhere: Mapping[Digest, ImageSource] | None = None,
        identity: Identity | None = None,
    ) -> None:
        """Bind a place.

        Args:
            store: the store.
            ref: the name; None to name nothing.
            root: what is read, where it is not what the name stands for.
            elsewhere: where blobs are that the store lacks.
            identity: what policies know it by, where it has just been brought here from elsewhere.
        """
        self._store, self._ref, self._root, self._identity = store, ref, root, identity
        self._elsewhere = dict(elsewhere or {})

    @property
    def name(self) -> str:
        """The name, or the digest."""
        if self._ref is not None:
            return str(self._ref)
        return str(self._store.root if self._root is None else self._root.digest)

    @property
    def identity(self) -> Identity:
        """Where it was brought here from, or the store; see ImageSource."""
        from imagesmith.oci.identity import Identity

        return self._identity or Identity(transport="containers-storage")

    def root(self) -> Descriptor:
        """What the name stands for; see ImageSource."""
        found = self._root or (self._store.find(self._ref) if self._ref else None)
        if found is None:
            shown = self._ref.familiar if self._ref else "it"
            raise NotFound(f"no image named {shown} in the store", hint="`imagesmith images` lists them")
        return found

    def document(self, d: Descriptor) -> bytes:
        """A document, verified; see ImageSource."""
        if not self._store.blobs.has(d.digest) and d.digest in self._elsewhere:
            return self._elsewhere[d.digest].document(d)
        if not self._store.blobs.has(d.digest) and (raw := d.embedded()) is not None:
            return raw
        return self._store.blobs.read(d.digest)

    def pieces(self, d: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """The bytes of a blob; see ImageSource."""
        if not self._store.blobs.has(d.digest) and d.digest in self._elsewhere:
            return self._elsewhere[d.digest].pieces(d, offset)
        if not self._store.blobs.has(d.digest) and (raw := d.embedded()) is not None:
            return iter([raw[offset:]])
        return file_pieces(self._store.blobs, d.digest, offset)

    def lacks(self, d: Descriptor) -> bool:
        """True if part of a manifest is neither in the store nor known to be elsewhere; see ImageSource."""
        return lacks(self, d, self._holds)

    def _holds(self, d: Descriptor) -> bool:
        known = d.digest in self._elsewhere or self._store.blobs.has(d.digest)
        return known or d.embedded() is not None

    def origin(self, digest: Digest) -> ImageSource:
        """Where a blob is besides, so that it can be mounted even if the store has it; see ImageSource."""
        behind = self._elsewhere.get(digest)
        return self if behind is None else behind.origin(digest)

    def referrers(self, digest: Digest) -> list[Descriptor]:
        """The manifests in the store that have this one as subject; see ImageSource."""
        found: dict[Digest, Descriptor] = {}
        for d in self._store.named():
            if d.media_type in mt.MANIFEST_TYPES | mt.INDEX_TYPES and self._store.blobs.has(d.digest):
                raw = self._store.blobs.read(d.digest)
                subject = parsed(self, d, raw).subject
                if subject is not None and subject.digest == digest:
                    found[d.digest] = referrer_descriptor(raw, d.media_type)
        return list(found.values())

    def tagged(self, tag: str) -> Descriptor | None:
        """What another tag of the name stands for; see ImageSource."""
        return None if self._ref is None else self._store.find(self._ref.with_tag(tag))

    # --- target --------------------------------------------------------------------------------

    def has(self, d: Descriptor) -> bool:
        """True if the blob is in the store."""
        return self._store.blobs.size(d.digest) == d.size

    def put_blob(self, d: Descriptor, source: ImageSource, progress: Callable[[int], None]) -> str:
        """Take a blob; see ImageTarget."""
        write_blob(self._store.blobs, d, source, progress)
        return "sent"

    def put_document(self, d: Descriptor, raw: bytes) -> None:
        """Take a manifest; one with a subject gets a name, so that it is kept. See ImageTarget."""
        with self._store.blobs.writer(d.digest.algorithm) as out:
            out.write(raw)
            out.commit(d.digest, len(raw))
        if (
            self._ref is not None
            and b'"subject"' in raw
            and parse_document(raw, d.media_type).subject is not None
        ):
            self._store.name(self._ref.with_tag(None).with_digest(d.digest), d)

    def put_tagged(self, tag: str, d: Descriptor, raw: bytes) -> None:
        """Take a manifest and name it beside this one; see ImageTarget."""
        self.put_document(d, raw)
        if self._ref is not None:
            self._store.name(self._ref.with_tag(tag), d)

    def finish(self, d: Descriptor, raw: bytes) -> None:
        """Take the last manifest and give it the name; see ImageTarget."""
        self.put_document(d, raw)
        if self._ref is not None:
            self._store.name(self._ref, d)
