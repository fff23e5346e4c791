"""Artifacts: files as layers of a manifest that may have a subject.

Spec: OCI image-spec 1.1, manifest.md, "Guidelines for Artifact Usage".
Trust: the files are the user's own word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from imagesmith.errors import UsageError
from imagesmith.image.edited import Edited
from imagesmith.oci import mediatype as mt
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.oci.names import Platform
from imagesmith.store.blobs import BlobStore
from imagesmith.store.store import Store
from imagesmith.transports.beside import Beside
from imagesmith.transports.listing import descriptor_of
from imagesmith.transports.names import PlaceName, open_source
from imagesmith.transports.transfer import Session

__all__ = ["TITLE", "artifact", "artifact_of", "artifact_with", "attach_files", "bring_file"]

_EMPTY = b"{}"
#: The annotation of a layer that is a file: its name.
TITLE = "org.opencontainers.image.title"


def artifact(
    files: Sequence[tuple[str, str]],
    blobs: BlobStore,
    *,
    artifact_type: str,
    subject: Descriptor | None,
    annotations: Mapping[str, str],
) -> Edited:
    """An artifact of files.

    Args:
        files: paths and media types; an empty type stands for bytes of any kind.
        blobs: takes the files.
        artifact_type: what it is.
        subject: what it is attached to.
        annotations: of the manifest.

    Raises:
        UsageError: a file cannot be read.
    """
    layers = [bring_file(path, media_type, blobs) for path, media_type in files]
    return artifact_with(layers, blobs, artifact_type=artifact_type, subject=subject, annotations=annotations)


def attach_files(
    place: PlaceName,
    files: Sequence[tuple[str, str]],
    session: Session,
    store: Store,
    *,
    artifact_type: str,
    annotations: Mapping[str, str],
    platform: Platform | None = None,
) -> Descriptor:
    """Put files beside an image, as an artifact that refers to it; returns that artifact's descriptor.

    Args:
        place: the image.
        files, artifact_type, annotations: see artifact.
        session, store: what it is reached by, and what passes the files on.
        platform: refer to this platform's manifest, not to the index.

    Raises:
        UsageError: a file cannot be read, or nothing can be attached there.
        NotFound: there is no such image.
    """
    if place.kind not in ("registry", "oci"):
        raise UsageError(f"{place.kind}: things are attached to images of registries and layouts")
    if "/" not in artifact_type:
        raise UsageError(f"{artifact_type!r} is no media type", hint="for instance application/spdx+json")
    with open_source(place, session, store) as source:
        subject = descriptor_of(source, platform)
        made = artifact(
            files, store.blobs, artifact_type=artifact_type, subject=subject, annotations=annotations
        )
        return Beside(place, session, store).put(made)


def artifact_of(
    data: bytes,
    blobs: BlobStore,
    *,
    artifact_type: str,
    subject: Descriptor,
    annotations: Mapping[str, str],
) -> Edited:
    """An artifact of one document, whose media type is the artifact's; see `artifact`."""
    layer = Descriptor(media_type=artifact_type, digest=digest_bytes(data), size=len(data))
    out = artifact_with([layer], blobs, artifact_type=artifact_type, subject=subject, annotations=annotations)
    out.add(data)
    return out


def artifact_with(
    layers: Sequence[Descriptor],
    blobs: BlobStore,
    *,
    artifact_type: str,
    subject: Descriptor | None,
    annotations: Mapping[str, str],
    config: Descriptor | None = None,
) -> Edited:
    """An artifact of layers that are in the store; see `artifact`. By default its config is the empty one."""
    out = Edited(artifact_type, blobs)
    empty = Descriptor(media_type=mt.OCI_EMPTY, digest=out.add(_EMPTY), size=len(_EMPTY), data="e30=")
    plain = None if subject is None else _bare(subject)
    manifest = Manifest.build(
        config or empty,
        layers or [empty],
        artifact_type=artifact_type,
        subject=plain,
        annotations=annotations,
    )
    out.add(manifest.raw)
    out.set_root(manifest.descriptor())
    return out


def _bare(d: Descriptor) -> Descriptor:
    """What of a descriptor belongs into `subject`."""
    return Descriptor(media_type=d.media_type, digest=d.digest, size=d.size)


def bring_file(path: str, media_type: str, blobs: BlobStore, title: str = "") -> Descriptor:
    """A file as a layer, under its last name unless it has another title; see `artifact`."""
    try:
        with Path(path).open("rb") as source, blobs.writer() as blob:
            while data := source.read(1 << 20):
                blob.write(data)
            digest, size = blob.commit()
    except OSError as e:
        raise UsageError(f"cannot read {path}: {e.strerror}") from e
    return Descriptor(
        media_type=media_type or "application/octet-stream",
        digest=digest,
        size=size,
        annotations={TITLE: title or Path(path).name},
    )
