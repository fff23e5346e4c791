"""What cosign keeps under a tag made of an image's digest: a manifest to which every signer adds a layer.

Spec: cosign, specs/SIGNATURE_SPEC.md: `sha256-<hex>.sig` for signatures, `.att` alike for attestations; the
manifest is an image's, whose diff_ids are the layers.
Trust: who can write the tag decides what is there; layers are counted.
Threads: who adds a layer reads the tag before, and two who do so at once keep one of the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from imagesmith.errors import InvalidDocument, LimitExceeded
from imagesmith.image.edited import Edited
from imagesmith.interfaces import ImageSource
from imagesmith.oci import mediatype as mt
from imagesmith.oci.codec import dumps
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor, Index, Manifest, parse_document
from imagesmith.store.blobs import BlobStore
from imagesmith.transports.cosigntags import companion_tag

__all__ = ["layers_at", "with_layer"]

_MOST_LAYERS = 500
#: When nothing was made, as Go's zero time is written.
_NEVER = "0001-01-01T00:00:00Z"


def layers_at(
    source: ImageSource, digest: Digest, suffix: str, media_type: str
) -> list[tuple[int, Descriptor]]:
    """The layers of one type under the tag of another manifest's companion, with their numbers from 1.

    Whoever reads them reads each by itself, so that one that cannot be read does not hide the others.

    Args:
        source: the repository, layout or store where the tag is looked up.
        digest: of the other manifest.
        suffix: `.sig` or `.att`.
        media_type: of the layers.

    Raises:
        InvalidDocument: the tag stands for something else than a manifest.
        LimitExceeded: it has too many layers.
    """
    found = _manifest_at(source, digest, suffix)
    layers = enumerate(found.layers if found else (), start=1)
    return [(n, d) for n, d in layers if d.media_type == media_type]


def _manifest_at(source: ImageSource, digest: Digest, suffix: str) -> Manifest | None:
    """The manifest under the tag of another manifest's companion, or None; see `layers_at`."""
    tag = companion_tag(digest, suffix)
    d = source.tagged(tag)
    if d is None:
        return None
    found = parse_document(source.document(d), d.media_type)
    if isinstance(found, Index):
        raise InvalidDocument(f"{source.name}: tag {tag} stands for an index, not for a manifest")
    if len(found.layers) > _MOST_LAYERS:
        raise LimitExceeded(f"{source.name}: tag {tag} holds more than {_MOST_LAYERS}")
    return found


def with_layer(
    source: ImageSource,
    digest: Digest,
    suffix: str,
    data: bytes,
    media_type: str,
    annotations: Mapping[str, str],
    blobs: BlobStore,
) -> Edited:
    """A companion with one more layer, behind those that stand there already.

    Args:
        source, digest, suffix: see `layers_at`.
        data, media_type, annotations: of the layer.
        blobs: where large parts would be; nothing is written there.

    Returns:
        an image to be copied to the place under its companion's tag.

    Raises:
        InvalidDocument, LimitExceeded: see `layers_at`.
    """
    before = _manifest_at(source, digest, suffix)
    out = Edited(media_type, blobs)  # what is told of the copy: the image stays where it is
    layers = list(before.layers) if before else []
    for layer in layers:
        out.found_at(layer.digest, source)
    layers.append(
        Descriptor(media_type=media_type, digest=out.add(data), size=len(data), annotations=annotations)
    )
    if len(layers) > _MOST_LAYERS:
        raise LimitExceeded(f"{source.name}: {companion_tag(digest, suffix)} holds {_MOST_LAYERS} already")
    config = _config(layers)
    described = Descriptor(media_type=mt.OCI_CONFIG, digest=out.add(config), size=len(config))
    manifest = Manifest.build(described, layers, annotations=before.annotations if before else {})
    out.add(manifest.raw)
    out.set_root(manifest.descriptor())
    return out


def _config(layers: Sequence[Descriptor]) -> bytes:
    """An image config whose layers these are: cosign's manifests are those of an image."""
    return dumps(
        {
            "architecture": "",
            "created": _NEVER,
            "history": [{"created": _NEVER}] * len(layers),
            "os": "",
            "rootfs": {"type": "layers", "diff_ids": [str(d.digest) for d in layers]},
            "config": {},
        }
    )
