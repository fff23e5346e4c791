"""Sigstore's bundle: a signature, what it is over, and what it is verified with, in one JSON document.

Spec: sigstore/protobuf-specs, sigstore_bundle.proto, versions 0.1 to 0.3, in the JSON of protocol buffers.
Trust: a bundle is anyone's. It is read strictly, its lists are counted, its certificates and the entries of
transparency logs are bytes and objects that `sigstore` looks into.
"""

from __future__ import annotations

import re
from typing import Any

from imagesmith.errors import InvalidDocument
from imagesmith.oci.codec import Object, dumps, parse_object
from imagesmith.trust.dsse import Envelope
from imagesmith.values import frozen

__all__ = ["BUNDLE", "BUNDLE_TYPE", "MAX_BUNDLE_BYTES", "Bundle", "MessageSignature"]

#: The media type of the version that is written, and what those of all versions look like.
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
BUNDLE_TYPE = re.compile(
    r"application/vnd\.dev\.sigstore\.bundle(?:\.v(0\.[3-9])|(?=\+json;))\+json(?:;version=(0\.[1-3]))?"
)
#: A bundle above this is refused: an SBOM may be in it, and base64 adds a third.
MAX_BUNDLE_BYTES = 56 << 20
_MOST = 100


@frozen
class MessageSignature:
    """A signature over a file as it is: the hash that the bundle says it has, and the signature."""

    algorithm: str
    digest: bytes
    signature: bytes


@frozen(kw_only=True)
class Bundle:
    """A bundle.

    media_type      with its version
    hint            which public key verifies it; empty where certificates do
    certificates    DER, the signer's first; empty where a public key verifies it
    tlog_entries    entries of transparency logs, as objects
    timestamps      signed timestamps (RFC 3161), DER
    content         an envelope, or a signature over a file
    """

    media_type: str
    content: Envelope | MessageSignature
    hint: str = ""
    certificates: tuple[bytes, ...] = ()
    tlog_entries: tuple[Object, ...] = ()
    timestamps: tuple[bytes, ...] = ()

    @classmethod
    def parse(cls, raw: bytes, what: str) -> Bundle:
        """Read a bundle; `what` names it in messages.

        Raises:
            InvalidDocument: it is none, or of another version.
        """
        if len(raw) > MAX_BUNDLE_BYTES:
            raise InvalidDocument(f"{what}: {len(raw)} bytes are too many for a bundle")
        o = parse_object(raw, what, exact=True)
        media_type = o.need_text("mediaType")
        if not BUNDLE_TYPE.fullmatch(media_type):
            raise InvalidDocument(f"{what}: {media_type[:100]!r} is no bundle of versions 0.1 to 0.3")
        material = o.need_obj("verificationMaterial")
        key, certificates = _material(material)
        times = material.obj("timestampVerificationData")
        return cls(
            media_type=media_type,
            content=_content(o),
            hint=key,
            certificates=certificates,
            tlog_entries=tuple(_few(material, "tlogEntries")),
            timestamps=tuple(
                _bytes(t, "signedTimestamp") for t in (_few(times, "rfc3161Timestamps") if times else ())
            ),
        )

    def to_json(self) -> bytes:
        """The document of a bundle that a public key verifies, compact.

        Raises:
            ValueError: of one that came from elsewhere: those are kept as the bytes they are.
        """
        if (
            self.certificates
            or self.tlog_entries
            or self.timestamps
            or isinstance(self.content, MessageSignature)
        ):
            raise ValueError("only bundles of an envelope and a key are written")
        out: dict[str, Any] = {
            "mediaType": self.media_type,
            "verificationMaterial": {"publicKey": {"hint": self.hint}},
            "dsseEnvelope": self.content.to_json(),
        }
        return dumps(out)


def _material(o: Object) -> tuple[str, tuple[bytes, ...]]:
    """The hint to a public key, or certificates: one of them must be there, and one only."""
    given = [k for k in ("publicKey", "x509CertificateChain", "certificate") if o.obj(k) is not None]
    if len(given) != 1:
        raise InvalidDocument(f"{o.path}: must be one of a public key, a certificate and a chain")
    inner = o.need_obj(given[0])
    if given == ["publicKey"]:
        return inner.text("hint"), ()
    chain = [inner] if given == ["certificate"] else _few(inner, "certificates")
    if not chain:
        raise InvalidDocument(f"{inner.path}: certificates are missing")
    return "", tuple(_bytes(c, "rawBytes") for c in chain)


def _content(o: Object) -> Envelope | MessageSignature:
    envelope, message = o.obj("dsseEnvelope"), o.obj("messageSignature")
    if (envelope is None) == (message is None):
        raise InvalidDocument(f"{o.path}: must have one of dsseEnvelope and messageSignature")
    if envelope is not None:
        found = Envelope.from_json(envelope)
        if len(found.signatures) != 1:  # or readers could take it for good by different ones
            raise InvalidDocument(f"{envelope.path}: has {len(found.signatures)} signatures, not one")
        return found
    assert message is not None
    digest = message.obj("messageDigest")
    return MessageSignature(
        digest.text("algorithm") if digest else "",
        digest.data_of("digest") if digest else b"",
        _bytes(message, "signature"),
    )


def _few(o: Object, key: str) -> list[Object]:
    found = o.objects(key)
    if len(found) > _MOST:
        raise InvalidDocument(f"{o.path}: {key} has more than {_MOST} entries")
    return found


def _bytes(o: Object, key: str) -> bytes:
    o.need_text(key)
    return o.data_of(key)
