"""Certificates: what one says, and whether another one issued it.

Why a value of our own: all that is decided by (chains.py) is in it, and `cryptography`, which reads it, is
imported here and in `keys` only, in functions.
Spec: RFC 5280 section 4; sigstore's fulcio/docs/certificate-specification.md; RFC 6962 section 3 for the
timestamps of certificate logs.
Trust: a certificate that signed something is a stranger's: sizes and counts are bounded. What was signed by
SHA-1 or MD5 counts as signed by nobody.
Threads: any.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import re
import warnings
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from imagesmith.errors import InvalidDocument
from imagesmith.trust.der import UTF8, Fields
from imagesmith.trust.keys import PublicKey
from imagesmith.values import frozen

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["Certificate", "CertificateTimestamp", "certificate_timestamps", "signed_as"]

#: Fulcio's extensions: the OpenID issuer as plain bytes, and as a UTF8String; a name that is a user's.
_ISSUER_V1, _ISSUER_V2 = "1.3.6.1.4.1.57264.1.1", "1.3.6.1.4.1.57264.1.8"
_USER_NAME = "1.3.6.1.4.1.57264.1.7"
_HASHES = ("sha256", "sha384", "sha512")
_USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign",
)  # fmt: skip
_MOST_BYTES, _MOST_CERTIFICATES, _MOST_TIMESTAMPS = 64 << 10, 100, 16
_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")


@frozen(kw_only=True)
class Certificate:
    """A certificate of X.509, version 3.

    der                 as it is encoded
    what                what it is called in messages: where it is from
    subject, issuer     who it is of, and who says so: names in DER
    subject_text        the subject as RFC 4514 writes it, e.g. `CN=a,O=b`; may be empty
    subject_parts       the subject's attributes: (short or dotted name, value)
    serial              its number
    start_s, end_s      when it is valid, both ends included, in seconds since 1970
    key                 the key that it is about
    authority           it may issue others, `path_length` (None: any number) of them authorities
    usages              what its key is for: `digital_signature`, `key_cert_sign`, …; None where it is open
    purposes            extended key usages, dotted; None where it is open
    critical            extensions that must be understood, dotted
    names               alternative names: (`email`, `uri`, `dns`, `ip` or `other`, text)
    oidc_issuer         who says that the signer is who the names tell (Fulcio); empty where nobody does
    hash                by which its issuer signed it; empty where it is none of SHA-2
    """

    der: bytes
    what: str
    subject: bytes
    issuer: bytes
    subject_text: str
    subject_parts: tuple[tuple[str, str], ...]
    serial: int
    start_s: int
    end_s: int
    key: PublicKey
    authority: bool
    path_length: int | None
    usages: frozenset[str] | None
    purposes: frozenset[str] | None
    critical: frozenset[str]
    names: tuple[tuple[str, str], ...]
    oidc_issuer: str
    hash: str

    @classmethod
    def parse(cls, data: bytes, what: str) -> Certificate:
        """Read one certificate: DER, or PEM of exactly one.

        Raises:
            InvalidDocument: it is none, or says what it cannot mean, or its key is of no use here.
        """
        if b"-----BEGIN" in data[:_MOST_BYTES]:
            found = cls.parse_all(data, what)
            if len(found) != 1:
                raise InvalidDocument(f"{what}: {len(found)} certificates where one is needed")
            return found[0]
        if len(data) > _MOST_BYTES:
            raise InvalidDocument(f"{what}: {len(data)} bytes are too many for a certificate")
        return _parsed(data, what)

    @classmethod
    def parse_all(cls, data: bytes, what: str) -> tuple[Certificate, ...]:
        """Read a file of certificates: one as DER, or any number in PEM.

        Raises:
            InvalidDocument: see `parse`; or there is none.
        """
        if b"-----BEGIN" not in data[:_MOST_BYTES]:
            return (cls.parse(data, what),)
        if len(data) > _MOST_BYTES * _MOST_CERTIFICATES:
            raise InvalidDocument(f"{what}: {len(data)} bytes are too many for certificates")
        blocks = _BLOCK.findall(data)
        if not blocks or len(blocks) > _MOST_CERTIFICATES or len(blocks) != data.count(b"-----BEGIN "):
            raise InvalidDocument(f"{what}: not a file of 1 to {_MOST_CERTIFICATES} certificates in PEM")
        try:
            return tuple(
                cls.parse(base64.b64decode(b"".join(b.split()), validate=True), what) for b in blocks
            )
        except ValueError as e:  # binascii.Error is one
            raise InvalidDocument(f"{what}: no base64 in its PEM block") from e

    @property
    def identities(self) -> tuple[str, ...]:
        """Who it is of, by all its alternative names."""
        return tuple(text for _, text in self.names)

    @property
    def emails(self) -> tuple[str, ...]:
        """The email addresses among them."""
        return tuple(text for kind, text in self.names if kind == "email")

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host names among them; `*.` may be the first part of one."""
        return tuple(text for kind, text in self.names if kind == "dns")

    def issued(self, other: Certificate) -> bool:
        """Whether it issued another: the names fit, and its key signed it, by a hash that holds."""
        from cryptography import x509
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

        if self.subject != other.issuer or not other.hash:
            return False
        try:
            x509.load_der_x509_certificate(other.der).verify_directly_issued_by(
                x509.load_der_x509_certificate(self.der)
            )
        except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
            return False
        return True


