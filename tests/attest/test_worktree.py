"""The work tree of a context, read by hand: the program git says what is right."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagesmith.attest.worktree import Worktree, worktree_of
from tests.support import need_program
from tests.web import git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    need_program("git")
    top = tmp_path / "repository"
    (top / "app").mkdir(parents=True)
    git(top, "init", "-q", "-b", "main")
    (top / "app/f").write_text("f")
    git(top, "add", ".")
    git(top, "commit", "-q", "-m", "m")
    git(top, "remote", "add", "origin", "https://user:pw@example.com/o/r.git")
    return top


def found(folder: Path) -> Worktree:
    tree = worktree_of(folder)
    assert tree is not None
    return tree


def test_commit_and_remote_of_the_folder_above(repository: Path) -> None:
    tree = found(repository / "app")
    assert (tree.revision, tree.top) == (git(repository, "rev-parse", "HEAD"), repository)
    assert tree.source == "https://example.com/o/r.git"


def test_packed_and_detached_heads(repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    git(repository, "pack-refs", "--all")
    assert found(repository).revision == head
    git(repository, "checkout", "-q", "--detach")
    assert found(repository).revision == head


def test_linked_work_tree_has_its_own_head(repository: Path, tmp_path: Path) -> None:
    git(repository, "worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    git(tmp_path / "side", "commit", "-q", "--allow-empty", "-m", "n")
    tree = found(tmp_path / "side")
    assert tree.revision == git(tmp_path / "side", "rev-parse", "HEAD")
    assert tree.source == "https://example.com/o/r.git"


def test_remote_is_the_branchs_own_or_origin_or_the_first(repository: Path) -> None:
    git(repository, "remote", "add", "fork", "git@example.com:f/r.git")
    assert found(repository).source == "https://example.com/o/r.git"
    git(repository, "config", "branch.main.remote", "fork")
    assert found(repository).source == "git@example.com:f/r.git"
    git(repository, "remote", "remove", "origin")
    git(repository, "config", "branch.main.remote", ".")
    assert found(repository).source == "git@example.com:f/r.git"


@pytest.mark.parametrize("address", ["/srv/git/r", "../r", "file:///home/alice/r"])
def test_a_folder_of_the_machine_is_no_source(repository: Path, address: str) -> None:
    git(repository, "remote", "set-url", "origin", address)
    assert found(repository).source == ""


def test_no_work_tree_and_one_without_a_commit(tmp_path: Path) -> None:
    need_program("git")
    git(tmp_path, "init", "-q")
    assert found(tmp_path).revision == ""
    (tmp_path / ".git/HEAD").unlink()
    assert found(tmp_path).revision == ""


@pytest.mark.parametrize(
    "head", ["ref: refs/../../../etc/passwd", "ref: refs/heads/\0", "x" * 40, "", "ref: x"]
)
def test_a_head_that_is_none_is_left_out(tmp_path: Path, head: str) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/HEAD").write_text(head)
    assert found(tmp_path).revision == ""


def test_links_pipes_and_large_files_are_not_read(tmp_path: Path) -> None:
    folder = tmp_path / ".git"
    (folder / "refs/heads").mkdir(parents=True)
    (folder / "HEAD").write_text("ref: refs/heads/main")
    (tmp_path / "commit").write_text("a" * 40)
    (folder / "refs/heads/main").symlink_to(tmp_path / "commit")
    os.mkfifo(folder / "config")
    with (folder / "packed-refs").open("wb") as f:
        f.truncate(1 << 30)
    assert found(tmp_path) == Worktree("", "", tmp_path)
