"""Small inputs that went wrong once, built by the command line as each kind of user.

The inputs are fixtures/reported, a folder for each fault; what is right was found by BuildKit, or is what the
documentation of the file system says.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fixtures.conformance import image_facts
from fixtures.conformance import run as conformance
from fixtures.demo import base as demo
from fixtures.reported import layers
from tests.e2e.conftest import as_user, ordinary_user
from tests.support import IMAGESMITH, PROJECT, lacking, need_program

REPORTED = PROJECT / "fixtures" / "reported"

#: The time (seconds) of every file of a context.
OLD_S = 1_000_000_000

#: Who builds, and whether it is behind a chroot.
WHO = ("root", "chroot", "lent", "one")

_TOOLS = ("cp", "du", "find", "tar")


@dataclass(frozen=True)
class Done:
    """What came of a command."""

    status: int
    said: str
    printed: str

    @property
    def lines(self) -> list[str]:
        """What the steps of a build printed."""
        return [m[1] for line in self.said.splitlines() if (m := re.match(r"#\d+ \d+\.\d+ ?(.*)$", line))]


@dataclass(frozen=True)
class Builder:
    """The program as one kind of user, in a folder and with a store of that user's own."""

    who: str
    user: str
    folder: Path
    bases: Path
    store: Path
    contexts: dict[str, Path] = field(default_factory=dict)

    def take(self, name: str) -> Path:
        """A copy of one of the inputs, all its files with one old time."""
        copy = self.folder / name.replace("/", "-")
        shutil.copytree(REPORTED / name, copy, symlinks=True)
        self.settle(copy)
        return copy

    def settle(self, folder: Path) -> None:
        """Give the folder's files to the user, with usual modes and one old time."""
        for path in [*sorted(folder.rglob("*"), reverse=True), folder]:
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
            if self.user:
                shutil.chown(path, self.user, self.user)
            os.utime(path, (OLD_S, OLD_S), follow_symlinks=False)

    def put(self, path: Path, data: bytes | str) -> Path:
        """Write a file of the user's."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        self.settle(path.parent)
        return path

    def layout(self, name: str, tars: list[bytes]) -> None:
        """Make an image of busybox and more layers, for `FROM name`."""
        folder = Path(tempfile.mkdtemp(dir=self.bases.parent))
        folder.chmod(0o755)
        self.contexts[name] = layers.write(folder / "layout", self.bases / "busybox", tars)

    def run(
        self, *words: str | Path, status: int | None = 0, before: tuple[str, ...] = (),
        store: Path | None = None, stdin: bytes = b"", **env: str,
    ) -> Done:  # fmt: skip
        """Run a command; it must end with `status`, without a traceback."""
        done = subprocess.run(
            self.command(*words, before=before),
            capture_output=True, input=stdin, cwd=self.folder, timeout=120, env=self.env(store, **env),
        )  # fmt: skip
        said, printed = (stream.decode(errors="replace") for stream in (done.stderr, done.stdout))
        if "RUN cannot be executed here" in said or "does not work here" in said:
            lacking(said.strip().splitlines()[-1])
        assert "Traceback" not in said
        assert status is None or done.returncode == status, said + printed
        return Done(done.returncode, said, printed)

    def command(self, *words: str | Path, before: tuple[str, ...] = ()) -> list[str]:
        """The command line that the user types."""
        return [*before, *(as_user(self.user) if self.user else []), *IMAGESMITH, *map(str, words)]

    def env(self, store: Path | None = None, **env: str) -> dict[str, str]:
        """The environment that the user has."""
        return {
            **os.environ, "PYTHONPATH": str(PROJECT), "HOME": str(self.folder),
            "IMAGESMITH_ROOT": str(store or self.store), **env,
        }  # fmt: skip

    def words(self, *words: str | Path) -> list[str | Path]:
        """The words of a build with the bases at hand."""
        bases = {name: self.bases / name for name in ("busybox", "machine")} | self.contexts
        contexts = [w for n, place in bases.items() for w in ("--build-context", f"{n}=oci-layout://{place}")]
        isolation = ["--isolation", "chroot"] if self.who == "chroot" and "--isolation" not in words else []
        return ["build", "--progress", "plain", "--no-cache", *contexts, *isolation, *words]

    def build(self, *words: str | Path, **how: Any) -> Done:
        """Build."""
        return self.run(*self.words(*words), **how)

    def facts(self, *words: str | Path, **how: Any) -> tuple[Done, dict[str, str]]:
        """Build, and tell what each file of the image is, as image_facts has it."""
        out = self.folder / "image.tar"
        done = self.build("-o", f"type=oci,dest={out}{how.pop('more', '')}", *words, **how)
        files: dict[str, str] = image_facts.facts(out)["files"]
        return done, files

    def members(self, n: int = -1) -> dict[str, tarfile.TarInfo]:
        """The entries of a layer of the image that `facts` made."""
        layout = image_facts.Layout(self.folder / "image.tar")
        with tempfile.TemporaryFile() as plain:
            plain.write(image_facts.unpack(layout.blob(image_facts.manifest_of(layout)["layers"][n])))
            plain.seek(0)
            with tarfile.open(fileobj=plain) as tar:
                return {m.name: m for m in tar}


def _machine(busybox: Path, folder: Path) -> None:
    """Busybox with GNU's tools and bash, of this machine."""
    files = {f"usr/local/bin/{name}": need_program(name) for name in _TOOLS} | {
        "bin/bash": need_program("bash")
    }
    for program in list(files.values()):
        files |= {path.lstrip("/"): path for path in demo._libraries(program)}
    with tempfile.TemporaryFile() as out:
        with tarfile.open(fileobj=out, mode="w") as tar:
            for name, source in sorted(files.items()):
                info = tarfile.TarInfo(name)
                info.mode, info.mtime, info.size = 0o755, OLD_S, Path(source).stat().st_size
                with open(source, "rb") as data:
                    tar.addfile(info, data)
        out.seek(0)
        layers.write(folder, busybox, [out.read()])


