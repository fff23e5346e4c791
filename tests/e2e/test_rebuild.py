"""An image in a registry and nothing else: built again from what its provenance tells, on an empty store."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.attested import REPRODUCE, attest, buildkit_predicate
from tests.e2e.conftest import as_user, ordinary_user, place_of
from tests.gitserver import GitServer, git_server
from tests.support import IMAGESMITH, need_root
from tests.web import git, repository

pytestmark = pytest.mark.slow

EPOCH = "1100000000"
REPRODUCIBLY = (
    "--build-arg", f"SOURCE_DATE_EPOCH={EPOCH}", "-o", "type=registry,rewrite-timestamp=true",
)  # fmt: skip
#: A base image whose tag moves, a RUN, arguments, a target that is not the last stage, and a folder.
DOCKERFILE = """\
ARG BASE
FROM $BASE AS app
ARG V
COPY f /f
RUN --mount=type=cache,target=/kept echo "$V" >/v && chmod 700 /v && touch /kept/x
LABEL v=$V
FROM app
COPY other /
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    """A git server without repositories."""
    with git_server(tmp_path / "srv") as here:
        yield here


class Room:
    """An empty store of somebody, and the program as that user."""

    def __init__(self, folder: Path, *before: str) -> None:
        self.folder, self.before = folder, before

    def run(self, *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command in the folder; it must end with `status`."""
        done = subprocess.run(
            [*self.before, *IMAGESMITH, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(self.folder), "IMAGESMITH_ROOT": f"{self.folder}/store"},
            cwd=self.folder,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done


@pytest.fixture(params=["root", "lent ids", "one id"])
def somebody(request: pytest.FixtureRequest, tmp_path: Path, base_image: Path) -> Iterator[Room]:
    """Root, and the machine's two kinds of ordinary users, with an empty store."""
    if request.param == "root":
        (tmp_path / "root").mkdir()
        yield Room(tmp_path / "root")
        return
    need_root()
    user = ordinary_user(request.param == "lent ids")
    with place_of(user, base_image) as (folder, _):
        yield Room(folder, *as_user(user))


@pytest.fixture
def maker(tmp_path: Path) -> Room:
    """Who makes the images."""
    (tmp_path / "maker").mkdir()
    return Room(tmp_path / "maker")


@pytest.fixture
def app(server: GitServer, maker: Room, docker_registry: str, base_image: Path) -> str:
    """An image of a git context, pushed with provenance; its branch and its base's tag have moved since."""
    host = docker_registry
    maker.run("copy", f"oci:{base_image}", f"{host}/base:1")
    path = server.root / "app"
    repository(path, {"in/Containerfile": DOCKERFILE, "in/f": "one\n", "in/other": "x"})
    maker.run(
        "build", "-q", "-t", f"{host}/app:1", "--provenance", "mode=max", "-f", "Containerfile",
        "--target", "app", "--build-arg", f"BASE={host}/base:1", "--build-arg", "V=7", *REPRODUCIBLY,
        f"{server.url('app')}#main:in",
    )  # fmt: skip
    base = maker.run("digest", f"{host}/base:1").stdout
    (path / "in/f").write_text("two\n")
    git(path, "commit", "-qam", "two")
    maker.run("mutate", f"docker://{host}/base:1", "--label", "moved=yes", "-t", f"{host}/base:1")
    assert maker.run("digest", f"{host}/base:1").stdout != base
    return f"{host}/app:1"


def test_image_of_a_repository_is_equal_on_an_empty_store_as_anybody(
    app: str, maker: Room, somebody: Room
) -> None:
    done = somebody.run("reproduce", "--progress", "quiet", app)
    assert done.stdout.startswith(f"{app}: equal: image ID sha256:")
    assert "argument V=7" in done.stderr
    assert "warning" not in done.stderr
    assert "/kept" in maker.run("cache", "ls").stdout
    assert "/kept" not in somebody.run("cache", "ls").stdout
    assert list((somebody.folder / "store").rglob("rebuild-*")) == []


def test_verify_says_yes_or_no(app: str, maker: Room, somebody: Room, server: GitServer) -> None:
    assert "equal: it is what its provenance makes" in somebody.run("verify", "--rebuild", app).stdout
    maker.run("key", "generate", "signer", "--plain")
    shutil.copy(maker.folder / "signer.pub", somebody.folder)
    done = somebody.run("verify", "--key", "signer.pub", "--rebuild", app, status=11)
    assert "equal" not in done.stdout
    maker.run("sign", "--tag", "--key", "signer.key", app)
    done = somebody.run("verify", "--key", "signer.pub", "--rebuild", app)
    *signed, rebuilt = done.stdout.splitlines()
    assert all("signed by" in line for line in signed)
    assert signed
    assert rebuilt.endswith("equal: it is what its provenance makes")
    old, new = git(server.root / "app", "rev-parse", "v1", "main").split()
    name = _forged(app, maker, lambda p: json.loads(json.dumps(p).replace(old, new)))
    done = somebody.run("verify", "--rebuild", name, status=10)
    assert done.stdout == ""
    assert f"error: {name}: 1 of 3 layers" in done.stderr


def _forged(app: str, maker: Room, change: Any) -> str:
    """The image under another name, with its provenance changed."""
    maker.run("copy", app, "oci:layout:1")
    predicate = json.loads(maker.run("inspect", "-f", "{{json .Provenance.SLSA}}", app).stdout)
    name = app.replace("/app:1", "/forged:1")
    attest(maker.folder / "layout", change(predicate))
    maker.run("copy", "oci:layout:1", name)
    return name


def test_first_difference_is_named_where_it_was_another_commit(
    app: str, maker: Room, server: GitServer
) -> None:
    old, new = git(server.root / "app", "rev-parse", "v1", "main").split()
    name = _forged(app, maker, lambda p: json.loads(json.dumps(p).replace(old, new)))
    done = maker.run("reproduce", "--progress", "quiet", name, status=10)
    assert done.stdout.splitlines()[0] == (
        "layer 2 (COPY f /f # buildkit): /f: bytes, at 0: 'one\\n' there, 'two\\n' here"
    )
    assert "error: " in done.stderr


@pytest.mark.parametrize("version", ["v1", "v0.2"])
def test_image_that_buildkit_made_is_equal(
    version: str, server: GitServer, maker: Room, somebody: Room, docker_registry: str
) -> None:
    path = server.root / "r"
    commit = _repository_of_fixture(path)
    (path / "src/deep/data").write_text("Data\n")
    git(path, "commit", "-qam", "two")
    maker.run("copy", f"oci-archive:{REPRODUCE}/buildkit.tar", "oci:layout:1")
    attest(maker.folder / "layout", buildkit_predicate(version, server.url("r"), commit), version)
    name = f"{docker_registry}/{version}/buildkit:1"
    maker.run("copy", "oci:layout:1", name)
    done = somebody.run("reproduce", name, "--json", "-q")
    found = json.loads(done.stdout)
    assert (found["equal"], found["notes"], found["epoch"]) == (True, [], int(EPOCH))
    assert found["provenance"]["builder"] == "BuildKit"
    moved = git(path, "rev-parse", "main")
    attest(maker.folder / "layout", buildkit_predicate(version, server.url("r"), moved), version)
    maker.run("copy", "oci:layout:1", name)
    done = somebody.run("reproduce", name, "-q", status=10)
    assert "/srv/deep/data: bytes, at 0: 'data\\n' there, 'Data\\n' here" in done.stdout.splitlines()[0]


def _repository_of_fixture(path: Path) -> str:
    """The context that BuildKit had, as a repository: with its link, and with the modes that git keeps."""
    repository(path, {"x": ""})
    git(path, "rm", "-q", "x")
    shutil.copytree(REPRODUCE / "context", path, dirs_exist_ok=True)
    for at in (path, *path.rglob("*")):
        if ".git" not in at.parts and not at.is_symlink():
            at.chmod(0o755 if at.is_dir() or at.name == "tool" else 0o644)
    link = path / "src/deep/link"
    link.unlink()
    link.symlink_to("data")
    git(path, "add", "-A")
    git(path, "commit", "-qm", "fixture")
    return git(path, "rev-parse", "HEAD")


def test_secret_is_asked_for_before_anything_is_fetched(
    server: GitServer, maker: Room, docker_registry: str, base_image: Path
) -> None:
    host = docker_registry
    maker.run("copy", f"oci:{base_image}", f"{host}/base:1")
    text = f"FROM {host}/base:1\nRUN --mount=type=secret,id=pass,required=true cat /run/secrets/pass >/p\n"
    repository(server.root / "s", {"Dockerfile": text})
    (maker.folder / "pass").write_text("word")
    maker.run(
        "build", "-q", "-t", f"{host}/secret:1", "--provenance", "mode=max", "--secret", "id=pass,src=pass",
        *REPRODUCIBLY, server.url("s"),
    )  # fmt: skip
    server.asked.clear()
    done = maker.run("reproduce", f"{host}/secret:1", status=2)
    assert "cannot be built again without the secret pass (--secret id=pass,src=FILE)" in done.stderr
    assert (done.stdout, server.asked) == ("", [])
    assert "#1" not in done.stderr
    done = maker.run("reproduce", "-q", "--secret", "id=pass,src=pass", f"{host}/secret:1")
    assert ": equal: " in done.stdout


def test_every_platform_of_an_index_is_built(server: GitServer, maker: Room, docker_registry: str) -> None:
    name = f"{docker_registry}/both:1"
    text = "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /f\n"
    path = server.root / "both"
    repository(path, {"Dockerfile": text, "amd64": "a", "arm64": "b"})
    maker.run(
        "build", "-q", "-t", name, "--provenance", "true", "--platform", "linux/amd64,linux/arm64",
        *REPRODUCIBLY, server.url("both"),
    )  # fmt: skip
    found = json.loads(maker.run("reproduce", "--json", "-q", name).stdout)
    assert {platform: one["equal"] for platform, one in found.items()} == {
        "linux/amd64": True, "linux/arm64": True,
    }  # fmt: skip
    (path / "arm64").write_text("c")
    git(path, "commit", "-qam", "two")
    done = maker.run("reproduce", "-q", name, server.url("both"), status=10)
    assert f"{name} linux/amd64: equal: " in done.stdout
    assert f"{name} linux/arm64: layer 1 (COPY arm64 /f # buildkit): /f: bytes" in done.stdout
    assert f"error: {name}: linux/arm64: 1 of 1 layers differ" in done.stderr
    done = maker.run("reproduce", "-q", "--platform", "linux/amd64", name, server.url("both"))
    assert done.stdout.startswith(f"{name}: equal: ")