def _parsed(data: bytes, what: str) -> Certificate:
    """What `cryptography` reads in a certificate, as a value."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    odd = (
        ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
    )  # fmt: skip
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a stranger's odd number, which would go to the terminal
            return _filled(x509.load_der_x509_certificate(data), data, what)
    except odd as e:
        raise InvalidDocument(f"{what}: not a certificate that can be read") from e


def _filled(found: x509.Certificate, data: bytes, what: str) -> Certificate:
    from cryptography import x509

    held = {e.oid.dotted_string: e for e in found.extensions}
    kinds = {type(e.value): e.value for e in found.extensions}
    basic: Any = kinds.get(x509.BasicConstraints)
    usage: Any = kinds.get(x509.KeyUsage)
    extended: Any = kinds.get(x509.ExtendedKeyUsage)
    signed_by = found.signature_hash_algorithm
    return Certificate(
        der=data,
        what=what,
        subject=found.subject.public_bytes(),
        issuer=found.issuer.public_bytes(),
        subject_text=found.subject.rfc4514_string(),
        subject_parts=tuple((part.rfc4514_attribute_name, str(part.value)) for part in found.subject),
        serial=found.serial_number,
        start_s=int(found.not_valid_before_utc.timestamp()),
        end_s=int(found.not_valid_after_utc.timestamp()),
        key=PublicKey.of(found.public_key(), what),
        authority=bool(basic is not None and basic.ca),
        path_length=None if basic is None else basic.path_length,
        usages=None if usage is None else frozenset(name for name in _USAGES if getattr(usage, name)),
        purposes=None if extended is None else frozenset(oid.dotted_string for oid in extended),
        critical=frozenset(oid for oid, e in held.items() if e.critical),
        names=tuple(_names(kinds.get(x509.SubjectAlternativeName, ()))),
        oidc_issuer=_claim(held, what),
        # an algorithm without a hash of its own, Ed25519, is as good
        hash="ed25519" if signed_by is None else signed_by.name if signed_by.name in _HASHES else "",
    )


def _names(names: Iterable[x509.GeneralName]) -> Iterator[tuple[str, str]]:
    from cryptography import x509

    kinds = {
        x509.RFC822Name: "email",
        x509.UniformResourceIdentifier: "uri",
        x509.DNSName: "dns",
        x509.IPAddress: "ip",
    }
    for name in names:
        if type(name) in kinds:
            yield kinds[type(name)], str(name.value)
        elif isinstance(name, x509.OtherName) and name.type_id.dotted_string == _USER_NAME:
            yield "other", _utf8(name.value)


def _claim(held: dict[str, x509.Extension[Any]], what: str) -> str:
    """Fulcio's word for who vouched for the names; what is written twice must be one."""
    found = set()
    for oid in (_ISSUER_V2, _ISSUER_V1):
        if oid in held:
            raw: bytes = held[oid].value.value
            found.add(_utf8(raw) if oid == _ISSUER_V2 else raw.decode())
    if len(found) > 1:
        raise InvalidDocument(f"{what}: names two issuers of its identity")
    return found.pop() if found else ""


