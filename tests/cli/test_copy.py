"""copy: any place at both ends, all of an index or parts of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imagesmith.oci.model import Index
from tests.cli.conftest import Run


@pytest.mark.parametrize("kind", ["oci:{}/l:x", "oci-archive:{}/o.tar:x", "docker-archive:{}/d.tar:x:1"])
def test_copy_takes_every_place_at_both_ends(
    run: Run, host: str, image: str, tmp_path: Path, kind: str
) -> None:
    place = kind.format(tmp_path)
    run("push", "app:1", f"{host}/t/app:1")
    assert run("copy", f"{host}/t/app:1", place) == f"{image}\n"
    assert run("copy", place, f"{host}/t/back:1") == f"{image}\n"
    assert run("copy", place, "store:back:1") == f"{image}\n"


def test_copy_of_an_index_all_of_it_or_parts(run: Run, host: str, index: str) -> None:
    run("push", "multi:1", f"{host}/t/multi:1")
    assert run("copy", f"{host}/t/multi:1", f"{host}/t/all:1") == f"{index}\n"
    one = run("copy", "--platform", "linux/arm64", f"{host}/t/multi:1", f"{host}/t/one:1")
    assert one == run("digest", "--platform", "linux/arm64", f"{host}/t/multi:1")
    run("copy", "--platform", "linux/arm64,linux/amd64", f"{host}/t/multi:1", f"{host}/t/two:1")
    assert len(Index.parse(run("inspect", "--raw", f"{host}/t/two:1").encode()).manifests) == 2
    assert "no match for platform" in run(
        "copy", "--platform", "linux/s390x", f"{host}/t/multi:1", f"{host}/t/x:1", status=7
    )


def test_manifests_are_rewritten_to_the_types_that_are_asked_for(run: Run, image: str) -> None:
    """There and back again is the image that it was."""
    docker = run("copy", "-f", "docker", "store:app:1", "oci:layout:docker")
    assert docker != f"{image}\n"
    assert "docker.distribution.manifest.v2" in run("inspect", "--raw", "oci:layout:docker")
    assert run("copy", "-f", "oci", "oci:layout:docker", "oci:layout:oci") == f"{image}\n"


def test_archive_of_docker_gets_this_machines_platform_of_an_index(run: Run, index: str) -> None:
    one = run("copy", "store:multi:1", "docker-archive:d.tar:multi:1")
    assert one != f"{index}\n"
    assert run("copy", "--all", "store:multi:1", "oci-archive:o.tar:1") == f"{index}\n"


def test_attestations_go_with_their_images(run: Run, host: str, context: Path) -> None:
    for arch in ("amd64", "arm64", "s390x"):
        words = ("--platform", f"linux/{arch}", "--provenance", "mode=min", str(context))
        run("build", "-q", "-t", f"a:{arch}", *words)
    run("index", "create", "store:all:1", *(f"store:a:{arch}" for arch in ("amd64", "arm64", "s390x")))
    run("push", "all:1", f"{host}/t/all:1")
    run("copy", f"{host}/t/all:1", "oci:layout:all")
    run("copy", "--platform", "linux/s390x,linux/amd64", f"{host}/t/all:1", "oci:layout:two")

    def attested(name: str) -> list[str]:
        return sorted(json.loads(run("inspect", "-f", "{{json .Provenance}}", name)))

    assert attested("oci:layout:all") == ["linux/amd64", "linux/arm64", "linux/s390x"]
    assert attested("oci:layout:two") == ["linux/amd64", "linux/s390x"]


def test_one_platform_is_an_image_and_takes_its_attestation_as_a_referrer(
    run: Run, host: str, context: Path
) -> None:
    run("build", "-q", "-t", "a:1", "--provenance", "mode=min", "-o", "type=image", str(context))
    run("push", "a:1", f"{host}/t/a:1")
    platform = ("--platform", run("inspect", "-f", "{{.Os}}/{{.Architecture}}", "a:1").strip())
    for n, flags in enumerate([(), ("--referrers",)]):
        for name in (f"{host}/t/b{n}:1", f"oci:layout:{n}"):
            run("copy", *platform, *flags, f"{host}/t/a:1", name)
            assert "image.manifest" in run("inspect", "-f", "{{.MediaType}}", name)
            shown = json.loads(run("inspect", "-f", "{{json .Provenance}}", name))
            assert list(shown) == ["SLSA"] * n
