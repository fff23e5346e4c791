"""What is said of an image, from words and a file: the types of predicates by cosign's names.

Spec: cosign, attest --type (its own predicate `custom` holds any text).
Trust: the file is the user's own word, and read up to the size that others would read of it.
"""

from __future__ import annotations

from imagesmith.attest.reading import MAX_STATEMENT_BYTES
from imagesmith.attest.statement import Claim
from imagesmith.errors import InvalidDocument, LimitExceeded, UsageError
from imagesmith.oci.codec import parse_object
from imagesmith.oci.times import format_ns

__all__ = ["TYPES", "claim_of", "type_of"]

#: cosign's words for types of predicates.
TYPES = {
    "slsaprovenance": "https://slsa.dev/provenance/v0.2",
    "slsaprovenance02": "https://slsa.dev/provenance/v0.2",
    "slsaprovenance1": "https://slsa.dev/provenance/v1",
    "link": "https://in-toto.io/Link/v1",
    "spdxjson": "https://spdx.dev/Document",
    "cyclonedx": "https://cyclonedx.org/bom",
    "vuln": "https://cosign.sigstore.dev/attestation/vuln/v1",
    "openvex": "https://openvex.dev/ns",
    "custom": "https://cosign.sigstore.dev/attestation/v1",
}


def type_of(text: str) -> str:
    """The predicate type behind one of cosign's words, or a URI.

    Raises:
        UsageError: it is neither.
    """
    if text in TYPES or "://" in text:
        return TYPES.get(text, text)
    raise UsageError(f"--type {text}: no predicate type", hint=f"one of {', '.join(TYPES)}, or a URI")


def claim_of(kind: str, raw: bytes, name: str, time_s: int) -> Claim:
    """What is said; of the type `custom` cosign's own predicate, which holds any text.

    Args:
        kind: a word of TYPES, or a URI.
        raw: the predicate, JSON.
        name: what that is called in messages.
        time_s: when it is said, in seconds since 1970.

    Raises:
        UsageError: there is no such type.
        InvalidDocument: it is no JSON object, or of `custom` no text.
        LimitExceeded: it is too large.
    """
    uri = type_of(kind)
    if len(raw) > MAX_STATEMENT_BYTES:
        raise LimitExceeded(f"{name}: more than {MAX_STATEMENT_BYTES} bytes are too many for a predicate")
    if kind != "custom":
        return Claim(uri, parse_object(raw, name).data)
    try:
        data = raw.decode()
    except UnicodeDecodeError as e:  # JSON could only hold other bytes than were given
        raise InvalidDocument(f"{name}: not UTF-8 at byte {e.start}, and --type custom holds text") from e
    return Claim(uri, {"Data": data, "Timestamp": format_ns(time_s * 1_000_000_000)})
