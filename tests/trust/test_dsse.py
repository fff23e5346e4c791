"""Envelopes and bundles: read strictly, written as cosign's are, signed without doubt as to what."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.errors import InvalidDocument
from imagesmith.trust.bundle import BUNDLE, Bundle, MessageSignature
from imagesmith.trust.dsse import Envelope, pae
from imagesmith.trust.keys import PublicKey
from tests.trust.test_keys import VECTORS

VECTOR = (VECTORS / "bundle.json").read_bytes()
ANY = st.tuples(st.text(max_size=20), st.binary(max_size=40))


def changed(path: str, value: Any) -> bytes:
    """The vector with one place set, or taken away."""
    document = json.loads(VECTOR)
    at: Any = document
    *way, last = path.split(".")
    for key in way:
        at = at[key]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return json.dumps(document).encode()


def test_what_is_signed_is_the_protocols_example() -> None:
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert pae("é", b"") == b"DSSEv1 2 \xc3\xa9 0 "


@given(ANY, ANY)
def test_two_payloads_are_never_signed_alike(one: tuple[str, bytes], other: tuple[str, bytes]) -> None:
    assert (pae(*one) == pae(*other)) == (one == other)


def test_the_vector_is_read_and_its_key_verifies_it() -> None:
    bundle = Bundle.parse(VECTOR, "bundle")
    key = PublicKey.parse((VECTORS / "cosign.pub").read_bytes(), "cosign.pub")
    assert isinstance(bundle.content, Envelope)
    assert (bundle.media_type, bundle.hint, bundle.certificates) == (BUNDLE, key.hint, ())
    ((_, signature),) = bundle.content.signatures
    assert key.verify(signature, bundle.content.message)
    assert not key.verify(signature, bundle.content.payload)
    assert json.loads(bundle.to_json()) == json.loads(VECTOR)
    assert Bundle.parse(bundle.to_json(), "again") == bundle


def test_older_forms_and_those_of_signers_without_keys_are_read() -> None:
    material = {
        "x509CertificateChain": {"certificates": [{"rawBytes": "AQI="}, {"rawBytes": "AwQ="}]},
        "tlogEntries": [{"logIndex": "7"}],
        "timestampVerificationData": {"rfc3161Timestamps": [{"signedTimestamp": "BQY="}]},
    }
    document = json.loads(changed("verificationMaterial", material))
    document["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.1"
    bundle = Bundle.parse(json.dumps(document).encode(), "bundle")
    assert (bundle.certificates, bundle.timestamps) == ((b"\1\2", b"\3\4"), (b"\5\6",))
    assert [e.text("logIndex") for e in bundle.tlog_entries] == ["7"]
    document["verificationMaterial"] = {"certificate": {"rawBytes": "AQI="}}
    del document["dsseEnvelope"]
    digest = {"algorithm": "SHA2_256", "digest": "AAE="}
    document["messageSignature"] = {"messageDigest": digest, "signature": "Ag=="}
    bundle = Bundle.parse(json.dumps(document).encode(), "bundle")
    assert bundle.content == MessageSignature("SHA2_256", b"\0\1", b"\2")
    with pytest.raises(ValueError, match="only bundles"):
        bundle.to_json()


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("mediaType", None, "mediaType is missing"),
        ("mediaType", BUNDLE.replace("0.3", "0.9.1"), "no bundle of versions 0.1 to 0.3"),
        ("mediaType", "application/vnd.dev.sigstore.bundle+json;version=0.4", "no bundle of versions"),
        ("mediaType", "application/vnd.dev.sigstore.bundle+json", "no bundle of versions"),
        ("verificationMaterial", {}, "one of a public key, a certificate and a chain"),
        ("verificationMaterial.certificate", {"rawBytes": "AA=="}, "one of a public key, a certificate"),
        ("verificationMaterial.tlogEntries", [{}] * 101, "tlogEntries has more than 100"),
        ("verificationMaterial.tlogEntries", {}, "tlogEntries must be a list"),
        ("verificationMaterial", {"x509CertificateChain": {}}, "certificates are missing"),
        ("verificationMaterial", {"certificate": {}}, "rawBytes is missing"),
        ("dsseEnvelope", None, "one of dsseEnvelope and messageSignature"),
        ("messageSignature", {"signature": "AA=="}, "one of dsseEnvelope and messageSignature"),
        ("dsseEnvelope.signatures", [], "has 0 signatures"),
        ("dsseEnvelope.signatures", [{"sig": "AA=="}] * 21, "has 21 signatures"),
        ("dsseEnvelope.signatures", [{"sig": "AA=="}] * 2, "has 2 signatures, not one"),
        ("dsseEnvelope.signatures", [{"sig": ""}], "sig is missing"),
        ("dsseEnvelope.signatures", [{"sig": "A" * 30_000}], "a signature of 22500 bytes"),
        ("dsseEnvelope.payload", "%", "payload is no base64"),
        ("dsseEnvelope.payloadType", None, "payloadType is missing"),
    ],
)
def test_what_is_no_bundle_is_told(path: str, value: Any, says: str) -> None:
    with pytest.raises(InvalidDocument, match=f"^b: .*{says}"):
        Bundle.parse(changed(path, value), "b")


def test_a_bundle_that_says_a_thing_twice_is_refused() -> None:
    twice = VECTOR.replace(b'"dsseEnvelope"', b'"dsseEnvelope": {}, "dsseEnvelope"', 1)
    with pytest.raises(InvalidDocument, match="'dsseEnvelope' stands twice"):
        Bundle.parse(twice, "b")


def test_an_envelope_is_read_in_both_alphabets_of_base64() -> None:
    for payload in ("-_8=", "+/8="):
        raw = json.dumps(
            {"payload": payload, "payloadType": "t", "signatures": [{"sig": "AA==", "keyid": "k"}]}
        )
        found = Envelope.parse(raw.encode(), "e")
        assert found == Envelope(b"\xfb\xff", "t", (("k", b"\0"),))
        assert Envelope.parse(json.dumps(found.to_json()).encode(), "e") == found


@given(st.binary(max_size=20), st.integers(0, len(VECTOR)), st.integers(0, 40))
def test_any_bytes_are_a_bundle_or_refused(piece: bytes, at: int, cut: int) -> None:
    with contextlib.suppress(InvalidDocument):
        Bundle.parse(VECTOR[:at] + piece + VECTOR[at + cut :], "b")
