"""Folders one in the other, thousands deep: nothing that goes through a tree calls itself for each level."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.context.gitfetch import set_times
from imagesmith.errors import ImagesmithError, LimitExceeded
from imagesmith.fs.draft import Draft
from imagesmith.fs.entry import Entry
from imagesmith.fs.jail import Jail, remove_tree
from imagesmith.fs.materialise import materialise
from imagesmith.fs.view import LayerIndex, View
from imagesmith.layer.diff import layer_entries
from imagesmith.worker.snapshot.upper import scan_upper
from tests.kitchen import Kitchen, kitchen
from tests.support import chain_of_folders

__all__ = ["kitchen"]

#: More than Python calls go deep.
_DEPTH = 1200
_PATHS = ["/".join(["d"] * n) for n in range(1, _DEPTH + 1)]


def layer() -> list[Entry]:
    return [Entry(path, "d", 0o755) for path in _PATHS]


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Path]:
    """Five thousand folders on the disk, longer than any path."""
    top = tmp_path / "top"
    top.mkdir()
    os.close(chain_of_folders(top, 5000))
    yield top
    remove_tree(top)


def test_a_draft_removes_and_a_layer_hides_them() -> None:
    lower = View([LayerIndex(layer())])
    draft = Draft(lower, 0)
    draft.remove("d")
    assert draft.children("") == []
    made = layer_entries(draft.upper_entries(), draft.opaques, lower)
    assert [(e.path, e.kind) for e in made] == [("d", "w")]
    again = [Entry(path, "d", 0o755) for path in _PATHS[:-1]]
    (gone,) = [e for e in layer_entries(again, {"d"}, lower) if e.kind == "w"]
    assert gone.path == _PATHS[-1]


def test_an_extraction_clears_them(tmp_path: Path) -> None:
    materialise([*layer(), Entry(f"{_PATHS[-1]}/f", "f"), Entry("", "o")], tmp_path, owners=False)
    with Jail(tmp_path) as jail:
        os.close(jail.open(f"{_PATHS[-1]}/f", os.O_RDONLY))
    materialise([Entry("", "o")], tmp_path, owners=False)
    assert list(tmp_path.iterdir()) == []


def test_a_repository_may_have_them(tmp_path: Path) -> None:
    materialise(layer()[:], tmp_path, owners=False)
    set_times(tmp_path, 5)
    with Jail(tmp_path) as jail:
        fd = jail.open(_PATHS[-2], os.O_RDONLY)
        assert os.fstat(fd).st_mtime == 5
        os.close(fd)
    remove_tree(tmp_path / "d")


def test_what_no_path_reaches_is_refused_in_a_step_and_in_a_context(chain: Path, kitchen: Kitchen) -> None:
    with Jail(chain) as jail, pytest.raises(LimitExceeded, match="bytes, more than 4095"):
        scan_upper(jail, "trusted.overlay.opaque")
    kitchen.write({"f": "x"})
    os.rename(chain / "d", kitchen.context / "chain")
    try:
        with pytest.raises(ImagesmithError, match=r"too long|more than 4095"):
            kitchen.build("FROM scratch\nCOPY . /\n")
    finally:
        remove_tree(kitchen.context / "chain")
