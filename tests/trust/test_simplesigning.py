"""Simple signing: payloads written as cosign's, read as strictly as containers/image; signatures add up."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagesmith.errors import InvalidDocument, LimitExceeded
from imagesmith.image.edited import Edited
from imagesmith.oci import mediatype as mt
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.store.store import Store
from imagesmith.transports.cosigntags import companion_tag
from imagesmith.transports.layout import LayoutFolder
from imagesmith.transports.transfer import Session
from imagesmith.trust.simplesigning import PAYLOAD, Payload, SimpleSignature, with_signature
from tests.trust.conftest import signatures_at

DIGEST = digest_bytes(b"an image")
RAW = Payload("example.com/team/app", DIGEST, {"k": "v<"}).to_json()
TAG = companion_tag(DIGEST, ".sig")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as store:
        yield store


def test_a_payload_is_the_bytes_that_cosign_writes() -> None:
    text = (
        '{"critical":{"identity":{"docker-reference":"example.com/team/app"},"image":{"docker-manifest-digest":'
        f'"{DIGEST}"}},"type":"cosign container image signature"}},"optional":{{"k":"v\\u003c"}}}}'
    )
    assert text.encode() == RAW
    assert Payload("a", DIGEST).to_json().endswith(b'"optional":null}')


def test_a_payload_is_read_back() -> None:
    assert Payload.parse(RAW, "p") == Payload("example.com/team/app", DIGEST, {"k": "v<"})
    assert Payload.parse(Payload("a", DIGEST).to_json(), "p") == Payload("a", DIGEST)
    of_containers = RAW.replace(
        b'"k":"v\\u003c"', b'"creator":"containers/image 5.36","timestamp":1764000000'
    )
    assert Payload.parse(of_containers, "p").optional["timestamp"] == 1764000000


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("more", 1, "unknown key 'more'"),
        ("optional", ..., "optional is missing"),
        ("optional", [], "optional must be an object"),
        ("optional.timestamp", 1.5, "timestamp must be a whole number"),
        ("optional.creator", 1, "creator must be a string"),
        ("critical", ..., "critical is missing"),
        ("critical.more", 1, "critical: unknown key 'more'"),
        ("critical.type", "atomic container signature", "type is 'atomic container signature', not 'cosign"),
        ("critical.image", ..., "image is missing"),
        ("critical.image.more", 1, "image: unknown key"),
        ("critical.image.docker-manifest-digest", "sha256:abc", "invalid checksum digest length"),
        ("critical.identity.more", 1, "identity: unknown key"),
        ("critical.identity.docker-reference", "", "docker-reference is missing"),
    ],
)
def test_what_is_no_payload_is_told(path: str, value: Any, says: str) -> None:
    document = json.loads(RAW)
    *way, last = path.split(".")
    at = document
    for key in way:
        at = at[key]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    with pytest.raises(InvalidDocument, match=says):
        Payload.parse(json.dumps(document).encode(), "p")


def test_a_payload_that_says_a_thing_twice_is_refused() -> None:
    twice = RAW.replace(
        b'"image":', b'"image":{"docker-manifest-digest":"%s"},"image":' % str(DIGEST).encode()
    )
    with pytest.raises(InvalidDocument, match="'image' stands twice"):
        Payload.parse(twice, "p")


def test_signatures_add_up_in_the_form_that_cosign_reads(store: Store, tmp_path: Path) -> None:
    place = LayoutFolder(tmp_path / "layout", create=True)
    made = [
        SimpleSignature(RAW + b" " * n, bytes([n]) * 70, {"dev.sigstore.cosign/chain": "c"} if n else {})
        for n in range(3)
    ]
    with Session(store) as session:
        for signature in made:
            assert len(signatures_at(place, DIGEST)) < 3
            edited = with_signature(place, DIGEST, signature, store.blobs)
            session.copy(edited, LayoutFolder(tmp_path / "layout", TAG, create=True))
    assert signatures_at(place, DIGEST) == made
    assert signatures_at(place, digest_bytes(b"another")) == []
    found = place.tagged(TAG)
    assert found is not None
    manifest = Manifest.parse(place.document(found))
    assert (manifest.media_type, manifest.config.media_type) == (mt.OCI_MANIFEST, mt.OCI_CONFIG)
    config = json.loads(place.document(manifest.config))
    assert config["rootfs"] == {"type": "layers", "diff_ids": [str(d.digest) for d in manifest.layers]}
    assert [d.media_type for d in manifest.layers] == [PAYLOAD] * 3
    assert (
        base64.b64decode(manifest.layers[1].annotations["dev.cosignproject.cosign/signature"]) == b"\1" * 70
    )


def test_what_cannot_be_read_of_one_signature_does_not_hide_the_others(store: Store, tmp_path: Path) -> None:
    place = LayoutFolder(tmp_path / "layout", create=True)
    layers = [
        Descriptor(media_type=PAYLOAD, digest=store.blobs.put(RAW), size=len(RAW), annotations=notes)
        for notes in (
            {},
            {"dev.cosignproject.cosign/signature": "%"},
            {"dev.cosignproject.cosign/signature": "AAAA"},
        )
    ]
    config = Descriptor(media_type=mt.OCI_CONFIG, digest=store.blobs.put(b"{}"), size=2)
    _name(store, tmp_path, Manifest.build(config, [replaced(layers[0], "a/b"), *layers]))
    assert [s.signature for s in signatures_at(place, DIGEST)] == [b"", b"", b"\0\0\0"]


def test_many_or_large_payloads_are_refused(store: Store, tmp_path: Path) -> None:
    place = LayoutFolder(tmp_path / "layout", create=True)
    config = Descriptor(media_type=mt.OCI_CONFIG, digest=store.blobs.put(b"{}"), size=2)
    layer = Descriptor(media_type=PAYLOAD, digest=store.blobs.put(RAW), size=len(RAW))
    _name(store, tmp_path, Manifest.build(config, [layer] * 501))
    with pytest.raises(LimitExceeded, match="holds more than 500"):
        signatures_at(place, DIGEST)
    big = b" " * ((64 << 10) + 1)
    layer = Descriptor(media_type=PAYLOAD, digest=store.blobs.put(big), size=len(big))
    _name(store, tmp_path, Manifest.build(config, [layer]))
    with pytest.raises(LimitExceeded, match="more than 65536"):
        signatures_at(place, DIGEST)


def replaced(d: Descriptor, media_type: str) -> Descriptor:
    return Descriptor(media_type=media_type, digest=d.digest, size=d.size)


def _name(store: Store, tmp_path: Path, manifest: Manifest) -> None:
    """Let the tag of signatures stand for a manifest."""
    source = Edited("test", store.blobs)
    source.add(manifest.raw)
    source.set_root(manifest.descriptor())
    with Session(store) as session:
        session.copy(source, LayoutFolder(tmp_path / "layout", TAG, create=True))
