"""Signing: both forms, of every image and the index, in every kind of place; and signing again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from imagesmith.attest.statement import Claim
from imagesmith.errors import UsageError
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.oci.names import ImageRef
from imagesmith.store.store import Store
from imagesmith.transports.beside import Beside
from imagesmith.transports.names import PlaceName, open_source
from imagesmith.transports.transfer import Session
from imagesmith.trust.bundle import BUNDLE
from imagesmith.trust.keys import KINDS, generate
from imagesmith.trust.signing import Signing, attest, sign, signed_parts
from imagesmith.trust.verifying import Asked, verify
from imagesmith.values import replace
from tests.registry.images import make_image, make_index
from tests.trust.conftest import TIME_S, Shop, signatures_at

SLSA = "https://slsa.dev/provenance/v1"


@pytest.mark.parametrize("host", ["embedded", pytest.param("docker", marks=pytest.mark.slow)], indirect=True)
def test_both_forms_stand_beside_the_image_as_cosign_puts_them(shop: Shop) -> None:
    made = shop.sign(shop.image, annotations={"team": "x"})
    assert [(m.form, m.new) for m in made] == [("bundle", True), ("tag", True)]
    (d,) = shop.source.referrers(shop.image.digest)
    assert d.artifact_type == BUNDLE
    manifest = json.loads(shop.source.document(d))
    assert manifest["subject"] == {
        "mediaType": shop.image.media_type,
        "digest": str(shop.image.digest),
        "size": shop.image.size,
    }
    assert manifest["annotations"] == {
        "org.opencontainers.image.created": "2025-11-24T16:00:00Z",
        "dev.sigstore.bundle.content": "dsse-envelope",
        "dev.sigstore.bundle.predicateType": "https://sigstore.dev/cosign/sign/v1",
    }
    assert manifest["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
    assert [layer["mediaType"] for layer in manifest["layers"]] == [BUNDLE]
    (plain,) = signatures_at(shop.source, shop.image.digest)
    assert json.loads(plain.payload) == {
        "critical": {
            "identity": {"docker-reference": f"{shop.host}/team/app"},
            "image": {"docker-manifest-digest": str(shop.image.digest)},
            "type": "cosign container image signature",
        },
        "optional": {"team": "x", "timestamp": TIME_S},
    }
    assert shop.key.public.verify(plain.signature, plain.payload)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_key_signs(shop: Shop, kind: str) -> None:
    key = generate(kind)
    shop.sign(shop.image, key=key)
    assert [v.signer.kind for v in shop.verify(shop.image, keys=[key.public]).need()] == [kind, kind]


def test_signing_again_adds_what_is_new_alone(shop: Shop) -> None:
    other = generate("ed25519")
    ways: list[dict[str, Any]] = [{}, {"annotations": {"a": "b"}}, {"reference": "another"}, {"key": other}]
    for n, way in enumerate(ways):
        new = [m.new for m in shop.sign(shop.image, **way)]
        assert new == ([True, True] if way.get("reference") is None else [False, True]), n
        assert [m.new for m in shop.sign(shop.image, **{**way, "time_s": TIME_S + 9})] == [False, False], n
    assert len(signatures_at(shop.source, shop.image.digest)) == 4
    assert len(shop.bundles(shop.image)) == 3
    assert len(shop.verify(shop.image, keys=[shop.key.public, other.public]).need()) == 7


def test_of_an_index_every_image_is_signed_and_it_itself_last(shop: Shop) -> None:
    parts = signed_parts(shop.source, shop.index)
    assert [d.digest for d in parts] == [*(d.digest for d in shop.children), shop.index.digest]
    assert [d.digest for d in signed_parts(shop.source, shop.image)] == [shop.image.digest]


def test_what_an_index_lists_without_having_it_is_not_signed(store: Store, tmp_path: Path) -> None:
    index = make_index(store, "multi:1")
    place = PlaceName(kind="store", image=ImageRef.parse("multi:1"))
    with Session(store) as session, open_source(place, session, store) as source:
        both = signed_parts(source, index)
        for layer in Manifest.parse(store.blobs.read(both[1].digest)).layers:
            (tmp_path / "store" / "blobs" / "sha256" / layer.digest.hex).unlink()
        assert [d.digest for d in signed_parts(source, index)] == [both[0].digest, index.digest]


@pytest.mark.parametrize("place", ["store:app:1", "oci:{}:1"])
def test_a_layout_and_the_store_hold_signatures_and_copies_take_them_along(
    store: Store, tmp_path: Path, place: str
) -> None:
    image = make_image(store, "app:1")
    name = PlaceName.parse(place.format(tmp_path / "layout"))
    key = generate("ecdsa-p256", "k")
    with Session(store) as session, open_source(PlaceName.parse("store:app:1"), session, store) as original:
        if name.kind == "oci":
            from imagesmith.transports.names import open_target

            with open_target(name, session, store) as target:
                session.copy(original, target)
        with open_source(name, session, store) as source:
            beside = Beside(name, session, store)
            sign(source, image, beside, store.blobs, Signing(key=key, reference="a", time_s=0))
        with open_source(name, session, store) as source:
            assert source.root().digest == image.digest
            found = verify(source, image.digest, Asked(keys=[key.public]))
            assert [v.form for v in found.need()] == ["bundle", "tag"]


def test_archives_hold_no_signatures(store: Store) -> None:
    with (
        Session(store) as session,
        pytest.raises(UsageError, match="oci-archive: things stand beside images"),
    ):
        Beside(PlaceName.parse("oci-archive:a.tar"), session, store)


def test_what_is_attested_stands_in_both_forms(shop: Shop) -> None:
    claim = Claim(SLSA, {"buildDefinition": {"a": "<"}})
    for new in (True, False):
        made = attest(shop.source, shop.image, shop.beside, shop.store.blobs, shop.signing(), claim)
        assert [(m.form, m.new) for m in made] == [("bundle", new), ("tag", new)]
    shop.sign(shop.image)
    found = shop.verify(shop.image, attestations=True, predicate_type=SLSA).need()
    assert [v.form for v in found] == ["bundle", "tag"]
    for v in found:
        assert v.statement["predicate"] == claim.predicate
        assert v.statement["subject"][0]["name"] == f"{shop.host}/team/app"
        assert v.envelope is not None
        assert v.envelope.payload == v.payload
    tag = shop.source.tagged(f"sha256-{shop.image.digest.hex}.att")
    assert tag is not None
    (layer,) = Manifest.parse(shop.source.document(tag)).layers
    assert (layer.media_type, layer.annotations["predicateType"]) == (
        "application/vnd.dsse.envelope.v1+json",
        SLSA,
    )
    assert all(v.predicate_type != SLSA for v in shop.verify(shop.image).need())


@pytest.mark.parametrize("key", ["creator", "timestamp"])
def test_annotations_that_others_take_for_something_else_are_refused(shop: Shop, key: str) -> None:
    with pytest.raises(UsageError, match=f"--annotations {key}: has a meaning of its own"):
        shop.sign(shop.image, annotations={key: "1"})


def test_an_image_by_another_hash_is_not_signed(shop: Shop) -> None:
    d = replace(shop.image, digest=digest_bytes(b"", "sha512"))
    assert isinstance(d, Descriptor)
    with pytest.raises(UsageError, match="only images by sha256 are signed"):
        shop.sign(d)
