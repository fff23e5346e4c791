"""Archives that keep a whole index and the blobs of some platforms: `ctr images export`, `docker save`."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagesmith.cli.main import main
from imagesmith.embedded.registry import Registry
from imagesmith.errors import DigestMismatch, NotFound
from imagesmith.events import Event, Warned
from imagesmith.oci.codec import dumps
from imagesmith.oci.mediatype import OCI_MANIFEST
from imagesmith.oci.model import Descriptor, Index, Manifest
from imagesmith.oci.names import ImageRef, Platform
from imagesmith.store.store import Store
from imagesmith.transports.copier import Choice
from imagesmith.transports.names import PlaceName, open_source, open_target
from imagesmith.transports.transfer import Session
from tests.registry.images import make_image

ARM = Platform("linux", "arm64")
Export = Callable[..., tuple[Descriptor, list[Descriptor]]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as store:
        yield store


@pytest.fixture
def export(tmp_path: Path) -> Export:
    """Write `a.tar` as containerd exports an image; returns the index and its manifests."""

    def export(
        *left: str, without: str = "all", attested: bool = True
    ) -> tuple[Descriptor, list[Descriptor]]:
        """Of three platforms `left` are in it; of the others nothing is, or their `without` is not."""
        with Store(tmp_path / "made") as made:
            images = [
                make_image(made, layers=({name: name.encode()},), architecture=name)
                for name in ("amd64", "arm64", "s390x")
            ]
            entries = []
            for d in images:
                entries.append(d)
                if attested:
                    entries.append(attestation(made, d))
            index = Index.build(entries)
            made.blobs.put(index.raw)
            with tarfile.open(tmp_path / "a.tar", "w") as tar:
                write(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
                name = {"io.containerd.image.name": "h.io/app:1", "org.opencontainers.image.ref.name": "1"}
                entry = {**index.descriptor().to_json(), "annotations": name}
                write(tar, "index.json", dumps({"schemaVersion": 2, "manifests": [entry]}))
                write(tar, path(index.descriptor()), index.raw)
                for d in images:
                    manifest = Manifest.parse(made.blobs.read(d.digest))
                    blobs = {"manifest": d, "config": manifest.config, "layer": manifest.layers[0]}
                    absent = d.platform is not None and d.platform.architecture not in left
                    for kind, blob in blobs.items():
                        if not (absent and without in ("all", kind)):
                            write(tar, path(blob), made.blobs.read(blob.digest))
                row = {"Config": path(blobs["config"]), "RepoTags": ["h.io/app:1"], "Layers": []}
                write(tar, "manifest.json", json.dumps([row]).encode())
                if attested:
                    for d in [e for e in entries if e.is_attestation]:
                        add_attestation(tar, made, d)
        return index.descriptor(), images

    return export


def attestation(store: Store, d: Descriptor) -> Descriptor:
    """An attestation manifest of an image, as BuildKit writes it."""
    raw = dumps({"of": str(d.digest)})
    digest = store.blobs.put(raw)
    blob = Descriptor(media_type="application/vnd.in-toto+json", digest=digest, size=len(raw))
    manifest = Manifest.build(blob, [blob])
    store.blobs.put(manifest.raw)
    note = {"vnd.docker.reference.digest": str(d.digest), "vnd.docker.reference.type": "attestation-manifest"}
    return Descriptor(
        media_type=OCI_MANIFEST, digest=manifest.digest, size=len(manifest.raw), annotations=note,
        platform=Platform("unknown", "unknown"),
    )  # fmt: skip


def add_attestation(tar: tarfile.TarFile, store: Store, d: Descriptor) -> None:
    raw = store.blobs.read(d.digest)
    write(tar, path(d), raw)
    blob = Manifest.parse(raw).config
    write(tar, path(blob), store.blobs.read(blob.digest))


def path(d: Descriptor) -> str:
    return f"blobs/sha256/{d.digest.hex}"


def write(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def copy(
    store: Store, source: str, target: str, choice: Choice | None = None
) -> tuple[Descriptor, list[str]]:
    told: list[Event] = []
    with (
        Session(store, events=told.append) as session,
        open_source(PlaceName.parse(source, "store"), session, store) as a,
        open_target(PlaceName.parse(target, "store"), session, store) as b,
    ):
        found = session.copy(a, b, choice)
    return found, [e.text for e in told if isinstance(e, Warned)]


@pytest.mark.parametrize("without", ["all", "config", "layer"])
@pytest.mark.parametrize("attested", [True, False])
def test_index_is_loaded_as_it_is_with_what_is_there(
    store: Store, tmp_path: Path, export: Export, without: str, attested: bool
) -> None:
    index, images = export("arm64", "s390x", without=without, attested=attested)
    assert main(["load", "-q", "-i", str(tmp_path / "a.tar"), "--root", str(tmp_path / "store")]) == 0
    assert store.find(ImageRef.parse("h.io/app:1")).digest == index.digest  # type: ignore[union-attr]  # it is there
    assert store.config(store.manifest(index, ARM)).platform == ARM
    assert store.blobs.has(images[2].digest)


def test_one_platform_goes_to_a_registry_alone_several_as_an_index(
    store: Store, tmp_path: Path, export: Export
) -> None:
    with Registry(tmp_path / "registry") as registry:
        _, images = export("arm64")
        place = f"oci-archive:{tmp_path}/a.tar"
        found, said = copy(store, place, f"docker://{registry.host}/a:1")
        assert found.digest == images[1].digest
        assert said[0] == f"{tmp_path}/a.tar: left out linux/amd64, linux/s390x: not there"
        assert ["copy --referrers takes it along" in line for line in said[1:]] == [True]
        _, images = export("arm64", "amd64")
        found, said = copy(store, place, f"docker://{registry.host}/a:2")
        assert said == [f"{tmp_path}/a.tar: left out linux/s390x: not there"]
        with Session(store) as session:
            raw = session.repository(ImageRef.parse(f"{registry.host}/a:2")).document(found)
        kept = Index.parse(raw).manifests
        assert [m.digest for m in kept if not m.is_attestation] == [d.digest for d in images[:2]]
        assert sum(m.is_attestation for m in kept) == 2


def test_platform_is_chosen_among_what_is_there(store: Store, tmp_path: Path, export: Export) -> None:
    index, images = export("arm64", "s390x")
    load = ["load", "-q", "-i", str(tmp_path / "a.tar"), "--root", str(tmp_path / "store"), "--platform"]
    assert main([*load, "linux/amd64"]) == 7
    assert store.find(ImageRef.parse("h.io/app:1")) is None
    assert main([*load, "linux/arm64"]) == 0
    assert store.find(ImageRef.parse("h.io/app:1")).digest == index.digest  # type: ignore[union-attr]  # it is there
    assert not store.blobs.has(images[2].digest)
    place = f"oci-archive:{tmp_path}/a.tar"
    assert copy(store, place, "b:1", Choice(platforms=(ARM,)))[0].digest == images[1].digest
    with pytest.raises(NotFound, match="no match for platform"):
        copy(store, place, "b:1", Choice(platforms=(Platform("linux", "amd64"),)))


def test_archive_without_any_platform_is_refused(store: Store, tmp_path: Path, export: Export) -> None:
    export()
    with pytest.raises(NotFound, match="none of the index's images is there: linux/amd64, linux/arm64"):
        copy(store, f"oci-archive:{tmp_path}/a.tar", "b:1")


def test_what_is_damaged_is_not_left_out(store: Store, tmp_path: Path, export: Export) -> None:
    export("amd64", "arm64", "s390x")
    raw = (tmp_path / "a.tar").read_bytes()
    damaged = raw.replace(b'"architecture":"s390x"', b'"architecture":"s390y"')
    assert damaged != raw
    (tmp_path / "a.tar").write_bytes(damaged)
    with pytest.raises(DigestMismatch):
        copy(store, f"oci-archive:{tmp_path}/a.tar", "b:1")


def test_index_that_names_one_thing_thousands_of_times_is_read_once(store: Store) -> None:
    """Four levels of it: without a memory that is 5,000 to the power of four."""
    d = make_image(store)
    for _ in range(4):
        index = Index.build([d] * 5000)
        store.blobs.put(index.raw)
        d = index.descriptor()
    store.name(ImageRef.parse("deep:1"), d)
    assert copy(store, "deep:1", "again:1")[0].digest == d.digest
