"""Sandboxes for tests: each kind that works on this machine, in a process of its own."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import PROJECT, lacking, need_program

KINDS = ("native", "chroot", "oci")
APPLETS = ("sh", "cat", "chroot", "env", "find", "grep", "head", "hostname", "id", "ln", "ls", "mkdir",
           "mknod", "mount", "mv", "pwd", "rm", "setsid", "sleep", "sort", "stat", "touch", "tr", "unshare",
           "wc")  # fmt: skip


@dataclass(frozen=True)
class Done:
    """What came of a step."""

    status: int | None
    out: str
    err: str
    error: str
    code: str


class Driver:
    """A process that is in a world; see tests/worker/sandbox/driver.py."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        env = {**os.environ, "PYTHONPATH": str(PROJECT)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.worker.sandbox.driver", kind],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT, env=env,
        )  # fmt: skip
        self.about = self.read()

    def read(self) -> dict[str, Any]:
        """The next line that it says."""
        assert self.process.stdout is not None
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def send(self, root: Path, request: dict[str, Any]) -> None:
        """Ask for a step."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"root": str(root), **request}) + "\n")
        self.process.stdin.flush()

    def close(self) -> None:
        """Let it end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


class Bench:
    """A root with busybox, and a sandbox to run steps in it."""

    def __init__(self, driver: Driver, root: Path) -> None:
        self.driver, self.root = driver, root
        self.kind, self.ids = driver.kind, driver.about["ids"]

    def run(self, *argv: str, env: dict[str, str] | None = None, **spec: Any) -> Done:
        """Run a program to its end."""
        words = {"PATH": "/bin"} if env is None else env
        for m in spec.get("mounts", ()):
            m["data"] = base64.b64encode(m.get("data", b"")).decode()
        self.driver.send(self.root, {"argv": argv, "env": list(words.items()), **spec})
        return Done(**self.driver.read())

    def sh(self, text: str, **spec: Any) -> Done:
        """Run a shell text."""
        return self.run("/bin/sh", "-c", text, **spec)

    def files(self) -> list[str]:
        """What is in the root, less busybox."""
        found = (str(p.relative_to(self.root)) for p in self.root.rglob("*"))
        return sorted(f for f in found if not f.startswith("bin"))


@pytest.fixture(scope="session")
def drivers() -> Iterator[dict[str, Driver]]:
    """The processes, started when they are first asked for."""
    started: dict[str, Driver] = {}
    yield started
    for driver in started.values():
        if driver.process.poll() is None:
            driver.close()


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a static busybox; tests get copies."""
    root = tmp_path_factory.mktemp("base") / "root"
    (root / "bin").mkdir(parents=True)
    shutil.copy(need_program("busybox"), root / "bin" / "busybox")
    for name in APPLETS:
        (root / "bin" / name).symlink_to("busybox")
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    return root


def make_bench(kind: str, drivers: dict[str, Driver], base: Path, root: Path) -> Bench:
    """A bench for a kind of sandbox; skips where the kind does not work."""
    if kind not in drivers:
        drivers[kind] = Driver(kind)
    about = drivers[kind].about
    if "unavailable" in about:
        if kind == "oci":
            lacking(about["unavailable"])
        pytest.skip(about["unavailable"])
    shutil.copytree(base, root, symlinks=True, copy_function=os.link)
    root.parent.chmod(0o755)
    return Bench(drivers[kind], root)


@pytest.fixture(params=KINDS)
def bench(request: pytest.FixtureRequest, drivers: dict[str, Driver], base: Path, tmp_path: Path) -> Bench:
    """Each sandbox that works here, with a root of its own."""
    return make_bench(request.param, drivers, base, tmp_path / "root")
