"""rebase: an image's own layers on another base."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imagesmith.store.store import Store
from tests.cli.conftest import Run
from tests.registry.images import layer_tar, make_image


@pytest.fixture
def bases(tmp_path: Path) -> None:
    """Two bases in the store."""
    with Store(tmp_path / "store") as store:
        make_image(store, "base:1", layers=({"os": b"one"},))
        make_image(store, "base:2", layers=({"os": b"two"}, {"more": b"more"}))


def test_own_layers_lie_on_the_new_base(run: Run, bases: None, tmp_path: Path) -> None:
    (tmp_path / "l.tar").write_bytes(layer_tar({"own": b"own"}))
    run("append", "l.tar", "-b", "base:1", "-t", "store:app:1")
    run("rebase", "app:1", "--old-base", "base:1", "--new-base", "base:2", "-t", "store:app:2")
    report = json.loads(run("inspect", "app:2"))
    assert report["History"] == ["layer 0", "layer 1", "imagesmith append l.tar"]
    notes = {"name": "base:2", "digest": run("digest", "store:base:2").strip()}
    assert report["Annotations"] == {f"org.opencontainers.image.base.{k}": v for k, v in notes.items()}
    assert run("validate", "app:2").startswith("valid: 1 manifests, 3 blobs")


def test_annotations_tell_what_it_was_made_on(run: Run, host: str, bases: None, tmp_path: Path) -> None:
    name = f"{host}/t/base:1"
    run("push", "base:1", name)
    old = run("digest", name).strip()
    (tmp_path / "l.tar").write_bytes(layer_tar({"own": b"own"}))
    run("append", "l.tar", "-b", "base:1", "-t", "store:app:1")
    base = "org.opencontainers.image.base"
    run("mutate", "app:1", "--annotation", f"{base}.name={name}", "--annotation", f"{base}.digest={old}",
        "-t", "store:app:1")  # fmt: skip
    run("push", "base:2", name)
    run("rebase", "app:1", "-t", "store:app:2")
    assert run("inspect", "-f", "{{len .Layers}}", "app:2") == "3\n"


def test_image_that_was_not_made_on_the_old_base_is_refused(run: Run, bases: None, image: str) -> None:
    run("rebase", "app:1", "--old-base", "base:1", "--new-base", "base:2", "-t", "store:x", status=7)
    assert "give --old-base and --new-base" in run("rebase", "app:1", status=7)
