"""DSSE: an envelope of a payload, its type, and signatures over both.

Spec: secure-systems-lab/dsse, protocol.md and envelope.md (v1.0.2).
Trust: an envelope is anyone's. Its payload is bounded by who fetched it, the signatures are counted here, and
nothing in the payload is looked at before a signature over it is good.
"""

from __future__ import annotations

import base64
from typing import Any

from imagesmith.errors import InvalidDocument
from imagesmith.oci.codec import Object, parse_object
from imagesmith.values import frozen

__all__ = ["Envelope", "pae"]

_MOST_SIGNATURES = 20
_MOST_SIGNATURE_BYTES = 16 << 10


def pae(payload_type: str, payload: bytes) -> bytes:
    """What is signed: type and payload, each behind its length, so that neither can be taken for more."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


@frozen
class Envelope:
    """A payload, its media type, and signatures, each with the name of its key (`keyid`, mostly empty)."""

    payload: bytes
    payload_type: str
    signatures: tuple[tuple[str, bytes], ...]

    @classmethod
    def parse(cls, raw: bytes, what: str) -> Envelope:
        """Read an envelope; `what` names it in messages.

        Raises:
            InvalidDocument: it is none, or has no signature, or very many.
        """
        return cls.from_json(parse_object(raw, what, exact=True))

    @classmethod
    def from_json(cls, o: Object) -> Envelope:
        """Read the object of an envelope; see `parse`."""
        found = o.objects("signatures")
        if not 0 < len(found) <= _MOST_SIGNATURES:
            raise InvalidDocument(f"{o.path}: has {len(found)} signatures, not 1 to {_MOST_SIGNATURES}")
        return cls(o.data_of("payload"), o.need_text("payloadType"), tuple(map(_signature, found)))

    def to_json(self) -> dict[str, Any]:
        """The object, as sigstore's bundles hold it."""
        return {
            "payload": base64.b64encode(self.payload).decode(),
            "payloadType": self.payload_type,
            "signatures": [
                {"sig": base64.b64encode(data).decode(), **({"keyid": key} if key else {})}
                for key, data in self.signatures
            ],
        }

    @property
    def message(self) -> bytes:
        """What the signatures are over."""
        return pae(self.payload_type, self.payload)


def _signature(o: Object) -> tuple[str, bytes]:
    o.need_text("sig")
    data = o.data_of("sig")
    if len(data) > _MOST_SIGNATURE_BYTES:
        raise InvalidDocument(f"{o.path}: a signature of {len(data)} bytes")
    return o.text("keyid"), data
