"""Pipelines of public repositories are moved by changing a program's name, or by a line of a table.

Each is written anew in `fixtures/pipelines/NAME`: `before.sh` calls kaniko, docker, buildah, skopeo or crane;
what is run is that text with the names changed by one rule, and the lines of `table`, if there is one:
`old => new`. For docker's buildx nothing is changed: the plugin is installed.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest

from imagesmith.cli.main import main
from imagesmith.embedded.registry import Registry
from tests.cli.prepared import World
from tests.registry.conftest import PASSWORD, USER, make_htpasswd
from tests.support import PROJECT, need_program

PIPELINES = PROJECT / "fixtures" / "pipelines"
#: The rule: a program that is called, and what is called instead.
RULE = (
    (r"/kaniko/executor\b", "imagesmith kaniko"),
    (r"\bbuildah (?:build-using-dockerfile|bud)\b", "imagesmith build"),
    (r"\bskopeo list-tags\b", "imagesmith tags"),
    (r"\bcrane ls\b", "imagesmith tags"),
    (r"\bcrane manifest\b", "imagesmith manifest get"),
    (r"\b(?:buildah|crane|skopeo)(?= [a-z])", "imagesmith"),
)
SHA = "0123456789abcdef0123456789abcdef01234567"


def moved(name: str) -> str:
    """A pipeline after the rule and its table."""
    folder, lines = PIPELINES / name, []
    for line in (folder / "before.sh").read_text().splitlines():
        if not line.lstrip().startswith("#"):
            for pattern, word in RULE:
                line = re.sub(pattern, word, line)
        lines.append(line)
    text = "\n".join(lines) + "\n"
    table = folder / "table"
    for row in table.read_text().splitlines() if table.exists() else ():
        old, _, new = row.partition(" => ")
        assert old in text, row
        text = text.replace(old, new)
    return text


@dataclass
class Place:
    """A checkout in which pipelines run, beside a registry for all and one for who has a login."""

    world: World
    open: str
    closed: str

    def prepare(self, name: str) -> None:
        """Lay out what the pipeline works on."""
        if (PIPELINES / name / "files").is_dir():
            shutil.copytree(PIPELINES / name / "files", self.world.folder, dirs_exist_ok=True)

    def run(self, name: str, *words: str, text: str = "", **env: str) -> str:
        """Run a pipeline whole; returns what it wrote to standard error."""
        text = (text or moved(name)).replace("/kaniko/.docker", f"{self.world.folder}/kaniko/.docker")
        self.world.write("pipeline.sh", text)
        shell = "bash" if "bash" in text.splitlines()[0] else "sh"
        env = {"KANIKO_DIR": f"{self.world.folder}/kaniko", "DOCKER_HOST": "unix:///nowhere", **env}
        done = self.world.run(" ".join([shell, "pipeline.sh", *words]), env=env)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stderr

    def smith(self, line: str) -> str:
        """What a line of imagesmith says, in this process: to look at results is half of the work here."""
        out = io.TextIOWrapper(io.BytesIO())
        with mock.patch.dict(os.environ, self.world.env({}), clear=True), contextlib.redirect_stdout(out):
            with contextlib.chdir(self.world.folder):
                status = main(shlex.split(line))
            out.flush()
        assert status == 0, line
        return out.buffer.getvalue().decode().strip()  # type: ignore[attr-defined]

    def image(self, ref: str) -> dict[str, object]:
        """What an image of a registry is."""
        return dict(json.loads(self.smith(f"inspect docker://{ref}")))

    def files(self, ref: str) -> set[str]:
        """The files of an image of a registry."""
        self.smith(f"export docker://{ref} .files.tar")
        with tarfile.open(self.world.folder / ".files.tar") as tar:
            return {m.name for m in tar if m.isfile()}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    folder = tmp_path / "here"
    folder.mkdir()
    world = World(folder)
    world.install()
    with (
        Registry(tmp_path / "open") as registry,
        Registry(tmp_path / "closed", htpasswd=make_htpasswd(tmp_path / "users")) as closed,
    ):
        hosts = (registry.host, closed.host)
        plain = "".join(f'[[registry]]\nlocation = "{host}"\ninsecure = true\n' for host in hosts)
        world.write(".home/.config/containers/registries.conf", plain)
        yield Place(world, registry.host, closed.host)


@pytest.fixture
def docker(place: Place) -> Place:
    """docker's own command is there, with the plugin, and no daemon."""
    need_program("docker")
    place.smith("docker-plugin install --as-buildx")
    return place


def made(place: Place, name: str, ref: str) -> None:
    """An image of one small file in the open registry."""
    folder = place.world.folder / ".made"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "Dockerfile").write_text(f"FROM scratch\nCOPY {name} /{name}\n")
    (folder / name).write_text(name)
    done = place.world.run(f"imagesmith build --root .elsewhere -q -t {ref} --push .made")
    assert done.returncode == 0, done.stderr


