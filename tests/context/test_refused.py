"""What of a context cannot be looked at or read is an error of the context, with its place."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imagesmith.context.local import LocalTree
from imagesmith.context.patterns import Matcher
from imagesmith.context.sources import select
from imagesmith.errors import ContextError
from imagesmith.interfaces import Place
from imagesmith.worker.scratch import copy_out


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may look into, with a file in d."""
    root = Path(tempfile.mkdtemp())
    root.chmod(0o755)
    (root / "d").mkdir()
    (root / "d/f").write_text("text")
    yield root
    os.chmod(root / "d", 0o755)
    shutil.rmtree(root)


@contextmanager
def ordinary() -> Iterator[None]:
    """For a while, be a user to whom modes mean something."""
    me = os.geteuid()
    if me == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(me)


def take(root: Path, source: str, *, ignore: str = "", **flags: bool) -> None:
    """Do what COPY does to its source: find it, go through it, read it."""
    tree = LocalTree(root, Matcher([ignore] if ignore else []))
    try:
        for match in select(tree, source, excludes=["no"] if flags.get("filtered") else (), parents=False):
            found = [t.entry for t in match.entries(tree)] if match.entry.kind == "d" else [match.entry]
            for e in found:
                if e.content is not None:
                    e.content.open().close()
    finally:
        tree.close()


@pytest.mark.parametrize("filtered", [False, True])
@pytest.mark.parametrize("ignore", ["", "other"])
@pytest.mark.parametrize("source", [".", "d", "d/f", "*", "*/f", "d/*"])
@pytest.mark.parametrize(("path", "mode"), [("d", 0o644), ("d", 0o311), ("d/f", 0o000)])
def test_what_may_not_be_read_is_told_with_its_place(
    folder: Path, path: str, mode: int, source: str, ignore: str, filtered: bool
) -> None:
    os.chmod(folder / path, mode)
    if mode == 0o311 and source in ("d/f", "*/f"):
        return  # who knows the name needs not list
    with (
        ordinary(),
        pytest.raises(ContextError, match=r"cannot .* /d(/f)? of the context: Permission denied") as e,
    ):
        take(folder, source, ignore=ignore, filtered=filtered)
    assert ".dockerignore" in e.value.hint


def test_what_is_ignored_need_not_be_readable(folder: Path) -> None:
    os.chmod(folder / "d", 0)
    with ordinary():
        take(folder, ".", ignore="d")


def test_mount_of_it_is_refused_as_a_copy_is(folder: Path) -> None:
    os.chmod(folder / "d", 0o644)
    out = Path(tempfile.mkdtemp(dir="/tmp"))
    out.chmod(0o777)
    with ordinary(), pytest.raises(ContextError, match="cannot look at /d/f of the context"):
        copy_out(LocalTree(folder), "d", out, Place(ids="own", mounts=False))
    shutil.rmtree(out)


@pytest.mark.parametrize(
    ("source", "told"), [("l", "too many levels"), ("n" * 300, "too long"), ("d/f/x", "not found")]
)
def test_odd_names_are_told(folder: Path, source: str, told: str) -> None:
    (folder / "l").symlink_to("l")
    with pytest.raises(ContextError, match=told) as e:
        take(folder, source)
    assert len(e.value.message) < 400


def test_what_goes_while_the_folder_is_read_is_not_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "l").symlink_to("d")
    listed = os.listdir

    def listing(path: str) -> list[str]:
        names = listed(path)
        shutil.rmtree(folder / "d")
        (folder / "l").unlink()
        return names

    monkeypatch.setattr(os, "listdir", listing)
    for ignore in ("", "other", "!other"):
        (folder / "d").mkdir(exist_ok=True)
        (folder / "l").is_symlink() or (folder / "l").symlink_to("d")
        assert list(LocalTree(folder, Matcher([ignore] if ignore else [])).walk()) == []
    (folder / "d").mkdir()
