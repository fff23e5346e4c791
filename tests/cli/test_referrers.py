"""referrers: what is attached to an image, to a platform's or to the index."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.mark.parametrize("place", ["{}/t/multi:1", "oci:layout:1"])
def test_index_and_platform_have_their_own(
    run: Run, host: str, index: str, tmp_path: Path, place: str
) -> None:
    name = place.format(host)
    run("copy", "store:multi:1", name)
    (tmp_path / "f").write_text("f")
    one = ("--platform", "linux/arm64")
    of_index = run("attach", name, "f", "--artifact-type", "a/index").strip()
    of_one = run("attach", name, "f", "--artifact-type", "a/one", *one).strip()
    assert run("referrers", name) == f"{of_index} a/index\n"
    assert run("referrers", *one, name) == f"{of_one} a/one\n"
    assert run("referrers", *one, "--artifact-type", "a/index", name) == ""


def test_json_is_an_index(run: Run, image: str, tmp_path: Path) -> None:
    run("copy", "store:app:1", "oci:layout:1")
    empty = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}
    assert json.loads(run("referrers", "--json", "oci:layout:1")) == empty
    (tmp_path / "f").write_text("f")
    made = run("attach", "oci:layout:1", "f", "--artifact-type", "a/b").strip()
    (found,) = json.loads(run("referrers", "--json", "oci:layout:1"))["manifests"]
    assert (found["digest"], found["artifactType"]) == (made, "a/b")
