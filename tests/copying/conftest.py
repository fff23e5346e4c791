"""A registry for copies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.embedded.registry import Registry


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """The host of a registry."""
    with Registry(tmp_path / "registry") as served:
        yield served.host
