"""Plans of copies: what is read of an image before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagesmith.errors import LimitExceeded
from imagesmith.oci.names import Platform
from imagesmith.store.store import Store
from imagesmith.transports import copier
from imagesmith.transports.copier import Choice, plan_copy
from imagesmith.transports.stored import StorePlace
from tests.registry.images import make_index


def test_manifests_that_are_too_large_together_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store(tmp_path) as store:
        place = StorePlace(store, root=make_index(store))
        size = sum(len(raw) for raw in plan_copy(place, Choice()).raw.values())
        monkeypatch.setattr(copier, "_MOST_BYTES", size)
        assert len(plan_copy(place, Choice()).manifests) == 3
        monkeypatch.setattr(copier, "_MOST_BYTES", size - 1)
        with pytest.raises(LimitExceeded, match=f"sha256:.*: more than {size - 1} bytes of manifests"):
            plan_copy(place, Choice())
        one = Choice(platforms=(Platform("linux", "amd64"),))
        assert len(plan_copy(place, one).manifests) == 1


def test_index_with_too_many_manifests_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copier, "_MOST_MANIFESTS", 0)
    with Store(tmp_path) as store, pytest.raises(LimitExceeded, match="too many manifests"):
        plan_copy(StorePlace(store, root=make_index(store)), Choice())