def test_every_pipeline_is_run_here() -> None:
    names = {path.name for path in PIPELINES.iterdir()}
    run = set(re.findall(r'\.run\(\s*"([a-z-]+)"', Path(__file__).read_text()))
    assert names == run
    assert len(names) >= 10


def test_nothing_of_another_program_is_left() -> None:
    for path in PIPELINES.iterdir():
        lines = [line for line in moved(path.name).splitlines() if not line.startswith("#")]
        assert not re.search(r"/kaniko/executor|\b(skopeo|crane|buildah) [a-z]", "\n".join(lines)), path


def test_kaniko_in_a_job_of_gitlab(place: Place) -> None:
    place.prepare("kaniko-dir")
    place.run(
        "kaniko-dir", CI_PROJECT_DIR=str(place.world.folder), DOCKERFILE="Dockerfile", CI_COMMIT_SHA=SHA,
        IMAGE_NAME=f"{place.open}/album", CI_COMMIT_TIMESTAMP="2024-05-06T07:08:09+00:00",
        CI_PIPELINE_URL="https://ci.example/1",
    )  # fmt: skip
    assert place.smith(f"tags {place.open}/album") == f"{SHA}-2024-05-06T07.08.09.00.00"
    image = place.image(f"{place.open}/album:{SHA}-2024-05-06T07.08.09.00.00")
    assert image["Labels"] == {"pipeline.url": "https://ci.example/1"}
    assert place.smith(f"tags {place.open}/album/cache")


def test_kaniko_with_a_login_and_a_cache(place: Place) -> None:
    place.prepare("kaniko-gitlab")
    image = f"{place.closed}/team/app"
    env = {
        "CI_PROJECT_DIR": str(place.world.folder), "CI_REGISTRY": place.closed, "CI_REGISTRY_USER": USER,
        "CI_REGISTRY_PASSWORD": PASSWORD, "CI_REGISTRY_IMAGE": image, "CI_COMMIT_SHORT_SHA": SHA[:8],
    }  # fmt: skip
    place.smith(f"login -u {USER} -p '{PASSWORD}' {place.closed}")
    made(place, "libc", f"{image}/base:1")
    assert "CACHED" not in place.run("kaniko-gitlab", **env)
    digests = {place.smith(f"digest {image}:{tag}") for tag in (SHA[:8], "latest")}
    assert len(digests) == 1
    assert place.files(f"{image}:latest") == {"libc", "app"}
    place.smith(f"logout {place.closed}")
    place.world.variables["IMAGESMITH_ROOT"] = f"{place.world.folder}/.new"
    assert "CACHED" in place.run("kaniko-gitlab", **env)  # on another machine


def test_kaniko_in_steps_with_switches(place: Place) -> None:
    place.prepare("kaniko-steps")
    env = {"REGISTRY": f"{place.open}/project", "COMMIT_SHA": SHA, "TAG": "v2", "USE_BUILD_CACHE": "true"}
    place.run("kaniko-steps", **env, NO_PUSH="false")
    details = (place.world.folder / "image-file-details").read_text().splitlines()
    for name, line in zip(("server", "worker"), details, strict=True):
        digest = (place.world.folder / f"{name}.digest").read_text()
        assert line == f"{place.open}/project/{name}:v2@{digest}"
        assert place.smith(f"digest {place.open}/project/{name}:{SHA}") == digest
        assert place.image(f"{place.open}/project/{name}:v2")["Labels"] == {"version": "v2"}
    place.run("kaniko-steps", **{**env, "TAG": "v3"}, NO_PUSH="true")
    assert "v3" not in place.smith(f"tags {place.open}/project/server")


def test_buildx_in_a_script_of_skaffold(docker: Place) -> None:
    docker.prepare("buildx-script")
    image = f"{docker.open}/skaffold/app:1"
    docker.run("buildx-script", IMAGE=image, PUSH_IMAGE="true", BUILD_CONTEXT="app", PLATFORMS="")
    index = json.loads(docker.smith(f"manifest get {image}"))
    assert [m["platform"]["architecture"] for m in index["manifests"]] == ["amd64", "arm64"]


def test_buildx_with_a_cache_in_the_registry(docker: Place) -> None:
    docker.prepare("buildx-cache")
    docker.run("buildx-cache", REGISTRY=docker.open, TAG="1")
    assert docker.files(f"{docker.open}/rspcache:1") == {"b"}
    docker.world.variables["IMAGESMITH_ROOT"] = f"{docker.world.folder}/.new"
    assert "CACHED" in docker.run("buildx-cache", REGISTRY=docker.open, TAG="2")
    metadata = json.loads((docker.world.folder / "metadata.json").read_text())
    assert docker.smith(f"digest {docker.open}/rspcache:2") == metadata["containerimage.digest"]


