"""Verifying: a good signature counts, and what others made or changed is refused by its reason."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from imagesmith.errors import LimitExceeded, NotFound, Untrusted
from imagesmith.image.edited import Edited
from imagesmith.oci import mediatype as mt
from imagesmith.oci.codec import dumps
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.registry.repository import Repository
from imagesmith.transports.cosigntags import companion_tag
from imagesmith.trust.bundle import BUNDLE, Bundle
from imagesmith.trust.dsse import Envelope
from imagesmith.trust.finding import Candidate
from imagesmith.trust.keys import PrivateKey, generate
from imagesmith.trust.simplesigning import Payload
from imagesmith.trust.verifying import Asked, Signer, verify
from tests.trust.conftest import IN_TOTO, TIME_S, Shop, flipped, statement

OTHER = generate("ecdsa-p256", "other.pub")
SBOM, SLSA = "https://spdx.dev/Document", "https://slsa.dev/provenance/v1"


@dataclass(frozen=True)
class Tampering:
    """Something beside an image that is not its signature, and what is said of it."""

    name: str
    do: Callable[[Shop, Descriptor], None]
    says: str
    asked: dict[str, Any] = field(default_factory=dict)


def bundle_with(path: str, value: Any) -> Callable[[Shop, Descriptor], None]:
    """A good bundle of which one place was changed; a function changes what is there."""

    def do(shop: Shop, d: Descriptor) -> None:
        document = shop.bundle(statement(d))
        *way, last = path.split(".")
        at: Any = document
        for key in way:
            at = at[int(key)] if isinstance(at, list) else at[key]
        at[last] = value(at[last]) if callable(value) else value
        shop.put_bundle(d, json.dumps(document).encode())

    return do


def stated(**changes: Any) -> Callable[[Shop, Descriptor], None]:
    """A statement that is signed by the right key, and says something else."""
    return lambda shop, d: shop.put_statement(d, statement(d, **changes))


def moved(of: str, *, tag: bool = False) -> Callable[[Shop, Descriptor], None]:
    """The good signature of something else: of the index, or of an image in it."""

    def do(shop: Shop, d: Descriptor) -> None:
        other = {"index": shop.index, "child": shop.children[1], "image": shop.image}[of]
        if tag:
            payload = Payload(f"{shop.host}/team/app", other.digest).to_json()
            shop.put_simple(d, payload)
            return
        shop.sign(other, forms=("bundle",))
        shop.put_bundle(d, shop.bundles(other)[0])

    return do


def plain(
    change: Callable[[bytes], bytes], signature: bytes | None = None
) -> Callable[[Shop, Descriptor], None]:
    """A payload changed before it is signed by the right key, or with another signature."""
    return lambda shop, d: shop.put_simple(
        d, change(Payload(f"{shop.host}/team/app", d.digest).to_json()), signature
    )


def changed_after(shop: Shop, d: Descriptor) -> None:
    payload = Payload(f"{shop.host}/team/app", d.digest).to_json()
    shop.put_simple(d, payload.replace(b"team", b"evil"), shop.key.sign(payload, sha256=True))


def two_layers(shop: Shop, d: Descriptor) -> None:
    out = Edited("test", shop.store.blobs)
    raw = json.dumps(shop.bundle(statement(d))).encode()
    layer = Descriptor(media_type=BUNDLE, digest=out.add(raw), size=len(raw))
    config = Descriptor(media_type=mt.OCI_EMPTY, digest=out.add(b"{}"), size=2)
    manifest = Manifest.build(config, [layer, layer], artifact_type=BUNDLE, subject=d)
    out.add(manifest.raw)
    out.set_root(manifest.descriptor())
    shop.beside.put(out)


def tag_of_index(shop: Shop, d: Descriptor) -> None:
    shop.put_tag(d.digest, shop.source.document(shop.index), shop.index)


def swapped_tag(shop: Shop, d: Descriptor) -> None:
    """The whole manifest of the index's signatures under the image's tag."""
    shop.sign(shop.index, forms=("tag",))
    found = shop.source.tagged(f"sha256-{shop.index.digest.hex}.sig")
    assert found is not None
    shop.put_tag(d.digest, shop.source.document(found), found)


def unasked_subject(shop: Shop, d: Descriptor) -> None:
    other = {"digest": {"sha256": "0" * 64}, "annotations": {"team": "x"}}
    shop.put_statement(d, statement(d, subject=[other, {"digest": {"sha256": d.digest.hex}}]))


def envelope(shop: Shop, payload: bytes) -> bytes:
    return json.dumps(shop.bundle(payload)["dsseEnvelope"]).encode()


def attestation(d: Descriptor) -> bytes:
    return statement(d, predicateType=SBOM)


def wrong_key(
    hint: Callable[[Shop], dict[str, str]] | None = None, **changes: Any
) -> Callable[[Shop, Descriptor], None]:
    """A statement that another key signed; in the bundle's words by the key of a hint."""

    def do(shop: Shop, d: Descriptor) -> None:
        material = {"verificationMaterial": {"publicKey": hint(shop)}} if hint else {}
        shop.put_statement(d, statement(d, **changes), key=OTHER, **material)

    return do


