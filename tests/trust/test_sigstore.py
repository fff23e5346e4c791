"""Signatures without a key: real ones and our own count, and each tampering has its own line."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID as For
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.errors import ImagesmithError, InvalidDocument, Untrusted, UsageError
from imagesmith.trust.bundle import Bundle
from imagesmith.trust.dsse import Envelope
from imagesmith.trust.rekor import Signed
from imagesmith.trust.sigstore import Expected, Identity, Material, verify_keyless
from imagesmith.trust.simplesigning import BUNDLE_OF_LOG, CERTIFICATE, CHAIN, TIMESTAMP
from imagesmith.trust.trustedroot import TrustedRoot
from tests.support import PROJECT
from tests.trust.issuers import (
    HOUR,
    ISSUER,
    NOW_S,
    SIGNER,
    Stamping,
    World,
    alternative,
    b64,
    claims,
    issue,
    key_of,
    named,
    spki,
    text_of,
    world,
)

KEYLESS = PROJECT / "fixtures" / "trust" / "keyless"
Document = dict[str, Any]
ANYBODY = Expected(identity_regexp=".", issuer_regexp=".")
EXPECTED = Expected(identity=SIGNER, issuer=ISSUER)


def signed_in(bundle: Bundle, material: Material) -> Signed:
    assert isinstance(bundle.content, Envelope)
    ((_, signature),) = bundle.content.signatures
    content = bundle.content
    der = material.certificate.der
    return Signed(signature=signature, message=content.message, payload=content.payload, verifier=der)


def verify(root: bytes | Document, bundle: bytes | Document, expected: Expected = EXPECTED) -> Identity:
    raw, trusted = (d if isinstance(d, bytes) else json.dumps(d).encode() for d in (bundle, root))
    read = Bundle.parse(raw, "it")
    material = Material.of_bundle(read, "it")
    return verify_keyless(material, signed_in(read, material), TrustedRoot.parse(trusted, "root"), expected)


# --- real ones ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "identity", "issuer", "when"),
    [
        (
            "production",  # in Rekor's first version, with the log's promise
            "https://github.com/trailofbits/pypi-attestation-models/.github/workflows/release.yml@refs/tags/v0.0.4a2",
            "https://token.actions.githubusercontent.com",
            "2024-06-10T19:47:25Z",
        ),
        (
            "staging",  # in its second version, with a timestamp
            "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/"
            "extremely-dangerous-oidc-beacon.yml@refs/heads/main",
            "https://token.actions.githubusercontent.com",
            "2025-07-25T19:53:04Z",
        ),
    ],
)
def test_real_signatures_count_under_sigstores_roots(
    name: str, identity: str, issuer: str, when: str
) -> None:
    root, bundle = ((KEYLESS / f"{name}.{kind}.json").read_bytes() for kind in ("root", "bundle"))
    found = verify(root, bundle, Expected(identity=identity, issuer=issuer))
    assert (found.names, found.issuer, text_of(found.time_s)) == ((identity,), issuer, when)
    other = KEYLESS / f"{'staging' if name == 'production' else 'production'}.root.json"
    with pytest.raises(Untrusted):
        verify(other.read_bytes(), bundle, ANYBODY)


# --- our own ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stamped", [False, True])
@pytest.mark.parametrize("kind", ["hashedrekord 0.0.1", "dsse 0.0.1", "intoto 0.0.2"])
def test_signatures_count_in_the_first_version_of_the_log(kind: str, stamped: bool) -> None:
    w = world()
    found = verify(w.trusted_root(), w.bundle(kind, stamped=stamped))
    assert found == Identity(names=(SIGNER,), issuer=ISSUER, time_s=NOW_S)


@pytest.mark.parametrize("kind", ["hashedrekord 0.0.2", "dsse 0.0.2"])
def test_signatures_count_in_the_second_version_of_the_log(kind: str) -> None:
    w = world(second=True)
    assert verify(w.trusted_root(), w.bundle(kind, stamped=True)).time_s == NOW_S
    with pytest.raises(
        Untrusted, match="certificate 1: nobody who is trusted tells when the signature was made"
    ):
        verify(w.trusted_root(), w.bundle(kind))


def test_older_bundles_count() -> None:
    w = world()
    bundle = w.bundle()
    material = bundle["verificationMaterial"]
    material["x509CertificateChain"] = {
        "certificates": [material.pop("certificate"), {"rawBytes": b64(w.between.der)}]
    }
    for version in ("0.1", "0.2"):
        bundle["mediaType"] = f"application/vnd.dev.sigstore.bundle+json;version={version}"
        assert verify(w.trusted_root(), bundle).names == (SIGNER,)
    (entry,) = material["tlogEntries"]
    proof = entry.pop("inclusionProof")
    with pytest.raises(InvalidDocument, match=r"tlogEntries\[0\]: inclusionProof is missing"):
        verify(w.trusted_root(), bundle)
    bundle["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.1"
    assert verify(w.trusted_root(), bundle).names == (SIGNER,)
    del entry["inclusionPromise"]
    entry["inclusionProof"] = proof
    with pytest.raises(InvalidDocument, match=r"tlogEntries\[0\]: inclusionPromise is missing"):
        verify(w.trusted_root(), bundle)


def annotations_of(w: World, payload: bytes, *, stamped: bool = False) -> tuple[bytes, dict[str, str]]:
    """A signature over a payload, and what cosign's older form has beside it."""
    signature = w.signer.key.sign(payload, ec.ECDSA(hashes.SHA256()))
    entry = w.rekor.entry(w.body("hashedrekord 0.0.1", signature, payload))
    held = {
        "SignedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"],
        "Payload": {
            "body": entry["canonicalizedBody"],
            "integratedTime": NOW_S,
            "logIndex": int(entry["logIndex"]),
            "logID": w.rekor.id.hex(),
        },
    }
    out = {
        CERTIFICATE: w.signer.pem.decode(),
        CHAIN: (w.between.pem + w.root.pem).decode(),
        BUNDLE_OF_LOG: json.dumps(held),
    }
    if stamped:
        out[TIMESTAMP] = json.dumps({"SignedRFC3161Timestamp": b64(Stamping(w.clock).response(signature))})
    return signature, out


