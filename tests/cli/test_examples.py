"""Every example of every `--help` is run as it stands there, in a shell.

The world that they speak of: a folder with a Dockerfile and some files, a store with images, and a registry,
which stands for registry.example.com; sha256:DIGEST is the first layer of app:1.0 in it. Nothing else is
changed in them.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.cli.examples import examples_of
from imagesmith.embedded.registry import Registry
from imagesmith.plugins import COMMANDS
from tests.registry.conftest import PASSWORD, USER, make_htpasswd
from tests.support import IMAGESMITH, PROJECT, need_program

HOST = "registry.example.com"
GROUPS = {
    "cache": ("ls", "prune", "export", "import"),
    "manifest": ("get", "put", "delete"),
    "blob": ("get", "put", "head", "delete"),
    "index": ("create", "add", "remove"),
    "registry": ("serve", "gc"),
}
LEAVES = [
    f"{command} {verb}".strip() for command in COMMANDS for verb in GROUPS.get(command, ("",))
]  # fmt: skip
FILES = {
    "Dockerfile": "FROM scratch AS base\nCOPY greeting /\nFROM base AS files\nARG VERSION=1\n"
    'LABEL version=$VERSION\nCOPY app /\nFROM files\nCMD ["/app"]\n',
    "tools/Dockerfile": 'FROM scratch\nCOPY busybox /bin/\nRUN ["/bin/busybox", "--install", "-s", "/bin"]\n',
    "greeting": "hello\n",
    "app": "#!/bin/sh\n",
    "sbom.json": "{}",
    "images.txt": f"{HOST}/app:1.0\n{HOST}/both:1\n",
}


class World:
    """The folder in which examples run."""

    def __init__(self, folder: Path, host: str) -> None:
        self.folder, self.host, self.layer = folder, host, "sha256:DIGEST"

    def line(self, text: str) -> str:
        """An example with this world's registry and digest."""
        ours = shlex.join(IMAGESMITH)
        text = text.replace(HOST, self.host).replace("sha256:DIGEST", self.layer)
        return ours + text.removeprefix("imagesmith")

    def run(self, text: str) -> subprocess.CompletedProcess[str]:
        """Run one to its end."""
        return subprocess.run(
            ["/bin/sh", "-c", self.line(text)],
            cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    @property
    def env(self) -> dict[str, str]:
        """Of its commands."""
        return {
            **os.environ, "PYTHONPATH": str(PROJECT), "HOME": str(self.folder / ".home"),
            "IMAGESMITH_ROOT": str(self.folder / ".store"), "SOURCE_DATE_EPOCH": "1000000000",
        }  # fmt: skip


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """What all of them find, made once."""
    folder = tmp_path_factory.mktemp("examples")
    for name, content in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
    shutil.copy(need_program("busybox"), folder / "tools" / "busybox")
    (folder / ".home").mkdir()
    with tarfile.open(folder / "layer.tar", "w") as tar:
        tar.add(folder / "greeting", "more")
    with Registry(folder / ".registry") as registry, Registry(folder / "images"):
        world = World(folder, registry.host)
        for line in (
            "imagesmith build -t app:1 -o type=image,rewrite-timestamp=true .",
            "imagesmith build --target base -t base:1 -o type=image,rewrite-timestamp=true .",
            "imagesmith append -b base:1 -t base:2 layer.tar",
            "imagesmith build -t tools:1 tools",
            f"imagesmith push app:1 {HOST}/app:1.0",
            "imagesmith mutate app:1 --set-platform linux/arm64 -t store:app:arm",
            f"imagesmith index create {HOST}/both:1 app:1 store:app:arm",
            f"imagesmith attach {HOST}/app:1.0 sbom.json --artifact-type application/spdx+json",
            "imagesmith save -o saved.tar app:1",
            "imagesmith manifest get store:app:1 > manifest.json",
            "imagesmith cache export -o kept-caches.tar",
        ):
            done = world.run(line)
            if "RUN cannot be executed here" in done.stderr:
                continue  # where no step can run, `run` can run nothing either
            assert done.returncode == 0, (line, done.stderr)
        world.layer = json.loads((folder / "manifest.json").read_text())["layers"][0]["digest"]
        yield world


@pytest.fixture
def world(first: World, tmp_path: Path) -> Iterator[World]:
    """A copy of it, so that none finds what another has changed."""
    folder = tmp_path / "here"
    shutil.copytree(first.folder, folder, symlinks=True)
    with Registry(folder / ".registry") as registry:
        world = World(folder, registry.host)
        (folder / "images.txt").write_text(FILES["images.txt"].replace(HOST, registry.host))
        world.layer = first.layer
        yield world


def shown(command: str) -> list[str]:
    """The examples that --help shows."""
    done = subprocess.run(
        [*IMAGESMITH, *command.split(), "--help"], capture_output=True, text=True, check=True, cwd=PROJECT
    )
    _, _, below = done.stdout.partition("\nexamples:\n")
    return [line.strip() for line in below.splitlines()]


@pytest.mark.parametrize("command", LEAVES)
def test_every_command_has_examples_that_help_shows(command: str) -> None:
    assert examples_of(command) != []
    assert all(line.startswith(f"imagesmith {command}") for line in examples_of(command))


@pytest.mark.parametrize("command", ["build", "cache", "index create"])
def test_examples_stand_below_the_flags(command: str) -> None:
    assert shown(command) == examples_of(command)


def test_no_example_is_of_a_command_that_is_not_there() -> None:
    known = {line for leaf in LEAVES for line in examples_of(leaf)}
    assert {line for command in COMMANDS for line in examples_of(command)} == known


RUN = [line for leaf in LEAVES for line in examples_of(leaf) if leaf not in ("login", "registry serve")]


@pytest.mark.parametrize("line", RUN)
def test_example_does_what_it_says(world: World, line: str) -> None:
    done = world.run(line)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    quiet = ("blob", "cache", "diff", "export", "manifest", "rmi", "tag")
    assert done.stdout or done.stderr or line.split()[1] in quiet


def test_example_of_login(world: World, tmp_path: Path) -> None:
    (line,) = examples_of("login")
    users = make_htpasswd(tmp_path / "htpasswd")
    (world.folder / "password").write_text(PASSWORD)
    line = line.replace("-u me", f"-u {USER}")
    with Registry(tmp_path / "closed", htpasswd=users) as registry:
        world.host = registry.host
        done = world.run(line)
        assert (done.returncode, done.stdout.startswith("logged in to")) == (0, True), done.stderr


def test_example_of_a_registry(world: World) -> None:
    (line,) = examples_of("registry serve")
    assert line.endswith("127.0.0.1:5000")
    words = [*IMAGESMITH, *shlex.split(line)[1:-1], "127.0.0.1:0"]  # the one port that may be taken here
    with subprocess.Popen(
        words, cwd=world.folder, env=world.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        assert server.stdout is not None
        said = server.stdout.readline()
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) in (0, 130), said
    assert "127.0.0.1:" in said
