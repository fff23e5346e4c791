"""manifest get, put and delete: documents as they are stored."""

from __future__ import annotations

import json

import pytest

from imagesmith.oci.model import MAX_MANIFEST_BYTES
from tests.cli.conftest import Run


def test_manifest_is_read_stored_again_and_deleted(run: Run, host: str, image: str) -> None:
    run("push", "app:1", f"{host}/t/app:1")
    raw = run("manifest", "get", f"{host}/t/app:1").encode()
    assert run("manifest", "put", f"{host}/t/app:again", stdin=raw) == f"{image}\n"
    assert run("manifest", "get", f"{host}/t/app:again").encode() == raw
    assert run("manifest", "delete", f"{host}/t/app@{image}") == f"deleted {host}/t/app@{image}\n"
    assert "not found" in run("manifest", "get", f"{host}/t/app:1", status=7)


def test_manifest_of_one_platform_within_an_index(run: Run, index: str) -> None:
    assert len(json.loads(run("manifest", "get", "store:multi:1"))["manifests"]) == 2
    assert "layers" in json.loads(run("manifest", "get", "--platform", "linux/arm64", "store:multi:1"))


@pytest.mark.parametrize(
    ("stdin", "status", "said"),
    [
        (b"{", 6, "standard input: manifest sha256:021fb596db81"),
        (b" " * (MAX_MANIFEST_BYTES + 1), 2, "-: longer than a manifest may be"),
    ],
    ids=["no-json", "too-long"],
)
def test_what_is_no_manifest_is_not_sent(run: Run, host: str, stdin: bytes, status: int, said: str) -> None:
    assert said in run("manifest", "put", f"{host}/t/app:x", stdin=stdin, status=status)
    assert "cannot read /no/file: No such file" in run(
        "manifest", "put", f"{host}/t/app:x", "/no/file", status=2
    )
