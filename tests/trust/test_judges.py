"""Signatures by certificates in a registry: found beside those of keys, judged, and told like them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest

from imagesmith.errors import Untrusted
from imagesmith.image.edited import Edited
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.trust.certificates import Certificate
from imagesmith.trust.companions import with_layer
from imagesmith.trust.finding import ENVELOPE
from imagesmith.trust.judges import keyless, notation
from imagesmith.trust.notation import NOTATION, Trust
from imagesmith.trust.sigstore import Expected
from imagesmith.trust.simplesigning import Payload
from imagesmith.trust.trustedroot import TrustedRoot
from imagesmith.trust.verifying import Findings
from tests.trust.conftest import Shop, statement
from tests.trust.issuers import ISSUER, NOW_S, SIGNER, Stamping, World, b64, text_of, world
from tests.trust.test_notation import Notary, plain_chain
from tests.trust.test_sigstore import annotations_of

NAMED = Expected(identity=SIGNER, issuer=ISSUER)
SLSA = {"predicateType": "https://slsa.dev/provenance/v1", "predicate": {"a": 1}}


def world_of(d: Descriptor, **changes: Any) -> World:
    """The world with a statement about a manifest as its payload."""
    return replace(world(), payload=statement(d, **changes))


def judged(
    shop: Shop, d: Descriptor, w: World | None = None, expected: Expected = NAMED, **asked: Any
) -> Findings:
    root = TrustedRoot.parse(json.dumps((w or world()).trusted_root()).encode(), "root")
    return shop.verify(d, **{"keys": [], "keyless": keyless(root, expected), **asked})


def put(shop: Shop, d: Descriptor, w: World, kind: str = "dsse 0.0.1") -> None:
    shop.put_bundle(d, json.dumps(w.bundle(kind, stamped=True)).encode())


def test_a_bundle_without_a_key_counts_and_is_told_by_its_signer(shop: Shop) -> None:
    put(shop, shop.image, world_of(shop.image, subject=[
        {"digest": {"sha256": shop.image.digest.hex}, "annotations": {"team": "x"}}]))  # fmt: skip
    (found,) = judged(shop, shop.image, annotations={"team": "x"}).need()
    assert (found.signer.name, found.signer.kind, found.form) == (SIGNER, ISSUER, "bundle")
    assert (found.time, found.vouched) == (text_of(NOW_S), True)
    with pytest.raises(Untrusted, match="has the annotation team=x, not y"):
        judged(shop, shop.image, annotations={"team": "y"}).need()


def test_the_older_form_counts(shop: Shop) -> None:
    payload = Payload("example.com/app", shop.image.digest).to_json()
    signature, held = annotations_of(world(), payload, stamped=True)
    shop.put_simple(shop.image, payload, signature, **held)
    (found,) = judged(shop, shop.image).need()
    assert (found.signer.name, found.form, found.reference) == (SIGNER, "tag", "example.com/app")


def test_attestations_count_in_both_forms(shop: Shop) -> None:
    w = world_of(shop.image, **SLSA)
    put(shop, shop.image, w)
    envelope = w.bundle()["dsseEnvelope"]
    raw = json.dumps(envelope).encode()
    hashed = {"algorithm": "sha256", "value": hashlib.sha256(raw).hexdigest()}
    spec = {"content": {"hash": hashed}, "publicKey": b64(w.signer.pem)}
    entry = w.rekor.entry({"apiVersion": "0.0.1", "kind": "intoto", "spec": spec})
    notes = {
        "predicateType": SLSA["predicateType"],
        "dev.sigstore.cosign/certificate": w.signer.pem.decode(),
        "dev.sigstore.cosign/bundle": annotation(w, entry),
        # of an attestation the whole envelope is stamped
        "dev.sigstore.cosign/rfc3161timestamp": json.dumps(
            {"SignedRFC3161Timestamp": b64(Stamping(w.clock).response(raw))}
        ),
    }
    put_attestation(shop, raw, notes)
    found = judged(shop, shop.image, attestations=True)
    assert [r.why for r in found.refused] == []
    assert [(v.form, v.predicate_type, v.signer.name) for v in found.good] == [
        ("bundle", SLSA["predicateType"], SIGNER),
        ("tag", SLSA["predicateType"], SIGNER),
    ]


def put_attestation(shop: Shop, raw: bytes, notes: dict[str, str]) -> None:
    """Put an envelope under the tag of the image's attestations, with annotations."""
    made = with_layer(shop.source, shop.image.digest, ".att", raw, ENVELOPE, notes, shop.store.blobs)
    shop.beside.put(made, f"sha256-{shop.image.digest.hex}.att")