@pytest.mark.parametrize("stamped", [False, True])
def test_cosigns_older_form_counts(stamped: bool) -> None:
    w = world()
    signature, held = annotations_of(w, b"payload", stamped=stamped)
    material = Material.of_annotations(held, "it")
    root = TrustedRoot.parse(json.dumps(w.trusted_root()).encode(), "root")
    signed = Signed(signature=signature, message=b"payload", verifier=w.signer.der)
    assert verify_keyless(material, signed, root, EXPECTED).time_s == NOW_S
    other = Signed(signature=signature, message=b"Payload", verifier=w.signer.der)
    with pytest.raises(Untrusted, match="it: certificate: its key did not make the signature"):
        verify_keyless(material, other, root, EXPECTED)
    without = Material.of_annotations({k: v for k, v in held.items() if k != BUNDLE_OF_LOG}, "it")
    with pytest.raises(
        Untrusted, match="it: certificate: no entry of a transparency log comes with the signature"
    ):
        verify_keyless(without, signed, root, EXPECTED)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({CERTIFICATE: ""}, "it: certificate: not a certificate that can be read"),
        ({CHAIN: "-----BEGIN"}, "it: chain: not a file of 1 to 100 certificates in PEM"),
        ({BUNDLE_OF_LOG: "{}"}, "it: log entry: Payload is missing"),
        ({TIMESTAMP: "{}"}, "it: timestamp: its end where 0x30"),
        ({CHAIN: "x" * 2_000_000}, "it: an annotation of more than 1048576 characters"),
    ],
)
def test_annotations_that_cannot_be_read_are_told(changes: dict[str, str], says: str) -> None:
    _, held = annotations_of(world(), b"payload")
    with pytest.raises(InvalidDocument, match=f"^{says}"):
        Material.of_annotations({**held, **changes}, "it")


