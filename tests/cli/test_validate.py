"""validate: an image to its last byte, or its documents alone."""

from __future__ import annotations

from pathlib import Path

from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Index, Manifest
from imagesmith.store.store import Store
from tests.cli.conftest import Run


def test_layer_that_the_store_has_lost_is_not_one_that_nobody_pulled(run: Run, index: str) -> None:
    with Store(Path("store")) as store:
        arm = Index.parse(store.blobs.read(Digest.parse(index))).manifests[1]
        store.blobs.remove(Manifest.parse(store.blobs.read(arm.digest)).layers[0].digest)
    assert "error: " in run("validate", "multi:1", status=7)


def test_byte_that_changed_is_found_unless_layers_are_not_read(run: Run, image: str, tmp_path: Path) -> None:
    run("copy", "store:app:1", "oci:layout:1")
    assert run("validate", "oci:layout:1").startswith("valid: 1 manifests, 2 blobs")
    manifest = Manifest.parse((tmp_path / "layout/blobs/sha256" / image[7:]).read_bytes())
    layer = tmp_path / "layout/blobs/sha256" / manifest.layers[0].digest.hex
    data = bytearray(layer.read_bytes())
    data[-1] ^= 1
    layer.chmod(0o644)
    layer.write_bytes(data)
    assert manifest.layers[0].digest.hex in run("validate", "oci:layout:1", status=6)
    assert run("validate", "--fast", "oci:layout:1").startswith("valid: ")