@pytest.fixture(scope="session")
def bases() -> Iterator[Path]:
    """Layouts of `busybox` and `machine` that every user can read: pytest closes its folders to others."""
    if not Path("/bin/busybox").exists():
        lacking("/bin/busybox is not there (Debian: busybox-static)")
    with tempfile.TemporaryDirectory(prefix="imagesmith-") as place:
        Path(place).chmod(0o755)
        bases = Path(place) / "bases"
        bases.mkdir()
        conformance.make_base(bases / "busybox")
        _machine(bases / "busybox", bases / "machine")
        yield bases


def _user(who: str) -> str:
    """The user to become, or '' for who runs the tests; skips where it cannot be."""
    if os.geteuid() == 0:
        return ordinary_user(who == "lent") if who in ("lent", "one") else ""
    if who != "one":
        pytest.skip("needs root, who becomes each kind of user")
    return ""


@pytest.fixture(params=WHO)
def builder(request: pytest.FixtureRequest, bases: Path) -> Iterator[Builder]:
    """A builder for each kind of user; a test for some of them names them by `indirect` parameters."""
    user = _user(request.param)
    with tempfile.TemporaryDirectory(prefix="imagesmith-", dir=bases.parent) as place:
        folder = Path(place) / "user"
        folder.mkdir()
        Path(place).chmod(0o755)
        if user:
            shutil.chown(folder, user, user)
        yield Builder(request.param, user, folder, bases, folder / "store")


def only(*who: str) -> pytest.MarkDecorator:
    """Run a test for some kinds of users only."""
    return pytest.mark.parametrize("builder", who, indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What still fails is on a list that may only shrink."""
    names = (PROJECT / "tests" / "reported" / "failing.txt").read_text().split()
    for item in items:
        if "reported" in item.nodeid and item.name.startswith(tuple(names)):
            item.add_marker(pytest.mark.xfail(strict=True, reason="tests/reported/failing.txt"))
