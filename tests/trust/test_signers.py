"""Who may sign under a policy: keys, with a log's entry or not; signers of Fulcio; those of a PKI."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID as For

from imagesmith.errors import ImagesmithError, Untrusted, UsageError
from imagesmith.trust.policy import Policy, SigstoreSigned
from imagesmith.trust.signers import Signers
from imagesmith.trust.simplesigning import BUNDLE_OF_LOG, CERTIFICATE, CHAIN, SimpleSignature
from tests.trust.issuers import (
    ISSUER,
    NOW_S,
    SIGNER,
    YEAR,
    Issued,
    Rekor,
    alternative,
    b64,
    claims,
    issue,
    key_of,
    named,
)  # fmt: skip
from tests.trust.issuers import world as vouching

PAYLOAD = b"a payload"


def pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def logged(signature: bytes, verifier: bytes, rekor: Rekor, payload: bytes = PAYLOAD) -> str:
    """cosign's annotation: an entry of the log, and its promise."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(payload)
    body = {
        "apiVersion": "0.0.1",
        "kind": "hashedrekord",
        "spec": {
            "data": {"hash": {"algorithm": "sha256", "value": digest.finalize().hex()}},
            "signature": {"content": b64(signature), "publicKey": {"content": b64(verifier)}},
        },
    }
    entry = rekor.entry(body)
    inner = {
        "body": entry["canonicalizedBody"],
        "integratedTime": NOW_S,
        "logIndex": int(entry["logIndex"]),
        "logID": rekor.id.hex(),
    }
    promise = entry["inclusionPromise"]["signedEntryTimestamp"]
    return json.dumps({"SignedEntryTimestamp": promise, "Payload": inner})


def signed(
    key: ec.EllipticCurvePrivateKey,
    certificate: Issued | None = None,
    chain: tuple[Issued, ...] = (),
    rekor: Rekor | None = None,
    **more: str,
) -> SimpleSignature:
    """A signature with what comes with it."""
    signature = key.sign(PAYLOAD, ec.ECDSA(hashes.SHA256()))
    notes = {}
    if certificate is not None:
        notes[CERTIFICATE] = certificate.pem.decode()
        notes[CHAIN] = b"".join(one.pem for one in chain).decode()
    if rekor is not None:
        verifier = pem_of(key) if certificate is None else certificate.pem
        notes[BUNDLE_OF_LOG] = logged(signature, verifier, rekor)
    return SimpleSignature(PAYLOAD, signature, {**notes, **more})


def wanted(**words: Any) -> SigstoreSigned:
    """A requirement as a policy has it; bytes are put in base64."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        return base64.b64encode(value).decode() if isinstance(value, bytes) else value

    document = {"default": [{"type": "sigstoreSigned", **plain(words)}]}
    found = Policy.parse(json.dumps(document).encode(), "p").default[0].signed
    assert found is not None
    return found


def refused(requirement: SigstoreSigned, found: SimpleSignature) -> str:
    with pytest.raises(ImagesmithError) as caught:
        Signers(requirement).check(found, "it")
    assert caught.value.exit_code in (6, 11)
    return caught.value.message


# --- keys and the log --------------------------------------------------------------------------

REKOR, OTHER_REKOR = Rekor(key_of("rekor")), Rekor(key_of("another rekor"))
KEY, OTHER = key_of("ours"), key_of("theirs")
WITH_LOG = wanted(keyData=pem_of(KEY), rekorPublicKeyData=pem_of(REKOR.key))


def test_a_key_and_an_entry_of_its_signature_count() -> None:
    Signers(WITH_LOG).check(signed(KEY, rekor=REKOR), "it")


def test_where_a_log_is_named_its_entry_is_demanded() -> None:
    assert refused(WITH_LOG, signed(KEY)) == "it comes without an entry of Rekor"
    assert "a log that is not trusted" in refused(WITH_LOG, signed(KEY, rekor=OTHER_REKOR))
    of_another = logged(b"other", pem_of(KEY), REKOR)
    assert "of another signature" in refused(WITH_LOG, signed(KEY, **{BUNDLE_OF_LOG: of_another}))
    found = signed(KEY)
    by_another = logged(found.signature, pem_of(OTHER), REKOR)
    found = SimpleSignature(PAYLOAD, found.signature, {BUNDLE_OF_LOG: by_another})
    assert "of another signer" in refused(WITH_LOG, found)
    assert "Payload is missing" in refused(WITH_LOG, signed(KEY, **{BUNDLE_OF_LOG: "{}"}))


def test_an_entry_does_not_stand_for_the_signature() -> None:
    assert refused(WITH_LOG, signed(OTHER, rekor=REKOR)) == "it is not by keyData"


def test_without_a_log_no_entry_is_looked_at() -> None:
    Signers(wanted(keyData=pem_of(KEY))).check(signed(KEY, rekor=OTHER_REKOR), "it")


# --- Fulcio ------------------------------------------------------------------------------------

W = vouching()
CAS = W.between.pem + W.root.pem


def fulcio(**changes: Any) -> SigstoreSigned:
    about = {"caData": CAS, "oidcIssuer": ISSUER, "subjectEmail": SIGNER, **changes}
    return wanted(fulcio=about, rekorPublicKeyData=pem_of(W.rekor.key))


def by_signer(**changes: str) -> SimpleSignature:
    return signed(W.signer.key, W.signer, (W.between, W.root), W.rekor, **changes)


def test_a_signer_of_fulcio_counts_at_the_time_of_the_log() -> None:
    Signers(fulcio()).check(by_signer(), "it")
    Signers(fulcio(caData=W.root.pem)).check(by_signer(), "it")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"subjectEmail": "other@example.com"}, "signed by builder@example.com, not by other@example.com"),
        (
            {"oidcIssuer": "https://other.example"},
            "is known to https://accounts.example, not to https://other",
        ),
        ({"caData": W.clock_root.pem}, "none of the trusted authorities issued"),
    ],
)
def test_another_signer_of_fulcio_does_not_count(changes: dict[str, Any], says: str) -> None:
    assert says in refused(fulcio(**changes), by_signer())


def test_fulcio_needs_the_log_and_the_certificate() -> None:
    found = by_signer()
    without = {k: v for k, v in found.annotations.items() if k != BUNDLE_OF_LOG}
    bare = SimpleSignature(PAYLOAD, found.signature, without)
    assert "no entry of a transparency log" in refused(fulcio(), bare)
    assert "not a certificate" in refused(fulcio(), signed(W.signer.key))
    assert "its key did not make" in refused(fulcio(), signed(OTHER, W.signer, (W.between,), W.rekor))


def test_an_address_of_another_kind_is_not_the_email() -> None:
    """A certificate whose URI reads like the email is not that person's."""
    uri = alternative(x509.UniformResourceIdentifier(SIGNER))
    w = W.signed_by(extra=[uri, *claims(ISSUER)])
    found = signed(w.signer.key, w.signer, (w.between, w.root), w.rekor)
    assert f"is of no address, not of {SIGNER}" in refused(fulcio(), found)


