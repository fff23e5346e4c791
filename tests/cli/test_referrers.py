"""referrers: what is attached to an image, to a platform's or to the index."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from imagesmith.cli.main import main
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


def test_where_was_looked_is_told(
    run: Run, host: str, context: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    run("build", "-q", "-t", "a:1", "--provenance", "mode=min", str(context))
    run("push", "a:1", f"{host}/t/a:1")
    run("copy", f"{host}/t/a:1", "oci:layout:1")

    def told(name: str) -> str:
        assert main(["referrers", name]) == 0
        sys.stdout.flush()
        return capfdbinary.readouterr().err.decode()

    said = told(f"docker://{host}/t/a:1")
    assert f"looked at the referrers API of {host}, " in said or f"for {host} has no referrers API, " in said
    assert "looked at layout:1, " in told("oci:layout:1")
    for text in (said, told("oci:layout:1"), told("a:1")):
        assert "the index lists 1 attestation manifest besides: see inspect --format" in text
