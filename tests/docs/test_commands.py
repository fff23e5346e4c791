"""Every command of README and of the pages is run, in the order of its page, in a world that the page finds.

A page finds a folder with a small Dockerfile and what belongs to it, a store, and a registry that has some
images; files that the page lists are written there when their turn comes. `registry.example`,
`registry.example.com` and `127.0.0.1:5000` are that registry. Every command must end with 0, or with what a
remark behind it says (`# status 10`).
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.prepared import World
from tests.docs.pages import PAGES, Command, Listing, read
from tests.docs.words import check, ours_in
from tests.registry.conftest import PASSWORD
from tests.support import PROJECT, need_program

#: What is not run, by a part of its line, and why. Ours among them must be what the parser takes.
NOT_RUN = {
    "pip install": "needs a package index",
    "pipx install": "needs a package index",
    "pipx ensurepath": "changes the settings of whoever runs it",
    "uv tool install": "needs a package index",
    "python3 fixtures/demo/run.py": "installs from a package index",
    "python3 tests/run.py": "runs the tests, this one too",
    "--load": "needs a daemon; tests/e2e/test_loading.py has them",
    "--ssh default": "needs an agent; tests/worker/test_agent.py has one",
    "--ssh github": "needs keys; tests/ops/test_mounts.py has some",
    "--shell-at": "needs a terminal; tests/cli/test_shells.py has one",
    "--on-failure shell": "needs a terminal; tests/cli/test_shells.py has one",
    "--on slurm": "needs a cluster",
    "--on kubernetes": "needs a cluster",
    "https://": "needs the network, or somebody's signature",
    "registry serve": "does not end; tests/cli/test_examples.py runs it",
    "imagesmith doctor": "is slow, and the same on every page; tests/cli/test_doctor.py runs it",
    "registry gc": "of the folder of that one",
    "--notation-root": "needs an image that notation has signed; tests/trust has them",
    "IMAGESMITH_POLICY=machine": "this machine may have a policy, or none",
    "imagesmith bake [TARGET…]": "a form, not a command",
    "imagesmith reproduce REF": "a form, not a command",
}
#: What else a page finds, as lines of shell.
GIVEN = {
    "docs/debugging.md": "imagesmith build -q -t busybox tools",
    "docs/policies.md": "imagesmith key generate --plain team && imagesmith sign --key team.key --tag "
    "registry.example.com/team/app:1",
}
FILES = {
    "Dockerfile": "FROM scratch AS files\nCOPY greeting /\n\nFROM registry.example/tools:1\nARG VERSION=1\n"
    "LABEL version=$VERSION\nCOPY --from=files /greeting /\n"
    'RUN --mount=type=cache,target=/kept cp /greeting /kept/\nCMD ["cat", "/greeting"]\n',
    "tools/Dockerfile": 'FROM scratch\nCOPY busybox /bin/\nRUN ["/bin/busybox", "--install", "-s", "/bin"]\n',
    "greeting": "hello\n",
    "notes.txt": "notes\n",
    "docs/page": "a page\n",
    "sbom.json": "{}",
    "password": PASSWORD,
    "auth.json": "{}",
    "compose.yaml": "services:\n  app:\n    build: .\n    image: registry.example/app:baked\n",
}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> World:
    """What all pages find, made once."""
    from imagesmith.embedded.registry import Registry

    folder = tmp_path_factory.mktemp("pages")
    world = World(folder, variables={"TOKEN": "secret", "PASSWORD": PASSWORD, "COLUMNS": "100"})
    world.install()
    python = world.write(".bin/python3", f'#!/bin/sh\nPYTHONPATH={PROJECT} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (folder / "tools").mkdir()
    shutil.copy(need_program("busybox"), folder / "tools" / "busybox")
    with Registry(folder / ".registry") as registry:
        world.names |= named(registry.host)
        for name, text in FILES.items():
            world.write(name, world.filled(text))
        for line in (
            "imagesmith build -q -t registry.example/tools:1 --push --platform linux/amd64,linux/arm64 tools",
            "imagesmith build -q -t registry.example/app:1 -t registry.example/app:1.0"
            " -t registry.example/app:old -t registry.example/team/app:1"
            " -t registry.example/hub/library/busybox:1 --push .",
            "imagesmith copy registry.example/tools:1 registry.example/both:1",
            "imagesmith build -q -t busybox --platform linux/amd64,linux/arm64 tools",
            "imagesmith tag registry.example/app:1 app:1",
            "imagesmith attach registry.example/app:1 sbom.json --artifact-type application/spdx+json",
        ):
            done = world.run(line)
            if "RUN cannot be executed here" in done.stderr:
                pytest.skip("no step can run here")
            assert done.returncode == 0, (line, done.stderr)
    return world


@pytest.fixture
def world(first: World, tmp_path: Path) -> Iterator[World]:
    """A copy of it for a page."""
    from imagesmith.embedded.registry import Registry

    folder = tmp_path / "here"
    shutil.copytree(first.folder, folder, symlinks=True)
    with Registry(folder / ".registry") as registry:
        world = World(folder, named(registry.host), first.variables)
        world.install()
        for name, text in FILES.items():
            world.write(name, world.filled(text))
        yield world


def named(host: str) -> dict[str, str]:
    """What names of the pages stand for."""
    return dict.fromkeys(("registry.example.com", "registry.example", "127.0.0.1:5000"), host)


def why_not(command: Command) -> str:
    """Why a command is not run; empty if it is."""
    return next((why for part, why in NOT_RUN.items() if part in command.text), "")


with_commands = [p for p in PAGES if any(isinstance(item, Command) for item in read(p))]


@pytest.mark.slow
@pytest.mark.parametrize("page", with_commands, ids=lambda p: str(p.relative_to(PROJECT)))
def test_commands_of_page_work(page: Path, world: World) -> None:
    world.names["/etc/keys"] = str(world.folder)
    if given := GIVEN.get(str(page.relative_to(PROJECT))):
        assert world.run(given).returncode == 0
    for item in read(page):
        if isinstance(item, Listing):
            world.write(item.name, world.filled(item.text))
        elif not why_not(item):
            done = world.run(item.text)
            told = f"{page.name}:{item.line}: {item.text}\n{done.stdout[-1000:]}{done.stderr[-2000:]}"
            assert done.returncode == item.status, told
            assert "Traceback" not in done.stderr, told


@pytest.mark.parametrize("page", with_commands, ids=lambda p: str(p.relative_to(PROJECT)))
def test_commands_of_page_are_what_parsers_take(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for item in read(page):
        if isinstance(item, Command) and "form" not in why_not(item) and not item.text.startswith("python3"):
            for words in ours_in(item.text.rstrip(" …")):
                check(words)


def test_nothing_is_left_out_that_no_page_has() -> None:
    lines = "\n".join(c.text for p in PAGES for c in read(p) if isinstance(c, Command))
    assert [part for part in NOT_RUN if part not in lines] == []