def signed_as(payload: bytes, kind: str = IN_TOTO) -> Callable[[Shop, Descriptor], None]:
    """Any bytes, signed by the right key."""
    return lambda shop, d: shop.put_statement(d, payload, kind)


def said_twice(shop: Shop, d: Descriptor) -> None:
    shop.put_statement(d, statement(d).replace(b'{"_type"', b'{"subject":[],"_type"'))


def in_capitals(shop: Shop, d: Descriptor) -> None:
    shop.put_statement(d, statement(d, subject=[{"digest": {"sha256": d.digest.hex.upper()}}]))


def signed_without_type(shop: Shop, d: Descriptor) -> None:
    document = shop.bundle(statement(d))
    signature = shop.key.sign(statement(d))
    document["dsseEnvelope"]["signatures"] = [{"sig": base64.b64encode(signature).decode()}]
    shop.put_bundle(d, json.dumps(document).encode())


def signed_file(shop: Shop, d: Descriptor) -> None:
    document = shop.bundle(b"")
    del document["dsseEnvelope"]
    signature = shop.key.sign(shop.source.document(d))
    document["messageSignature"] = {"signature": base64.b64encode(signature).decode()}
    shop.put_bundle(d, json.dumps(document).encode())


def said_by_another(shop: Shop, d: Descriptor) -> None:
    shop.sign(d, forms=("bundle",), annotations={"team": "y"})


def tag_by_another(shop: Shop, d: Descriptor) -> None:
    payload = Payload("a", d.digest).to_json()
    shop.put_simple(d, payload, OTHER.sign(payload))


def tag_with_certificate(shop: Shop, d: Descriptor, key: PrivateKey | None = None) -> None:
    payload = Payload("a", d.digest).to_json()
    signature = (key or shop.key).sign(payload, sha256=True)
    shop.put_simple(d, payload, signature, **{"dev.sigstore.cosign/certificate": "PEM"})


def attested_elsewhere(shop: Shop, d: Descriptor) -> None:
    shop.put_attestation(d, envelope(shop, attestation(shop.index)))


def attested_and_changed(shop: Shop, d: Descriptor) -> None:
    shop.put_attestation(d, envelope(shop, attestation(d)).replace(b'"payload": "ey', b'"payload": "e2'))


CERTIFICATE = {"certificate": {"rawBytes": "AQID"}}
NOT_SO = "names the key signer.pub, which did not sign it as it is"
KEYLESS = "signed without a key: give --trusted-root"
ELSEWHERE = "is of another image, sha256:"
UNSAID = "is without the annotation team=x"
ANNOTATED = {"annotations": {"team": "x"}}
ATTESTED = {"attestations": True, "predicate_type": SBOM}

