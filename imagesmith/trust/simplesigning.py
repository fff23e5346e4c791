"""Simple signing: cosign's older form, which podman, skopeo, CRI-O and most policy controllers read.

A tag made of the image's digest stands for a manifest of which each layer is a payload, and an annotation of
the layer is the signature over it.
Spec: cosign, specs/SIGNATURE_SPEC.md; containers' container-signature(5) for the payload, and its
internal/signature, sigstore_payload.go, for how strictly it is read.
Trust: who can write the tag chooses payloads and annotations: they are counted and bounded, and a payload
that says more, or says it twice, is none. Nothing of it counts before the signature is good.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from imagesmith.errors import InvalidDocument
from imagesmith.image.edited import Edited
from imagesmith.interfaces import ImageSource
from imagesmith.oci.codec import dumps, parse_object
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor
from imagesmith.store.blobs import BlobStore
from imagesmith.transports.files import whole_blob
from imagesmith.trust.companions import with_layer
from imagesmith.values import field, frozen

__all__ = [
    "BUNDLE_OF_LOG",
    "CERTIFICATE",
    "CHAIN",
    "PAYLOAD",
    "SIGNATURE",
    "TIMESTAMP",
    "Payload",
    "SimpleSignature",
    "with_signature",
]

#: The media type of a payload, and the annotations of its layer: the signature in base64; and what signers
#: without a key add, certificate and chain in PEM, the entry of the transparency log, a signed timestamp.
PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"
CERTIFICATE, CHAIN = "dev.sigstore.cosign/certificate", "dev.sigstore.cosign/chain"
BUNDLE_OF_LOG, TIMESTAMP = "dev.sigstore.cosign/bundle", "dev.sigstore.cosign/rfc3161timestamp"
_TYPE = "cosign container image signature"
_MOST_PAYLOAD_BYTES, _MOST_SIGNATURE_TEXT = 64 << 10, 16 << 10


@frozen
class Payload:
    """What is signed: the name the image had for the signer, its digest, and what the signer adds."""

    reference: str
    digest: Digest
    optional: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, raw: bytes, what: str) -> Payload:
        """Read a payload as strictly as containers/image; `what` names it in messages.

        Raises:
            InvalidDocument: it is none, or has a key that is not known, or one twice.
        """
        o = parse_object(raw, what, exact=True)
        o.only("critical", "optional")
        critical = o.need_obj("critical")
        critical.only("type", "image", "identity")
        if critical.text("type") != _TYPE:
            raise InvalidDocument(f"{critical.path}: type is {critical.text('type')[:60]!r}, not {_TYPE!r}")
        image, identity = critical.need_obj("image"), critical.need_obj("identity")
        image.only("docker-manifest-digest")
        identity.only("docker-reference")
        optional = o.obj("optional")
        if "optional" not in o.data:
            raise InvalidDocument(f"{what}: optional is missing")
        if optional is not None:
            optional.text("creator")
            optional.integer("timestamp")
        return cls(
            reference=identity.need_text("docker-reference"),
            digest=Digest.parse(image.need_text("docker-manifest-digest")),
            optional={} if optional is None else optional.data,
        )

    def to_json(self) -> bytes:
        """The payload's bytes, as cosign writes them."""
        return dumps(
            {
                "critical": {
                    "identity": {"docker-reference": self.reference},
                    "image": {"docker-manifest-digest": str(self.digest)},
                    "type": _TYPE,
                },
                "optional": dict(sorted(self.optional.items())) or None,
            }
        )


@frozen
class SimpleSignature:
    """A payload, the signature over it (empty where it is not readable), its layer's other annotations."""

    payload: bytes
    signature: bytes
    annotations: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def at(cls, source: ImageSource, layer: Descriptor) -> SimpleSignature:
        """Read one that a place has, by its layer (`layers_at`); it is not verified.

        Raises:
            IntegrityError: the payload is too large, or not what its layer says.
            RegistryError: it is not there, or the place cannot be asked.
        """
        notes = dict(layer.annotations)
        signature = _signature(notes.pop(SIGNATURE, ""))
        what = f"{source.name}: signature {layer.digest}"
        return cls(whole_blob(source, layer, _MOST_PAYLOAD_BYTES, what), signature, notes)


def _signature(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True) if len(text) < _MOST_SIGNATURE_TEXT else b""
    except ValueError:
        return b""


def with_signature(source: ImageSource, digest: Digest, new: SimpleSignature, blobs: BlobStore) -> Edited:
    """The signatures of a manifest with one more, behind those that stand there already; see `with_layer`."""
    notes = {**new.annotations, SIGNATURE: base64.b64encode(new.signature).decode()}
    return with_layer(source, digest, ".sig", new.payload, PAYLOAD, notes, blobs)
