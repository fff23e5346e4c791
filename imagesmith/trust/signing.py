"""Signing images, and signing what is said of them, in both of cosign's forms.

An index is signed, and so is each image in it: cosign verifies what a name stands for, podman and skopeo the
image of the platform that they take.
Spec: cosign 3, cmd/cosign/cli/sign and attest (statement, bundle, its manifest); specs/SIGNATURE_SPEC.md
(tags); container-signature(5) for the time in a payload.
Trust: what is signed are digests of documents that were read and verified; a tag is resolved once, before.
Threads: one for each image: a tag is read, and written again with one layer more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from imagesmith.attest.statement import IN_TOTO, STATEMENT, Claim, Subject, statement
from imagesmith.errors import InvalidDocument, UsageError
from imagesmith.image.artifact import artifact_of
from imagesmith.interfaces import ImageSource
from imagesmith.oci.codec import dumps
from imagesmith.oci.model import Descriptor, Index, parse_document
from imagesmith.oci.times import format_ns
from imagesmith.store.blobs import BlobStore
from imagesmith.transports.beside import Beside
from imagesmith.transports.cosigntags import companion_tag
from imagesmith.trust.bundle import BUNDLE, Bundle
from imagesmith.trust.companions import with_layer
from imagesmith.trust.dsse import Envelope, pae
from imagesmith.trust.finding import CONTENT, CREATED, ENVELOPE, PREDICATE, PREDICATE_OF_LAYER, SIGN, Form
from imagesmith.trust.keys import PrivateKey
from imagesmith.trust.simplesigning import SIGNATURE, Payload, SimpleSignature, with_signature
from imagesmith.trust.verifying import Asked, Verified, verify
from imagesmith.values import field, frozen

__all__ = ["FORMS", "Made", "Signing", "attest", "sign", "signed_parts"]

FORMS: tuple[Form, ...] = ("bundle", "tag")
_DEPTH = 4
#: Members of a payload's `optional` that have a meaning of their own.
_RESERVED = ("creator", "timestamp")


@frozen(kw_only=True)
class Signing:
    """How is signed.

    key         by whom
    forms       how the signatures are kept
    reference   the name that the image has for the signer
    annotations what the signer adds
    time_s      when, in seconds since 1970
    """

    key: PrivateKey
    reference: str
    time_s: int
    forms: Sequence[Form] = FORMS
    annotations: Mapping[str, str] = field(default_factory=dict)


@frozen
class Made:
    """A signature that stands beside an image now: of what, in which form; `new` if it was not there."""

    subject: Descriptor
    form: Form
    new: bool

    def __repr__(self) -> str:
        return f"Made({self.subject.digest.short}, {self.form}{'' if self.new else ', was there'})"


def signed_parts(source: ImageSource, root: Descriptor) -> list[Descriptor]:
    """What is signed of an image: of an index the images and indexes that are there, and last it itself."""
    out: dict[object, Descriptor] = {}
    _collect(source, root, out, 0)
    return list(out.values())


def _collect(source: ImageSource, d: Descriptor, out: dict[object, Descriptor], depth: int) -> None:
    if depth > _DEPTH:
        raise InvalidDocument(f"{source.name}: indexes nested too deeply")
    document = parse_document(source.document(d), d.media_type)
    for child in document.manifests if isinstance(document, Index) else ():
        if not child.is_attestation and not source.lacks(child) and child.digest not in out:
            _collect(source, child, out, depth + 1)
    out[d.digest] = document.descriptor()


def sign(
    source: ImageSource, d: Descriptor, beside: Beside, blobs: BlobStore, signing: Signing
) -> list[Made]:
    """Sign a manifest in the forms that are asked for; one that is signed alike already stays as it is.

    Args:
        source: where signatures are that it has already.
        d: the manifest or index.
        beside: where they are written.
        blobs: of the store that passes them on.
        signing: how.

    Raises:
        UsageError: an annotation that would mean something else.
        RegistryError: they cannot be written.
    """
    _check(d, signing.annotations)
    there = verify(source, d.digest, Asked(keys=[signing.key.public])).good
    claim = dumps(
        {
            "_type": STATEMENT,
            "subject": [
                {
                    "digest": {d.digest.algorithm: d.digest.hex},
                    **(
                        {"annotations": dict(sorted(signing.annotations.items()))}
                        if signing.annotations
                        else {}
                    ),
                }
            ],
            "predicateType": SIGN,
            "predicate": {},
        }
    )
    out = []
    for form in signing.forms:
        if form == "bundle":
            new = all(v.form != "bundle" or v.payload != claim for v in there)
            if new:
                beside.put(_bundled(claim, SIGN, d, blobs, signing))
        else:
            new = not any(_alike(v, signing) for v in there)
            if new:
                payload = Payload(
                    signing.reference, d.digest, {**signing.annotations, "timestamp": signing.time_s}
                )
                raw = payload.to_json()
                made = SimpleSignature(raw, signing.key.sign(raw, sha256=True))
                beside.put(with_signature(source, d.digest, made, blobs), companion_tag(d.digest, ".sig"))
        out.append(Made(d, form, new))
    return out


def _check(d: Descriptor, annotations: Mapping[str, str]) -> None:
    if d.digest.algorithm != "sha256":
        raise UsageError(f"{d.digest}: only images by sha256 are signed: others read nothing else")
    for key in _RESERVED:
        if key in annotations:
            raise UsageError(
                f"--annotations {key}: has a meaning of its own in signatures; take another name"
            )


def _alike(one: Verified, signing: Signing) -> bool:
    """Whether a signature under the tag says the same, but for when."""
    said = {k: v for k, v in one.annotations.items() if k not in _RESERVED}
    return one.form == "tag" and one.reference == signing.reference and said == dict(signing.annotations)


def attest(
    source: ImageSource, d: Descriptor, beside: Beside, blobs: BlobStore, signing: Signing, claim: Claim
) -> list[Made]:
    """Sign what is claimed of a manifest; see `sign`.

    Raises:
        UsageError: the claim is what a signature says, and would count as one.
        RegistryError: it cannot be written.
    """
    _check(d, {})
    if claim.kind == SIGN:
        raise UsageError(f"{SIGN} is what signatures say: `imagesmith sign` makes them")
    asked = Asked(keys=[signing.key.public], attestations=True, predicate_type=claim.kind)
    there = verify(source, d.digest, asked).good
    payload = statement(claim, [Subject(signing.reference, d.digest.hex)])
    out = []
    for form in signing.forms:
        new = all(v.form != form or v.payload != payload for v in there)
        if new and form == "bundle":
            beside.put(_bundled(payload, claim.kind, d, blobs, signing))
        elif new:
            envelope = _enveloped(payload, signing.key, sha256=True)
            notes = {SIGNATURE: "", PREDICATE_OF_LAYER: claim.kind}
            tag = companion_tag(d.digest, ".att")
            raw = dumps(envelope.to_json())
            beside.put(with_layer(source, d.digest, ".att", raw, ENVELOPE, notes, blobs), tag)
        out.append(Made(d, form, new))
    return out


def _enveloped(payload: bytes, key: PrivateKey, *, sha256: bool = False) -> Envelope:
    signature = key.sign(pae(IN_TOTO, payload), sha256=sha256)
    return Envelope(payload, IN_TOTO, (("", signature),))


def _bundled(payload: bytes, kind: str, d: Descriptor, blobs: BlobStore, signing: Signing) -> ImageSource:
    """A statement in a bundle, as an artifact that refers to what it is about."""
    content = _enveloped(payload, signing.key)
    bundle = Bundle(media_type=BUNDLE, content=content, hint=signing.key.public.hint)
    return artifact_of(
        bundle.to_json(),
        blobs,
        artifact_type=BUNDLE,
        subject=d,
        annotations={
            CREATED: format_ns(signing.time_s * 1_000_000_000),
            CONTENT: "dsse-envelope",
            PREDICATE: kind,
        },
    )
