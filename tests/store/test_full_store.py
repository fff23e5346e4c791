"""A store on a disk that is filled to the last byte can be freed, whatever it was filled with."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.fs.jail import remove_tree
from imagesmith.fs.sizes import tree_bytes
from imagesmith.store.reserve import RESERVE_BYTES
from imagesmith.store.store import Store
from tests.e2e.conftest import base_image
from tests.support import IMAGESMITH, chain_of_folders, small_disk

__all__ = ["base_image"]

pytestmark = pytest.mark.slow


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MiB."""
    with small_disk(tmp_path / "disk", "64m") as at:
        yield at


def run(*words: str) -> tuple[int, str]:
    done = subprocess.run([*IMAGESMITH, *words], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def build(disk: Path, megabytes: int, *words: str) -> tuple[int, str]:
    """Build an image that takes so much."""
    context = disk.parent / "context"
    context.mkdir(exist_ok=True)
    (context / "big").write_bytes(os.urandom(megabytes << 20))
    (context / "Dockerfile").write_text("FROM scratch\nCOPY big /\n")
    return run("build", "--root", str(disk / "s"), "--progress", "plain", *words, str(context))


def fill(path: Path) -> None:
    """Take what the disk has left, to the last byte."""
    with path.open("ab", buffering=0) as f:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    f.write(bytes(size))
            except OSError:
                continue
    assert os.statvfs(path).f_bavail == 0


def test_prune_takes_what_was_left_lying(disk: Path) -> None:
    """Killed builds left what fills the disk; images and cached steps stay."""
    assert build(disk, 10, "-t", "kept")[0] == 0
    (disk / "s" / "work" / "left").mkdir(parents=True)
    (disk / "s" / "work" / "left" / "f").write_bytes(bytes(20 << 20))
    fill(disk / "s" / "ingest" / "left")
    status, said = run("prune", "--root", str(disk / "s"))
    assert (status, "warning" in said) == (0, False), said
    assert os.statvfs(disk).f_bavail > 40 << 8
    assert "kept" in run("images", "--root", str(disk / "s"))[1]
    status, said = build(disk, 10, "-t", "another")
    assert status == 0, said


@pytest.mark.parametrize("reserve", [True, False], ids=["reserve", "none"])
def test_prune_takes_what_no_image_needs(disk: Path, reserve: bool) -> None:
    """Cached steps fill the disk, and there is nothing that was left lying."""
    assert build(disk, 25)[0] == 0
    assert build(disk, 25)[0] == 0
    fill(disk / "of-others")
    if not reserve:
        (disk / "s" / "reserve").unlink()
        fill(disk / "of-others")
    status, said = build(disk, 1)
    assert (status, "`imagesmith prune`" in said) == (8, True), said
    fill(disk / "of-others")
    status, said = run("prune", "--all", "--root", str(disk / "s"))
    assert (status, "deleted 4 blobs" in said or "deleted 6 blobs" in said) == (0, True), said
    status, said = build(disk, 40, "-t", "after")
    assert status == 0, said
    assert (disk / "s" / "reserve").stat().st_size == RESERVE_BYTES


def test_database_that_cannot_be_read_for_want_of_room_is_forgotten(disk: Path) -> None:
    assert build(disk, 40)[0] == 0
    for path in (disk / "s").glob("cache.db*"):
        path.unlink()
    (disk / "s" / "reserve").unlink()
    fill(disk / "of-others")
    status, said = run("prune", "--root", str(disk / "s"))
    assert status == 0, said
    assert "its steps are forgotten" in said
    status, said = build(disk, 30)
    assert status == 0, said


@pytest.mark.parametrize("reserve", [True, False], ids=["reserve", "none"])
def test_a_name_can_be_taken_away(disk: Path, reserve: bool) -> None:
    assert build(disk, 50, "-t", "large")[0] == 0
    fill(disk / "s" / "ingest" / "left")
    if not reserve:
        (disk / "s" / "reserve").unlink()
        fill(disk / "s" / "ingest" / "left")
    status, said = run("rmi", "--root", str(disk / "s"), "large")
    assert (status, said) == (0, "untagged: large:latest\n")
    status, said = run("prune", "--all", "--root", str(disk / "s"))
    assert status == 0, said
    assert build(disk, 50)[0] == 0


def test_cache_mounts_can_be_pruned(disk: Path, base_image: Path) -> None:
    context = disk.parent / "c"
    context.mkdir()
    (context / "Dockerfile").write_text(
        "FROM base\nRUN --mount=type=cache,target=/c head -c 30000000 /dev/zero > /c/f\n"
    )
    words = ["build", "--root", str(disk / "s"), "--build-context", f"base=oci-layout://{base_image}"]
    assert run(*words, str(context))[0] == 0
    fill(disk / "of-others")
    status, said = run("cache", "prune", "--all", "--root", str(disk / "s"))
    assert (status, "deleted 1 cache" in said) == (0, True), said
    assert build(disk, 20)[0] == 0


def test_trees_of_any_depth_are_counted(tmp_path: Path) -> None:
    at = chain_of_folders(tmp_path, 3000)
    with os.fdopen(os.open("f", os.O_WRONLY | os.O_CREAT, dir_fd=at), "wb") as f:
        f.write(bytes(10_000))
    os.close(at)
    assert 10_000 <= tree_bytes(tmp_path) < 20_000
    remove_tree(tmp_path / "d")
    assert tree_bytes(tmp_path) == tree_bytes(tmp_path / "none") == 0


def test_reserve_is_kept_while_there_is_room(tmp_path: Path) -> None:
    for _ in range(2):
        with Store(tmp_path / "s"):
            assert (tmp_path / "s" / "reserve").stat().st_blocks * 512 >= RESERVE_BYTES