TAMPERINGS = [
    # bundles: who signed
    Tampering("wrong key", wrong_key(), "signed by another key, whose hint is"),
    Tampering("wrong key, right hint", wrong_key(lambda s: {"hint": s.key.public.hint}), NOT_SO),
    Tampering("no hint", wrong_key(lambda s: {}), "signed by another key, or changed since"),
    Tampering("payload changed", bundle_with("dsseEnvelope.payload", flipped), NOT_SO),
    Tampering("payload exchanged", bundle_with("dsseEnvelope.payload", "e30="), NOT_SO),
    Tampering("payload taken away", bundle_with("dsseEnvelope.payload", ""), NOT_SO),
    Tampering("type changed", bundle_with("dsseEnvelope.payloadType", "text/plain"), NOT_SO),
    Tampering("signature changed", bundle_with("dsseEnvelope.signatures.0.sig", flipped), NOT_SO),
    Tampering("signature empty", bundle_with("dsseEnvelope.signatures.0.sig", ""), "sig is missing"),
    Tampering("signatures taken away", bundle_with("dsseEnvelope.signatures", []), "has 0 signatures"),
    Tampering("signed without the type", signed_without_type, NOT_SO),
    Tampering("certificate instead", bundle_with("verificationMaterial", CERTIFICATE), KEYLESS),
    # bundles: of what
    Tampering("another image's bundle", moved("child"), ELSEWHERE),
    Tampering("the index's bundle", moved("index"), ELSEWHERE),
    Tampering("no subject", stated(subject=[]), "is of no image"),
    Tampering("subject left out", stated(subject=...), "is of no image"),
    Tampering("subject by another hash", stated(subject=[{"digest": {"sha512": "0" * 128}}]), ELSEWHERE),
    Tampering("subject without digest", stated(subject=[{"name": "a"}]), "digest is missing"),
    Tampering("subject in capitals", in_capitals, ELSEWHERE),
    # bundles: what is said
    Tampering("another statement", stated(_type="https://example.com"), "no in-toto statement of a known"),
    Tampering("an attestation", stated(predicateType=SBOM), f"says {SBOM}, where https://sigstore.dev"),
    Tampering("no predicate type", stated(predicateType=...), "predicateType is missing"),
    Tampering("signed text", signed_as(b"hello", "text/plain"), "holds text/plain, not application/vnd.in-"),
    Tampering("statement that is none", signed_as(b"hello"), "its statement: not valid JSON"),
    Tampering("statement that says a thing twice", said_twice, "'subject' stands twice"),
    Tampering("annotation missing", stated(), UNSAID, ANNOTATED),
    Tampering("annotation of another subject", unasked_subject, UNSAID, ANNOTATED),
    Tampering("another annotation", said_by_another, "has the annotation team=y, not x", ANNOTATED),
    # bundles: their form
    Tampering("signature of a file", signed_file, "a signature over a file"),
    Tampering(
        "another version", bundle_with("mediaType", BUNDLE.replace("0.3", "0.99")), "no bundle of versi"
    ),
    Tampering("no bundle", lambda shop, d: shop.put_bundle(d, b"hello"), "not valid JSON"),
    Tampering("two layers", two_layers, "must have one layer"),
    # tags
    Tampering("tag: wrong key", tag_by_another, "signed by another key, or changed since"),
    Tampering("tag: payload changed", changed_after, "signed by another key, or changed since"),
    Tampering("tag: another signature", plain(bytes, b"hello"), "signed by another key, or changed since"),
    Tampering("tag: no signature", plain(bytes, b""), "has no signature that can be read"),
    Tampering("tag: another image's payload", moved("child", tag=True), ELSEWHERE),
    Tampering("tag: the index's payload", moved("index", tag=True), ELSEWHERE),
    Tampering("tag: the index's signatures", swapped_tag, ELSEWHERE),
    Tampering("tag: an index", tag_of_index, "stands for an index"),
    Tampering("tag: one key more", plain(lambda p: b'{"more":1,' + p[1:]), "unknown key 'more'"),
    Tampering("tag: another type", plain(lambda p: p.replace(b"cosign c", b"atomic c")), "type is 'atomic c"),
    Tampering("tag: a thing twice", plain(lambda p: b'{"optional":{},' + p[1:]), "'optional' stands twice"),
    Tampering("tag: no payload", plain(lambda _: b"hello"), "its payload: not valid JSON"),
    Tampering("tag: certificate", lambda shop, d: tag_with_certificate(shop, d, OTHER), KEYLESS),
    Tampering("tag: annotation missing", plain(bytes), UNSAID, ANNOTATED),
    # attestations
    Tampering("another type", stated(predicateType=SLSA), f"says {SLSA}, where {SBOM} was", ATTESTED),
    Tampering("by another key", wrong_key(predicateType=SBOM), "signed by another key, whose", ATTESTED),
    Tampering("a signature", stated(), "a signature, where an attestation was", {"attestations": True}),
    Tampering("attestation tag: another image", attested_elsewhere, ELSEWHERE, ATTESTED),
    Tampering("attestation tag: changed", attested_and_changed, "signed by another key, or", ATTESTED),
    Tampering("attestation tag: none", lambda shop, d: shop.put_attestation(d, b"{}"), "has 0 sig", ATTESTED),
]


