"""Whether an image is signed by whom it should be, and what is attested of it; and of what is not, why not.

What is verified is a digest: whoever asks has resolved a name to it once, and takes the image by it. A
signature of an index is none of its images', nor the other way about.
Spec: cosign, verify (a good signature over the payload; the payload's digest, its type, the annotations that
were asked for; not the name); in-toto Statement; DSSE.
Trust: all that is found is a stranger's until a signature over it is good; only then its payload is read.
Keys are tried by what they verify, never by what a bundle says of its key.
Threads: any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from imagesmith.attest.statement import IN_TOTO, STATEMENTS
from imagesmith.errors import InvalidDocument, Untrusted
from imagesmith.interfaces import ImageSource
from imagesmith.oci.codec import Object, parse_object
from imagesmith.oci.digest import Digest
from imagesmith.oci.times import format_ns
from imagesmith.trust.bundle import Bundle
from imagesmith.trust.dsse import Envelope
from imagesmith.trust.finding import SIGN, Candidate, Form, Unread, candidates
from imagesmith.trust.keys import PublicKey
from imagesmith.trust.notation import NotationEnvelope
from imagesmith.trust.simplesigning import Payload, SimpleSignature
from imagesmith.values import field, frozen, printable

__all__ = ["Asked", "Findings", "Keyless", "Signer", "Verified", "verify"]


@frozen(kw_only=True)
class Signer:
    """Who signed: a key's file, or the identity in a certificate; `time` is when, if that is vouched for."""

    name: str
    kind: str
    time: str = ""


#: Judges what a certificate is to verify; raises Untrusted or InvalidDocument, whose message is the reason
#: (judges.py has those there are).
Keyless = Callable[[Candidate], Signer]


@frozen(kw_only=True)
class Asked:
    """Whose signature counts, and what it must say.

    keys            any of them is enough
    keyless         judges signatures by certificates; None where none is trusted
    notation        judges those of the Notary Project; None where none is trusted
    annotations     each must be in what is signed
    attestations    what is looked for: attestations, else plain signatures
    predicate_type  of attestations; empty for any
    """

    keys: Sequence[PublicKey] = ()
    keyless: Keyless | None = None
    notation: Keyless | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    attestations: bool = False
    predicate_type: str = ""


@frozen(kw_only=True)
class Verified:
    """A good signature.

    signer      who made it
    form        how it is kept
    where       how people find it
    digest      what is signed
    time        when it was made; `vouched` tells whether it is signed too, or only said where it was found
    reference   the name that the image had for the signer; empty in bundles, which have none
    annotations what the signer adds
    statement   of an attestation: what is claimed; its predicate type stands in it
    payload     the bytes that are signed
    """

    signer: Signer
    form: Form
    where: str
    digest: Digest
    payload: bytes
    time: str = ""
    vouched: bool = False
    reference: str = ""
    annotations: Mapping[str, Any] = field(default_factory=dict)
    statement: Mapping[str, Any] = field(default_factory=dict)
    envelope: Envelope | None = None

    def __repr__(self) -> str:
        said = f", {self.predicate_type}" if self.predicate_type else ""
        return printable(f"Verified({self.digest.short}, {self.signer.name}, {self.form}{said})")

    @property
    def predicate_type(self) -> str:
        """What an attestation is; empty for a plain signature in the older form."""
        return str(self.statement.get("predicateType", ""))


@frozen
class Findings:
    """What was found for a digest: signatures that count, and what does not count, with the reason."""

    name: str
    digest: Digest
    good: tuple[Verified, ...]
    refused: tuple[Unread, ...]

    def need(self, what: str = "signature") -> tuple[Verified, ...]:
        """The signatures that count, of which there is one at least.

        Raises:
            Untrusted: there is none; the message has the reason, of several the first.
        """
        if self.good:
            return self.good
        if not self.refused:
            raise Untrusted(f"{self.name}: {self.digest} has no {what}")
        first = self.refused[0]
        more = f" (and {len(self.refused) - 1} more)" if len(self.refused) > 1 else ""
        raise Untrusted(f"{self.name}: no {what} of {self.digest} counts: {first.where}: {first.why}{more}")


def verify(source: ImageSource, digest: Digest, asked: Asked) -> Findings:
    """Look for signatures of a manifest, and judge each.

    Args:
        source: where they are looked for.
        digest: of the manifest or index, as whoever uses the image will take it.
        asked: whose count.

    Raises:
        LimitExceeded: there are too many to look at.
        RegistryError: the place cannot be asked.
    """
    good: list[Verified] = []
    refused: list[Unread] = []
    for one in candidates(source, digest, attestations=asked.attestations):
        if isinstance(one, Unread):
            refused.append(one)
            continue
        try:
            good.append(_judged(one, digest, asked))
        except (Untrusted, InvalidDocument) as e:
            refused.append(Unread(one.where, e.message))
    return Findings(source.name, digest, tuple(good), tuple(refused))


