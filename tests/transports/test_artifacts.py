"""Artifacts where images are expected: refused where one is needed, shown and copied elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from imagesmith.cli.main import main
from imagesmith.errors import NotAnImage
from imagesmith.oci import mediatype as mt
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.model import Descriptor, Index, Manifest
from imagesmith.oci.names import ImageRef, Platform
from imagesmith.store.store import Store
from imagesmith.worker.sandbox import world
from tests.kitchen import NOWHERE, Kitchen
from tests.registry.conftest import serve_embedded
from tests.registry.images import layer_tar, make_image

HELM = "application/vnd.cncf.helm.config.v1+json"
#: name -> (type of the config, its bytes, type of the layer, artifactType, what is told)
ARTIFACTS = {
    "oras": (mt.OCI_EMPTY, b"{}", "text/plain", "application/x-thing", "application/x-thing"),
    "bare": (mt.OCI_EMPTY, b"{}", mt.OCI_EMPTY, "", mt.OCI_EMPTY),
    "helm": (HELM, b'{"name": "chart"}', "application/vnd.cncf.helm.chart.content.v1.tar+gzip", "", HELM),
    "odd": ("application/x-config", b"no json", mt.OCI_LAYER, "", "application/x-config"),
    "cosign": (mt.OCI_CONFIG, b"{}", "application/vnd.dev.cosign.simplesigning.v1+json", "", "simplesigning"),
}


def put(store: Store, data: bytes, media_type: str) -> Descriptor:
    store.blobs.put(data)
    return Descriptor(media_type=media_type, digest=digest_bytes(data), size=len(data))


def make_artifact(store: Store, kind: str) -> Descriptor:
    config_type, config, layer_type, artifact_type, _ = ARTIFACTS[kind]
    layers = [put(store, b"hello", layer_type)]
    manifest = Manifest.build(put(store, config, config_type), layers, artifact_type=artifact_type)
    store.blobs.put(manifest.raw)
    return manifest.descriptor()


@dataclass
class Shelf:
    """A store and a registry that have artifacts, and the command line."""

    root: Path
    host: str
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *words: str) -> tuple[int, str]:
        self.capsys.readouterr()
        status = main([words[0], "--root", str(self.root), *words[1:]])
        return status, self.capsys.readouterr().err


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve_embedded(tmp_path_factory.mktemp("registry")) as served:
        yield served.host


@pytest.fixture
def shelf(
    tmp_path: Path, host: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Shelf:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(world, "enter", lambda _: NOWHERE)  # this process has threads
    root = tmp_path / "store"
    with Store(root) as store:
        for kind in ARTIFACTS:
            store.name(ImageRef.parse(f"{kind}:1"), make_artifact(store, kind))
    found = Shelf(root, host, capsys)
    for kind in ARTIFACTS:
        assert found("copy", f"store:{kind}:1", f"docker://{host}/{kind}:1")[0] == 0
        assert found("copy", f"store:{kind}:1", f"oci:layout:{kind}")[0] == 0
    return found


PLACES: dict[str, Callable[[Shelf, str], str]] = {
    "store": lambda _, kind: f"store:{kind}:1",
    "registry": lambda shelf, kind: f"docker://{shelf.host}/{kind}:1",
    "layout": lambda _, kind: f"oci:layout:{kind}",
}


@pytest.mark.parametrize("kind", ARTIFACTS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "words",
    [
        "copy {} docker-archive:out.tar",
        "validate {}",
        "export {} out.tar",
        "diff {} {}",
        "mutate {} -t store:new:1 --label a=b",
        "flatten {} -t store:new:1",
        "append -b {} -t store:new:1 layer.tar",
    ],
)
def test_verbs_that_need_an_image_refuse_an_artifact(shelf: Shelf, kind: str, place: str, words: str) -> None:
    Path("layer.tar").write_bytes(layer_tar({"f": b"1"}))
    status, said = shelf(*words.replace("{}", PLACES[place](shelf, kind)).split())
    assert status == 6
    assert ARTIFACTS[kind][4] in said
    assert "not an image" in said.splitlines()[-1]
    assert not Path("out.tar").exists()


@pytest.mark.parametrize("kind", ARTIFACTS)
@pytest.mark.parametrize("place", PLACES)
def test_an_artifact_is_shown_and_copied_as_it_is(shelf: Shelf, kind: str, place: str) -> None:
    name = PLACES[place](shelf, kind)
    assert shelf("inspect", name)[0] == 0
    assert shelf("copy", name, "oci-archive:out.tar")[0] == 0
    assert shelf("copy", name, "oci:other:1")[0] == 0


@pytest.mark.parametrize("kind", ARTIFACTS)
@pytest.mark.parametrize("first", ["{kind}:1", "{host}/{kind}:1"])
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("FROM scratch AS a\nENV a=1\nFROM {}\nCOPY f /f\n", 3),
        ("FROM scratch\nCOPY f /f\nCOPY --from={} /f /g\n", 3),
        ("FROM scratch\nRUN --mount=from={},target=/m true\n", 2),
    ],
)
def test_a_build_refuses_an_artifact_at_its_line(
    shelf: Shelf, kind: str, first: str, text: str, line: int
) -> None:
    name = first.format(kind=kind, host=shelf.host)
    Path("Dockerfile").write_text(text.format(name))
    Path("f").write_text("1\n")
    status, said = shelf("build", ".")
    assert status == 3
    assert said.splitlines()[-1].startswith(f"error: {name}: failed to resolve source metadata for ")
    assert ARTIFACTS[kind][4] in said
    assert f"\nDockerfile:{line}\n" in f"\n{said}"


@pytest.mark.parametrize("kind", ARTIFACTS)
def test_artifacts_as_contexts_and_of_run_are_refused(shelf: Shelf, kind: str) -> None:
    Path("Dockerfile").write_text("FROM base\n")
    for place in (f"oci-layout://layout:{kind}", f"docker-image://{shelf.host}/{kind}:1"):
        status, said = shelf("build", "--build-context", f"base={place}", ".")
        assert (status, "Dockerfile:1" in said) == (3, True)
    assert shelf("run", f"{kind}:1", "true")[0] in (6, 9)  # 9 where nothing can be run
    assert shelf("pull", f"{shelf.host}/{kind}:1")[0] == 0
    assert shelf("run", f"{shelf.host}/{kind}:1", "true")[0] in (6, 9)


def test_an_artifact_beside_images_in_an_index_is_no_base_and_no_hindrance(kitchen: Kitchen) -> None:
    folder = kitchen.root.parent / "layout"
    kitchen.build("FROM scratch\nENV A=1\n", outputs=[f"type=oci,tar=false,dest={folder}"])
    with Store(kitchen.root) as store:
        entry = json.loads((folder / "index.json").read_bytes())["manifests"][0]
        image = Manifest.parse(_blob(folder, entry)).descriptor()
        thing = make_artifact(store, "oras")
        index = Index.build([thing, image])
        for d in (thing, *Manifest.parse(store.blobs.read(thing.digest)).layers):
            _put(folder, store.blobs.read(d.digest))
        _put(folder, b"{}")
        _put(folder, index.raw)
    root = {"mediaType": index.media_type, "digest": str(digest_bytes(index.raw)), "size": len(index.raw)}
    root["annotations"] = {"org.opencontainers.image.ref.name": "both"}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [root]}))
    built = kitchen.build("FROM base\nENV B=2\n", contexts={"base": f"oci-layout://{folder}:both"})
    assert {"A=1", "B=2"} <= set(built.image.config.runtime.env)


def _blob(folder: Path, entry: dict[str, str]) -> bytes:
    return (folder / "blobs" / "sha256" / entry["digest"].partition(":")[2]).read_bytes()


def _put(folder: Path, data: bytes) -> None:
    (folder / "blobs" / "sha256" / digest_bytes(data).hex).write_bytes(data)


def test_images_of_old_and_new_types_are_images(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        d = make_image(store)
        manifest = store.manifest(d, Platform("linux", "amd64"))
        old = Descriptor(
            media_type="application/octet-stream", digest=manifest.config.digest, size=manifest.config.size
        )
        again = Manifest.build(old, manifest.layers)
        assert store.config(again) == store.config(manifest)
        foreign = Descriptor(media_type=mt.DOCKER_FOREIGN + ".gzip", digest=d.digest, size=d.size)
        assert store.config(Manifest.build(manifest.config, [foreign]))
        with pytest.raises(NotAnImage):
            store.config(Manifest.build(manifest.config, [old]))
