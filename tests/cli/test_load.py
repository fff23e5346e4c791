"""load: archives of both kinds, with names and without."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from tests.cli.conftest import Run


def test_save_and_load(run: Run, image: str, tmp_path: Path) -> None:
    run("tag", "app:1", "other:2")
    run("save", "app:1", "other:2", "-o", "both.tar")
    assert run("load", "-i", "both.tar", "--root", "s2") == "loaded app:1\nloaded other:2\n"
    assert image[:19] in run("images", "--root", "s2")
    assert run("load", "-q", "-i", "both.tar", "--root", "s3") == f"{image}\n{image}\n"


def test_archive_comes_from_standard_input(run: Run, image: str, tmp_path: Path) -> None:
    run("save", "app:1", "-o", "app.tar")
    here = ("--root", "s2")
    assert run("load", *here, stdin=(tmp_path / "app.tar").read_bytes()) == "loaded app:1\n"
    assert json.loads(run("load", "--json", *here, "-i", "app.tar"))["digest"] == image


def test_image_without_a_name_is_told_by_its_digest(run: Run, image: str, tmp_path: Path) -> None:
    run("copy", "store:app:1", "oci:layout")
    with tarfile.open(tmp_path / "layout.tar", "w") as tar:
        tar.add(tmp_path / "layout", ".")
    assert run("load", "-i", "layout.tar", "--root", "s2") == f"loaded {image}\n"
    assert run("images", "--root", "s2") == "NAME   DIGEST   PLATFORM   SIZE\n"


def test_index_stays_one_and_a_platform_of_it_comes_alone(run: Run, index: str) -> None:
    run("save", "--format", "oci", "multi:1", "-o", "multi.tar")
    assert run("load", "-q", "-i", "multi.tar", "--root", "s2") == f"{index}\n"
    run("load", "-i", "multi.tar", "--platform", "linux/arm64", "--root", "s3")
    (row,) = json.loads(run("images", "--json", "--root", "s3"))
    assert row["platform"] == "linux/arm64"


def test_archive_of_something_else_is_refused(run: Run, image: str, tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("README"))
    assert "standard input: no manifest.json in the archive" in run("load", stdin=out.getvalue(), status=7)