def annotation(w: World, entry: dict[str, Any]) -> str:
    """An entry as cosign has it beside a signature."""
    payload = {
        "body": entry["canonicalizedBody"],
        "integratedTime": int(entry["integratedTime"]),
        "logIndex": int(entry["logIndex"]),
        "logID": w.rekor.id.hex(),
    }
    return json.dumps(
        {"SignedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"], "Payload": payload}
    )


@pytest.mark.parametrize(
    ("expected", "of", "says"),
    [
        (Expected(identity="me", issuer=ISSUER), "image", f"signed by {SIGNER}, not by me"),
        (
            Expected(identity=SIGNER, issuer="https://a"),
            "image",
            "the signer is known to .*, not to https://a",
        ),
        (NAMED, "index", "is of another image, sha256"),
    ],
)
def test_what_does_not_count_is_told(shop: Shop, expected: Expected, of: str, says: str) -> None:
    put(shop, shop.image, world_of(getattr(shop, of)))
    with pytest.raises(
        Untrusted, match=f"no signature of {shop.image.digest} counts: bundle sha256:.*: {says}"
    ):
        judged(shop, shop.image, expected=expected).need()


def test_an_envelope_of_two_signatures_is_told(shop: Shop) -> None:
    envelope = world_of(shop.image, **SLSA).bundle()["dsseEnvelope"]
    envelope["signatures"] *= 2
    notes = {"dev.sigstore.cosign/certificate": world().signer.pem.decode()}
    put_attestation(shop, json.dumps(envelope).encode(), notes)
    with pytest.raises(Untrusted, match="layer 1: not an envelope with one signature"):
        judged(shop, shop.image, attestations=True).need()


def test_keys_and_certificates_count_side_by_side(shop: Shop) -> None:
    shop.sign(shop.image, forms=("bundle",))
    put(shop, shop.image, world_of(shop.image))
    assert {v.signer.kind for v in judged(shop, shop.image, keys=[shop.key.public]).need()} == {
        "ecdsa-p256",
        ISSUER,
    }
    found = judged(shop, shop.image)
    assert [r.why for r in found.refused] == ["signed by a key: give --key"]
    assert [v.signer.name for v in found.good] == [SIGNER]


# --- the Notary Project -------------------------------------------------------------------------------------


def note(shop: Shop, d: Descriptor, envelope: bytes, kind: str = "application/jose+json") -> None:
    """Put an envelope beside a manifest as notation does: the config's type tells what it is."""
    out = Edited("notation", shop.store.blobs)
    config = Descriptor(media_type=NOTATION, digest=out.add(b"{}"), size=2)
    layer = Descriptor(media_type=kind, digest=out.add(envelope), size=len(envelope))
    subject = Descriptor(media_type=d.media_type, digest=d.digest, size=d.size)
    manifest = Manifest.build(config, [layer], subject=subject)
    out.add(manifest.raw)
    out.set_root(manifest.descriptor())
    shop.beside.put(out)


def noted(shop: Shop, d: Descriptor, **asked: Any) -> Findings:
    (*_, root) = plain_chain()
    trust = Trust(roots=(Certificate.parse(root.der, "root.pem"),))
    return shop.verify(d, **{"keys": [], "notation": notation(trust, d, NOW_S), **asked})


def target(d: Descriptor, **annotations: str) -> dict[str, Any]:
    return {"mediaType": d.media_type, "digest": str(d.digest), "size": d.size, "annotations": annotations}


def test_notations_signatures_count_and_are_told(shop: Shop) -> None:
    note(shop, shop.image, Notary(plain_chain(), target=target(shop.image, team="x")).envelope())
    (found,) = noted(shop, shop.image, annotations={"team": "x"}).need()
    assert found.signer.name == "CN=build,O=example\\, Inc.,ST=WA,C=US"
    assert (found.signer.kind, found.form, found.annotations) == ("notation", "notation", {"team": "x"})
    assert found.time == text_of(NOW_S - 3600)
    with pytest.raises(Untrusted, match="is without the annotation a=b"):
        noted(shop, shop.image, annotations={"a": "b"}).need()


def test_notations_signatures_that_do_not_count_are_told(shop: Shop) -> None:
    note(shop, shop.image, Notary(plain_chain(), target=target(shop.index)).envelope())
    note(shop, shop.image, b"\xd2\x84", "application/cose")
    cose = "envelopes of COSE (application/cose) are not read, those of JWS are"
    another = f"it: is of {shop.index.digest}, not of {shop.image.digest}"
    assert {r.why for r in noted(shop, shop.image).refused} == {cose, another}
    asked = "signed by Notation: give --notation-root"
    assert {r.why for r in shop.verify(shop.image).refused} == {cose, asked}
    assert shop.verify(shop.image, attestations=True).refused == ()
