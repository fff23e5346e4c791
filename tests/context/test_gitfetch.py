"""Repositories fetched from a git server: which commit a ref is, what of .git is kept, as in BuildKit."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.context.git import GitRef
from imagesmith.context.gitfetch import Checkout, commit_of, fetch_git
from imagesmith.errors import ContextError, DockerfileError, MissingSource
from tests.gitserver import GitServer, git_server
from tests.web import Web, git, publish, repository, web

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    """A server of the repositories below `srv`."""
    with git_server(tmp_path / "srv") as here:
        yield here


@pytest.fixture
def repo(server: GitServer) -> Path:
    """Two commits on main; the first has the tags `v1`, `annot` (an annotated one) and `both`."""
    path = server.root / "r"
    repository(path, {"f": "one", "sub/g": "below", "tool": "#!"})
    git(path, "tag", "-a", "-m", "the first", "annot")
    git(path, "tag", "both")
    git(path, "checkout", "-q", "-b", "side")
    (path / "f").write_text("two")
    git(path, "commit", "-qam", "two")
    git(path, "branch", "both")
    git(path, "checkout", "-q", "main")
    (path / "f").write_text("three")
    git(path, "commit", "-qam", "three")
    return path


def _fetch(
    server: GitServer, tmp_path: Path, after: str = "", *, keep: bool = False, checksum: str = ""
) -> Path:
    return _checkout(server.url("r") + after, tmp_path, keep=keep, checksum=checksum).tree.root


def _checkout(address: str, tmp_path: Path, *, keep: bool = False, checksum: str = "") -> Checkout:
    ref = GitRef.parse(address)
    got = fetch_git(
        ref, tmp_path / "work", keep_git_dir=keep or bool(ref.keep_git_dir), checksum=checksum or ref.checksum
    )
    got.tree.close()
    return got


@pytest.mark.parametrize(
    ("after", "text"),
    [
        ("", "three"),
        ("#HEAD", "three"),
        ("#main", "three"),
        ("#heads/main", "three"),
        ("#v1", "one"),
        ("#annot", "one"),
        ("#tags/annot", "one"),
        ("#side", "two"),
        ("#refs/heads/side", "two"),
        ("#both", "two"),
        ("#refs/tags/both", "one"),
        ("?tag=both", "one"),
        ("?branch=both", "two"),
    ],
)
def test_ref_is_a_full_name_or_a_branch_or_a_tag(
    server: GitServer, repo: Path, tmp_path: Path, after: str, text: str
) -> None:
    assert (_fetch(server, tmp_path, after) / "f").read_text() == text


def test_ref_is_a_whole_commit_and_no_part_of_one(server: GitServer, repo: Path, tmp_path: Path) -> None:
    commit = git(repo, "rev-parse", "v1")
    assert (_fetch(server, tmp_path, f"#{commit}") / "f").read_text() == "one"
    for short in (commit[:7], commit[:12], commit[:39], "--all", "-x", "ma*", "ain", "x/main"):
        with pytest.raises(ContextError, match=rf"does not contain ref {short}".replace("*", r"\*")):
            _fetch(server, tmp_path, f"#{short}")


@pytest.mark.parametrize("ref", ["", "main", "both", "v1", "annot", "refs/tags/both"])
def test_commit_of_a_ref_is_that_which_is_fetched(
    server: GitServer, repo: Path, tmp_path: Path, ref: str
) -> None:
    wanted = GitRef.parse(f"{server.url('r')}#{ref}")
    assert commit_of(wanted, tmp_path) == _checkout(f"{server.url('r')}#{ref}", tmp_path).commit
    with pytest.raises(ContextError, match="does not contain ref none"):
        commit_of(GitRef.parse(f"{server.url('r')}#none"), tmp_path)


def test_checksum_is_of_the_commit_or_of_its_annotated_tag(
    server: GitServer, repo: Path, tmp_path: Path
) -> None:
    commit, tag = git(repo, "rev-parse", "v1"), git(repo, "rev-parse", "annot")
    for checksum in (commit, commit[:7], tag, tag[:7]):
        assert (_fetch(server, tmp_path, "#annot", checksum=checksum) / "f").read_text() == "one"
    assert (_fetch(server, tmp_path, f"?commit={commit}") / "f").read_text() == "one"
    with pytest.raises(
        DockerfileError, match=f"expected checksum to match {'0' * 40}, got {tag} or {commit}"
    ):
        _fetch(server, tmp_path, "#annot", checksum="0" * 40)
    with pytest.raises(DockerfileError, match="invalid checksum perhaps for Git URL"):
        _fetch(server, tmp_path, checksum="perhaps")


def test_a_commit_is_fetched_where_its_ref_has_moved_on(
    server: GitServer, repo: Path, tmp_path: Path
) -> None:
    commit = git(repo, "rev-parse", "v1")
    query = f"?branch=main&checksum={commit}"
    with pytest.raises(DockerfileError, match="expected checksum"):
        _fetch(server, tmp_path, query)
    root = _fetch(server, tmp_path, f"{query}&fetch-by-commit=1&keep-git-dir=1")
    assert git(root, "rev-parse", "HEAD", "main").split() == [commit, commit]


def test_subdirectory_must_be_there_and_inside(server: GitServer, repo: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.mkdir()
    (repo / "in").symlink_to("sub")
    (repo / "out").symlink_to(canary)
    (repo / "up").symlink_to("../../..")
    (repo / "circle").symlink_to("circle")
    (repo / "hidden").symlink_to(".git/hooks")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "links")
    assert os.listdir(_fetch(server, tmp_path, "#:sub")) == ["g"]
    assert os.listdir(_fetch(server, tmp_path, "#:in")) == ["g"]
    for name in ("nope", "out", "up", "circle", "hidden", ".git", "f", "x" * 300):
        with pytest.raises(MissingSource, match=f"invalid subdir {name}"):
            _fetch(server, tmp_path, f"#:{name}", keep=True)


def test_files_are_the_same_under_any_umask_and_below_any_folder(
    server: GitServer, repo: Path, tmp_path: Path
) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work").chmod(0o2777)
    mask = os.umask(0o077)
    try:
        got = _checkout(server.url("r") + "?mtime=commit&keep-git-dir=1", tmp_path)
    finally:
        os.umask(mask)
    root = got.tree.root
    assert root.stat().st_mtime == got.commit_s
    modes = {}
    for path in root.rglob("*"):
        st = path.lstat()
        assert st.st_mtime == got.commit_s == 10**9
        modes[str(path.relative_to(root))] = stat.S_IMODE(st.st_mode)
    assert {modes["f"], modes["sub/g"], modes[".git/HEAD"], modes[".git/index"]} == {0o644}
    assert {modes["sub"], modes[".git"], modes[".git/refs"]} == {0o755}


# --- .git --------------------------------------------------------------------------------------


def _refs(root: Path) -> list[str]:
    return git(root, "for-each-ref", "--format=%(refname)").split()


@pytest.mark.parametrize(
    ("after", "refs"),
    [
        ("", ["refs/heads/main"]),
        ("#main", ["refs/heads/main"]),
        ("#side", ["refs/heads/side"]),
        ("#v1", ["refs/tags/v1"]),
        ("#annot", ["refs/tags/annot"]),
        ("#refs/tags/annot", ["refs/tags/annot"]),
        ("?tag=both", ["refs/tags/both"]),
    ],
)
def test_kept_git_dir_has_the_ref_that_was_asked_for_and_is_shallow(
    server: GitServer, repo: Path, tmp_path: Path, after: str, refs: list[str]
) -> None:
    root = _fetch(server, tmp_path, after, keep=True)
    assert _refs(root) == refs
    assert git(root, "rev-parse", "HEAD") == git(root, "rev-parse", f"{refs[0]}^{{commit}}")
    assert git(root, "status", "--porcelain") == ""
    assert len(git(root, "log", "--oneline").splitlines()) == 1
    assert git(root, "branch", "--show-current") == ""
    assert git(root, "remote", "get-url", "origin") == server.url("r")
    if "annot" in after:
        assert git(root, "describe") == "annot"


def test_kept_git_dir_of_a_commit_has_no_ref(server: GitServer, repo: Path, tmp_path: Path) -> None:
    commit = git(repo, "rev-parse", "side")
    root = _fetch(server, tmp_path, f"#{commit}", keep=True)
    assert _refs(root) == []
    assert (root / ".git/HEAD").read_text() == f"{commit}\n"


def test_kept_git_dir_has_empty_logs_templates_and_no_trace_of_the_fetch(
    server: GitServer, repo: Path, tmp_path: Path
) -> None:
    git_dir = _fetch(server, tmp_path, "#main", keep=True) / ".git"
    assert (git_dir / "logs/HEAD").read_bytes() == b""
    assert (git_dir / "logs/refs/heads/main").read_bytes() == b""
    assert not (git_dir / "FETCH_HEAD").exists()
    assert (git_dir / "hooks").is_dir()
    assert (git_dir / "description").is_file()


def _bytes(root: Path) -> dict[str, str]:
    files = (p for p in root.rglob("*") if p.is_file() and not p.is_symlink())
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_kept_git_dir_has_the_same_bytes_whenever_it_is_fetched(
    server: GitServer, repo: Path, tmp_path: Path
) -> None:
    _with_submodule(server, repo)
    first = _bytes(_fetch(server, tmp_path, "#main", keep=True))
    time.sleep(1.1)
    assert _bytes(_fetch(server, tmp_path, "#main", keep=True)) == first
    assert "sm/.git" in first


@pytest.mark.parametrize(
    ("query", "commits", "tags"),
    [
        ("fetch-depth=2", 2, []),
        ("fetch-tags=1", 1, ["annot", "both", "v1"]),
        ("fetch-depth=0", 2, ["annot", "both", "v1"]),
        ("fetch-depth=0&fetch-tags=false", 2, []),
    ],
)
def test_history_and_tags_come_as_deep_as_they_are_wished_for(
    server: GitServer, repo: Path, tmp_path: Path, query: str, commits: int, tags: list[str]
) -> None:
    root = _fetch(server, tmp_path, f"?branch=main&{query}", keep=True)
    assert len(git(root, "log", "--oneline").splitlines()) == commits
    assert git(root, "tag").split() == tags
    if commits == 2 and tags:
        assert git(root, "describe").startswith("annot-1-g")


@pytest.mark.parametrize("after", ["#main", "#annot", "?branch=main&fetch-depth=0"])
def test_a_server_of_plain_files_gives_the_same_git_dir(
    server: GitServer, repo: Path, tmp_path: Path, after: str
) -> None:
    here: Web
    with web() as here:
        plain = _checkout(publish(here, repo, "r") + after, tmp_path, keep=True).tree.root
    smart = _fetch(server, tmp_path, after, keep=True)
    for words in (("log", "--oneline"), ("for-each-ref",), ("status", "--porcelain")):
        assert git(plain, *words) == git(smart, *words)


def test_a_commit_of_a_server_of_plain_files(repo: Path, tmp_path: Path) -> None:
    commit = git(repo, "rev-parse", "v1")
    with web() as here:
        got = _checkout(publish(here, repo, "r") + f"#{commit}", tmp_path)
    assert (got.tree.root / "f").read_text() == "one"


def test_an_old_server_gives_the_same(server: GitServer, repo: Path, tmp_path: Path) -> None:
    server.old = True
    git(repo, "config", "uploadpack.allowAnySHA1InWant", "false")
    (repo / "f").write_text("four")
    git(repo, "commit", "-qam", "four")
    commit = git(repo, "rev-parse", "main~1")
    for after, text in (("#main", "four"), ("#annot", "one"), (f"#{commit}", "three")):
        root = _fetch(server, tmp_path, after, keep=True)
        assert (root / "f").read_text() == text
        assert len(git(root, "log", "--oneline").splitlines()) == 1
        assert git(root, "status", "--porcelain") == ""


def test_repositories_of_sha256_are_fetched(server: GitServer, tmp_path: Path) -> None:
    path = server.root / "r"
    path.mkdir(parents=True)
    git(path, "init", "-q", "-b", "main", "--object-format=sha256")
    (path / "f").write_text("long")
    git(path, "add", "f")
    git(path, "commit", "-qm", "one")
    for after in ("#main", f"#{git(path, 'rev-parse', 'main')}"):
        root = _fetch(server, tmp_path, after, keep=True)
        assert (root / "f").read_text() == "long"
        assert git(root, "status", "--porcelain") == ""


# --- cache keys --------------------------------------------------------------------------------


def test_what_differs_has_another_id(server: GitServer, repo: Path, tmp_path: Path) -> None:
    git(repo, "branch", "twin")
    afters = [
        "#main", "#main:sub", "#side", "?branch=main&mtime=commit", "?branch=main&submodules=0",
        "?branch=main&keep-git-dir=1", "?branch=twin&keep-git-dir=1",
        "?branch=main&keep-git-dir=1&fetch-tags=1",
        "?branch=main&keep-git-dir=1&fetch-depth=0&fetch-tags=0",
    ]  # fmt: skip
    ids = {after: _checkout(server.url("r") + after, tmp_path).id for after in afters}
    assert len(set(ids.values())) == len(ids)
    assert _checkout(server.url("r") + "#twin", tmp_path).id == ids["#main"]


# --- submodules --------------------------------------------------------------------------------


def _with_submodule(server: GitServer, repo: Path, url: str = "../../s/.git", path: str = "sm") -> None:
    """Give the repository a submodule, which has one itself."""
    for name in ("deep", "s"):
        if not (server.root / name).exists():
            repository(server.root / name, {name: name})
    if not (server.root / "s/in").exists():
        _add(server.root / "s", "in", "../../deep/.git", git(server.root / "deep", "rev-parse", "main"))
    _add(repo, path, url, git(server.root / "s", "rev-parse", "main"))


def _add(repo: Path, path: str, url: str, commit: str) -> None:
    for key, value in (("path", path), ("url", url)):
        git(repo, "config", "-f", ".gitmodules", f"submodule.{path}.{key}", value)
    (repo / path).mkdir(parents=True)
    git(repo, "update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")
    git(repo, "add", ".gitmodules")
    git(repo, "commit", "-qm", f"submodule {path}")


def test_submodules_come_with_their_git_files(server: GitServer, repo: Path, tmp_path: Path) -> None:
    _with_submodule(server, repo)
    root = _fetch(server, tmp_path)
    assert (root / "sm/s").read_text() == "s"
    assert (root / "sm/in/deep").read_text() == "deep"
    assert not (root / ".git").exists()
    assert (root / "sm/.git").read_text() == "gitdir: ../.git/modules/sm\n"
    assert (root / "sm/in/.git").read_text() == "gitdir: ../../.git/modules/sm/modules/in\n"
    without = _fetch(server, tmp_path, "?submodules=false")
    assert os.listdir(without / "sm") == []


def test_kept_git_dir_knows_the_submodules(server: GitServer, repo: Path, tmp_path: Path) -> None:
    _with_submodule(server, repo)
    root = _fetch(server, tmp_path, keep=True)
    assert git(root, "status", "--porcelain") == ""
    assert git(root / "sm", "status", "--porcelain") == ""
    assert git(root / "sm/in", "rev-parse", "HEAD") == git(server.root / "deep", "rev-parse", "main")
    logs = [p for p in (root / ".git").rglob("logs/**/*") if p.is_file()]
    assert len(logs) > 3
    assert not any(p.stat().st_size for p in logs)


def test_submodules_of_a_server_of_plain_files(server: GitServer, repo: Path, tmp_path: Path) -> None:
    with web() as here:
        repository(tmp_path / "s", {"s": "s"})
        address = publish(here, tmp_path / "s", "s")
        _add(repo, "sm", address, git(tmp_path / "s", "rev-parse", "main"))
        assert (_fetch(server, tmp_path) / "sm/s").read_text() == "s"


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        ("99999999999999999999 +0000", 9223372035),
        ("-5 +0000", 0),
        ("yesterday", 0),
        ("99999999999 +0000", 9223372035),
        ("7 +0000", 7),
    ],
)
def test_a_commit_of_any_time_is_taken(
    server: GitServer, repo: Path, tmp_path: Path, date: str, seconds: int
) -> None:
    tree = git(repo, "rev-parse", "main^{tree}")
    raw = f"tree {tree}\nauthor a <a@e> {date}\ncommitter a <a@e> {date}\n\nx\n"
    commit = git(repo, "hash-object", "-t", "commit", "-w", "--literally", "--stdin", stdin=raw.encode())
    git(repo, "branch", "odd", commit)
    got = _checkout(server.url("r") + "?branch=odd&mtime=commit&keep-git-dir=1", tmp_path)
    assert got.commit_s == seconds
    if seconds < 1 << 31:  # file systems differ in what they can hold
        assert (got.tree.root / "f").stat().st_mtime == seconds
