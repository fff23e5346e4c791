"""Signed timestamps: that something was there at a time, by the word of an authority that is trusted.

Spec: RFC 3161 sections 2.3 and 2.4.2 (time-stamp responses and tokens); RFC 5652 section 5 (signed data);
RFC 2634 section 5.4 and RFC 5035 (the signing certificate is named under the signature).
Trust: a token is a stranger's. It is read strictly as DER, and bounded; of one with anything else than one
signer nothing is believed. Certificates in it count only under an authority that is trusted.
Threads: any.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from imagesmith.errors import InvalidDocument, Untrusted
from imagesmith.trust.certificates import Certificate, signed_as
from imagesmith.trust.chains import TIME_STAMPING, chain_of
from imagesmith.trust.der import INTEGER, OBJECT, OCTETS, SEQUENCE, SET, TIME, Fields, Value, parse, within
from imagesmith.trust.trustedroot import Authority
from imagesmith.values import frozen

__all__ = ["Timestamp", "check_timestamp"]

_SIGNED_DATA, _TST_INFO = "1.2.840.113549.1.7.2", "1.2.840.113549.1.9.16.1.4"
#: Attributes under the signature: what is signed, its hash, and the certificate (named by SHA-1; by others).
_CONTENT_TYPE, _MESSAGE_DIGEST = "1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4"
_CERTIFICATE_V1, _CERTIFICATE_V2 = "1.2.840.113549.1.9.16.2.12", "1.2.840.113549.1.9.16.2.47"
_HASHES = {
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}
#: How it is signed, and by which hash; empty: by that of the content.
_SIGNATURES = {
    "1.2.840.10045.4.3.2": ("ecdsa", "sha256"),
    "1.2.840.10045.4.3.3": ("ecdsa", "sha384"),
    "1.2.840.10045.4.3.4": ("ecdsa", "sha512"),
    "1.2.840.113549.1.1.1": ("rsa", ""),
    "1.2.840.113549.1.1.11": ("rsa", "sha256"),
    "1.2.840.113549.1.1.12": ("rsa", "sha384"),
    "1.2.840.113549.1.1.13": ("rsa", "sha512"),
    "1.3.101.112": ("ed25519", ""),
}
_MOST_BYTES, _MOST_CERTIFICATES, _MOST_ATTRIBUTES, _MOST_ACCURACY_S = 256 << 10, 16, 32, 86_400


@frozen(kw_only=True)
class Timestamp:
    """A time-stamp token.

    what            what it is called in messages
    time_s          the time, in seconds since 1970; `accuracy_s` more or less
    hash, imprint   the hash of what was stamped
    info            what was signed: TSTInfo
    issuer, serial  which certificate's key signed it
    digest          the hash of `info` and, where `way` has none, of what is signed
    attributes      what is signed: the attributes, in DER
    way             how
    signature       the signature
    certificates    that came with it, DER
    """

    what: str
    time_s: int
    accuracy_s: int
    hash: str
    imprint: bytes
    info: bytes
    issuer: bytes
    serial: int
    digest: str
    attributes: bytes
    way: tuple[str, str]
    signature: bytes
    certificates: tuple[bytes, ...]

    @classmethod
    def parse(cls, raw: bytes, what: str) -> Timestamp:
        """Read a time-stamp response, as sigstore keeps it, or the token alone, as the Notary Project does.

        Raises:
            InvalidDocument: it is none, or of a form that is not read; or the authority refused.
        """
        if len(raw) > _MOST_BYTES:
            raise InvalidDocument(f"{what}: {len(raw)} bytes are too many for a timestamp")
        fields = parse(raw, what)
        status = fields.maybe(SEQUENCE)
        if status is not None:  # a response; a token begins with what it is
            if status.fields.take(INTEGER).integer not in (0, 1):
                raise InvalidDocument(f"{what}: the timestamp authority refused")
            token = fields.take(SEQUENCE)
            fields.end()
            fields = token.fields
        if fields.take(OBJECT).dotted != _SIGNED_DATA:
            raise InvalidDocument(f"{what}: not signed data")
        data = fields.take(within(0)).fields.take(SEQUENCE)
        fields.end()
        return _of_signed_data(data, what)


def _of_signed_data(data: Value, what: str) -> Timestamp:
    """RFC 5652 section 5.1."""
    fields = data.fields
    fields.take(INTEGER)
    fields.take(SET)
    content = fields.take(SEQUENCE).fields
    if content.take(OBJECT).dotted != _TST_INFO:
        raise InvalidDocument(f"{what}: what is signed is no timestamp")
    info = content.take(within(0)).fields.take(OCTETS).content
    content.end()
    certificates = fields.maybe(within(0))
    fields.maybe(within(1))
    signers = fields.take(SET).fields
    fields.end()
    signer = signers.take(SEQUENCE)
    if signers.left:
        raise InvalidDocument(f"{what}: has more than one signer")
    return Timestamp(
        what=what,
        info=info,
        certificates=_certificates(certificates, what),
        **_of_info(info, what),
        **_of_signer(signer, what),
    )


def _certificates(found: Value | None, what: str) -> tuple[bytes, ...]:
    out: list[bytes] = []
    fields = found.fields if found is not None else Fields(b"", what)
    while fields.left:
        out.append(fields.take(SEQUENCE).encoded)
        if len(out) > _MOST_CERTIFICATES:
            raise InvalidDocument(f"{what}: more than {_MOST_CERTIFICATES} certificates")
    return tuple(out)


def _of_info(info: bytes, what: str) -> dict[str, Any]:
    """The time, and what was stamped: RFC 3161 section 2.4.2, TSTInfo. The rest is not needed."""
    fields = parse(info, what)
    if fields.take(INTEGER).integer != 1:
        raise InvalidDocument(f"{what}: a timestamp of a version that is not known")
    fields.take(OBJECT)
    imprint = fields.take(SEQUENCE).fields
    hashed = _hash(imprint.take(SEQUENCE), what)
    digest = imprint.take(OCTETS).content
    fields.take(INTEGER)
    time_s = fields.take(TIME).seconds
    accuracy = fields.maybe(SEQUENCE)
    parts = accuracy.fields if accuracy is not None else Fields(b"", what)
    seconds = parts.maybe(INTEGER)
    # what is left are thousandths: a second more
    accuracy_s = (seconds.integer if seconds is not None else 0) + parts.left
    if not 0 <= accuracy_s <= _MOST_ACCURACY_S:
        raise InvalidDocument(f"{what}: an accuracy of {accuracy_s} seconds is none")
    return {"time_s": time_s, "accuracy_s": accuracy_s, "hash": hashed, "imprint": digest}


def _of_signer(signer: Value, what: str) -> dict[str, Any]:
    """RFC 5652 section 5.3."""
    fields = signer.fields
    fields.take(INTEGER)
    by = fields.take(SEQUENCE).fields
    issuer, serial = by.take(SEQUENCE).encoded, by.take(INTEGER).integer
    digest = _hash(fields.take(SEQUENCE), what)
    attributes = fields.take(within(0))
    algorithm = fields.take(SEQUENCE).fields.take(OBJECT).dotted
    if algorithm not in _SIGNATURES:
        raise InvalidDocument(f"{what}: a kind of signature that is not read: {algorithm}")
    way, hashed = _SIGNATURES[algorithm]
    return {
        "issuer": issuer,
        "serial": serial,
        "digest": digest,
        # they are signed as the set that they are, not as the field of the structure
        "attributes": bytes((SET,)) + attributes.encoded[1:],
        "way": (way, hashed or digest),
        "signature": fields.take(OCTETS).content,
    }


def _hash(algorithm: Value, what: str) -> str:
    found = algorithm.fields.take(OBJECT).dotted
    if found not in _HASHES:
        raise InvalidDocument(f"{what}: a hash that is not trusted: {found}")
    return _HASHES[found]


def check_timestamp(stamp: Timestamp, message: bytes, authorities: Sequence[Authority]) -> int:
    """Whether an authority that is trusted stamped a message.

    Args:
        stamp: the timestamp.
        message: what it should be of.
        authorities: those that are trusted. Where the first certificate of one is a signer's, only that
            signs for it.

    Returns:
        the time, in seconds since 1970.

    Raises:
        Untrusted: it is not; the message tells why.
        InvalidDocument: its parts cannot be read.
    """
    if hashlib.new(stamp.hash, message).digest() != stamp.imprint:
        raise Untrusted(f"{stamp.what}: is of something else")
    attributes = _attributes(stamp)
    given = tuple(Certificate.parse(der, f"{stamp.what}: its certificate") for der in stamp.certificates)
    reason = Untrusted(f"{stamp.what}: none of the trusted timestamp authorities signed it")
    for authority in authorities:
        named = authority.certificates
        signers = [
            one
            for one in (named if not named[0].authority else given)
            if (one.issuer, one.serial) == (stamp.issuer, stamp.serial)
        ]
        for signer in signers:
            try:
                _check_signer(stamp, attributes, signer, given, authority)
            except Untrusted as e:
                reason = e
                continue
            return stamp.time_s
    raise reason


def _check_signer(
    stamp: Timestamp,
    attributes: dict[str, Value],
    signer: Certificate,
    given: Sequence[Certificate],
    authority: Authority,
) -> None:
    """Whether a certificate's key signed it, and the certificate was good for that, under an authority."""
    if not authority.period.holds(stamp.time_s):
        raise Untrusted(f"{stamp.what}: the timestamp authority was not in use at that time")
    if not _names(attributes, signer):
        raise Untrusted(f"{stamp.what}: names another certificate than its signer's")
    if not signed_as(signer.key, *stamp.way, stamp.signature, stamp.attributes):
        raise Untrusted(f"{stamp.what}: the signature is not the timestamp authority's")
    if (
        signer.authority
        or signer.purposes != frozenset((TIME_STAMPING,))
        or "2.5.29.37" not in signer.critical
    ):
        raise Untrusted(f"{stamp.what}: its signer is not for time stamping alone")
    between = (*authority.certificates[:-1], *given)
    roots = authority.certificates[-1:]
    chain_of(signer, between, roots, at_s=stamp.time_s, purpose=TIME_STAMPING)


