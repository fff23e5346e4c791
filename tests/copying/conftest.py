"""Registries with images in them, and the two sides of copies between them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.copying.ends import Ends, open_ends
from imagesmith.embedded.registry import Registry
from imagesmith.store.store import Store


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """The host of a registry."""
    with Registry(tmp_path / "registry") as served:
        yield served.host


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Ends]:
    """Sides that are reached alike, with a store."""
    with Store(tmp_path / "store") as store, open_ends(store) as found:
        yield found
