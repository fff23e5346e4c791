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
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.store.blobs import BlobStore

__all__ = ["artifact", "artifact_of"]

_EMPTY = b"{}"
_TITLE = "org.opencontainers.image.title"


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
    layers = [_layer(path, media_type, blobs) for path, media_type in files]
    out = Edited(artifact_type, blobs)
    return _made(out, layers, artifact_type, subject, annotations)


def artifact_of(
    data: bytes,
    blobs: BlobStore,
    *,
    artifact_type: str,
    subject: Descriptor,
    annotations: Mapping[str, str],
) -> Edited:
    """An artifact of one document, whose media type is the artifact's; see `artifact`."""
    out = Edited(artifact_type, blobs)
    layer = Descriptor(media_type=artifact_type, digest=out.add(data), size=len(data))
    return _made(out, [layer], artifact_type, subject, annotations)


def _made(
    out: Edited,
    layers: Sequence[Descriptor],
    artifact_type: str,
    subject: Descriptor | None,
    annotations: Mapping[str, str],
) -> Edited:
    """The artifact, with its manifest."""
    empty = Descriptor(media_type=mt.OCI_EMPTY, digest=out.add(_EMPTY), size=len(_EMPTY), data="e30=")
    plain = None if subject is None else _bare(subject)
    manifest = Manifest.build(
        empty, layers or [empty], artifact_type=artifact_type, subject=plain, annotations=annotations
    )
    out.add(manifest.raw)
    out.set_root(manifest.descriptor())
    return out


def _bare(d: Descriptor) -> Descriptor:
    """What of a descriptor belongs into `subject`."""
    return Descriptor(media_type=d.media_type, digest=d.digest, size=d.size)


def _layer(path: str, media_type: str, blobs: BlobStore) -> Descriptor:
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
        annotations={_TITLE: Path(path).name},
    )
