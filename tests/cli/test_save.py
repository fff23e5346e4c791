"""save: images of the store, or of any place, in one archive."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

from tests.cli.conftest import Run


def test_archive_of_docker_names_its_images(run: Run, image: str) -> None:
    run("tag", "app:1", "other:2")
    assert run("save", "app:1", "other:2", "-o", "both.tar") == f"{image}\n{image}\n"
    with tarfile.open("both.tar") as tar:
        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        named = [name for entry in json.load(manifest) for name in entry["RepoTags"]]
    assert sorted(named) == ["app:1", "other:2"]


def test_archive_on_standard_output_has_nothing_else_in_it(run: Run, image: str, tmp_path: Path) -> None:
    run("save", "--format", "oci", "app:1", "-o", "file.tar")
    out = run("save", "--format", "oci", "app:1")
    assert out.encode("utf-8", "surrogateescape") == (tmp_path / "file.tar").read_bytes()


def test_layout_holds_all_of_an_index_and_docker_one_platform(run: Run, index: str) -> None:
    assert run("save", "--format", "oci", "multi:1", "-o", "o.tar") == f"{index}\n"
    alone = run("save", "--platform", "linux/arm64", "multi:1", "-o", "d.tar").strip()
    assert run("load", "-q", "-i", "d.tar", "--root", "s2") == f"{alone}\n"
    assert "linux/arm64" in run("images", "--root", "s2")


def test_nothing_is_left_of_an_archive_that_failed(run: Run, image: str, tmp_path: Path) -> None:
    run("save", "app:1", "absent:1", "-o", "both.tar", status=7)
    assert [p.name for p in tmp_path.iterdir()] == ["store"]