def test_a_root_decides_what_is_asked_for() -> None:
    """Where no log is known, a timestamp is enough; where no certificate log is known, none is looked for."""
    w = world().signed_by(log=None)
    bundle = w.bundle(stamped=True)
    bundle["verificationMaterial"]["tlogEntries"] = []
    root = {**w.trusted_root(), "tlogs": [], "ctlogs": []}
    assert verify(root, bundle).names == (SIGNER,)
    with pytest.raises(Untrusted, match="no entry of a transparency log comes with the signature"):
        verify({**w.trusted_root(), "ctlogs": []}, bundle)
    with pytest.raises(Untrusted, match="has no timestamp of a certificate log"):
        verify({**w.trusted_root(), "tlogs": []}, bundle)


# --- who is expected ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "says"),
    [
        ({"identity": SIGNER, "issuer": ISSUER}, ""),
        ({"identity_regexp": "^b.*@example", "issuer_regexp": "accounts"}, ""),
        ({"identity": "builder", "issuer": ISSUER}, "signed by builder@example.com, not by builder$"),
        (
            {"identity_regexp": "^example", "issuer": ISSUER},
            "signed by builder@example.com, not by /.example/",
        ),
        (
            {"identity": SIGNER, "issuer": "https://a"},
            "the signer is known to https://accounts.example, not to https://a",
        ),
        (
            {"identity": SIGNER, "issuer_regexp": "^a"},
            "the signer is known to https://accounts.example, not to /.a/",
        ),
    ],
)
def test_somebody_else_is_told(expected: dict[str, str], says: str) -> None:
    w = world()
    whom = Expected.parse(
        **{"identity": "", "identity_regexp": "", "issuer": "", "issuer_regexp": "", **expected}
    )
    if not says:
        assert verify(w.trusted_root(), w.bundle(), whom).names == (SIGNER,)
        return
    with pytest.raises(Untrusted, match=f"^{says}"):
        verify(w.trusted_root(), w.bundle(), whom)


@pytest.mark.parametrize(
    ("given_to", "says"),
    [
        (
            {"issuer": "a"},
            "who signed must be said: --certificate-identity or --certificate-identity-regexp is missing",
        ),
        (
            {"identity": "a"},
            "who signed must be said: --certificate-oidc-issuer or --certificate-oidc-issuer-regexp",
        ),
        (
            {"identity": "a", "identity_regexp": "a", "issuer": "a"},
            "--certificate-identity and --certificate-ident",
        ),
        ({"identity_regexp": "(", "issuer": "a"}, "--certificate-identity-regexp: not a regular expression"),
    ],
)
def test_who_is_expected_must_be_said_once(given_to: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Expected.parse(
            **{"identity": "", "identity_regexp": "", "issuer": "", "issuer_regexp": "", **given_to}
        )


# --- what is wrong with a certificate -----------------------------------------------------------------------

NAMES = [alternative(x509.RFC822Name(SIGNER)), *claims(ISSUER)]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"end_s": NOW_S - 1},
            "it: certificate 1: valid until 2025-06-15T15:06:39Z, and not at 2025-06-15T15:06:40Z",
        ),
        ({"start_s": NOW_S + 1}, "it: certificate 1: valid from 2025-06-15T15:06:41Z on, and not at"),
        ({"purposes": [For.CLIENT_AUTH]}, "it: certificate 1: is not for code signing"),
        ({"purposes": []}, "it: certificate 1: is not for code signing"),
        ({"usages": ("key_agreement",)}, "it: certificate 1: its key is not for signatures"),
        ({"usages": ()}, "it: certificate 1: its key is not for signatures"),
        ({"ca": True}, "it: certificate 1: its key is not for signatures"),
        ({"log": None}, "it: certificate 1: has no timestamp of a certificate log"),
        (
            {"log": key_of("somebody")},
            "it: certificate 1: its timestamp is of a certificate log that is not trusted",
        ),
        ({"issuer": world().root}, ""),
        ({"extra": claims(ISSUER)}, "signed by nobody, not by builder@example.com"),
        ({"extra": NAMES[:1]}, "the signer is known to nobody, not to https://accounts.example"),
    ],
)
def test_a_certificate_that_is_not_good_is_told(changes: Document, says: str) -> None:
    w = world().signed_by(**changes)
    if not says:
        assert verify(w.trusted_root(), w.bundle()).names == (SIGNER,)
        return
    with pytest.raises(Untrusted, match=f"^{says}"):
        verify(w.trusted_root(), w.bundle())


