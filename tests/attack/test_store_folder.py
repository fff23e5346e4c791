"""Attacks through the folder of a store: others who may enter it, folders of others, links in it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from imagesmith.errors import StoreError
from imagesmith.store.store import Store
from tests.support import need_root

TREES = ("cachemounts", "ingest", "layers", "work")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("before", [0o755, 0o711, 0o777, 0o2775, 0o1777])
def test_trees_of_a_store_that_others_may_enter_are_closed_to_them(tmp_path: Path, before: int) -> None:
    root = tmp_path / "store"
    root.mkdir()
    (root / "layers" / "tree").mkdir(parents=True, mode=0o755)
    root.chmod(before)
    with Store(root):
        assert mode(root) == before & ~0o022
        assert {name: mode(root / name) & 0o777 for name in TREES} == dict.fromkeys(TREES, 0o700)
    assert mode(root / "layers" / "tree") == 0o755  # an image's own modes are left


def test_store_that_is_made_is_for_its_owner_only(tmp_path: Path) -> None:
    with Store(tmp_path / "a" / "store"):
        assert mode(tmp_path / "a" / "store") == 0o700


def test_store_of_another_user_is_refused_to_root_too(tmp_path: Path) -> None:
    need_root()
    root = tmp_path / "store"
    root.mkdir()
    os.chown(root, 1001, 1001)
    with pytest.raises(StoreError, match=r"belongs to another user \(id 1001\)"):
        Store(root)
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("name", [*TREES, "blobs", "lock", "index.json", "oci-layout", "cache.db"])
def test_link_in_a_store_is_refused_and_never_followed(tmp_path: Path, name: str) -> None:
    outside, root = tmp_path / "outside", tmp_path / "store"
    outside.mkdir()
    (outside / "canary").write_text("canary")
    root.mkdir()
    (root / name).symlink_to(outside if "." not in name and name != "lock" else outside / "made")
    with pytest.raises(StoreError, match="is a link"):
        Store(root)
    assert [p.name for p in outside.iterdir()] == ["canary"]
    assert (outside / "canary").read_text() == "canary"
