"""attach: files beside an image, which refer to it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.mark.parametrize("place", ["{}/t/app:1", "oci:layout:1"])
def test_files_are_attached_and_found(run: Run, host: str, image: str, tmp_path: Path, place: str) -> None:
    name = place.format(host)
    run("copy", "store:app:1", name)
    (tmp_path / "sbom").write_text("{}")
    made = run(
        "attach", name, "sbom:application/spdx+json", "--artifact-type", "application/spdx+json"
    ).strip()
    assert run("referrers", name) == f"{made} application/spdx+json\n"
    assert run("referrers", name, "--artifact-type", "a/b") == ""
    run("copy", "--referrers", name, f"{host}/copy/app:1")
    assert json.loads(run("referrers", "--json", f"{host}/copy/app:1"))["manifests"][0]["digest"] == made
    run("copy", "--referrers", name, "store:here:1")
    assert made in run("referrers", "here:1")


def test_manifest_says_type_annotations_and_subject(run: Run, image: str, tmp_path: Path) -> None:
    run("copy", "store:app:1", "oci:layout:1")
    (tmp_path / "a").write_text("a")
    made = run("attach", "oci:layout:1", "a:text/plain", "--artifact-type", "a/b", "-a", "k=v").strip()
    found = json.loads((tmp_path / "layout/blobs/sha256" / made[7:]).read_bytes())
    assert (found["artifactType"], found["annotations"]["k"], found["subject"]["digest"]) == (
        "a/b",
        "v",
        image,
    )
    assert [layer["mediaType"] for layer in found["layers"]] == ["text/plain"]


def test_colon_of_a_path_is_not_that_of_a_type(run: Run, image: str, tmp_path: Path) -> None:
    run("copy", "store:app:1", "oci:layout:1")
    (tmp_path / "a:1").write_text("a")
    assert run("attach", "oci:layout:1", "a:1", "--artifact-type", "a/b").startswith("sha256:")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["store:app:1", "--artifact-type", "a/b"], "images of registries and layouts"),
        (["oci:layout:1", "--artifact-type", "word"], "'word' is no media type"),
        (["oci:layout:1", "absent", "--artifact-type", "a/b"], "absent"),
    ],
)
def test_what_cannot_be_attached_is_told(run: Run, image: str, words: list[str], said: str) -> None:
    run("copy", "store:app:1", "oci:layout:1")
    assert said in run("attach", *words, status=2)
