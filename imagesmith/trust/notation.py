"""Signatures of the Notary Project (Notation): who signed, by certificates up to one that the user gives.

Spec: notaryproject/specifications: signature-specification.md, signature-envelope-jws.md, signing-scheme.md,
and trust-store-trust-policy.md section "Signature verification" at the level `strict`, but for revocation,
which would have to be asked of others. RFC 7515 and 7518 (JWS and its algorithms).
Trust: manifest and envelope are anyone's: read strictly, bounded and counted. Only what is under the
signature counts, and the time that the signer claims does not: without a timestamp of an authority that is
trusted, all certificates must be valid now.
Threads: any.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence

from imagesmith.errors import InvalidDocument, Untrusted, UsageError
from imagesmith.interfaces import ImageSource
from imagesmith.oci.codec import Object, parse_object
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor, Index, parse_document
from imagesmith.oci.times import parse_ns
from imagesmith.transports.files import whole_blob
from imagesmith.trust.certificates import Certificate, signed_as
from imagesmith.trust.chains import CODE_SIGNING, chain_of, check_valid, shown_time
from imagesmith.trust.timestamps import Timestamp, check_timestamp
from imagesmith.trust.trustedroot import Authority, Period
from imagesmith.values import frozen

__all__ = ["NOTATION", "Notary", "NotationEnvelope", "Trust", "envelope_at", "verify_notation"]

#: The artifact type of a signature's manifest.
NOTATION = "application/vnd.cncf.notary.signature"
_JWS, _COSE = "application/jose+json", "application/cose"
_PAYLOAD = "application/vnd.cncf.notary.payload.v1+json"
_SCHEME, _TIME, _EXPIRY = (f"io.cncf.notary.{name}" for name in ("signingScheme", "signingTime", "expiry"))
_STAMP = "io.cncf.notary.timestampSignature"
_X509 = "notary.x509"
#: The algorithm that belongs to a kind of key: its name in JWS, and how it is verified.
_ALGORITHMS = {
    "ecdsa-p256": ("ES256", "ecdsa-plain", "sha256"),
    "ecdsa-p384": ("ES384", "ecdsa-plain", "sha384"),
    "ecdsa-p521": ("ES512", "ecdsa-plain", "sha512"),
    "rsa-2048": ("PS256", "pss", "sha256"),
    "rsa-3072": ("PS384", "pss", "sha384"),
    "rsa-4096": ("PS512", "pss", "sha512"),
}
_BASIC, _USAGE = "2.5.29.19", "2.5.29.15"
#: What a signer's certificate may not be for besides: anything, servers, clients, mail, time stamping.
_FOREIGN = frozenset(
    ("2.5.29.37.0", *(f"1.3.6.1.5.5.7.3.{n}" for n in (1, 2, 4, 8))),
)
_UNPADDED = re.compile("[A-Za-z0-9_-]*")
_IDENTITY = "x509.subject:"
#: An attribute of a subject, up to a comma or the end; spaces around the value are part of it if escaped.
_PART = re.compile(r"\s*([A-Za-z0-9.]+)\s*=\s*((?:\\.|[^\\,;])*?)\s*(,|\Z)", re.DOTALL)
_MOST_ENVELOPE, _MOST_CERTIFICATES = 1 << 20, 10


@frozen(kw_only=True)
class Trust:
    """Who is believed, as a trust policy of the Notary Project says it.

    roots       certificates that a signer's must lead to
    clocks      the same for timestamps; where there are none, those that a signature has are not looked at
    identities  attributes that the signer's subject must all have, of one of these; empty: any subject
    """

    roots: tuple[Certificate, ...]
    clocks: tuple[Certificate, ...] = ()
    identities: tuple[tuple[tuple[str, str], ...], ...] = ()

    @classmethod
    def parse_identity(cls, text: str) -> tuple[tuple[str, str], ...]:
        """Read a trusted identity: `x509.subject: C=US, ST=WA, O=example` (the first words may be left out).

        Raises:
            UsageError: it is none.
        """
        rest, out = text.removeprefix(_IDENTITY), []
        separator = ","
        while separator and (match := _PART.match(rest)):
            name, value, separator = match.groups()
            out.append((name.upper(), re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)))
            rest = rest[match.end() :]
        if separator or any(not value for _, value in out):
            raise UsageError(
                f"not a trusted identity: {text!r}", hint="e.g. 'C=US, ST=WA, O=example, CN=build'"
            )
        return tuple(out)


@frozen(kw_only=True)
class NotationEnvelope:
    """A signature as it is stored: what it says, and what was signed.

    what            what it is called in messages
    algorithm       as it says itself
    payload         what is signed: JSON, of
    target          a descriptor: media type, digest, size, and
    annotations     what the signer adds
    time_ns         when, as the signer claims
    expires_ns      from when on it does not count; None: it stays
    certificates    of the signer first, the root's last
    stamp           a timestamp of the signature; empty where there is none
    message         what was signed
    signature       the signature
    """

    what: str
    algorithm: str
    payload: bytes
    target: tuple[str, str, int]
    annotations: Mapping[str, str]
    time_ns: int
    expires_ns: int | None
    certificates: tuple[Certificate, ...]
    stamp: bytes
    message: bytes
    signature: bytes

    @classmethod
    def parse(cls, raw: bytes, what: str) -> NotationEnvelope:
        """Read an envelope of JWS, flattened JSON.

        Raises:
            InvalidDocument: it is none.
            Untrusted: it asks for something that is not done here.
        """
        o = parse_object(raw, what, exact=True)
        o.only("payload", "protected", "header", "signature")
        head = parse_object(_unpadded(o, "protected"), f"{what}: protected", exact=True)
        payload = _unpadded(o, "payload")
        target = parse_object(payload, f"{what}: payload", exact=True).need_obj("targetArtifact")
        loose = o.need_obj("header")
        if loose.data.keys() & head.data.keys():
            raise InvalidDocument(f"{what}: a header stands both within and without the signature")
        _check_head(head)
        expiry = head.text(_EXPIRY)
        try:
            time_ns, expires_ns = parse_ns(head.need_text(_TIME)), parse_ns(expiry) if expiry else None
        except InvalidDocument as e:
            raise e.of(f"{what}: signing time or expiry") from e
        return cls(
            what=what,
            algorithm=head.need_text("alg"),
            payload=payload,
            annotations=target.text_map("annotations"),
            target=(target.need_text("mediaType"), target.need_text("digest"), target.integer("size", -1)),
            time_ns=time_ns,
            expires_ns=expires_ns,
            certificates=_chain(loose, what),
            stamp=loose.data_of(_STAMP),
            message=f"{o.text('protected')}.{o.text('payload')}".encode(),
            signature=_unpadded(o, "signature"),
        )


def _unpadded(o: Object, key: str) -> bytes:
    """Bytes in the base64 of RFC 7515: of addresses, without what fills it up."""
    text = o.need_text(key)
    if not _UNPADDED.fullmatch(text) or len(text) % 4 == 1:
        raise InvalidDocument(f"{o.path}: {key} is no base64url")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _check_head(head: Object) -> None:
    """What is said under the signature: nothing that must be understood is not."""
    critical = head.texts("crit") or ()
    if len(set(critical)) != len(critical) or any(key not in head.data for key in critical):
        raise InvalidDocument(f"{head.path}: crit names a header twice, or one that is not there")
    scheme = head.need_text(_SCHEME)
    if _SCHEME not in critical or (head.text(_EXPIRY) and _EXPIRY not in critical):
        raise InvalidDocument(f"{head.path}: signing scheme or expiry are not critical")
    if scheme != _X509:
        raise Untrusted(f"{head.path}: the signing scheme {scheme[:60]!r} is not verified; {_X509} is")
    if unknown := sorted(set(critical) - {_SCHEME, _EXPIRY}):
        raise Untrusted(f"{head.path}: the critical header {unknown[0][:80]!r} is not known")
    if head.need_text("cty") != _PAYLOAD:
        raise InvalidDocument(f"{head.path}: cty is {head.text('cty')[:60]!r}, not {_PAYLOAD}")


def _chain(loose: Object, what: str) -> tuple[Certificate, ...]:
    texts = loose.texts("x5c") or ()
    if not 1 <= len(texts) <= _MOST_CERTIFICATES:
        raise InvalidDocument(f"{what}: x5c has {len(texts)} certificates, not 1 to {_MOST_CERTIFICATES}")
    return tuple(
        Certificate.parse(Object({"x5c": text}, what).data_of("x5c"), f"{what}: certificate {n}")
        for n, text in enumerate(texts, 1)
    )


def envelope_at(source: ImageSource, d: Descriptor, of: Digest) -> NotationEnvelope:
    """The signature that a manifest with NOTATION as its artifact type holds; it is not verified.

    Args:
        source: where the manifest is.
        d: the manifest.
        of: the digest of what it should be of.

    Raises:
        InvalidDocument: it is of another form than the specification has.
        LimitExceeded: it is too large.
        Untrusted: it is of COSE, which is not read, or of something else.
    """
    manifest = parse_document(source.document(d), d.media_type)
    if isinstance(manifest, Index) or len(manifest.layers) != 1:
        raise InvalidDocument("its manifest must have one layer")
    if manifest.subject is None or manifest.subject.digest != of:
        raise Untrusted(f"its manifest is of something else than {of}")
    layer = manifest.layers[0]
    if layer.media_type == _COSE:
        raise Untrusted(f"envelopes of COSE ({_COSE}) are not read, those of JWS are")
    if layer.media_type != _JWS:
        raise InvalidDocument(f"an envelope of the unknown type {layer.media_type[:60]!r}")
    return NotationEnvelope.parse(whole_blob(source, layer, _MOST_ENVELOPE, "it"), "it")


@frozen(kw_only=True)
class Notary:
    """Who signed: the certificate's subject; when (seconds since 1970), and if that is more than a claim."""

    subject: str
    time_s: int
    stamped: bool


