"""docker-plugin: docker's own command builds here; config.json and others' plugins outlive it."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.embedded.registry import Registry
from tests.cli.conftest import Run
from tests.support import IMAGESMITH, PROJECT, need_program

#: That of the PATH, and Debian's.
DOCKERS = list(dict.fromkeys(filter(os.path.exists, (shutil.which("docker") or "", "/usr/bin/docker"))))


class Docker:
    """Docker's own command, with a configuration of its own and no daemon."""

    def __init__(self, program: str, folder: Path) -> None:
        self.program, self.folder, self.config = program, folder, folder / "docker"
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("DOCKER", "BUILDX", "CI"))} | {
            "DOCKER_CONFIG": str(self.config), "DOCKER_HOST": f"unix://{folder}/nowhere",
            "IMAGESMITH_ROOT": str(folder / "store"), "PYTHONPATH": str(PROJECT), "HOME": str(folder),
        }  # fmt: skip

    def __call__(self, *words: str, status: int = 0, stdin: str = "") -> str:
        return self._run([self.program, *words], status, stdin)

    def smith(self, *words: str, status: int = 0) -> str:
        return self._run([*IMAGESMITH, *words], status)

    def _run(self, words: list[str], status: int, stdin: str = "") -> str:
        done = subprocess.run(
            words, env=self.env, cwd=self.folder, input=stdin, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == status, (words, done.stdout, done.stderr)
        return done.stdout if status == 0 else done.stderr


@pytest.fixture
def docker(tmp_path: Path) -> Docker:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY f /f\n")
    (tmp_path / "f").write_text("text")
    return Docker(need_program("docker"), tmp_path)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    with Registry(tmp_path / "registry") as registry:
        yield registry.host


@pytest.mark.parametrize("program", DOCKERS or ["docker"])
def test_docker_build_comes_here(docker: Docker, program: str) -> None:
    docker.program = program
    docker.smith("docker-plugin", "install")
    docker("build", "-t", "app:1", "--rm", ".")
    docker("image", "build", "-t", "app:2", ".")
    docker("imagesmith", "build", "-t", "app:3", ".")
    for n in (1, 2, 3):
        assert docker.smith("inspect", f"store:app:{n}")
    assert "no build context is given" in docker("build", status=2)
    docker.smith("docker-plugin", "uninstall")
    assert "imagesmith" in docker("imagesmith", "version", status=1)


@pytest.mark.parametrize("program", DOCKERS or ["docker"])
def test_actions_of_ci_find_their_buildx(docker: Docker, host: str, program: str) -> None:
    docker.program = program
    docker.smith("docker-plugin", "install", "--as-buildx")
    assert docker("buildx", "version").startswith("github.com/docker/buildx v0.")
    made = docker(
        "buildx", "create", "--name", "builder-1", "--driver", "docker-container", "--use",
        "--driver-opt", "network=host", "--buildkitd-flags", "--allow-insecure-entitlement network.host",
    )  # fmt: skip
    assert made == "builder-1\n"
    told = docker("buildx", "inspect", "--bootstrap", "--builder", "builder-1")
    assert "Name:             builder-1" in told
    assert "Status:           running" in told
    assert "Platforms:        linux/" in told
    docker(
        "buildx", "build", "--builder", "builder-1", "--iidfile", "iid", "--metadata-file", "metadata",
        "--attest", "type=provenance,mode=min,inline-only=true,builder-id=https://ci.example/1",
        "--tag", f"{host}/app:1", "--file", "./Dockerfile", "--push", ".",
    )  # fmt: skip
    metadata = json.loads((docker.folder / "metadata").read_text())
    assert docker.smith("digest", f"{host}/app:1").strip() == metadata["containerimage.digest"]
    assert docker("buildx", "ls", "--format", "{{.Name}}") == "default\n"
    assert "Total:" in docker("buildx", "du")
    assert "freed" in docker("buildx", "prune", "-af", "--filter", "until=24h")
    for words in (["use", "builder-1"], ["stop"], ["rm", "builder-1"]):
        docker("buildx", *words)
    docker("build", "-t", f"{host}/app:2", "--push", ".")
    assert docker.smith("digest", f"{host}/app:2")


def test_images_of_machines_become_one(docker: Docker, host: str) -> None:
    docker.smith("docker-plugin", "install", "--as-buildx")
    digests = []
    for arch in ("amd64", "arm64"):
        output = f"type=image,name={host}/app,push-by-digest=true,push=true"
        docker("buildx", "build", "--platform", f"linux/{arch}", "-o", output, "--metadata-file", arch, ".")
        digests.append(json.loads((docker.folder / arch).read_text())["containerimage.digest"])
    tools = ("buildx", "imagetools")
    docker(*tools, "create", "-t", f"{host}/app:1", "-t", f"{host}/app:latest",
           "--annotation", "index:a=b", *(f"{host}/app@{digest}" for digest in digests))  # fmt: skip
    shown = json.loads(docker(*tools, "inspect", "--format", "{{json .Manifest}}", f"{host}/app:1"))
    assert [m["platform"]["architecture"] for m in shown["manifests"]] == ["amd64", "arm64"]
    assert {m["digest"] for m in shown["manifests"]} == set(digests)
    raw = json.loads(docker(*tools, "inspect", "--raw", f"{host}/app:latest"))
    assert raw["annotations"] == {"a": "b"}
    plain = docker(*tools, "inspect", f"{host}/app:1")
    assert f"Digest:    {shown['digest']}" in plain
    assert "Platform:    linux/arm64" in plain
    assert docker(*tools, "inspect", "--format", "{{.Image.os}}", f"{host}/app:1") == "linux\n"
    assert "at least one tag" in docker(*tools, "create", f"{host}/app:1", status=2)


def test_compose_has_its_targets_baked(docker: Docker) -> None:
    docker.smith("docker-plugin", "install", "--as-buildx")
    definition = {
        "group": {"default": {"targets": ["web"]}},
        "target": {"web": {"context": str(docker.folder), "dockerfile": "Dockerfile", "tags": ["shop-web"],
                           "output": ["type=image"]}},
    }  # fmt: skip
    docker("buildx", "bake", "--file", "-", "--progress", "rawjson", "--metadata-file", "metadata",
           "--allow", f"fs.read={docker.folder}", stdin=json.dumps(definition))  # fmt: skip
    metadata = json.loads((docker.folder / "metadata").read_text())
    assert metadata["web"]["image.name"] == "docker.io/library/shop-web:latest"
    assert docker.smith("inspect", "store:shop-web")


def test_docker_s_own_flags_count(docker: Docker, tmp_path: Path) -> None:
    docker.smith("docker-plugin", "install")
    shutil.copytree(docker.config, tmp_path / "other")
    docker.env["DOCKER_CONFIG"] = "/nowhere"
    docker("--config", str(tmp_path / "other"), "--log-level", "error", "build", "-t", "app:1", ".")
    assert docker.smith("inspect", "store:app:1")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["create", "--driver", "kubernetes"], "--on kubernetes"),
        (["create", "--buildkitd-config", "x"], "--registries-conf"),
        (["dial-stdio"], "not known here"),
        (["imagetools", "delete"], "create and inspect"),
        (["prune", "--filter", "type=x"], "until=AGE"),
        (["du", "--filter", "type=x"], "cache ls --json"),
        (["build", "--cache-from", "type=gha", "."], "type=gha is not supported"),
        (["use", "--nonsense"], "unknown flag"),
    ],
)
def test_what_is_not_here_is_refused_by_name(run: Run, words: list[str], said: str) -> None:
    assert said in run("docker-plugin", "call", "buildx", "buildx", *words, status=2)


