"""The kitchen is at hand in these tests, and whole builds on top of busybox for those of RUN."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kitchen import kitchen
from tests.support import IMAGESMITH, PROJECT, need_program

__all__ = ["BASE", "Build", "Built", "build", "command", "context", "kitchen", "store"]

BASE = 'FROM scratch AS base\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "-s", "/bin"]\n'


@dataclass(frozen=True)
class Built:
    """What a build left: its status, its messages, and the files of its root file system."""

    status: int
    said: str
    files: dict[str, bytes]


Build = Callable[..., Built]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that the module's builds share, so that the base is made once."""
    return tmp_path_factory.mktemp("store")


def command(store: Path, context: Path, *flags: str) -> list[str]:
    """The command line of a build."""
    return [*IMAGESMITH, "build", "--progress", "plain", "--root", str(store), *flags, str(context)]


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A context with a static busybox."""
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "busybox").write_bytes(Path(need_program("busybox")).read_bytes())
    (folder / "busybox").chmod(0o755)
    os.utime(folder / "busybox", (1, 1))
    return folder


@pytest.fixture
def build(store: Path, context: Path, tmp_path: Path) -> Build:
    """Build a Dockerfile on top of busybox."""

    def build(text: str, *flags: str, env: dict[str, str] | None = None) -> Built:
        (context / "Dockerfile").write_text(BASE + text)
        (context / ".dockerignore").write_text("Dockerfile\n")
        out = tmp_path / "out.tar"
        done = subprocess.run(
            command(store, context, "-o", f"type=tar,dest={out}", *flags),
            capture_output=True, text=True, cwd=PROJECT, env={**os.environ, **(env or {})}, check=False,
        )  # fmt: skip
        if "RUN cannot be executed here" in done.stderr:
            pytest.skip(done.stderr)
        return Built(done.returncode, done.stderr, _files(out) if done.returncode == 0 else {})

    return build


def _files(path: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isreg() else None
            found[member.name.strip("./")] = content.read() if content else b""
    return found
