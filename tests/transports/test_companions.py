"""What belongs to an image beside today's referrers: cosign's tags, and artifact manifests of a candidate."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from imagesmith.embedded.registry import Registry
from imagesmith.errors import InvalidDocument, NotFound
from imagesmith.oci import mediatype as mt
from imagesmith.oci.codec import dumps
from imagesmith.oci.digest import Digest, digest_bytes
from imagesmith.oci.model import Descriptor, Index, Manifest, parse_document
from imagesmith.oci.names import ImageRef
from imagesmith.store.store import Store
from imagesmith.transports.transfer import Session
from imagesmith.values import replace
from tests.registry.faultproxy import Answer, FaultProxy
from tests.registry.images import make_image, make_index
from tests.support import IMAGESMITH

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"


def smith(tmp_path: Path, *words: str) -> str:
    """A command line with the test's store."""
    command = [*IMAGESMITH, *words, "--root", str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return done.stdout


def sign(session: Session, store: Store, host: str, digest: Digest, suffix: str = ".sig") -> str:
    """Put a manifest beside an image as cosign does; returns its tag."""
    payload, config = dumps({"critical": str(digest), "is": suffix}), dumps({"architecture": ""})
    for blob in (payload, config):
        store.blobs.put(blob)
    manifest = Manifest.build(
        Descriptor(media_type=mt.OCI_CONFIG, digest=digest_bytes(config), size=len(config)),
        [Descriptor(media_type=SIMPLE_SIGNING, digest=digest_bytes(payload), size=len(payload))],
    )
    store.blobs.put(manifest.raw)
    tag = f"sha256-{digest.hex}{suffix}"
    session.push(ImageRef.parse(f"{host}/a:{tag}"), manifest.descriptor())
    return tag


@pytest.mark.parametrize("way", ["registry", "oci:layout:1", "oci-archive:a.tar:1", "store:kept:1"])
def test_signatures_go_along_to_every_place_and_on_from_there(
    store: Store, tmp_path: Path, proxy: FaultProxy, way: str
) -> None:
    host = proxy.host
    with Session(store) as session:
        index = session.push(ImageRef.parse(f"{host}/a:1"), make_index(store))
        child = Index.parse(store.blobs.read(index.digest)).manifests[0]
        tags = [sign(session, store, host, index.digest, s) for s in (".sig", ".att", ".sbom")]
        tags.append(sign(session, store, host, child.digest))
        sbom = session.repository(ImageRef.parse(f"{host}/a:{tags[2]}")).root()
        tags.append(sign(session, store, host, sbom.digest))  # `cosign sign --attachment sbom`
    place = f"{host}/b:1" if way == "registry" else way
    smith(tmp_path, "copy", "--referrers", f"{host}/a:1", place)
    smith(tmp_path, "copy", "--referrers", place, f"{host}/c:1")
    assert smith(tmp_path, "tags", f"{host}/c").split() == sorted(["1", *tags])
    for tag in tags:
        signature = smith(tmp_path, "digest", f"{host}/a:{tag}")
        assert smith(tmp_path, "digest", f"{host}/c:{tag}") == signature
        if tag in tags[:3]:
            assert f"{signature.strip()} {SIMPLE_SIGNING} {tag}\n" in smith(tmp_path, "referrers", place)
    listed = json.loads(smith(tmp_path, "referrers", "--json", "--artifact-type", SIMPLE_SIGNING, place))
    assert len(listed["manifests"]) == 3
    proxy.on("PUT", "/c/manifests/", Answer(400), times=9)
    proxy.exchanges.clear()
    smith(tmp_path, "copy", "--referrers", f"{host}/a:1", f"{host}/c:1")
    assert not proxy.seen("PUT")


def test_archive_with_signatures_is_loaded_with_them(store: Store, tmp_path: Path, proxy: FaultProxy) -> None:
    with Session(store) as session:
        d = session.push(ImageRef.parse(f"{proxy.host}/a:1"), make_image(store))
        tag = sign(session, store, proxy.host, d.digest)
    smith(tmp_path, "copy", "--referrers", f"{proxy.host}/a:1", f"oci-archive:a.tar:{proxy.host}/a:1")
    assert smith(tmp_path, "load", "-i", "a.tar") == f"loaded {proxy.host}/a:1\n"
    assert store.find(ImageRef.parse(f"{proxy.host}/a:{tag}")) is not None
    assert smith(tmp_path, "inspect", "-f", "{{.Digest}}", "oci-archive:a.tar") == f"{d.digest}\n"


def artifact(store: Store, subject: Descriptor) -> Descriptor:
    """An artifact manifest as ORAS 0.16 wrote it: neither schemaVersion nor config."""
    blob = store.blobs.put(b"signed")
    raw = dumps(
        {
            "mediaType": mt.OCI_ARTIFACT,
            "artifactType": "application/vnd.example.signature",
            "blobs": [{"mediaType": "text/plain", "digest": str(blob), "size": 6}],
            "subject": subject.to_json(),
            "annotations": {"k": "v"},
        }
    )
    store.blobs.put(raw)
    return parse_document(raw).descriptor()


def test_artifact_manifest_of_the_candidate_is_copied(store: Store, tmp_path: Path) -> None:
    with Registry(tmp_path / "registry") as registry:
        host, d = registry.host, make_image(store)
        made = artifact(store, d)
        with Session(store) as session:
            session.push(ImageRef.parse(f"{host}/a:1"), d)
            session.push(ImageRef.parse(f"{host}/a@{made.digest}"), made)
        line = f"{made.digest} application/vnd.example.signature\n"
        assert smith(tmp_path, "referrers", f"{host}/a:1") == line
        for source, target in ((f"{host}/a:1", f"{host}/b:1"), (f"{host}/b:1", "oci:l:1")):
            smith(tmp_path, "copy", "--referrers", source, target)
            assert smith(tmp_path, "referrers", target) == line
        smith(tmp_path, "copy", f"{host}/b@{made.digest}", f"{host}/c:1")
        assert json.loads(smith(tmp_path, "inspect", "--raw", f"{host}/c:1"))["blobs"]
        assert "ArtifactType" in smith(tmp_path, "inspect", f"{host}/c:1")


def test_artifact_manifest_with_parts_of_another_is_refused() -> None:
    raw = dumps({"mediaType": mt.OCI_ARTIFACT, "blobs": [], "layers": []})
    with pytest.raises(InvalidDocument, match="an artifact manifest has blobs"):
        parse_document(raw)


def test_data_of_a_descriptor_serves_where_its_blob_is_missing(
    store: Store, tmp_path: Path, proxy: FaultProxy
) -> None:
    """In a registry, a layout and an archive; data that is not what the digest says is no help."""
    config = dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}})
    store.blobs.put(config)
    for n, data in enumerate((config, config[::-1])):
        d = Descriptor(media_type=mt.OCI_CONFIG, digest=digest_bytes(config), size=len(config))
        manifest = Manifest.build(replace(d, data=base64.b64encode(data).decode()), [])
        store.blobs.put(manifest.raw)
        place = f"{proxy.host}/a:{n}"
        with Session(store) as session:
            session.push(ImageRef.parse(place), manifest.descriptor())
    proxy.on("GET", f"/a/blobs/{digest_bytes(config)}", Answer(404), times=9)
    for source, target in ((f"{proxy.host}/a:0", f"{proxy.host}/b:0"), (f"{proxy.host}/a:0", "oci:l:0")):
        smith(tmp_path, "copy", source, target)
    (tmp_path / "l/blobs/sha256" / digest_bytes(config).hex).unlink()
    smith(tmp_path, "copy", "oci:l:0", "oci-archive:a.tar:0")
    for place in (f"{proxy.host}/a:0", "oci:l:0", "oci-archive:a.tar:0"):
        assert smith(tmp_path, "inspect", "--config", place) == config.decode()
    with Session(store) as session:
        where = session.repository(ImageRef.parse(f"{proxy.host}/a:1"))
        part = parse_document(where.document(where.root())).parts[0]  # type: ignore[union-attr]  # it is no index
        with pytest.raises(NotFound):
            where.document(part)


