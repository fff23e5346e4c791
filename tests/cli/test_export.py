"""export: the file system of an image as a tar."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from tests.cli.conftest import Run
from tests.registry.images import layer_tar


def test_files_of_all_layers_are_in_the_tar(run: Run, image: str, tmp_path: Path) -> None:
    (tmp_path / "l.tar").write_bytes(layer_tar({"new": b"n", ".wh.b": b""}))
    run("append", "l.tar", "-b", "app:1", "-t", "store:more:1")
    assert run("export", "more:1", "root.tar") == ""
    with tarfile.open(tmp_path / "root.tar") as tar:
        assert tar.getnames() == ["a", "new"]


def test_tar_on_standard_output_is_the_same(run: Run, image: str, tmp_path: Path) -> None:
    run("export", "app:1", "root.tar")
    data = (tmp_path / "root.tar").read_bytes()
    assert run("export", "app:1").encode() == data
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames() == ["a", "b"]


def test_platform_of_an_index(run: Run, index: str, tmp_path: Path) -> None:
    run("export", "--platform", "linux/arm64", "multi:1", "root.tar")
    assert tarfile.is_tarfile(tmp_path / "root.tar")
    assert "no match for platform" in run(
        "export", "--platform", "linux/s390x", "multi:1", "no.tar", status=7
    )
    assert not (tmp_path / "no.tar").exists()