def test_an_authority_that_signs_is_told() -> None:
    w = world().signed_by(ca=True, usages=("digital_signature", "key_cert_sign"))
    with pytest.raises(Untrusted, match="it: certificate 1: is not for code signing"):
        verify(w.trusted_root(), w.bundle())


def test_a_certificate_of_another_authority_is_told() -> None:
    stranger = issue(named(("O", "example"), ("CN", "between")), key_of("stranger"), ca=True)
    w = world().signed_by(issuer=stranger)
    bundle = w.bundle()
    with pytest.raises(Untrusted, match="it: certificate 1: none of the trusted authorities issued it"):
        verify(w.trusted_root(), bundle)
    material = bundle["verificationMaterial"]
    material["x509CertificateChain"] = {
        "certificates": [material.pop("certificate"), {"rawBytes": b64(stranger.der)}]
    }
    with pytest.raises(
        Untrusted, match="it: certificate 2: none of the trusted authorities issued CN=between,O=example"
    ):
        verify(w.trusted_root(), bundle)


# --- what is wrong with the rest ----------------------------------------------------------------------------


def material_of(document: Document) -> Any:
    return document["verificationMaterial"]


def twice(document: Document) -> None:
    stamps = material_of(document)["timestampVerificationData"]["rfc3161Timestamps"]
    stamps.append(stamps[0])


def of_another(what: str) -> Callable[[Document], None]:
    """Take something that is good by itself, of another signature."""

    def swap(document: Document) -> None:
        other = World(**{**vars(world()), "payload": b"{}"}).bundle(stamped=True)
        material_of(document)[what] = material_of(other)[what]

    return swap


def late(document: Document) -> None:
    stamp = Stamping(world().clock, time_s=NOW_S + HOUR)
    signature = base64.b64decode(document["dsseEnvelope"]["signatures"][0]["sig"])
    material_of(document)["timestampVerificationData"] = {
        "rfc3161Timestamps": [{"signedTimestamp": b64(stamp.response(signature))}]
    }


def payload(document: Document) -> None:
    document["dsseEnvelope"]["payload"] = b64(b"{}")


def payload_type(document: Document) -> None:
    document["dsseEnvelope"]["payloadType"] = "text/plain"


def certificate(document: Document) -> None:
    other = world().signed_by(extra=[alternative(x509.RFC822Name("other@example.com")), *claims(ISSUER)])
    material_of(document)["certificate"]["rawBytes"] = b64(other.signer.der)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (payload, "it: certificate 1: its key did not make the signature"),
        (payload_type, "it: certificate 1: its key did not make the signature"),
        (of_another("tlogEntries"), "tlogEntries.0.: the entry is of something else that was signed"),
        (of_another("timestampVerificationData"), "it: timestamp 1: is of something else"),
        (certificate, "tlogEntries.0.: the entry is of another signer"),
        (twice, "it: certificate 1: the same timestamp comes twice"),
        (late, "it: certificate 1: valid until 2025-06-15T15:15:40Z, and not at 2025-06-15T16:06:40Z"),
        (
            lambda d: material_of(d).pop("tlogEntries"),
            "no entry of a transparency log comes with the signature",
        ),
    ],
)
def test_each_tampering_has_its_line(change: Callable[[Document], object], says: str) -> None:
    w = world()
    document = json.loads(json.dumps(w.bundle(stamped=True)))
    assert verify(w.trusted_root(), document).time_s == NOW_S
    change(document)
    with pytest.raises(Untrusted, match=says):
        verify(w.trusted_root(), document)