def test_collection_keeps_the_blobs_of_an_artifact_manifest(store: Store, tmp_path: Path) -> None:
    d = make_image(store)
    made = artifact(store, d)
    with Registry(tmp_path / "registry") as registry, Session(store) as session:
        session.push(ImageRef.parse(f"{registry.host}/a:1"), made)
    smith_words = [*IMAGESMITH, "registry", "gc", "--dir", str(tmp_path / "registry")]
    subprocess.run(smith_words, check=True, capture_output=True)
    with Registry(tmp_path / "registry") as registry, Session(store) as session:
        place = session.repository(ImageRef.parse(f"{registry.host}/a:1"))
        (blob,) = parse_document(place.document(place.root())).parts  # type: ignore[union-attr]  # it is no index
        assert b"".join(place.pieces(blob)) == b"signed"


def test_an_archive_lists_a_referrer_and_no_attestation_that_an_index_has(
    store: Store, tmp_path: Path
) -> None:
    """A referrer is found by being listed; an attestation manifest, which has a subject too, by its index."""
    image = make_image(store)
    config = Descriptor(media_type=mt.OCI_EMPTY, digest=store.blobs.put(b"{}"), size=2)
    attested = Manifest.build(
        config, [], artifact_type="a/attestation", subject=replace(image, platform=None)
    )
    index = Index.build([image, attested.descriptor()])
    referrer = Manifest.build(config, [], artifact_type="a/referrer", subject=index.descriptor())
    for document in (attested, index, referrer):
        store.blobs.put(document.raw)
    store.name(ImageRef.parse("a:1"), index.descriptor())
    store.name(ImageRef.parse(f"a@{referrer.digest}"), referrer.descriptor())
    smith(tmp_path, "copy", "--all", "--referrers", "store:a:1", f"oci-archive:{tmp_path}/a.tar:1")
    with tarfile.open(tmp_path / "a.tar") as tar:
        listed = json.load(tar.extractfile("index.json") or io.BytesIO())["manifests"]
    assert [d["digest"] for d in listed] == [str(index.digest), str(referrer.digest)]