# --- the user's own authorities ----------------------------------------------------------------

TODAY = int(time.time())
PKI_ROOT = issue(named(("CN", "pki")), key_of("pki"), ca=True, start_s=TODAY - YEAR, end_s=TODAY + YEAR)
PKI_CA = issue(named(("CN", "ca")), key_of("ca"), PKI_ROOT, ca=True, start_s=TODAY - YEAR, end_s=TODAY + YEAR)


def pki(**changes: Any) -> SigstoreSigned:
    return wanted(pki={"caRootsData": PKI_ROOT.pem, "subjectEmail": SIGNER, **changes})


def of_pki(*names: x509.GeneralName, end_s: int = TODAY + YEAR, purpose: Any = For.CODE_SIGNING) -> Issued:
    extra = [alternative(*names or (x509.RFC822Name(SIGNER), x509.DNSName("*.Builds.example")))]
    words = {"start_s": TODAY - 120, "end_s": end_s, "purposes": [purpose], "extra": extra}
    return issue(named(("CN", "signer")), key_of("signer"), PKI_CA, **words)


def test_a_signer_of_the_users_authority_counts() -> None:
    found = signed(key_of("signer"), of_pki(), (PKI_CA, PKI_ROOT))
    Signers(pki()).check(found, "it")
    Signers(pki(subjectHostname="a.builds.example")).check(found, "it")
    bare = signed(key_of("signer"), of_pki())
    Signers(pki(caIntermediatesData=PKI_CA.pem)).check(bare, "it")
    assert "none of the trusted authorities issued" in refused(pki(), bare)


@pytest.mark.parametrize(
    ("requirement", "certificate", "says"),
    [
        (pki(subjectEmail="other@example.com"), of_pki(), "not of other@example.com"),
        (pki(subjectHostname="builds.example"), of_pki(), "is of *.Builds.example, not of builds.example"),
        (pki(subjectHostname="a.b.builds.example"), of_pki(), "not of a.b.builds.example"),
        (pki(), of_pki(x509.DNSName("a")), f"is of no address, not of {SIGNER}"),
        (pki(), of_pki(end_s=TODAY - 60), "valid until"),
        (pki(), of_pki(purpose=For.SERVER_AUTH), "is not for code signing"),
        (pki(caRootsData=W.root.pem), of_pki(), "none of the trusted authorities issued"),
    ],
)
def test_others_do_not(requirement: SigstoreSigned, certificate: Issued, says: str) -> None:
    found = signed(key_of("signer"), certificate, (PKI_CA, PKI_ROOT))
    assert says in refused(requirement, found)
    assert "its key did not make" in refused(pki(), signed(OTHER, certificate, (PKI_CA,)))


def test_a_log_beside_the_users_authority_is_demanded() -> None:
    both = wanted(
        pki={"caRootsData": PKI_ROOT.pem, "subjectEmail": SIGNER}, rekorPublicKeyData=pem_of(REKOR.key)
    )
    bare = signed(key_of("signer"), of_pki(), (PKI_CA, PKI_ROOT))
    assert refused(both, bare) == "it comes without an entry of Rekor"


# --- files -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        {"keyData": b"no key"},
        {"keyData": PKI_ROOT.pem},
        {"keyPath": "/none/key.pub"},
        {"keyData": pem_of(KEY), "rekorPublicKeyData": b"no key"},
        {"pki": {"caRootsData": b"no certificate", "subjectEmail": "a@b"}},
        {"pki": {"caRootsData": PKI_ROOT.pem, "caIntermediatesData": pem_of(KEY), "subjectEmail": "a@b"}},
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_the_users_mistake(words: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Signers(wanted(**words))


def test_nobody_is_trusted_by_default() -> None:
    with pytest.raises(Untrusted):
        Signers(wanted(keyData=pem_of(OTHER))).check(signed(KEY), "it")