def _judged(one: Candidate, digest: Digest, asked: Asked) -> Verified:
    """A candidate that counts.

    Raises:
        Untrusted, InvalidDocument: it does not; the message is the reason.
    """
    content = one.content.content if isinstance(one.content, Bundle) else one.content
    if isinstance(content, NotationEnvelope):
        return _with_annotations(_noted(one, content, asked, digest), asked)
    if not isinstance(content, Envelope | SimpleSignature):
        raise Untrusted("a signature over a file, not over a statement about an image")
    signer = _signer(one, content, asked)
    if isinstance(content, SimpleSignature):
        found = _plain(one, content, signer, digest)
    else:
        found = _stated(one, content, signer, digest)
        wanted = asked.predicate_type if asked.attestations else SIGN
        if wanted and found.predicate_type != wanted:
            raise Untrusted(f"says {found.predicate_type[:100]}, where {wanted} was asked for")
        if asked.attestations and found.predicate_type == SIGN:
            raise Untrusted("a signature, where an attestation was asked for")
    return _with_annotations(found, asked)


def _with_annotations(found: Verified, asked: Asked) -> Verified:
    """A signature again, if it says all that it must.

    Raises:
        Untrusted: it does not.
    """
    for key, value in asked.annotations.items():
        if key not in found.annotations:
            raise Untrusted(f"is without the annotation {key}={value}")
        if found.annotations[key] != value:
            raise Untrusted(f"has the annotation {key}={str(found.annotations[key])[:100]}, not {value}")
    return found


def _signer(one: Candidate, content: Envelope | SimpleSignature, asked: Asked) -> Signer:
    """Whose signature it is.

    Raises:
        Untrusted: nobody's who counts.
    """
    simple = isinstance(content, SimpleSignature)
    message = content.payload if isinstance(content, SimpleSignature) else content.message
    made = [content.signature] if isinstance(content, SimpleSignature) else [s for _, s in content.signatures]
    by_bundle = isinstance(one.content, Bundle) and one.keyless  # which says itself what verifies it
    for key in () if by_bundle else asked.keys:
        if any(key.verify(signature, message) for signature in made):
            return Signer(name=key.name, kind=key.kind)
    if one.keyless:
        if asked.keyless is None:
            raise Untrusted("signed without a key: give --trusted-root")
        return asked.keyless(one)
    if not asked.keys:
        raise Untrusted("signed by a key: give --key")
    hint = one.content.hint if isinstance(one.content, Bundle) else ""
    named = next((key.name for key in asked.keys if key.hint == hint), "")
    if named:
        raise Untrusted(f"names the key {named}, which did not sign it as it is")
    if hint:
        raise Untrusted(f"signed by another key, whose hint is {hint[:64]}")
    if simple and not made[0]:
        raise Untrusted("has no signature that can be read")
    raise Untrusted("signed by another key, or changed since")


def _noted(one: Candidate, content: NotationEnvelope, asked: Asked, digest: Digest) -> Verified:
    """What a signature of the Notary Project says; that it is about the image is its judge's to say."""
    if asked.notation is None:
        raise Untrusted("signed by Notation: give --notation-root")
    signer = asked.notation(one)
    return Verified(
        signer=signer,
        form=one.form,
        where=one.where,
        digest=digest,
        payload=content.payload,
        time=signer.time,
        vouched=True,
        annotations=content.annotations,
    )


def _plain(one: Candidate, content: SimpleSignature, signer: Signer, digest: Digest) -> Verified:
    """What a payload of simple signing says, if it is about the image."""
    payload = Payload.parse(content.payload, "its payload")
    if payload.digest != digest:
        raise Untrusted(f"is of another image, {payload.digest}")
    time_s = payload.optional.get("timestamp")
    return Verified(
        signer=signer,
        form=one.form,
        where=one.where,
        digest=digest,
        payload=content.payload,
        time=signer.time or (_shown(time_s) if isinstance(time_s, int) else ""),
        vouched=True,
        reference=payload.reference,
        annotations=payload.optional,
    )


def _shown(time_s: int) -> str:
    return format_ns(time_s * 1_000_000_000) if 0 <= time_s < 253_402_300_800 else ""


def _stated(one: Candidate, content: Envelope, signer: Signer, digest: Digest) -> Verified:
    """What a statement says, if it is about the image."""
    if content.payload_type != IN_TOTO:
        raise Untrusted(f"holds {content.payload_type[:100]}, not {IN_TOTO}")
    statement = parse_object(content.payload, "its statement", exact=True)
    if statement.text("_type") not in STATEMENTS:
        raise Untrusted("holds no in-toto statement of a known version")
    statement.need_text("predicateType")
    subject = _subject(statement.objects("subject"), digest)
    notes = subject.obj("annotations")
    return Verified(
        signer=signer,
        form=one.form,
        where=one.where,
        digest=digest,
        payload=content.payload,
        time=signer.time or one.created[:40],
        vouched=bool(signer.time),
        annotations=notes.data if notes else {},
        statement=statement.data,
        envelope=content,
    )


def _subject(subjects: Iterable[Object], digest: Digest) -> Object:
    """The subject that is the image.

    Raises:
        Untrusted: there is none.
    """
    others = []
    for subject in subjects:
        digests = subject.need_obj("digest")
        if digests.text(digest.algorithm) == digest.hex:
            return subject
        others.append(f"{digest.algorithm}:{digests.text(digest.algorithm)[:128]}")
    raise Untrusted(f"is of another image, {others[0]}" if others else "is of no image")
