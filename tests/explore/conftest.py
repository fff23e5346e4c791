"""Images for tests of looking into them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.explore.files import ImageFiles, open_files
from imagesmith.explore.model import Exploration, explore
from imagesmith.oci.names import Platform
from imagesmith.store.store import Store
from imagesmith.transports.stored import StorePlace
from tests.registry.images import make_image

HERE = Platform("linux", "amd64")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as store:
        yield store


def opened(store: Store, *layers: dict[str, bytes]) -> ImageFiles:
    """An image of these layers, opened."""
    root = make_image(store, layers=layers)
    return open_files(StorePlace(store, root=root), store, HERE)


def explored(store: Store, *layers: dict[str, bytes]) -> Exploration:
    """The same, looked through."""
    return explore(opened(store, *layers))
