"""The trusted root of sigstore: who is believed about signers without a key, as one JSON document.

Spec: sigstore/protobuf-specs, sigstore_trustroot.proto, versions 0.1 and 0.2, in the JSON of protocol
buffers.
Trust: the document is the user's own word for whom to believe; it is read strictly all the same, so that a
mistake in it is told and does not trust more than was meant. A log whose kind of key is not known is left
out: what it says is then refused as a stranger's.
Threads: any.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from imagesmith.errors import InvalidDocument
from imagesmith.oci.codec import Object, parse_object
from imagesmith.oci.times import parse_ns
from imagesmith.trust.certificates import Certificate
from imagesmith.trust.keys import PublicKey
from imagesmith.values import frozen

__all__ = ["MAX_ROOT_BYTES", "Authority", "Log", "Period", "TrustedRoot"]

#: A document above this is refused.
MAX_ROOT_BYTES = 4 << 20
_TYPES = frozenset(
    f"application/vnd.dev.sigstore.trustedroot{form}"
    for form in ("+json;version=0.1", "+json;version=0.2", ".v0.1+json", ".v0.2+json")
)
_KEYS = ("PKIX_ECDSA_", "PKIX_ED25519", "PKIX_RSA_", "PKCS1_RSA_")
_MOST = 100


@frozen
class Period:
    """A time, both ends included, in nanoseconds since 1970; `end_ns` is None where none is known."""

    start_ns: int = 0
    end_ns: int | None = None

    def holds(self, at_s: int) -> bool:
        """Whether a second is within it."""
        at_ns = at_s * 1_000_000_000
        return self.start_ns <= at_ns and (self.end_ns is None or at_ns <= self.end_ns)


@frozen
class Log:
    """A transparency log: of signatures, or of certificates.

    name        its address, for messages
    ids         what it is called by what it signs: SHA-256 of its key, or as its checkpoints have it
    key         what it signs by
    period      when it was in use
    """

    name: str
    ids: frozenset[bytes]
    key: PublicKey
    period: Period

    @classmethod
    def of_key(cls, key: PublicKey) -> Log:
        """A log of which the key alone is known, as a policy.json has it."""
        return cls(key.name, frozenset((hashlib.sha256(key.der).digest(),)), key, Period())


@frozen
class Authority:
    """Who gives out certificates or timestamps: certificates, the trusted one last; when it was in use."""

    name: str
    certificates: tuple[Certificate, ...]
    period: Period


@frozen(kw_only=True)
class TrustedRoot:
    """Who is believed.

    tlogs                   that a signature was made, and when (Rekor)
    certificate_authorities who a signer is (Fulcio)
    ctlogs                  that a certificate was given out (certificate transparency)
    timestamp_authorities   what time it was (RFC 3161)
    """

    tlogs: tuple[Log, ...] = ()
    certificate_authorities: tuple[Authority, ...] = ()
    ctlogs: tuple[Log, ...] = ()
    timestamp_authorities: tuple[Authority, ...] = ()

    @classmethod
    def parse(cls, raw: bytes, what: str) -> TrustedRoot:
        """Read the document; `what` names it in messages.

        Raises:
            InvalidDocument: it is none, or names nobody who knows who signers are.
        """
        if len(raw) > MAX_ROOT_BYTES:
            raise InvalidDocument(f"{what}: {len(raw)} bytes are too many for a trusted root")
        o = parse_object(raw, what, exact=True)
        kind = o.need_text("mediaType")
        if kind not in _TYPES:
            raise InvalidDocument(f"{what}: {kind[:100]!r} is no trusted root of version 0.1 or 0.2")
        found = cls(
            tlogs=_logs(_some(o, "tlogs")),
            certificate_authorities=tuple(map(_authority, _some(o, "certificateAuthorities"))),
            ctlogs=_logs(_some(o, "ctlogs")),
            timestamp_authorities=tuple(map(_authority, _some(o, "timestampAuthorities"))),
        )
        if not found.certificate_authorities:
            raise InvalidDocument(f"{what}: certificateAuthorities is empty: no signer could be known by it")
        return found


def _some(o: Object, key: str) -> Sequence[Object]:
    found = o.objects(key)
    if len(found) > _MOST:
        raise InvalidDocument(f"{o.path}: {key} has more than {_MOST} entries")
    return found


def _logs(found: Sequence[Object]) -> tuple[Log, ...]:
    logs = (_log(o) for o in found)
    return tuple(log for log in logs if log is not None)


def _log(o: Object) -> Log | None:
    """A log; None if its key is of a kind that is not known."""
    key, base = o.need_obj("publicKey"), o.text("baseUrl")
    if not key.need_text("keyDetails").startswith(_KEYS):
        return None
    if o.text("hashAlgorithm") not in ("", "SHA2_256"):
        raise InvalidDocument(f"{o.path}: hashAlgorithm is {o.text('hashAlgorithm')[:40]!r}, not SHA2_256")
    ids = {held.data_of("keyId") for held in (o.obj("logId"), o.obj("checkpointKeyId")) if held is not None}
    if not ids or any(len(one) < 4 for one in ids):
        raise InvalidDocument(f"{o.path}: logId is missing, or too short")
    period = _period(key, needed=True)
    return Log(base or key.path, frozenset(ids), PublicKey.parse(_bytes(key, "rawBytes"), key.path), period)


def _authority(o: Object) -> Authority:
    chain = o.need_obj("certChain")
    certificates = tuple(
        Certificate.parse(_bytes(c, "rawBytes"), f"{o.text('uri') or o.path}: certificate {n}")
        for n, c in enumerate(_some(chain, "certificates"), 1)
    )
    if not certificates:
        raise InvalidDocument(f"{chain.path}: certificates are missing")
    return Authority(o.text("uri") or o.path, certificates, _period(o, needed=False))


def _period(o: Object, *, needed: bool) -> Period:
    found = o.obj("validFor")
    start, end = (found.text("start"), found.text("end")) if found is not None else ("", "")
    if needed and not start:
        raise InvalidDocument(f"{o.path}: validFor has no start")
    try:
        return Period(parse_ns(start) if start else 0, parse_ns(end) if end else None)
    except InvalidDocument as e:
        raise e.of(f"{o.path}: validFor") from e


def _bytes(o: Object, key: str) -> bytes:
    o.need_text(key)
    return o.data_of(key)
