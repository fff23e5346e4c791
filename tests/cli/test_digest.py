"""digest: what a reference stands for, in every place."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagesmith.embedded.registry import Registry
from tests.cli.conftest import Run
from tests.registry.faultproxy import FaultProxy


@pytest.mark.parametrize("place", ["{}/t/multi:1", "store:multi:1", "oci:layout:1", "oci-archive:o.tar:1"])
def test_digest_is_that_of_the_index_or_of_a_platform(run: Run, host: str, index: str, place: str) -> None:
    name = place.format(host)
    if not name.startswith("store:"):
        run("copy", "store:multi:1", name)
    assert run("digest", name) == f"{index}\n"
    alone = run("digest", "--platform", "linux/arm64", name)
    assert alone == run("digest", "--platform", "linux/arm64", "store:multi:1") != f"{index}\n"


def test_registry_is_asked_for_no_manifest(run: Run, image: str, tmp_path: Path) -> None:
    """Docker Hub counts those that are read."""
    with Registry(tmp_path / "registry") as registry, FaultProxy(registry.host) as proxy:
        run("push", "app:1", f"{proxy.host}/t/app:1")
        before = len(proxy.seen())
        assert run("digest", f"{proxy.host}/t/app:1") == f"{image}\n"
        assert [e.method for e in proxy.seen()[before:] if "/manifests/" in e.target] == ["HEAD"]


def test_name_that_is_not_there_is_an_error(run: Run, host: str, image: str) -> None:
    run("push", "app:1", f"{host}/t/app:1")
    assert "not found" in run("digest", f"{host}/t/app:2", status=7)