BEFORE, LATER = {"end": text_of(NOW_S - 1)}, {"start": text_of(NOW_S + 1)}


@pytest.mark.parametrize(
    ("key", "path", "value", "says"),
    [
        (
            "certificateAuthorities",
            "validFor",
            BEFORE,
            "no certificate authority of the trusted root was in use",
        ),
        ("timestampAuthorities", "validFor", BEFORE, "the timestamp authority was not in use at that time"),
        ("tlogs", "publicKey/validFor", LATER, "the log was not in use when the entry was made"),
        ("ctlogs", "publicKey/validFor", LATER, "its timestamp is of a certificate log that is not trusted"),
        (
            "ctlogs",
            "publicKey/rawBytes",
            b64(spki(key_of("rekor"))),
            "its timestamp is not the certificate log's",
        ),
    ],
)
def test_a_root_of_another_time_or_key_is_told(key: str, path: str, value: Any, says: str) -> None:
    w = world()
    root: Any = json.loads(json.dumps(w.trusted_root()))
    at = root[key][0]
    *way, last = path.split("/")
    for step in way:
        at = at[step]
    at[last] = value
    with pytest.raises(Untrusted, match=says):
        verify(root, w.bundle(stamped=True))


def test_a_bundle_with_a_crowd_is_refused() -> None:
    w = world()
    bundle = w.bundle()
    bundle["verificationMaterial"]["tlogEntries"] *= 33
    with pytest.raises(InvalidDocument, match="it: more than 32 log entries, or more than 32 timestamps"):
        verify(w.trusted_root(), bundle)


def test_a_bundle_for_a_key_has_no_certificate() -> None:
    bundle = world().bundle()
    bundle["verificationMaterial"] = {"publicKey": {"hint": "x"}}
    with pytest.raises(InvalidDocument, match="it: has no certificate"):
        verify(world().trusted_root(), bundle)


def leaves(document: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to all texts in a document that are base64."""
    if isinstance(document, dict | list):
        items = document.items() if isinstance(document, dict) else enumerate(document)
        return [found for key, value in items for found in leaves(value, (*way, key))]
    with contextlib.suppress(ValueError, TypeError):
        if len(document) > 40 and base64.b64decode(document, validate=True):
            return [way]
    return []


_BUNDLE = world().bundle(stamped=True)


@given(st.sampled_from(leaves(_BUNDLE)), st.integers(0, 1 << 16))
def test_no_bit_can_be_changed(way: tuple[Any, ...], bit: int) -> None:
    """But for a few in a timestamp's frame, which is under no signature: what counts then says the same."""
    document: Any = json.loads(json.dumps(_BUNDLE))
    at = document
    for key in way[:-1]:
        at = at[key]
    raw = bytearray(base64.b64decode(at[way[-1]]))
    raw[bit // 8 % len(raw)] ^= 1 << bit % 8
    at[way[-1]] = b64(bytes(raw))
    try:
        found = verify(world().trusted_root(), document)
    except (Untrusted, InvalidDocument):
        return
    assert way[-1] == "signedTimestamp"
    assert found == Identity(names=(SIGNER,), issuer=ISSUER, time_s=NOW_S)


@given(st.binary(max_size=20), st.integers(0, 8000), st.integers(0, 40))
def test_any_bytes_are_verified_or_refused(piece: bytes, at: int, cut: int) -> None:
    raw = json.dumps(_BUNDLE).encode()
    with contextlib.suppress(ImagesmithError):
        verify(world().trusted_root(), raw[:at] + piece + raw[at + cut :])
