"""A disk that is full: what was being done, where, and the status of whose disk it is."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Smith
from tests.support import IMAGESMITH, small_disk

pytestmark = pytest.mark.slow

BIG = 20_000_000


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 5 MB."""
    with small_disk(tmp_path / "small", "5m") as at:
        yield at


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A context with a file that does not fit there, and an archive of one."""
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "big").write_bytes(os.urandom(BIG))
    with tarfile.open(folder / "t.tgz", "w:gz", compresslevel=1) as tar:
        tar.add(folder / "big", "big")
    return folder


def run(words: list[str], *, stdin: bytes = b"", **env: str) -> tuple[int, str]:
    """The status of a command and what it said."""
    done = subprocess.run([*IMAGESMITH, *words], input=stdin, capture_output=True, env={**os.environ, **env})
    assert b"Traceback" not in done.stderr
    return done.returncode, done.stderr.decode()


def build(context: Path, line: str, *words: str, stdin: bytes = b"", **env: str) -> tuple[int, str]:
    """Build a Dockerfile of one line after FROM."""
    file = context.parent / "Dockerfile"
    file.write_text(line)
    return run(
        ["build", "--progress", "plain", "-f", str(file), *words, "-" if stdin else str(context)],
        stdin=stdin, **env,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "words", "doing"),
    [
        ("FROM scratch\nADD t.tgz /\n", [], "unpack t.tgz"),
        ("FROM scratch\nCOPY big /\n", [], "write a blob"),
        ("FROM base\nRUN --mount=type=bind,target=/m true\n", [], "copy / for a mount"),
        ("FROM base\nRUN head -c 20000000 /dev/zero > /x\n", ["--isolation", "chroot"], ""),
    ],
)
def test_a_full_store_is_told_with_what_it_kept_from_being_done(
    small: Path, context: Path, base_image: Path, line: str, words: list[str], doing: str
) -> None:
    base = f"base=oci-layout://{base_image}"
    status, said = build(context, line, "--root", str(small / "s"), "--build-context", base, *words)
    if not doing:  # the command's own fault, if it was the one that met it
        assert status in (4, 8), said
        return
    assert status == 8, said
    assert f"error: cannot {doing}: {small}/s/" in said
    assert "no space left on device" in said
    assert ">>>" in said  # the instruction


def test_contexts_and_images_that_do_not_fit(small: Path, context: Path, smith: Smith) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.add(context, ".")
    root = ["--root", str(small / "s")]
    file = "FROM scratch\nCOPY big /\n"
    status, said = build(context, file, *root, stdin=out.getvalue())
    assert (status, "cannot keep the context of standard input" in said) == (8, True), said
    archive = context.parent / "a.tar"
    own = ["--root", str(smith.folder / "own")]
    assert build(context, file, *own, "-t", "big")[0] == 0
    assert run(["save", *own, "-o", str(archive), "big"])[0] == 0
    for words in (["load", *root, "-i", str(archive)], ["copy", *root, f"oci-archive:{archive}", "store:b"]):
        status, said = run(words)
        assert (status, "cannot write a blob" in said) == (8, True), said
    for at, words in {
        "x.tar": ["save", *own, "-o", f"{small}/x.tar", "big"],
        "y.tar": [
            "build",
            *own,
            "-o",
            f"type=oci,dest={small}/y.tar",
            "-f",
            f"{context}/../Dockerfile",
            str(context),
        ],
        "z": [
            "build",
            *own,
            "-o",
            f"type=local,dest={small}/z",
            "-f",
            f"{context}/../Dockerfile",
            str(context),
        ],
    }.items():
        status, said = run(words)
        assert (status, f"cannot write {small}/{at}" in said) == (8, True), said


def test_nothing_large_lies_in_the_temporary_folder(small: Path, context: Path, smith: Smith) -> None:
    root = ["--root", str(smith.folder / "other")]
    env = {"TMPDIR": str(small)}
    assert build(context, "FROM scratch\nADD t.tgz /\nCOPY big /b\n", *root, "-t", "big", **env)[0] == 0
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.add(context, ".")
        tar.add(context.parent / "Dockerfile", "Dockerfile")
    assert run(["build", *root, "-"], stdin=out.getvalue(), **env)[0] == 0
    packed = subprocess.run(
        [*IMAGESMITH, "save", *root, "big"], capture_output=True, check=True, env={**os.environ, **env}
    ).stdout
    assert run(["load", *root], stdin=packed, **env)[0] == 0