def test_metadata_and_help(run: Run) -> None:
    metadata = json.loads(run("docker-plugin", "call", "imagesmith", "docker-cli-plugin-metadata"))
    assert metadata["SchemaVersion"] == "0.1.0"
    assert metadata["Vendor"] == "imagesmith"
    assert "imagetools" in run("docker-plugin", "call", "imagesmith", "imagesmith", "--help")
    assert "imagetools" in run("docker-plugin", "call", "imagesmith", "imagesmith")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    (tmp_path / "docker" / "cli-plugins").mkdir(parents=True)
    return tmp_path / "docker" / "config.json"


def test_all_else_of_the_configuration_is_kept(run: Run, config: Path) -> None:
    before = {"auths": {"h": {"auth": "YTpi"}}, "aliases": {"b": "x"}, "psFormat": "table"}
    real = config.with_name("real.json")
    real.write_text(json.dumps(before))
    real.chmod(0o640)
    config.symlink_to("real.json")
    run("docker-plugin", "install")
    assert json.loads(real.read_text()) == {**before, "aliases": {"b": "x", "builder": "imagesmith"}}
    assert config.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    run("docker-plugin", "uninstall")
    assert json.loads(real.read_text()) == before


def test_plugins_of_others_are_replaced_by_force_and_put_back(run: Run, config: Path) -> None:
    plugin = config.parent / "cli-plugins" / "docker-buildx"
    plugin.write_text("another's")
    assert "another plugin is there" in run("docker-plugin", "install", "--as-buildx", status=2)
    assert not config.exists()
    run("docker-plugin", "install", "--as-buildx", "--force")
    assert sys.executable in plugin.read_text()
    assert os.access(plugin, os.X_OK)
    said = run("docker-plugin", "uninstall")
    assert plugin.read_text() == "another's"
    assert "docker build: goes to docker's usual builder" in said
    assert json.loads(config.read_text()) == {}


def test_an_alias_of_another_stays(run: Run, config: Path) -> None:
    config.write_text('{"aliases": {"builder": "theirs"}}')
    assert "goes to the plugin 'theirs'" in run("docker-plugin", "install", status=2)
    run("docker-plugin", "uninstall")
    assert json.loads(config.read_text()) == {"aliases": {"builder": "theirs"}}
    assert "goes to the plugin theirs" in run("docker-plugin", "status")


@pytest.mark.parametrize("text", ["{", "[]", '{"aliases": 1}'])
def test_a_broken_configuration_is_left_as_it_is(run: Run, config: Path, text: str) -> None:
    config.write_text(text)
    run("docker-plugin", "install", status=2)
    assert config.read_text() == text
