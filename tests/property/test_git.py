"""Repositories as a whole: whatever is in one, a source of a build has the files that a clone by hand has."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from imagesmith.context.git import GitRef
from imagesmith.context.gitfetch import fetch_git
from imagesmith.errors import ContextError
from tests.gitserver import GitServer, git_server
from tests.web import git, repository

pytestmark = pytest.mark.slow

names = st.one_of(
    st.sampled_from(
        ["a", "b", "ü", "x.y", "-x", " ", '"', "a\nb", "a\tb", "*", ".dockerignore", "a.txt", "a.big"]
    ),
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=6),
).filter(
    lambda n: n not in (".", "..") and not n.lower().startswith((".git", "git~")) and len(n.encode()) < 99
)
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
contents = st.one_of(
    st.binary(max_size=300),
    st.sampled_from([
        b"one\ntwo\n", b"one\r\ntwo\r\n", b"$Id$\n", b"",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1\n",
    ]),
)  # fmt: skip
files = st.one_of(
    st.tuples(st.sampled_from(["100644", "100755"]), contents),
    st.tuples(
        st.just("120000"), st.sampled_from([b"a", b"../x", b"/etc/passwd", b"nowhere", b".git/config"])
    ),
)
attributes = st.lists(
    st.sampled_from([
        "* text=auto", "*.txt text eol=crlf", "*.txt eol=lf", "* -text", "a ident", "b export-ignore",
        "*.big filter=lfs diff=lfs -text", "* text eol=crlf", "a working-tree-encoding=UTF-16", "a binary",
    ]),
    max_size=3,
).map(lambda rows: "".join(f"{row}\n" for row in rows).encode())  # fmt: skip
#: Names of branches and tags overlap, so that a spelling may mean either.
refs = st.sampled_from(["main", "both", "v1", "x/y", "ü", "heads", "feature-1"])
annotated = st.sampled_from(["both-a", "v1-a"])


class Commit(NamedTuple):
    """A commit: its files, the branches, tags and annotated tags made or moved to it; with a submodule?"""

    files: dict[str, tuple[str, bytes]]
    branches: list[str]
    tags: list[str]
    annotated: list[str]
    submodule: bool


@st.composite
def histories(draw: st.DrawFn) -> list[Commit]:
    """Up to three commits on main, of files that have nothing in common."""
    return [
        Commit(
            {
                **draw(st.dictionaries(paths, files, max_size=6)),
                **({".gitattributes": ("100644", a)} if (a := draw(attributes)) else {}),
            },
            draw(st.lists(refs, max_size=2, unique=True)),
            draw(st.lists(refs, max_size=2, unique=True)),
            draw(st.lists(annotated, max_size=1)),
            draw(st.booleans()),
        )
        for _ in range(draw(st.integers(1, 3)))
    ]


def _quoted(path: str) -> bytes:
    return b'"' + b"".join(b"\\%03o" % b for b in path.encode()) + b'"'


def _make(folder: Path, history: list[Commit], submodule: str) -> None:
    """Write a repository by one stream for fast-import."""
    out: list[bytes] = []
    for n, commit in enumerate(history, 1):
        head = b"commit refs/heads/main\nmark :%d\ncommitter a <a@e> %d +0000\ndata 1\nx"
        out += [head % (n, 10**9 + n), b"deleteall"]
        tree = dict(commit.files)
        if commit.submodule:
            tree[".gitmodules"] = (
                "100644",
                b'[submodule "the sub"]\n\tpath = s/sm\n\turl = ../../sub/.git\n',
            )
            tree = {path: what for path, what in tree.items() if path.partition("/")[0] != "s"}
        for path, (mode, data) in tree.items():
            out.append(b"M %s inline %s\ndata %d\n%s" % (mode.encode(), _quoted(path), len(data), data))
        out += [f"M 160000 {submodule} s/sm".encode()] * commit.submodule
        for prefix, some in (("heads", commit.branches), ("tags", commit.tags)):
            out += [f"reset refs/{prefix}/{name}\nfrom :{n}\n".encode() for name in some if name != "main"]
        for tag in commit.annotated:
            if not any(tag in later.annotated for later in history[n:]):
                out.append(f"tag {tag}\nfrom :{n}\ntagger a <a@e> 1000000000 +0000\ndata 1\nx".encode())
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    git(folder, "fast-import", "--quiet", "--force", stdin=b"\n".join(out) + b"\n")


def _files(root: Path) -> dict[str, tuple[int, bytes]]:
    """Modes and contents of all below a folder but for .git."""
    found = {}
    for path, folders, plain in os.walk(root):
        if path == str(root):
            folders[:] = [f for f in folders if f != ".git"]
        for name in [*folders, *plain]:
            at = Path(path) / name
            st_ = at.lstat()
            data = b""
            if stat.S_ISLNK(st_.st_mode):
                data = os.fsencode(os.readlink(at))
            elif stat.S_ISREG(st_.st_mode):
                data = at.read_bytes()
            found[str(at.relative_to(root))] = (st_.st_mode, data)
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    """A server for all examples."""
    with git_server(tmp_path_factory.mktemp("srv")) as here:
        yield here


def _meaning(repo: Path, ref: str) -> str:
    """The full name that a spelling means: itself below refs/, else a branch, else a tag."""
    there = git(repo, "for-each-ref", "--format=%(refname)").split("\n")
    return next((n for n in (f"refs/{ref}", f"refs/heads/{ref}", f"refs/tags/{ref}") if n in there), "")


@settings(
    max_examples=int(os.environ.get("IMAGESMITH_GIT_EXAMPLES", "12")),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # an example takes too long for shrinking
)
@given(
    history=histories(),
    ref=st.one_of(refs, annotated),
    form=st.sampled_from(["#{}", "#refs/heads/{}", "?tag={}", "?ref={}", "", "commit"]),
    keep=st.booleans(),
)
def test_a_source_has_the_files_of_a_clone(
    server: GitServer, history: list[Commit], ref: str, form: str, keep: bool
) -> None:
    with tempfile.TemporaryDirectory(dir=server.root) as name:
        scratch = Path(name)
        submodule = repository(scratch / "sub", {"f": "below", "g/h": "deep"})
        _make(scratch / "r", history, submodule)
        spelled = {"?tag={}": f"tags/{ref}", "#refs/heads/{}": f"heads/{ref}"}.get(form, ref)
        full = _meaning(scratch / "r", "heads/main" if form in ("", "commit") else spelled)
        after = f"#{git(scratch / 'r', 'rev-parse', 'main')}" if form == "commit" else form.format(ref)
        source = GitRef.parse(f"{server.address}{scratch.name}/r/.git{after}")
        if not full:
            with pytest.raises(ContextError, match="does not contain ref"):
                fetch_git(source, scratch / "work", keep_git_dir=keep, checksum="")
            return
        got = fetch_git(source, scratch / "work", keep_git_dir=keep, checksum="")
        got.tree.close()
        root, plain = got.tree.root, scratch / "plain"
        mask = os.umask(0o022)
        try:
            git(scratch, "clone", "-q", "--no-checkout", f"file://{scratch}/r/.git", "plain")
            git(plain, "fetch", "-q", "origin", f"+{full}:refs/wanted/it")
            git(plain, "checkout", "-q", "refs/wanted/it")
            git(plain, "-c", "protocol.file.allow=always", "submodule", "-q", "update", "--init")
        finally:
            os.umask(mask)
        assert _files(root) == _files(plain)
        if keep:
            assert git(root, "status", "--porcelain") == git(plain, "status", "--porcelain")
            assert git(root, "rev-parse", "HEAD") == git(plain, "rev-parse", "HEAD")
        if keep and form != "commit":
            assert git(root, "rev-parse", full) == git(scratch / "r", "rev-parse", full)
