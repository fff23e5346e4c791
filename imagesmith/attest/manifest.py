"""Attestation manifests, in the bytes that BuildKit would write.

Why two forms: since BuildKit 0.32 an attestation is an OCI artifact that names its image as its subject; some
registries and readers know only the form before that, an image whose layers are statements. Readers find both
by the annotations of the index.
Spec: BuildKit's exporter/containerimage/writer.go, docs/attestations/attestation-storage.md; OCI image-spec
1.1, manifest.md (artifacts, the empty config).
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence

from imagesmith.attest.statement import IN_TOTO, PREDICATE_TYPE, Claim, Subject, statement
from imagesmith.oci import mediatype as mt
from imagesmith.oci.codec import dumps
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.oci.names import Platform
from imagesmith.values import frozen, replace

__all__ = ["ARTIFACT", "REFERENCE", "TYPE", "UNKNOWN", "Attestation", "attestation_of"]

#: The type of the artifact that holds statements.
ARTIFACT = "application/vnd.docker.attestation.manifest.v1+json"
#: Annotations of its entry in an index: the image's digest, and what it is.
REFERENCE, TYPE = "vnd.docker.reference.digest", "vnd.docker.reference.type"
#: The platform of what is no image.
UNKNOWN = Platform("unknown", "unknown")
_EMPTY = b"{}"


@frozen(kw_only=True)
class Attestation:
    """A manifest of statements: its entry in the index, its bytes, and the blobs that it names."""

    entry: Descriptor
    raw: bytes
    blobs: tuple[bytes, ...]


def attestation_of(
    image: Descriptor, claims: Iterable[Claim], subjects: Sequence[Subject], *, artifact: bool = True
) -> Attestation:
    """The attestation manifest of an image.

    Args:
        image: the image's manifest.
        claims: what is said of it; provenance is written last.
        subjects: the image under its names.
        artifact: the form with an artifact type and a subject; else the old one, with an image's config.
    """
    ordered = sorted(claims, key=lambda claim: claim.is_provenance)
    statements = [statement(claim, subjects) for claim in ordered]
    layers = [
        replace(_described(raw, IN_TOTO), annotations={PREDICATE_TYPE: claim.kind})
        for raw, claim in zip(statements, ordered, strict=True)
    ]
    config = _EMPTY if artifact else _old_config(layers)
    config_entry = _described(config, mt.OCI_EMPTY if artifact else mt.OCI_CONFIG)
    if artifact:
        config_entry = replace(config_entry, data=base64.b64encode(config).decode())
    subject = Descriptor(media_type=image.media_type, digest=image.digest, size=image.size)
    manifest = Manifest.build(
        config_entry,
        layers,
        artifact_type=ARTIFACT if artifact else "",
        subject=subject if artifact else None,
    )
    notes = {REFERENCE: str(image.digest), TYPE: "attestation-manifest"}
    entry = replace(manifest.descriptor(UNKNOWN), artifact_type="", annotations=notes)
    return Attestation(entry=entry, raw=manifest.raw, blobs=(config, *statements))


def _described(raw: bytes, media_type: str) -> Descriptor:
    return Descriptor(media_type=media_type, digest=digest_bytes(raw), size=len(raw))


def _old_config(layers: Iterable[Descriptor]) -> bytes:
    return dumps(
        {
            **UNKNOWN.to_json(),
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [str(d.digest) for d in layers]},
        }
    )
