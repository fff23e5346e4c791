"""The first state of a folder: what was kept of it is what everybody sees, whatever becomes of the folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import imagesmith.context.kept as kept_module
from imagesmith.context.kept import Kept
from imagesmith.context.local import LocalTree
from imagesmith.context.patterns import Matcher
from imagesmith.errors import ContextError
from imagesmith.fs.entry import Entry
from imagesmith.store.disk import spool


def seen(tree: LocalTree) -> list[tuple[object, ...]]:
    """All that a step sees of a folder."""
    return [(e.path, e.kind, e.mode, e.mtime_ns, e.link, _bytes(e)) for e in tree.walk("")]


def _bytes(e: Entry) -> bytes:
    if e.content is None:
        return b""
    with e.content.open() as f:
        return f.read(e.size)


def keeping(tree: LocalTree, folder: Path) -> Kept:
    """Keep all of a folder."""
    kept = Kept(tree, spool(folder, "keep"))
    root = tree.get("")
    assert root is not None
    kept.add([root, *tree.walk("")], lambda: False)
    tree.first = kept
    return kept


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one of each."""
    root = tmp_path / "context"
    (root / "d/e").mkdir(parents=True)
    (root / "d/f").write_text("text")
    (root / "d/gone").write_text("gone")
    (root / "g").write_text("")
    (root / "l").symlink_to("d")
    (root / "secret").write_text("")
    os.link(root / "d/f", root / "h")
    return root


@pytest.mark.parametrize("ignore", [[], ["secret"], ["secret", "!d/f"]])
def test_what_was_kept_is_seen_whatever_becomes_of_it(
    folder: Path, tmp_path: Path, ignore: list[str]
) -> None:
    tree = LocalTree(folder, Matcher(ignore))
    before = seen(tree)
    keeping(tree, tmp_path)
    assert seen(tree) == before
    (folder / "d/f").write_text("other")
    (folder / "d/gone").unlink()
    (folder / "d/new").write_text("new")
    (folder / "g").unlink()
    (folder / "g").mkdir()
    (folder / "l").unlink()
    shutil.rmtree(folder / "d/e")
    (folder / "d").chmod(0o700)
    assert seen(tree) == before
    assert tree.get("d/new") is not None  # who asks for it by name gets it
    assert tree.resolve("l/f") == "d/f"
    assert tree.children("d") == ["e", "f", "gone"]


def test_what_was_looked_at_before_has_its_bytes_too(folder: Path, tmp_path: Path) -> None:
    tree = LocalTree(folder)
    early = tree.get("d/f")
    assert early is not None
    keeping(tree, tmp_path)
    (folder / "d/f").write_text("other")
    assert _bytes(early) == b"text"


def test_what_is_large_is_told_when_it_changes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_module, "_ONE_BYTES", 3)
    tree = LocalTree(folder)
    keeping(tree, tmp_path)
    (folder / "d/f").write_text("oth")
    late = tree.get("d/f")
    assert late is not None
    with pytest.raises(ContextError, match="/d/f of the context changed while it was read"):
        _bytes(late)


def test_it_ends_when_it_is_enough(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_module, "_ENTRIES", 2)
    tree = LocalTree(folder)
    kept = keeping(tree, tmp_path)
    assert [kept.get(p) is not None for p in ("d", "d/e", "d/f", "g")] == [True, True, False, False]
    none = Kept(tree, spool(tmp_path, "keep"))
    none.add(tree.walk(""), lambda: True)
    assert none.get("d") is None


def test_one_that_goes_meanwhile_keeps_nobody_from_being_kept(folder: Path, tmp_path: Path) -> None:
    tree = LocalTree(folder)
    all_of_it = list(tree.walk(""))
    (folder / "d/gone").unlink()
    kept = Kept(tree, spool(tmp_path, "keep"))
    kept.add(all_of_it, lambda: False)
    assert {"d/f", "g", "l", "secret"} <= {e.path for e in all_of_it if kept.get(e.path)}
    assert kept.get("d/gone") is None
