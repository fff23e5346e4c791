"""flatten: one layer with the same files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.registry.images import layer_tar


def test_one_layer_has_the_same_files(run: Run, image: str, tmp_path: Path) -> None:
    (tmp_path / "l.tar").write_bytes(layer_tar({"new": b"n"}))
    run("append", "l.tar", "-b", "app:1", "-t", "store:more:1")
    run("flatten", "more:1", "-t", "store:flat:1")
    assert run("inspect", "-f", "{{len .Layers}}", "flat:1") == "1\n"
    assert run("diff", "--only", "files", "more:1", "flat:1") == ""


def test_epoch_makes_the_same_image_again(run: Run, image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1100000000")
    assert run("flatten", "app:1", "-t", "store:a") == run("flatten", "app:1", "-t", "store:b")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "soon")
    assert "invalid SOURCE_DATE_EPOCH: soon" in run("flatten", "app:1", "-t", "store:c", status=2)


def test_every_image_of_an_index_is_flattened(run: Run, index: str) -> None:
    run("flatten", "multi:1", "-t", "store:flat:1")
    for platform in ("linux/amd64", "linux/arm64"):
        assert run("inspect", "--platform", platform, "-f", "{{len .Layers}}", "flat:1") == "1\n"
