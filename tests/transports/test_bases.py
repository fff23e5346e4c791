"""Bases that cannot be had: what is told of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.embedded.registry import Registry
from imagesmith.errors import RegistryError
from imagesmith.oci.names import ImageRef
from imagesmith.store.store import Store
from tests.kitchen import Kitchen
from tests.registry.images import make_index


@pytest.fixture
def name(tmp_path: Path) -> Iterator[str]:
    """The name of an image that its registry has not got."""
    with Registry(tmp_path / "registry") as registry:
        yield f"{registry.host}/base:1"


def message(kitchen: Kitchen, name: str, platform: str, *, pull: bool = False) -> str:
    with pytest.raises(RegistryError) as e:
        kitchen.build(f"FROM --platform={platform} {name}\nCOPY . /\n", tags=["a"], pull=pull, insecure=True)
    return e.value.message


def test_a_platform_that_the_store_lacks_is_told_with_those_that_it_has(kitchen: Kitchen, name: str) -> None:
    assert "the store has it" not in message(kitchen, name, "linux/s390x")
    with Store(kitchen.root) as store:
        make_index(store, name)
    assert message(kitchen, name, "linux/s390x").endswith(
        "; the store has it for linux/amd64, linux/arm64, not for linux/s390x"
    )
    assert "the store has it" not in message(kitchen, name, "linux/amd64", pull=True)  # it was not looked at


def test_what_was_pulled_for_one_platform_is_there_for_that_one(kitchen: Kitchen, name: str) -> None:
    with Store(kitchen.root) as store:
        make_index(store, name)
        found = store.find(ImageRef.parse(name))
        assert found is not None
        arm = next(d for d in store.document(found.digest).manifests if "arm64" in str(d.platform))  # type: ignore[union-attr]  # it is an index
        store.blobs.remove(arm.digest)
    assert message(kitchen, name, "linux/arm64").endswith(
        "; the store has it for linux/amd64, not for linux/arm64"
    )