@pytest.mark.parametrize("tampering", TAMPERINGS, ids=lambda t: t.name)
def test_what_is_not_its_signature_is_refused_by_its_reason(shop: Shop, tampering: Tampering) -> None:
    tampering.do(shop, shop.image)
    found = shop.verify(shop.image, **tampering.asked)
    assert found.good == ()
    (refused,) = found.refused
    assert tampering.says in refused.why
    assert refused.where.startswith("tag sha256-" if "tag" in tampering.name else "bundle sha256:")
    with pytest.raises(Untrusted, match="counts: ") as e:
        found.need()
    assert refused.why in e.value.message
    assert e.value.exit_code == 11


@pytest.mark.parametrize("tampering", [t for t in TAMPERINGS if not t.asked], ids=lambda t: t.name)
def test_one_that_is_wrong_does_not_hide_one_that_is_good(shop: Shop, tampering: Tampering) -> None:
    form = "bundle" if "tag" in tampering.name else "tag"
    shop.sign(shop.image, forms=(form,))
    tampering.do(shop, shop.image)
    found = shop.verify(shop.image)
    assert [v.form for v in found.good] == [form]
    assert len(found.refused) == 1


@pytest.mark.parametrize("asked", [{}, ATTESTED], ids=["signature", "attestation"])
def test_a_layer_that_cannot_be_read_does_not_hide_the_others_under_its_tag(
    shop: Shop, asked: dict[str, Any]
) -> None:
    """One is above what a payload may have, one's bytes were deleted; the good one is between them."""
    put = shop.put_attestation if asked else shop.put_simple
    good = envelope(shop, attestation(shop.image)) if asked else Payload("a", shop.image.digest).to_json()
    for data in (b" " * (1 << 20), good, b"gone"):
        put(shop.image, data)
    suffix = ".att" if asked else ".sig"

    class Lossy(Repository):
        def pieces(self, d: Descriptor, offset: int = 0) -> Iterator[bytes]:
            if d.digest == digest_bytes(b"gone"):
                raise NotFound("it was deleted")
            return super().pieces(d, offset)

    source = shop.source
    source.__class__ = Lossy
    found = verify(source, shop.image.digest, Asked(keys=[shop.key.public], **asked))
    tag = f"tag {companion_tag(shop.image.digest, suffix)}, layer"
    assert [v.where for v in found.good] == [f"{tag} 2"]
    assert [r.where for r in found.refused] == [f"{tag} 1", f"{tag} 3"]


def test_a_key_counts_whatever_certificate_is_put_beside_its_signature(shop: Shop) -> None:
    """Annotations of a layer are not signed; cosign puts a certificate there for keys that have one."""
    tag_with_certificate(shop, shop.image)
    (found,) = shop.verify(shop.image).good
    assert (found.signer.name, found.annotations) == ("signer.pub", {})


def test_a_good_signature_tells_who_when_and_what(shop: Shop) -> None:
    shop.sign(shop.image, annotations={"team": "x"})
    bundle, tag = shop.verify(
        shop.image, keys=[OTHER.public, shop.key.public], annotations={"team": "x"}
    ).need()
    assert (bundle.form, tag.form) == ("bundle", "tag")
    for v in (bundle, tag):
        assert v.signer == Signer(name="signer.pub", kind="ecdsa-p256")
        assert (v.digest, v.annotations["team"], v.time) == (shop.image.digest, "x", "2025-11-24T16:00:00Z")
    assert (bundle.reference, bundle.vouched) == ("", False)
    assert (tag.reference, tag.vouched, tag.annotations["timestamp"]) == (
        f"{shop.host}/team/app",
        True,
        TIME_S,
    )


