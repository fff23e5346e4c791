"""Images whose layers, configs and diff_ids are named by sha512: taken from layouts and registries, verified,
built on."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

import imagesmith
from imagesmith.errors import DigestMismatch
from imagesmith.oci import mediatype as mt
from imagesmith.oci.config import ImageConfig
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.oci.names import host_platform
from imagesmith.store.store import Store
from tests.kitchen import Kitchen, kitchen, tar_of
from tests.registry.conftest import serve_embedded

__all__ = ["kitchen"]


def layout(folder: Path, diff_algorithm: str, *, damage: bool = False) -> Path:
    """An image of one layer; all its blobs have names of sha512."""
    blobs = folder / "blobs" / "sha512"
    blobs.mkdir(parents=True)

    def put(media_type: str, data: bytes) -> Descriptor:
        d = Descriptor(media_type=media_type, digest=digest_bytes(data, "sha512"), size=len(data))
        (blobs / d.digest.hex).write_bytes(data)
        return d

    tar = tar_of({"etc/": b"", "etc/f": b"content"})
    layer = put(mt.OCI_LAYER_GZIP, gzip.compress(tar))
    if damage:
        (blobs / layer.digest.hex).write_bytes(gzip.compress(tar, 1)[: layer.size].ljust(layer.size, b"\0"))
    config = ImageConfig(platform=host_platform(), diff_ids=(digest_bytes(tar, diff_algorithm),))
    entry = put(mt.OCI_MANIFEST, Manifest.build(put(mt.OCI_CONFIG, config.to_bytes()), [layer]).raw)
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry.to_json()]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return folder


@pytest.mark.parametrize("diff_algorithm", ["sha256", "sha512"])
def test_layer_is_built_on_and_pruned(kitchen: Kitchen, tmp_path: Path, diff_algorithm: str) -> None:
    base = layout(tmp_path / "base", diff_algorithm)
    built = kitchen.build(
        "FROM base\nCOPY --from=base /etc/f /g\n", contexts={"base": f"oci-layout://{base}"}
    )
    assert kitchen.names(built) == ["g"]
    with Store(kitchen.root) as store:
        assert store.prune(everything=True).layers == 2
        assert list(store.layers.root.iterdir()) == []


def test_image_is_copied_and_verified(tmp_path: Path) -> None:
    base = layout(tmp_path / "base", "sha512")
    imagesmith.copy(f"oci:{base}", "store:x:1", root=tmp_path / "s")
    with Store(tmp_path / "s") as store:
        assert {d.algorithm for d in store.blobs.digests()} == {
            "sha256",
            "sha512",
        }  # the manifest is named anew
    bad = layout(tmp_path / "bad", "sha512", damage=True)
    with pytest.raises(DigestMismatch, match="sha512"):
        imagesmith.copy(f"oci:{bad}", "store:y:1", root=tmp_path / "t")


def test_image_of_a_registry_is_built_on_and_pushed(kitchen: Kitchen, tmp_path: Path) -> None:
    base = layout(tmp_path / "base", "sha512")
    with serve_embedded(tmp_path / "registry") as registry:
        imagesmith.copy(f"oci:{base}", f"docker://{registry.host}/base:1", insecure=True, root=tmp_path / "s")
        built = kitchen.build(
            f"FROM {registry.host}/base:1 AS base\nFROM base\nCOPY --from=base /etc/f /g\n",
            tags=[f"{registry.host}/app:1"],
            push=True,
            insecure=True,
        )
        assert kitchen.names(built) == ["g"]
        imagesmith.copy(
            f"docker://{registry.host}/app:1", f"oci:{tmp_path}/back", insecure=True, root=tmp_path / "t"
        )
    layers = Manifest.parse((tmp_path / "back" / "blobs" / "sha256" / built.digest.hex).read_bytes()).layers
    assert [d.digest.algorithm for d in layers] == ["sha512", "sha256"]
