"""Repositories over smart HTTP: tags, branches and submodules as BuildKit leaves them."""

from __future__ import annotations

import http.server
import shutil
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.conformance import run as conformance
from tests.reported.conftest import REPORTED, Builder
from tests.support import need_program
from tests.web import git, repository

pytestmark = pytest.mark.slow


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[str]:
    """The address of a repository with an annotated tag, a second commit and a submodule."""
    need_program("git")
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), type("Here", (conformance.Server,), {"root": tmp_path})
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    repository(tmp_path / "sm.git", {"in": "submodule\n"})
    repo = tmp_path / "repo.git"
    repository(repo, {"f": "one\n"})
    git(repo, "tag", "-a", "-m", "annotated", "annot")
    shutil.copy(REPORTED / "git-submodule-gitfile" / "Dockerfile", repo)
    git(repo, "submodule", "--quiet", "add", f"{address}/sm.git", "sm")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "two")
    yield f"{address}/repo.git"
    server.shutdown()
    server.server_close()


def test_kept_git_folder_has_the_tag_and_the_branch_asked_for(
    builder: Builder, remote: str, tmp_path: Path
) -> None:
    folder, out = builder.take("keep-git-dir-tags"), builder.folder / "out"
    builder.build("--build-arg", f"URL={remote}", "-o", f"type=local,dest={out}", folder)
    repo = tmp_path / "repo.git"
    here = tmp_path / "out"
    shutil.copytree(out, here, symlinks=True)  # git trusts no folder of another user
    assert git(here / "tag", "describe") == "annot"
    assert git(here / "tag", "tag") == "annot"
    assert git(here / "tag", "rev-parse", "HEAD") == git(repo, "rev-parse", "annot^{commit}")
    assert git(here / "branch", "rev-parse", "main") == git(repo, "rev-parse", "main")
    assert git(here / "branch", "branch", "--format=%(refname)") != ""


def test_git_files_of_submodules_stay(builder: Builder, remote: str) -> None:
    out = builder.folder / "x.tar"
    builder.build("-o", f"type=tar,dest={out}", remote)
    with tarfile.open(out) as tar:
        names = tar.getnames()
    assert {"sm/.git", "sm/in", ".gitmodules"} <= set(names)
    assert ".git" not in names
