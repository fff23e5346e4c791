"""Whole builds: the demo's base image, and the program with a store of its own for each module."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.registry.conftest import serve_docker
from tests.support import IMAGESMITH, PROJECT, lacking, need_program

DEMO = PROJECT / "fixtures" / "demo"


@dataclass(frozen=True)
class Smith:
    """The program with a store of its own; `base` is an OCI layout that the demo builds on."""

    folder: Path
    base: Path

    def run(self, *words: str, status: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command; it must end with `status`."""
        done = subprocess.run(
            [*IMAGESMITH, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL,
            env={**os.environ, "IMAGESMITH_ROOT": str(self.folder / "store"), **env},
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def build(self, *words: str, status: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
        """Build with the demo's base image."""
        base = f"base=oci-layout://{self.base}"
        return self.run("build", "--build-context", base, *words, status=status, **env)


def make_base(folder: Path) -> Path:
    """The demo's base image."""
    subprocess.run([sys.executable, str(DEMO / "base.py"), str(folder)], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def base_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OCI layout with a shell and a few tools."""
    return make_base(tmp_path_factory.mktemp("base") / "layout")


@pytest.fixture(scope="module")
def smith(tmp_path_factory: pytest.TempPathFactory, base_image: Path) -> Smith:
    """The program with an empty store."""
    return Smith(tmp_path_factory.mktemp("smith"), base_image)


@pytest.fixture(scope="module")
def docker_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of Debian's docker-registry."""
    with serve_docker(tmp_path_factory.mktemp("docker-registry")) as served:
        yield served.host


def ordinary_user(lent: bool) -> str:
    """A user of this machine to whom the system lends ids, or does not; looked for, none is made."""
    rows = [line.split(":") for line in Path("/etc/passwd").read_text().splitlines()]
    users = [row[0] for row in rows if 1000 <= int(row[2]) < 60000]
    path = Path("/etc/subuid")
    lending = {line.split(":")[0] for line in path.read_text().splitlines()} if path.exists() else set()
    user = next((u for u in users if (u in lending) == lent), None)
    if user is None:
        lacking(f"no ordinary user {'with' if lent else 'without'} ids in /etc/subuid")
        raise AssertionError
    return user


@contextmanager
def place_of(user: str, base_image: Path) -> Iterator[tuple[Path, Path]]:
    """A folder of a user, and a base image that the user can read: pytest closes its own to others."""
    with tempfile.TemporaryDirectory(prefix="imagesmith-") as place:
        shutil.copytree(base_image, f"{place}/base")
        Path(place).chmod(0o755)
        mine = Path(place) / "user"
        mine.mkdir()
        shutil.chown(mine, user)
        yield mine, Path(place) / "base"


def as_user(user: str) -> list[str]:
    """What is put before a command to run it as a user."""
    return [need_program("setpriv"), "--reuid", user, "--regid", user, "--clear-groups", "--inh-caps=-all"]
