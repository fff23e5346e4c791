"""Judges of signatures that a certificate is to verify: sigstore's, and the Notary Project's.

Trust: what is judged is a stranger's; whom to believe is the user's word.
Threads: any.
"""

from __future__ import annotations

from imagesmith.errors import Untrusted
from imagesmith.oci.model import Descriptor
from imagesmith.trust.bundle import Bundle
from imagesmith.trust.chains import shown_time
from imagesmith.trust.dsse import Envelope
from imagesmith.trust.finding import Candidate
from imagesmith.trust.notation import NotationEnvelope, Trust, verify_notation
from imagesmith.trust.rekor import Signed
from imagesmith.trust.sigstore import Expected, Material, verify_keyless
from imagesmith.trust.simplesigning import SimpleSignature
from imagesmith.trust.trustedroot import TrustedRoot
from imagesmith.trust.verifying import Keyless, Signer

__all__ = ["keyless", "notation"]


def keyless(root: TrustedRoot, expected: Expected) -> Keyless:
    """A judge of signatures without a key: by what comes with them and a trusted root, see `sigstore`."""

    def judge(one: Candidate) -> Signer:
        material = (
            Material.of_bundle(one.content, "it")
            if isinstance(one.content, Bundle)
            else Material.of_annotations(one.annotations, "it")
        )
        found = verify_keyless(material, _signed(one, material.certificate.der), root, expected)
        return Signer(name=", ".join(found.names), kind=found.issuer, time=shown_time(found.time_s))

    return judge


def _signed(one: Candidate, verifier: bytes) -> Signed:
    """The one signature of a candidate, and what it is over."""
    content = one.content.content if isinstance(one.content, Bundle) else one.content
    if isinstance(content, SimpleSignature):
        return Signed(signature=content.signature, message=content.payload, verifier=verifier)
    if not isinstance(content, Envelope) or len(content.signatures) != 1:
        raise Untrusted("not an envelope with one signature")
    ((_, signature),) = content.signatures
    return Signed(
        signature=signature,
        message=content.message,
        payload=content.payload,
        stored=one.stored,
        verifier=verifier,
    )


def notation(trust: Trust, d: Descriptor, now_s: int) -> Keyless:
    """A judge of signatures of the Notary Project over a manifest, at a time in seconds since 1970."""

    def judge(one: Candidate) -> Signer:
        assert isinstance(one.content, NotationEnvelope)
        found = verify_notation(one.content, d, trust, now_s=now_s)
        return Signer(name=found.subject, kind="notation", time=shown_time(found.time_s))

    return judge