def verify_notation(envelope: NotationEnvelope, d: Descriptor, trust: Trust, *, now_s: int) -> Notary:
    """Who signed a manifest.

    Args:
        envelope: the signature.
        d: the manifest; its annotations do not count.
        trust: who is believed.
        now_s: the time now, in seconds since 1970.

    Raises:
        Untrusted: the signature is not good, of something else, or of somebody else; one reason.
        InvalidDocument: its timestamp cannot be read.
    """
    what, leaf = envelope.what, envelope.certificates[0]
    known = _ALGORITHMS.get(leaf.key.kind)
    if known is None or known[0] != envelope.algorithm:
        raise Untrusted(
            f"{what}: the algorithm {envelope.algorithm[:20]!r} is not that of its key, {leaf.key.kind}"
        )
    if not signed_as(leaf.key, known[1], known[2], envelope.signature, envelope.message):
        raise Untrusted(f"{what}: its certificate's key did not make the signature")
    if envelope.target != (d.media_type, str(d.digest), d.size):
        raise Untrusted(f"{what}: is of {envelope.target[1][:80]}, not of {d.digest}")
    _check_certificates(envelope)
    if envelope.expires_ns is not None and now_s * 1_000_000_000 >= envelope.expires_ns:
        raise Untrusted(f"{what}: does not count since {shown_time(envelope.expires_ns // 1_000_000_000)}")
    stamped = bool(envelope.stamp and trust.clocks)
    first_s, last_s = _stamped(envelope, trust.clocks) if stamped else (now_s, now_s)
    for one in envelope.certificates:
        check_valid(one, first_s)
        check_valid(one, last_s)
    others = envelope.certificates[1:]
    chain_of(leaf, others, trust.roots, at_s=last_s, purpose=CODE_SIGNING, only_known=False)
    parts = set(leaf.subject_parts)
    if trust.identities and not any(parts.issuperset(one) for one in trust.identities):
        raise Untrusted(f"{what}: signed by {leaf.subject_text or 'nobody'}, whose identity is not trusted")
    when_s = (first_s + last_s) // 2 if stamped else envelope.time_ns // 1_000_000_000
    return Notary(subject=leaf.subject_text, time_s=when_s, stamped=stamped)