def _utf8(raw: bytes) -> str:
    """The text of a UTF8String."""
    fields = Fields(raw, "a name in the certificate")
    text = fields.take(UTF8).content.decode()
    fields.end()
    return text


@frozen
class CertificateTimestamp:
    """A certificate log's promise to list a certificate.

    log         the log's id: SHA-256 of its key
    time_s      when it was made
    signature   over `message`, by the log's key
    """

    log: bytes
    time_s: int
    signature: bytes
    message: bytes


def certificate_timestamps(certificate: Certificate, issuer: Certificate) -> tuple[CertificateTimestamp, ...]:
    """The signed certificate timestamps (SCT) in a certificate: RFC 6962 section 3.2 and 3.3.

    Args:
        certificate: a leaf.
        issuer: who issued it.

    Raises:
        InvalidDocument: they cannot be read, or are too many.
    """
    from cryptography import x509

    try:
        found = x509.load_der_x509_certificate(certificate.der)
        held = found.extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps)
        found_in = list(held.value)
        body = found.tbs_precertificate_bytes
    except x509.ExtensionNotFound:
        return ()
    except ValueError as e:
        raise InvalidDocument(f"{certificate.what}: its signed certificate timestamps cannot be read") from e
    if len(found_in) > _MOST_TIMESTAMPS:
        raise InvalidDocument(
            f"{certificate.what}: more than {_MOST_TIMESTAMPS} signed certificate timestamps"
        )
    return tuple(_timestamp(one, body, issuer, certificate.what) for one in found_in)


def _timestamp(one: Any, body: bytes, issuer: Certificate, what: str) -> CertificateTimestamp:  # noqa: ANN401
    try:
        hashed = one.signature_hash_algorithm.name
        extensions = one.extension_bytes
        since = round(one.timestamp.replace(tzinfo=datetime.UTC).timestamp() * 1000)
    except ValueError as e:
        raise InvalidDocument(f"{what}: its signed certificate timestamps cannot be read") from e
    if hashed != "sha256":
        raise InvalidDocument(f"{what}: a signed certificate timestamp is by {hashed}, not sha256")
    message = b"".join(
        (
            b"\0\0",  # version 1; a certificate's timestamp
            since.to_bytes(8),
            b"\0\1",  # of the certificate as it was without them
            hashlib.sha256(issuer.key.der).digest(),
            len(body).to_bytes(3),
            body,
            len(extensions).to_bytes(2),
            extensions,
        )
    )
    return CertificateTimestamp(one.log_id, since // 1000, one.signature, message)


def signed_as(key: PublicKey, way: str, hash_name: str, signature: bytes, message: bytes) -> bool:
    """Whether a key's owner signed a message in a way that is named beside the signature.

    Args:
        key: the key.
        way: `ecdsa` (the signature is DER), `ecdsa-plain` (both numbers, each as long as the curve's), `rsa`
            (PKCS#1 v1.5), `pss` (its salt is as long as the hash) or `ed25519`.
        hash_name: `sha256`, `sha384` or `sha512`; of no meaning for `ed25519`.
        signature: the signature.
        message: what was signed, not its hash.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    if key.kind.partition("-")[0] != ("rsa" if way == "pss" else way.partition("-")[0]):
        return False
    known: dict[str, Any] = {"sha256": hashes.SHA256, "sha384": hashes.SHA384, "sha512": hashes.SHA512}
    hashed = known[hash_name]()
    owner: Any = load_der_public_key(key.der)
    try:
        if way == "ecdsa-plain":
            half = (owner.curve.key_size + 7) // 8
            if len(signature) != 2 * half:
                return False
            numbers = (int.from_bytes(signature[:half]), int.from_bytes(signature[half:]))
            owner.verify(encode_dss_signature(*numbers), message, ec.ECDSA(hashed))
        elif way == "ed25519":
            owner.verify(signature, message)
        elif way == "ecdsa":
            owner.verify(signature, message, ec.ECDSA(hashed))
        elif way == "rsa":
            owner.verify(signature, message, padding.PKCS1v15(), hashed)
        else:
            salted = padding.PSS(padding.MGF1(hashed), hashed.digest_size)
            owner.verify(signature, message, salted, hashed)
    except InvalidSignature:
        return False
    return True
