"""index create, add and remove."""

from __future__ import annotations

import json

from imagesmith.oci.model import Index
from tests.cli.conftest import Run


def test_index_is_made_and_changed(run: Run, host: str, image: str, index: str) -> None:
    run("index", "create", f"{host}/t/i:1", "app:1", "-a", "k=v")
    run("index", "add", f"{host}/t/i:1", "multi:1")
    found = Index.parse(run("inspect", "--raw", f"{host}/t/i:1").encode())
    assert sorted(str(m.platform) for m in found.manifests) == ["linux/amd64", "linux/arm64"]
    assert found.annotations == {"k": "v"}
    run("index", "remove", f"{host}/t/i:1", "--platform", "linux/arm64")
    assert len(Index.parse(run("inspect", "--raw", f"{host}/t/i:1").encode()).manifests) == 1


def test_manifest_goes_by_its_digest_and_a_list_of_dockers_type_stays_one(run: Run, index: str) -> None:
    alone = run("digest", "--platform", "linux/arm64", "store:multi:1").strip()
    run("index", "create", "--docker", "oci:layout:1", "multi:1")
    run("index", "remove", "oci:layout:1", "--digest", alone)
    found = json.loads(run("inspect", "--raw", "oci:layout:1"))
    assert found["mediaType"] == "application/vnd.docker.distribution.manifest.list.v2+json"
    assert [m["platform"]["architecture"] for m in found["manifests"]] == ["amd64"]


def test_single_image_is_no_index(run: Run, image: str) -> None:
    run("copy", "store:app:1", "oci:layout:1")
    assert "a single image, not an index" in run("index", "add", "oci:layout:1", "app:1", status=2)
