from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagesmith.context.git import GitRef, fetch_git, is_git_url
from imagesmith.errors import ContextError, DockerfileError, MissingSource
from imagesmith.values import replace
from tests.support import need_program
from tests.web import git, repository


@pytest.mark.parametrize(
    ("text", "is_git"),
    [
        ("https://h/x.git", True),
        ("https://h/x.git#main:sub", True),
        ("https://h/x.git?ref=v1", True),
        ("http://h/x", False),
        ("https://h/x.git/y", False),
        ("git://h/x", True),
        ("ssh://u@h/x", True),
        ("git@h:x/y", True),
        ("u@h:22/x", False),
        ("github.com/x/y", False),
        ("./x.git", False),
    ],
)
def test_addresses_of_repositories_are_told_apart(text: str, is_git: bool) -> None:
    assert is_git_url(text) is is_git


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("https://h/x.git", {}),
        ("https://h/x.git#main", {"ref": "main"}),
        ("https://h/x.git#:sub", {"subdir": "sub"}),
        ("https://h/x.git#v1:/a/../b", {"ref": "v1", "subdir": "b"}),
        ("https://h/x.git?branch=b&subdir=s", {"ref": "refs/heads/b", "subdir": "s"}),
        ("https://h/x.git?tag=t&commit=abc1234", {"ref": "refs/tags/t", "checksum": "abc1234"}),
        ("https://h/x.git?keep-git-dir&submodules=false", {"keep_git_dir": True, "submodules": False}),
        ("https://h/x.git?mtime=commit", {"commit_times": True}),
        ("git@h:x?ref=y", {"remote": "git@h:x?ref=y"}),
    ],
)
def test_address_is_taken_apart(text: str, fields: dict[str, object]) -> None:
    plain = GitRef(remote="https://h/x.git")
    assert GitRef.parse(text) == replace(plain, **fields)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("ref=", 'query "ref" has no value'),
        ("ref=a&ref=b", 'query "ref" has multiple values'),
        ("x=y", 'unexpected query "x"'),
        ("ref=a#b", 'ref conflicts: "b" vs "a"'),
        ("tag=a&branch=b", "branch conflicts with tag"),
        ("subdir=a#:b", 'subdir conflicts: "b" vs "a"'),
        ("submodules=perhaps", 'invalid submodules value: "perhaps"'),
    ],
)
def test_bad_query_is_told_in_buildkits_words(query: str, message: str) -> None:
    with pytest.raises(DockerfileError, match=message):
        GitRef.parse(f"https://h/x.git?{query}")


# --- fetching, from a repository of this machine -----------------------------------------------


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository of two commits, the second on a branch; the first is tagged."""
    need_program("git")
    repository(tmp_path / "repo", {"f": "one", "sub/g": "below"})
    git(tmp_path / "repo", "checkout", "-q", "-b", "side")
    (tmp_path / "repo/f").write_text("two")
    git(tmp_path / "repo", "commit", "-qam", "two")
    git(tmp_path / "repo", "checkout", "-q", "main")
    return tmp_path / "repo"


def _fetch(repo: Path, tmp_path: Path, checksum: str = "", **fields: object) -> dict[str, str]:
    ref = GitRef(remote=f"file://{repo}", **fields)  # type: ignore[arg-type]  # as the caller says
    got = fetch_git(ref, tmp_path / "work", keep_git_dir=False, checksum=checksum)
    files = {e.path: (got.tree.root / e.path).read_text() for e in got.tree.walk() if e.kind == "f"}
    got.tree.close()
    return files


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ref", "text"),
    [("", "one"), ("main", "one"), ("side", "two"), ("v1", "one"), ("refs/heads/side", "two")],
)
def test_ref_is_a_branch_a_tag_or_a_full_name(repo: Path, tmp_path: Path, ref: str, text: str) -> None:
    assert _fetch(repo, tmp_path, ref=ref) == {"f": text, "sub/g": "below"}


@pytest.mark.slow
def test_ref_is_a_commit_also_in_short(repo: Path, tmp_path: Path) -> None:
    commit = git(repo, "rev-parse", "side")
    for ref in (commit, commit[:8]):
        assert _fetch(repo, tmp_path, ref=ref)["f"] == "two"


@pytest.mark.slow
def test_commit_can_be_demanded(repo: Path, tmp_path: Path) -> None:
    commit = git(repo, "rev-parse", "main")
    assert _fetch(repo, tmp_path, commit[:7])["f"] == "one"
    with pytest.raises(DockerfileError, match=f"expected checksum to match {'0' * 40}, got {commit}"):
        _fetch(repo, tmp_path, "0" * 40)


@pytest.mark.slow
def test_subdirectory_must_be_there_and_inside(repo: Path, tmp_path: Path) -> None:
    assert _fetch(repo, tmp_path, subdir="sub") == {"g": "below"}
    with pytest.raises(MissingSource, match="invalid subdir nope"):
        _fetch(repo, tmp_path, subdir="nope")
    (repo / "out").symlink_to("/")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "three")
    with pytest.raises(MissingSource, match="invalid subdir out"):
        _fetch(repo, tmp_path, subdir="out")


@pytest.mark.slow
def test_files_have_the_commits_time_and_usual_modes_under_any_umask(repo: Path, tmp_path: Path) -> None:
    ref = GitRef(remote=f"file://{repo}", commit_times=True)
    mask = os.umask(0o077)
    try:
        got = fetch_git(ref, tmp_path / "work", keep_git_dir=False, checksum="")
    finally:
        os.umask(mask)
    entries = {e.path: (e.mode, e.mtime_ns) for e in got.tree.walk()}
    assert entries["f"] == (0o644, 10**18)
    assert entries["sub"] == (0o755, 10**18)
    got.tree.close()


@pytest.mark.slow
def test_an_address_is_never_an_option_or_a_command(tmp_path: Path) -> None:
    need_program("git")
    canary = tmp_path / "canary"
    for remote in (f"--upload-pack=touch {canary}", f"ext::sh -c touch% {canary}"):
        with pytest.raises(ContextError):
            fetch_git(GitRef(remote=remote), tmp_path / "work", keep_git_dir=False, checksum="")
    assert not canary.exists()
