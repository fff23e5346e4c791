"""A Dockerfile or an ignore file that is a link to a file of the machine's: nothing of that is shown."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.support import IMAGESMITH

CANARY = "machine example.com login canary password hunter2"


def build(folder: Path, *words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """A build whose output, wherever it goes, is looked through for the canary."""
    done = subprocess.run(
        [*IMAGESMITH, "build", "--progress", "plain", "--root", str(folder / "store"), *words],
        input=given, capture_output=True, cwd=folder,
    )  # fmt: skip
    assert b"hunter2" not in done.stdout + done.stderr
    assert b"Traceback" not in done.stderr
    return done


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file of the machine's that parses as no Dockerfile and as no pattern."""
    path = tmp_path / "netrc"
    path.write_text(f"{CANARY} [\n")
    (tmp_path / "ctx" / "sub").mkdir(parents=True)
    (tmp_path / "ctx" / "real").write_text("FROM scratch\nCOPY f /\n")
    (tmp_path / "ctx" / "f").write_text("text")
    return path


#: How a link may be spelled that leads out of the context: from the file, from the root, by another link.
OUT = {
    "relative": lambda canary, link: os.path.relpath(canary, link.parent),
    "absolute": lambda canary, _: str(canary),
    "by the process's root": lambda canary, _: f"/proc/self/root{canary}",
    "by a link": lambda canary, link: os.path.relpath(canary.parent / "ctx" / "sub" / "up", link.parent),
}


@pytest.mark.parametrize("spelling", OUT)
@pytest.mark.parametrize("name", ["Dockerfile", "sub/Dockerfile", ".dockerignore", "Dockerfile.dockerignore"])
def test_link_out_of_the_context_is_refused(canary: Path, spelling: str, name: str) -> None:
    context = canary.parent / "ctx"
    (context / "sub" / "up").symlink_to("../../netrc")
    link = context / name
    link.symlink_to(OUT[spelling](canary, link))
    dockerfile = link
    if name.endswith("ignore"):
        dockerfile = context / "Dockerfile"
        dockerfile.symlink_to("real")
    for words in (["-f", str(dockerfile)], []) if dockerfile.parent == context else [["-f", str(dockerfile)]]:
        done = build(canary.parent, *words, str(context))
        assert done.returncode != 0
        assert b"leads out of its folder" in done.stderr


def test_link_beside_a_dockerfile_that_is_elsewhere_is_refused(canary: Path) -> None:
    other = canary.parent / "other"
    other.mkdir()
    (other / "Dockerfile").symlink_to(canary)
    done = build(canary.parent, "-f", str(other / "Dockerfile"), "ctx")
    assert done.returncode != 0
    assert b"leads out of its folder" in done.stderr


def test_link_in_a_context_on_standard_input_is_refused(canary: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        info = tarfile.TarInfo("Dockerfile")
        info.type, info.linkname = tarfile.SYMTYPE, str(canary)
        tar.addfile(info)
    assert build(canary.parent, "-", given=packed.getvalue()).returncode != 0


def test_named_context_s_ignore_file_is_refused(canary: Path) -> None:
    named = canary.parent / "named"
    named.mkdir()
    (named / ".dockerignore").symlink_to(canary)
    (canary.parent / "ctx" / "Dockerfile").write_text("FROM scratch\nCOPY --from=named . /\n")
    done = build(canary.parent, "--build-context", "named=named", "ctx")
    assert done.returncode != 0
    assert b"leads out of its folder" in done.stderr


def test_links_within_the_context_and_pipes_that_the_user_names_are_read(canary: Path) -> None:
    context = canary.parent / "ctx"
    (context / "sub" / "Dockerfile").symlink_to("../real")
    (context / "Dockerfile").symlink_to("/sub/Dockerfile")  # the context is its root, as with BuildKit
    (context / ".dockerignore").symlink_to("sub/none")
    (context / "sub" / "none").write_text("nothing\n")
    assert build(canary.parent, "ctx").returncode == 0
    assert build(canary.parent, "-f", "ctx/sub/Dockerfile", "ctx").returncode == 0
    done = subprocess.run(
        ["bash", "-c", f"{' '.join(IMAGESMITH)} build --root store -f <(cat ctx/real) ctx"],
        cwd=canary.parent, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
