"""Documents and folders as artifacts: what travels between a client and its workers.

Spec: OCI image-spec 1.1, manifest.md, "Guidelines for Artifact Usage".
Trust: what is read is others': its kind, how many parts it has and how large each is are checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from imagesmith.errors import InvalidDocument, LimitExceeded
from imagesmith.image.edited import Edited
from imagesmith.interfaces import ImageSource
from imagesmith.oci import mediatype as mt
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.oci.names import ImageRef
from imagesmith.transports.documents import document_of
from imagesmith.values import replace

if TYPE_CHECKING:
    from imagesmith.store.store import Store
    from imagesmith.transports.transfer import Session

__all__ = ["document_in", "layers_in", "put_artifact", "put_documents"]

_EMPTY = b"{}"


def put_documents(
    documents: Sequence[bytes], kind: str, ref: ImageRef, session: Session, store: Store
) -> ImageRef:
    """Push documents as an artifact, each a layer of its media type; see put_artifact."""
    out = Edited(kind, store.blobs)
    layers = [Descriptor(media_type=kind, digest=out.add(raw), size=len(raw)) for raw in documents]
    return put_artifact(out, layers, kind, ref, session)


def put_artifact(
    out: Edited, layers: Sequence[Descriptor], kind: str, ref: ImageRef, session: Session
) -> ImageRef:
    """Push an artifact under the tag of a reference, or by its digest where that has none.

    Returns:
        The reference with the digest.

    Raises:
        RegistryError: the registry refused or failed.
    """
    empty = Descriptor(media_type=mt.OCI_EMPTY, digest=out.add(_EMPTY), size=len(_EMPTY), data="e30=")
    manifest = Manifest.build(empty, layers, artifact_type=kind)
    out.add(manifest.raw)
    d = manifest.descriptor()
    out.set_root(d)
    named = replace(ref, tag=None, digest=d.digest)
    target = session.repository(ref if ref.tag else named)
    standing = target.standing()
    if standing is None or standing.digest != d.digest:
        session.copy(out, target)
    return named


def layers_in(source: ImageSource, kind: str) -> tuple[Descriptor, ...]:
    """The layers of an artifact of a kind.

    Raises:
        NotFound: there is none.
        InvalidDocument: it is something else.
    """
    found = document_of(source, source.root())
    if not isinstance(found, Manifest) or found.artifact_type != kind:
        raise InvalidDocument(f"{source.name}: it is no artifact of the type {kind}")
    return found.layers


def document_in(source: ImageSource, kind: str, index: int, most_bytes: int) -> bytes:
    """A document of an artifact of a kind, by its index.

    Raises:
        NotFound: there is no such artifact.
        InvalidDocument: it is something else, or has no such document.
        LimitExceeded: the document is too large.
    """
    layers = layers_in(source, kind)
    if not 0 <= index < len(layers):
        raise InvalidDocument(f"{source.name}: it has no number {index}, but {len(layers)} documents")
    d = layers[index]
    if not 0 <= d.size <= most_bytes:
        raise LimitExceeded(f"{source.name}: a document of {d.size} bytes is too large")
    return source.document(d)