def test_buildx_on_a_machine_for_each_platform(docker: Place) -> None:
    need_program("jq")
    docker.prepare("buildx-digests")
    image = f"{docker.open}/app"
    tags = json.dumps({"tags": [f"{image}:1.2", f"{image}:latest"]})
    docker.run("buildx-digests", IMAGE=image, DOCKER_METADATA_OUTPUT_JSON=tags)
    joined = json.loads((docker.world.folder / "joined.json").read_text())
    assert joined["digest"] == docker.smith(f"digest {image}:latest")
    platforms = [m["platform"]["architecture"] for m in joined["manifests"]]
    assert {"amd64", "arm64"} <= set(platforms)
    assert "unknown" in platforms  # the statements came along
    assert docker.files(f"{image}:1.2") == {"main"}


def test_buildah_with_a_digest_for_the_pipeline(place: Place) -> None:
    place.prepare("buildah-pin")
    image = f"{place.open}/ml/ci-runner"
    place.run("buildah-pin", IMAGE=image)
    digest = place.smith(f"digest {image}")
    assert (place.world.folder / "digest.txt").read_text().strip() == digest
    assert f"    image: {image}@{digest}\n" in (place.world.folder / "pipeline.yml").read_text()
    assert place.image(image)["MediaType"] == "application/vnd.docker.distribution.manifest.v2+json"


def before(place: Place, name: str, **env: str) -> None:
    """Run a pipeline as it was, with its own program."""
    need_program("skopeo")
    place.run(name, text=(PIPELINES / name / "before.sh").read_text(), **env)


def test_skopeo_promotes(place: Place) -> None:
    for name in ("web", "worker"):
        made(place, name, f"{place.open}/shop/test/{name}:7")
    env = {"CI_REGISTRY": place.closed, "CI_REGISTRY_USER": USER, "CI_REGISTRY_PASSWORD": PASSWORD,
           "REGISTRY": place.open, "IMAGE_TAG": "7"}  # fmt: skip
    place.run("skopeo-promote", ENVIRONMENT="staging", **env)
    before(place, "skopeo-promote", ENVIRONMENT="theirs", **env)
    place.smith(f"login -u {USER} -p '{PASSWORD}' {place.closed}")
    for name in ("web", "worker"):
        there = f"{place.closed}/shop/{{}}/{name}:7"
        found = {place.smith(f"digest {there.format(where)}") for where in ("staging", "theirs")}
        assert found == {place.smith(f"digest {place.open}/shop/test/{name}:7")}


def test_skopeo_copies_an_archive(place: Place) -> None:
    made(place, "nix", f"{place.open}/made:1")
    place.smith(f"copy docker://{place.open}/made:1 docker-archive:image.tar:made:1")
    env = {"USER_NAME": USER, "TOKEN": PASSWORD, "ARCHIVE": "image.tar", "GITHUB_OUTPUT": "outputs"}
    place.run("skopeo-archive", REGISTRY=f"{place.closed}/ours", GITHUB_SHA=SHA, **env)
    before(place, "skopeo-archive", REGISTRY=f"{place.closed}/theirs", GITHUB_SHA=SHA, **env)
    place.smith(f"login -u {USER} -p '{PASSWORD}' {place.closed}")
    rows = (place.world.folder / "outputs").read_text().splitlines()
    for where, row in zip(("ours", "theirs"), rows, strict=True):
        digest = place.smith(f"digest {place.closed}/{where}/app:latest")
        assert row == f"image={place.closed}/{where}/app@{digest}"
        assert place.files(f"{place.closed}/{where}/app:{SHA}") == {"nix"}


def test_crane_releases(place: Place) -> None:
    made(place, "version.txt", f"{place.open}/app:sha-{SHA}")
    env = {"COMMIT": SHA, "VERSION": "1.2.3"}
    place.run("crane-release", REGISTRY=place.open, MIRROR=f"{place.open}/mirror", **env)
    digest = place.smith(f"digest {place.open}/app:sha-{SHA}")
    for repository in (f"{place.open}/app", f"{place.open}/mirror/app"):
        assert {place.smith(f"digest {repository}:{tag}") for tag in ("1.2.3", "1.2", "latest")} == {digest}
    assert (place.world.folder / "tags").read_text().split() == ["1.2", "1.2.3", "latest"]
    assert (place.world.folder / "version.txt").read_text() == "version.txt"
    assert "schemaVersion" in json.loads((place.world.folder / "manifest.json").read_text())


def test_crane_appends(place: Place) -> None:
    made(place, "base", f"{place.open}/base:1")
    (place.world.folder / "start").write_text("#!/bin/sh\n")
    assert place.world.run("tar -czf snapshot.tar.gz start").returncode == 0
    env = {"BASE_IMAGE": f"{place.open}/base:1", "IMAGE_PREFIX": f"{place.open}/app"}
    place.run("crane-append", "snapshot.tar.gz", "v1", **env)
    assert place.files(f"{place.open}/app:v1") == {"base", "start"}
    config = json.loads((place.world.folder / "config.json").read_text())["config"]
    assert config["Entrypoint"] == ["/app/start"]
    assert "MODE=production" in config["Env"]
    assert config["Labels"] == {"org.opencontainers.image.version": "v1"}