def _stamped(envelope: NotationEnvelope, clocks: Sequence[Certificate]) -> tuple[int, int]:
    """The times between which it was made, by a timestamp authority that is trusted."""
    stamp = Timestamp.parse(envelope.stamp, f"{envelope.what}: timestamp")
    authorities = [Authority("", (one,), Period()) for one in clocks]
    time_s = check_timestamp(stamp, envelope.signature, authorities)
    return time_s - stamp.accuracy_s, time_s + stamp.accuracy_s


def _check_certificates(envelope: NotationEnvelope) -> None:
    """What certificates must be for whomever: signature-specification.md, "Certificate requirements"."""
    leaf, *above = envelope.certificates
    root = envelope.certificates[-1]
    if not all(issuer.issued(one) for one, issuer in zip(envelope.certificates, above, strict=False)):
        raise Untrusted(f"{envelope.what}: its certificates are no chain")
    if not root.issued(root):
        raise Untrusted(f"{envelope.what}: its certificates do not end with a root")
    if (leaf.usages or frozenset()) - {"content_commitment"} != {"digital_signature"}:
        raise Untrusted(f"{leaf.what}: its key is not for signatures alone")
    if leaf.authority or _USAGE not in leaf.critical or (leaf.purposes or frozenset()) & _FOREIGN:
        raise Untrusted(f"{leaf.what}: is not for code signing")
    for one in above:
        if not {_BASIC, _USAGE} <= one.critical or "key_cert_sign" not in (one.usages or ()):
            raise Untrusted(f"{one.what}: does not say critically that it is an authority")