def _attributes(stamp: Timestamp) -> dict[str, Value]:
    """What is under the signature, which must be of this content: RFC 5652 section 5.4 and 11.2."""
    out: dict[str, Value] = {}
    fields = Fields(stamp.attributes, stamp.what).take(SET).fields
    while fields.left:
        one = fields.take(SEQUENCE).fields
        kind, values = one.take(OBJECT).dotted, one.take(SET)
        if kind in out or len(out) >= _MOST_ATTRIBUTES:
            raise InvalidDocument(f"{stamp.what}: an attribute twice, or too many")
        out[kind] = values
    lacking = InvalidDocument(f"{stamp.what}: lacks what must be under its signature")
    if _CONTENT_TYPE not in out or _MESSAGE_DIGEST not in out:
        raise lacking
    if out[_CONTENT_TYPE].fields.take(OBJECT).dotted != _TST_INFO:
        raise lacking
    if out[_MESSAGE_DIGEST].fields.take(OCTETS).content != hashlib.new(stamp.digest, stamp.info).digest():
        raise Untrusted(f"{stamp.what}: what is signed is another time")
    return out


def _names(attributes: dict[str, Value], signer: Certificate) -> bool:
    """Whether the signing certificate that is named is this one: RFC 5035 section 3, RFC 2634 section 5.4."""
    for kind in (_CERTIFICATE_V2, _CERTIFICATE_V1):
        if kind not in attributes:
            continue
        listed = attributes[kind].fields.take(SEQUENCE).fields.take(SEQUENCE).fields
        one = listed.take(SEQUENCE).fields
        name = "sha256" if kind == _CERTIFICATE_V2 else "sha1"
        algorithm = one.maybe(SEQUENCE) if kind == _CERTIFICATE_V2 else None
        if algorithm is not None:
            name = _hash(algorithm, signer.what)
        return one.take(OCTETS).content == hashlib.new(name, signer.der, usedforsecurity=False).digest()
    return False
