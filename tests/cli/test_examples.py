"""Every example of every `--help` is run as it stands there, in a shell, and something comes of it.

The world that they speak of: a folder with a Dockerfile and some files, a store with images, and a registry.
Changed in the examples are only registry.example.com, which becomes the address of that registry;
sha256:DIGEST, which becomes the first layer of app:1.0 in it; and 127.0.0.1:5000, which may be taken here.
What comes of an example is told by a command that fails before it and succeeds after it, so that a verb that
does nothing is found.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.cli.examples import examples_of
from imagesmith.cli.parser import Parser
from imagesmith.embedded.registry import Registry
from imagesmith.plugins import COMMANDS, load
from tests.cli.prepared import World
from tests.gitserver import git_server
from tests.registry.conftest import PASSWORD, USER, free_port, make_htpasswd
from tests.support import IMAGESMITH, PROJECT, need_program
from tests.web import repository

HOST = "registry.example.com"


def verbs_of(command: str) -> list[str]:
    """A command, or the commands that it consists of; asked of its parser, so that none is left out."""
    parser = Parser(prog=f"imagesmith {command}")
    load(COMMANDS[command][0]).configure(parser)
    groups = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    return [f"{command} {verb}" for group in groups for verb in group.choices] or [command]


LEAVES = [leaf for command in COMMANDS for leaf in verbs_of(command)]
SERVER = "imagesmith registry serve --dir images --addr 127.0.0.1:5000"
#: example -> what is true after it and not before; .out and .err are what it wrote
AFTER = {
    "build -t registry.example.com/app:1.0 --push .":
        'grep -q "$(imagesmith digest registry.example.com/app:1.0)" .err',
    "build --target files -o type=local,dest=out .": "grep -q hello out/greeting && test -f out/app",
    "build --build-arg VERSION=2 -t app:2 --on-failure keep=failed .":
        "imagesmith inspect app:2 | grep -q 'version.*2' && ! imagesmith inspect store:failed",
    "bake": "imagesmith inspect store:app:baked",
    "bake --print app": """grep -q '"app:baked"' .out""",
    "bake --set '*.args.VERSION=2' --set app.tags=app:3 app":
        "imagesmith inspect store:app:3 | grep -q 'version.*2'",
    "work --verdict verdict.json unit.json":
        "grep -q pushed verdict.json && imagesmith tags registry.example.com/cache | grep -q unit-",
    "kaniko --context . --destination registry.example.com/app:2":
        "imagesmith validate registry.example.com/app:2",
    "kaniko -c dir://. --no-push -d app:2 --tar-path app-2.tar":
        "imagesmith inspect docker-archive:app-2.tar",
    "pin .": "grep -q version Dockerfile.lock",
    "pin --update --prune --platform linux/amd64,linux/arm64 .": "grep -q version Dockerfile.lock",
    "pin --check --json .": "grep -q '\"lock\": \"Dockerfile.lock\"' .out",
    "run tools:1 echo hello": "grep -qx hello .out",
    """run -e NAME=you -w /tmp tools:1 sh -c 'echo "hello, $NAME"; pwd'""":
        "grep -qx 'hello, you' .out && grep -qx /tmp .out",
    "reproduce app:1 .": "grep -q . .out",
    "reproduce registry.example.com/proven:1.0": "grep -q ': equal: ' .out",
    "push app:1 registry.example.com/team/app:1": "imagesmith validate registry.example.com/team/app:1",
    "pull --policy policy.json registry.example.com/app:1.0":
        "imagesmith inspect store:registry.example.com/app:1.0",
    "pull registry.example.com/app:1.0": "imagesmith inspect store:registry.example.com/app:1.0",
    "copy registry.example.com/app:1.0 registry.example.com/team/app:1.0":
        "imagesmith validate registry.example.com/team/app:1.0",
    "copy --all registry.example.com/both:1 oci:layout:both": "imagesmith validate oci:layout:both",
    "copy --tags '1.*' registry.example.com/app oci:layout": "imagesmith validate oci:layout:1.0",
    "save -o app.tar app:1":
        "imagesmith inspect oci-archive:app.tar || imagesmith inspect docker-archive:app.tar",
    "load -i saved.tar": "grep -q app:1 .out",
    "mirror --to registry.example.com/mirror images.txt":
        "imagesmith catalog registry.example.com | grep -q ^mirror/",
    "mirror --dry-run --to registry.example.com/mirror images.txt":
        "grep -q '(3 of 3 blobs' .out && ! imagesmith catalog registry.example.com | grep -q ^mirror/",
    "images": "grep -q '^tools:1 ' .out",
    "tag app:1 registry.example.com/app:stable": "imagesmith inspect store:registry.example.com/app:stable",
    "tag docker://registry.example.com/app:1.0 stable": "imagesmith validate registry.example.com/app:stable",
    "rmi app:1": "! imagesmith inspect store:app:1",
    "prune --older-than 72h": "grep -q freed .out",
    "cache ls": "grep -q kept .out",
    "cache prune --older-than 72h --max-size 5GB": "grep -q freed .out",
    "cache export -o caches.tar": "tar tf caches.tar | grep -q kept",
    "cache import kept-caches.tar": "grep -q . .out .err",
    "inspect registry.example.com/app:1.0": "grep -q sha256: .out",
    "inspect -f '{{.Digest}} {{json .Config.Cmd}}' app:1": """grep -q '^sha256:.* \\["/app"]' .out""",
    "inspect -f '{{json .Provenance}}' app:1": "grep -qx '{}' .out",
    "explore --plain app:1": "grep -q 'in 2 layers.* efficiency 100.0%' .out",
    "explore --html app.html registry.example.com/app:1.0": "grep -q 'COPY greeting' app.html",
    "explore --ci --max-size 200MB --max-wasted-percent 10 app:1": "grep -q '^ok *wasted share: 0%' .out",
    "ls -l app:1": "grep -qx '.* 6 .* greeting' .out",
    "ls -R registry.example.com/app:1.0 /": "grep -qx /greeting .out",
    "cat registry.example.com/app:1.0 /greeting": "grep -qx hello .out",
    "digest registry.example.com/app:1.0": "grep -qx 'sha256:[0-9a-f]*' .out",
    "tags registry.example.com/app": "grep -qx 1.0 .out",
    "catalog registry.example.com": "grep -qx both .out",
    "manifest get registry.example.com/app:1.0": "grep -q sha256:DIGEST .out",
    "manifest put registry.example.com/app:again manifest.json":
        "imagesmith validate registry.example.com/app:again",
    "manifest delete registry.example.com/app:1.0": "! imagesmith digest registry.example.com/app:1.0",
    "blob get registry.example.com/app sha256:DIGEST > layer.tar.gz":
        "tar tzf layer.tar.gz | grep -q greeting",
    "blob put registry.example.com/app greeting":
        "imagesmith blob head registry.example.com/app sha256:$(sha256sum < greeting | cut -c1-64)",
    "blob head registry.example.com/app sha256:DIGEST": "grep -q . .out",
    "blob delete registry.example.com/app sha256:DIGEST":
        "! imagesmith blob head registry.example.com/app sha256:DIGEST",
    "delete registry.example.com/app:1.0": "! imagesmith digest registry.example.com/app:1.0",
    "index create registry.example.com/app:all app:1":
        "imagesmith manifest get registry.example.com/app:all | grep -q manifests",
    "index add registry.example.com/both:1 registry.example.com/app:1.0": "grep -q sha256: .out",
    "index remove registry.example.com/both:1 --platform linux/arm64":
        "! imagesmith manifest get registry.example.com/both:1 | grep -q arm64",
    "append -b app:1 -t registry.example.com/app:more layer.tar":
        "imagesmith export registry.example.com/app:more - | tar t | grep -q more",
    """mutate app:1 --label team=web --cmd '["/app", "-v"]' -t app:web""":
        "imagesmith inspect app:web | grep -q web",
    "flatten app:1 -t app:flat":
        "test $(imagesmith manifest get store:app:flat | grep -o 'layer.v1' | wc -l) = 1",
    "rebase app:1 --old-base base:1 --new-base base:2 -t app:rebased":
        "imagesmith export app:rebased - | tar t | grep -q more",
    "sbom app:1 --supplier 'Example Ltd' -o app.spdx.json":
        "grep -q SPDX-2.3 app.spdx.json && grep -q 'Organization: Example Ltd' app.spdx.json",
    "sbom --format cyclonedx registry.example.com/app:1.0": "grep -q CycloneDX .out",
    "export app:1 files.tar": "tar tf files.tar | grep -q greeting",
    "diff app:1 registry.example.com/app:1.0": "test -f .status",
    "artifact push registry.example.com/notes:1 greeting sbom.json":
        "imagesmith artifact ls registry.example.com/notes:1 | grep -q greeting",
    "artifact pull registry.example.com/files:1 -o out": "diff out/greeting greeting",
    "artifact ls registry.example.com/files:1": "grep -q ^greeting .out",
    "attach oci:image sbom.json --artifact-type application/spdx+json":
        "imagesmith referrers oci:image | grep -q spdx",
    "referrers registry.example.com/app:1.0": "grep -q spdx .out",
    "validate registry.example.com/app:1.0": "grep -q ^valid .out",
    "sign --key plain.key registry.example.com/app:1.0 --tag":
        "imagesmith verify --key plain.pub registry.example.com/app:1.0",
    "verify --key signer.pub registry.example.com/signed:1": "grep -q 'signed by signer.pub' .out",
    "attest --key plain.key --predicate sbom.json store:app:1":
        "imagesmith verify-attestation --key plain.pub store:app:1",
    "verify-attestation --key signer.pub --type spdxjson store:tools:1":
        "grep -q 'says https://spdx.dev/Document' .out",
    "key generate --password-file password mine": "imagesmith key show --password-file password mine.key",
    "key show plain.key": "diff .out plain.pub",
    "login -u me --password-stdin registry.example.com < password": "grep -q '^logged in to' .out",
    "logout registry.example.com": "grep -q . .out .err",
    "registry gc --dir images": "grep -q ^deleted .out",
    "config": "grep -q ^project: .out && grep -q ^user: .out",
    "completion bash > imagesmith.bash": "bash -n imagesmith.bash && grep -q ^complete imagesmith.bash",
    "docker-plugin install": "test -x .home/.docker/cli-plugins/docker-imagesmith",
    "docker-plugin install --as-buildx": "grep -q buildx .home/.docker/config.json",
    "docker-plugin uninstall": """grep -q "goes to docker's usual builder" .out""",
    "docker-plugin status": """grep -q "goes to docker's usual builder" .out""",
    "docker-plugin call buildx buildx build -t app:docker .": "imagesmith inspect store:app:docker",
    "doctor": "grep -q ^machine .out",
}  # fmt: skip
FILES = {
    "Dockerfile": "FROM scratch AS base\nCOPY greeting /\nFROM base AS files\nARG VERSION=1\n"
    'LABEL version=$VERSION\nCOPY app /\nFROM files\nCMD ["/app"]\n',
    "tools/Dockerfile": 'FROM scratch\nCOPY busybox /bin/\nRUN ["/bin/busybox", "--install", "-s", "/bin"]\n'
    "RUN --mount=type=cache,id=kept,target=/kept echo kept > /kept/kept\n",
    "greeting": "hello\n",
    "app": "#!/bin/sh\n",
    "sbom.json": "{}",
    "password": "of the keys\n",
    "policy.json": '{"default": [{"type": "insecureAcceptAnything"}]}',
    "docker-bake.hcl": 'group "default" {\n  targets = ["app"]\n}\ntarget "app" {\n'
    '  target = "files"\n  tags = ["app:baked"]\n}\n',
    "images.txt": f"{HOST}/app:1.0\n{HOST}/both:1\n",
    "unit.json": json.dumps(
        {
            "version": 1,
            "target": "app",
            "platform": "linux/amd64",
            "push": [f"{HOST}/made"],
            "verdicts": f"{HOST}/cache",
            "definition": {"target": {"app": {"context": "REPOSITORY", "output": [{"type": "image"}]}}},
        }
    ),
}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """What all of them find, made once."""
    folder = tmp_path_factory.mktemp("examples")
    world = World(folder, variables={"SOURCE_DATE_EPOCH": "1000000000"})
    world.install()
    for name, content in FILES.items():
        world.write(name, content)
    shutil.copy(need_program("busybox"), folder / "tools" / "busybox")
    with tarfile.open(folder / "layer.tar", "w") as tar:
        tar.add(folder / "greeting", "more")
    with (
        Registry(folder / ".registry") as registry, Registry(folder / "images"),
        git_server(folder / ".repositories") as server,
    ):  # fmt: skip
        repository(server.root / "app", {"Dockerfile": "FROM scratch\nCOPY f /f\n", "f": "text"})
        world.names |= {HOST: registry.host, "REPOSITORY": server.url("app")}
        for line in (
            "imagesmith build -t app:1 -o type=image,rewrite-timestamp=true .",
            "imagesmith build --target base -t base:1 -o type=image,rewrite-timestamp=true .",
            "imagesmith append -b base:1 -t base:2 layer.tar",
            "imagesmith build -t tools:1 tools",
            f"imagesmith push app:1 {HOST}/app:1.0",
            f"imagesmith build -t {HOST}/proven:1.0 --provenance true "
            f"-o type=registry,rewrite-timestamp=true {server.url('app')}",
            "imagesmith mutate app:1 --set-platform linux/arm64 -t store:app:arm",
            f"imagesmith index create {HOST}/both:1 app:1 store:app:arm",
            f"imagesmith attach {HOST}/app:1.0 sbom.json --artifact-type application/spdx+json",
            f"imagesmith artifact push {HOST}/files:1 greeting",
            "imagesmith save -o saved.tar app:1",
            "imagesmith copy store:app:1 oci:image",
            "imagesmith manifest get store:app:1 > manifest.json",
            "imagesmith cache export -o kept-caches.tar",
            "imagesmith key generate --password-file password signer",
            "imagesmith key generate --plain plain",
            f"imagesmith copy store:app:1 {HOST}/signed:1",
            f"imagesmith sign --key signer.key --password-file password --tag {HOST}/signed:1",
            "imagesmith attest --key signer.key --password-file password --type spdxjson "
            "--predicate sbom.json --tag store:tools:1",
        ):
            done = world.run(line)
            if "RUN cannot be executed here" in done.stderr:
                continue  # where no step can run, `run` can run nothing either
            assert done.returncode == 0, (line, done.stderr)
        layers = json.loads((folder / "manifest.json").read_text())["layers"]
        world.names["sha256:DIGEST"] = layers[0]["digest"]
        yield world


@pytest.fixture
def world(first: World, tmp_path: Path) -> Iterator[World]:
    """A copy of it, so that none finds what another has changed."""
    folder = tmp_path / "here"
    shutil.copytree(first.folder, folder, symlinks=True)
    with Registry(folder / ".registry") as registry:
        world = World(folder, {**first.names, HOST: registry.host}, first.variables)
        world.install()
        for name in ("images.txt", "unit.json"):
            world.write(name, world.filled(FILES[name]))
        yield world


def shown(text: str) -> list[str]:
    """The examples in what --help says."""
    return [line.strip() for line in text.partition("\nexamples:\n")[2].splitlines()]


@pytest.fixture(scope="module")
def helps() -> dict[str, list[str]]:
    """The examples that --help shows of every command and of its verbs, each in a process of its own."""
    return {c: shown(asked(*c.split(), "--help")) for c in dict.fromkeys([*COMMANDS, *LEAVES])}


def asked(*words: str) -> str:
    """What the program says, 80 columns wide."""
    env = {**os.environ, "COLUMNS": "80"}
    done = subprocess.run([*IMAGESMITH, *words], capture_output=True, text=True, cwd=PROJECT, env=env)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


@pytest.mark.parametrize("command", LEAVES)
def test_every_command_has_examples_that_help_shows(command: str, helps: dict[str, list[str]]) -> None:
    assert 1 <= len(helps[command]) <= 3
    assert helps[command] == examples_of(command)
    assert all(line.startswith(f"imagesmith {command}") for line in helps[command])


def test_groups_show_the_examples_of_their_verbs(helps: dict[str, list[str]]) -> None:
    for command in COMMANDS:
        assert sorted(helps[command]) == sorted(line for leaf in verbs_of(command) for line in helps[leaf])


@pytest.mark.parametrize("command", ["build", "run", "cache", "cache ls", "index create"])
def test_help_of_a_command_is_its_help(command: str) -> None:
    assert asked("help", *command.split()) == asked(*command.split(), "--help")


def test_help_looks_at_no_word_after_the_command() -> None:
    assert asked("help", "run", "tools:1", "echo") == asked("run", "--help")


def test_examples_fit_on_a_screen_and_are_known(helps: dict[str, list[str]]) -> None:
    lines = [line for leaf in LEAVES for line in helps[leaf]]
    assert [line for line in lines if len(line) > 78] == []
    assert {f"imagesmith {text}" for text in AFTER} | {SERVER} == set(lines)


@pytest.mark.parametrize("text", AFTER)
def test_example_does_what_it_says(world: World, tmp_path: Path, text: str) -> None:
    for name in (".out", ".err"):
        (world.folder / name).touch()
    if text.startswith("login"):
        users = make_htpasswd(tmp_path / "htpasswd")
        users.write_text(users.read_text().replace(f"{USER}:", "me:"))
        (world.folder / "password").write_text(PASSWORD)
        with Registry(tmp_path / "closed", htpasswd=users) as registry:
            world.names[HOST] = registry.host
            check(world, text)
    else:
        check(world, text)


def check(world: World, text: str) -> None:
    """Run an example between its two questions."""
    before = world.run(AFTER[text])
    assert before.returncode != 0, "true without the example"
    done = world.run(f"imagesmith {text}")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    (world.folder / ".out").write_text(done.stdout)
    (world.folder / ".err").write_text(done.stderr)
    (world.folder / ".status").touch()
    after = world.run(AFTER[text])
    assert after.returncode == 0, (done.stdout, done.stderr, after.stdout, after.stderr)


def test_example_of_a_registry_answers_until_it_is_stopped(world: World) -> None:
    port = free_port()
    words = shlex.split(SERVER.replace("127.0.0.1:5000", f"127.0.0.1:{port}"))
    with subprocess.Popen(
        words,
        cwd=world.folder,
        env=world.env({}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:  # fmt: skip
        try:
            assert server.stdout is not None
            said = server.stdout.readline()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=20) as answer:
                assert answer.status == 200, said
            server.send_signal(signal.SIGTERM)
            assert server.wait(20) == 0
        finally:
            server.kill()