def test_what_cosign_2_and_containers_wrote_counts(shop: Shop) -> None:
    """cosign writes `optional: null`; containers the name with its tag, a creator and a time."""
    name = f"{shop.host}/team/app"
    of_containers = Payload(f"{name}:1", shop.image.digest, {"creator": "containers/image 5", "timestamp": 7})
    for payload in (Payload(name, shop.image.digest), of_containers):
        shop.put_simple(shop.image, payload.to_json())
    shop.put_attestation(shop.image, envelope(shop, attestation(shop.image)))
    assert [(v.reference, v.time) for v in shop.verify(shop.image).need()] == [
        (name, ""),
        (f"{name}:1", "1970-01-01T00:00:07Z"),
    ]
    (found,) = shop.verify(shop.image, **ATTESTED).need()
    assert (found.form, found.predicate_type) == ("tag", SBOM)


def test_an_image_is_signed_by_its_own_signature_alone(shop: Shop) -> None:
    child = shop.children[1]
    shop.sign(shop.index)
    assert shop.verify(shop.index).need()
    with pytest.raises(Untrusted, match=f"{child.digest} has no signature"):
        shop.verify(child).need()
    shop.sign(child)
    assert shop.verify(child).need()
    with pytest.raises(Untrusted, match=f"{shop.image.digest} has no signature"):
        shop.verify(shop.image).need()


def test_a_certificate_is_for_others_to_judge(shop: Shop) -> None:
    bundle_with("verificationMaterial", CERTIFICATE)(shop, shop.image)
    shop.put_simple(
        shop.image,
        Payload("a", shop.image.digest).to_json(),
        b"x",
        **{"dev.sigstore.cosign/certificate": "PEM"},
    )
    seen: list[Candidate] = []

    def judge(one: Candidate) -> Signer:
        seen.append(one)
        if one.form == "tag":
            raise Untrusted("not good")
        return Signer(name="me@example.com", kind="certificate", time="2026-01-01T00:00:00Z")

    found = shop.verify(shop.image, keys=[], keyless=judge)
    assert [one.form for one in seen] == ["bundle", "tag"]
    assert [(v.signer.name, v.time, v.vouched) for v in found.good] == [
        ("me@example.com", "2026-01-01T00:00:00Z", True)
    ]
    assert [r.why for r in found.refused] == ["not good"]


def test_an_image_that_is_not_signed_is_told_as_that(shop: Shop) -> None:
    shop.put_bundle(
        shop.image, b"{}", **{"dev.sigstore.bundle.predicateType": SBOM}
    )  # of the other kind: not read
    found = shop.verify(shop.image)
    assert (found.good, found.refused) == ((), ())
    with pytest.raises(Untrusted, match=f"{shop.host}/team/app:1: {shop.image.digest} has no signature"):
        found.need()


def test_a_flood_of_bundles_is_refused(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagesmith.trust.finding._MOST_BUNDLES", 2)
    for n in range(3):
        shop.put_bundle(shop.image, dumps({"n": n}))
    with pytest.raises(LimitExceeded, match="more than 2 bundles refer to"):
        shop.verify(shop.image)


def test_however_much_is_attested_signatures_are_found(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagesmith.trust.finding._MOST_BUNDLES", 2)
    shop.sign(shop.image, forms=("bundle",))
    for n in range(3):
        shop.put_bundle(shop.image, dumps({"n": n}), **{"dev.sigstore.bundle.predicateType": SBOM})
    assert len(shop.verify(shop.image).good) == 1
    with pytest.raises(LimitExceeded, match="more than 2 bundles refer to"):
        shop.verify(shop.image, **ATTESTED)


def test_a_signature_with_any_byte_changed_is_refused(shop: Shop) -> None:
    envelope = Bundle.parse(json.dumps(shop.bundle(statement(shop.image))).encode(), "b").content
    assert isinstance(envelope, Envelope)
    key, message, ((_, signature),) = shop.key.public, envelope.message, envelope.signatures
    assert key.verify(signature, message)
    for n in range(len(message)):
        assert not key.verify(signature, message[:n] + bytes([message[n] ^ 4]) + message[n + 1 :])
    for n in range(len(signature)):
        assert not key.verify(signature[:n] + bytes([signature[n] ^ 4]) + signature[n + 1 :], message)
