"""What may be a signature of an image, or an attestation: among its referrers, and under cosign's tags.

Spec: cosign 3, pkg/oci/remote (bundles as referrers); cosign, specs/SIGNATURE_SPEC.md (tags); OCI
distribution-spec 1.1, referrers; the Notary Project's signature-specification.md, storage.
Trust: who can write to the repository decides what is found: it is counted and bounded, one bundle is read
at a time, and what cannot be read does not hide the others. Nothing here says that one is good.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from imagesmith.errors import IntegrityError, LimitExceeded, NotFound, Untrusted
from imagesmith.interfaces import ImageSource
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor, Index, parse_document
from imagesmith.transports.cosigntags import companion_tag
from imagesmith.transports.files import whole_blob
from imagesmith.trust.bundle import BUNDLE_TYPE, MAX_BUNDLE_BYTES, Bundle
from imagesmith.trust.companions import layers_at
from imagesmith.trust.dsse import Envelope
from imagesmith.trust.notation import NOTATION, NotationEnvelope, envelope_at
from imagesmith.trust.simplesigning import CERTIFICATE, PAYLOAD, SimpleSignature
from imagesmith.values import field, frozen

__all__ = [
    "CONTENT",
    "CREATED",
    "ENVELOPE",
    "PREDICATE",
    "PREDICATE_OF_LAYER",
    "SIGN",
    "Candidate",
    "Form",
    "Unread",
    "candidates",
]

#: How a signature is kept: as a bundle, under a tag, or as the Notary Project has it.
Form = Literal["bundle", "tag", "notation"]
#: The predicate type of a signature that says nothing but that it is one.
SIGN = "https://sigstore.dev/cosign/sign/v1"
#: Annotations of a bundle's manifest, and of a layer that is an envelope, beside its media type.
CREATED, CONTENT = "org.opencontainers.image.created", "dev.sigstore.bundle.content"
PREDICATE, PREDICATE_OF_LAYER = "dev.sigstore.bundle.predicateType", "predicateType"
ENVELOPE = "application/vnd.dsse.envelope.v1+json"
_MOST_BUNDLES = 200


@frozen(kw_only=True)
class Candidate:
    """What may be a signature.

    where       how people find it
    form        how it is kept
    content     a bundle; a signature, or an envelope, under a tag; or an envelope of the Notary Project
    stored      the bytes of an envelope under a tag
    created     when it was made, as the one who wrote it there says; empty where that is not said
    annotations of the layer under a tag
    """

    where: str
    form: Form
    content: Bundle | SimpleSignature | Envelope | NotationEnvelope
    stored: bytes = b""
    created: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def keyless(self) -> bool:
        """True if a certificate is to verify it, not a key."""
        return (
            bool(self.content.certificates)
            if isinstance(self.content, Bundle)
            else CERTIFICATE in self.annotations
        )


@frozen
class Unread:
    """What cannot be read: where it is, and why not."""

    where: str
    why: str


def candidates(source: ImageSource, digest: Digest, *, attestations: bool) -> Iterator[Candidate | Unread]:
    """What a place has for a manifest, bundles first; read one after the other, as they are taken.

    Args:
        source: the repository, layout or store.
        digest: of the manifest.
        attestations: those that say something; else those that sign and no more.

    Raises:
        LimitExceeded: there are too many.
        RegistryError: the place cannot be asked.
    """
    listed = source.referrers(digest)
    bundles = [d for d in listed if BUNDLE_TYPE.fullmatch(d.artifact_type)]
    found = [d for d in bundles if _concerns(d.annotations, attestations)]
    noted = [d for d in listed if d.artifact_type == NOTATION and not attestations]
    if len(found) + len(noted) > _MOST_BUNDLES:
        raise LimitExceeded(f"{source.name}: more than {_MOST_BUNDLES} bundles refer to {digest}")
    for d in found:
        try:
            one = _bundle(source, d, attestations)
        except (IntegrityError, NotFound) as e:
            yield Unread(f"bundle {d.digest}", e.message)
        else:
            yield from [one] if one else []
    yield from _under_tag(source, digest, attestations=attestations)
    for d in noted:
        where = f"notation {d.digest}"
        try:
            yield Candidate(where=where, form="notation", content=envelope_at(source, d, digest))
        except (IntegrityError, NotFound, Untrusted) as e:
            yield Unread(where, e.message)


def _concerns(annotations: Mapping[str, str], attestations: bool) -> bool:
    """Whether a bundle's manifest says that it is of the kind that is asked for, or says nothing."""
    said = annotations.get(PREDICATE, "")
    return not said or (said != SIGN) == attestations


def _bundle(source: ImageSource, d: Descriptor, attestations: bool) -> Candidate | None:
    """The bundle of a referrer; None where its manifest says that it is of the other kind."""
    where = f"bundle {d.digest}"
    manifest = parse_document(source.document(d), d.media_type)
    if isinstance(manifest, Index) or len(manifest.layers) != 1:
        raise IntegrityError("its manifest must have one layer")
    if not _concerns(manifest.annotations, attestations):
        return None
    raw = whole_blob(source, manifest.layers[0], MAX_BUNDLE_BYTES, "it")
    return Candidate(
        where=where,
        form="bundle",
        content=Bundle.parse(raw, "it"),
        created=manifest.annotations.get(CREATED, ""),
    )


def _under_tag(source: ImageSource, digest: Digest, *, attestations: bool) -> Iterator[Candidate | Unread]:
    """The layers under cosign's tag, each read by itself."""
    suffix, media_type = (".att", ENVELOPE) if attestations else (".sig", PAYLOAD)
    tag = f"tag {companion_tag(digest, suffix)}"
    try:
        layers = layers_at(source, digest, suffix, media_type)
    except (IntegrityError, NotFound) as e:
        yield Unread(tag, e.message)
        return
    for n, layer in layers:
        where = f"{tag}, layer {n}"
        try:
            one = _attested(source, layer, where) if attestations else _signed(source, layer, where)
        except (IntegrityError, NotFound) as e:
            yield Unread(where, e.message)
        else:
            yield one


def _signed(source: ImageSource, layer: Descriptor, where: str) -> Candidate:
    one = SimpleSignature.at(source, layer)
    return Candidate(where=where, form="tag", content=one, annotations=one.annotations)


def _attested(source: ImageSource, layer: Descriptor, where: str) -> Candidate:
    raw = whole_blob(source, layer, MAX_BUNDLE_BYTES, "it")
    envelope = Envelope.parse(raw, "it")
    return Candidate(where=where, form="tag", content=envelope, stored=raw, annotations=layer.annotations)
