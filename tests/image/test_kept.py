"""--on-failure keep=NAME: what a failed step left is an image, with its owners, and nothing of its mounts."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from imagesmith.embedded.registry import Registry
from imagesmith.image.kept import FAILED
from tests.ops.conftest import BASE
from tests.support import IMAGESMITH, PROJECT, need_program, need_root, small_disk

FAILS = f"""{BASE}RUN echo below > /below
FROM base AS build
LABEL own=1
ENV E=env
WORKDIR /w
USER 7:8
SHELL ["/bin/ash", "-c"]
RUN --mount=type=cache,target=/c,uid=7 --mount=type=secret,id=s,uid=7 --mount=type=tmpfs,target=/t \\
    cat /run/secrets/s > /c/f && rm -f /tmp/x && echo no-such >&2 && exit 3
ENV E=later
"""
OWNERS = f"{BASE}RUN mkdir /d && echo a > /d/a && chown 7:8 /d/a && chmod 4711 /d/a && rm /bin/ls && exit 1\n"


class Place:
    """A context and a store."""

    def __init__(self, folder: Path, store: Path) -> None:
        self.folder, self.context, self.store = folder, folder / "context", store
        self.context.mkdir()
        shutil.copy(need_program("busybox"), self.context / "busybox")
        os.utime(self.context / "busybox", (1, 1))
        (self.context / ".dockerignore").write_text("Dockerfile\n")
        (folder / "secret").write_text("hidden-word\n")

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command on the store."""
        return subprocess.run(
            [*IMAGESMITH, *words], capture_output=True, text=True, cwd=PROJECT,
            env={**os.environ, "IMAGESMITH_ROOT": str(self.store)},
        )  # fmt: skip

    def build(self, text: str, *flags: str) -> subprocess.CompletedProcess[str]:
        """A build."""
        (self.context / "Dockerfile").write_text(text)
        secret = f"id=s,src={self.folder}/secret"
        return self.run("build", "--progress", "plain", "--secret", secret, *flags, str(self.context))

    def files(self, name: str) -> dict[str, tarfile.TarInfo]:
        """The files of an image."""
        done = self.run("export", name, str(self.folder / "files.tar"))
        assert done.returncode == 0, done.stderr
        with tarfile.open(self.folder / "files.tar") as tar:
            return {member.name: member for member in tar}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which the base is."""
    place = Place(folder := tmp_path_factory.mktemp("kept"), folder / "store")
    done = place.build(BASE)
    if "RUN cannot be executed here" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    return place.store


@pytest.fixture
def place(tmp_path: Path, store: Path) -> Place:
    return Place(tmp_path, store)


@pytest.mark.slow
@pytest.mark.everyone
@pytest.mark.parametrize("isolation", ["auto", "chroot"])
def test_owners_and_modes_are_kept_and_can_be_entered(place: Place, isolation: str) -> None:
    if isolation == "chroot":
        need_root()
    done = place.build(OWNERS, "--on-failure", "keep=kept:1", "--isolation", isolation)
    assert done.returncode == 4
    hint = done.stderr.splitlines()[-1]
    assert hint == (
        "hint: what the step left is kept: `imagesmith run -it --entrypoint /bin/sh kept:1` enters it"
    )
    files = place.files("kept:1")
    found = files["d/a"]
    assert (found.uid, found.gid, found.mode & 0o7777) == (7, 8, 0o4711)
    assert "bin/ls" not in files
    assert not {"dev/null", "etc/hosts", "etc/resolv.conf"} & set(files)
    words = shlex.split(hint.split("`")[1])[1:]
    words.remove("-it")
    entered = place.run(
        words[0], "--isolation", isolation, *words[1:], "-c", "stat -c %u:%g:%a /d/a; /bin/ls"
    )
    assert entered.stdout == "7:8:4711\n"
    assert "not found" in entered.stderr


@pytest.mark.slow
def test_config_is_the_stages_and_says_what_failed_and_it_can_be_sent(place: Place) -> None:
    done = place.build(FAILS, "--on-failure", "keep=kept/app")
    assert done.returncode == 4, done.stderr
    assert "--entrypoint /bin/ash kept/app:latest` enters it" in done.stderr
    found = json.loads(place.run("inspect", "kept/app").stdout)
    config = found["Config"]
    assert (config["User"], config["WorkingDir"], config["Env"][-1]) == ("7:8", "/w", "E=env")
    assert config["Labels"].pop("own") == "1"
    assert config["Labels"] == found["Annotations"]
    assert {k.removeprefix(f"{FAILED}."): v[:24] for k, v in found["Annotations"].items()} == {
        "step": "[build 2/2] RUN --mount=",
        "command": "/bin/ash -c cat /run/sec",
        "reason": "exit code: 3",
    }
    assert "hidden-word" not in json.dumps(found)
    files = place.files("kept/app")
    assert "w" in files
    assert "below" in files
    assert not [name for name in files if name.startswith(("c/", "run/secrets", "t/"))]
    for blob in (place.store / "blobs" / "sha256").iterdir():
        assert b"hidden-word" not in blob.read_bytes()
    with Registry(place.folder / "registry") as registry:
        assert place.run("push", "kept/app", f"{registry.host}/kept:1").returncode == 0
        assert place.run("validate", f"{registry.host}/kept:1").returncode == 0
    again = place.build(FAILS, "--on-failure", "keep=kept/app")  # nothing was cached of what failed
    assert again.returncode == 4
    assert "no-such" in again.stderr


@pytest.mark.slow
def test_a_bake_keeps_one_of_each_target(place: Place) -> None:
    (place.context / "Dockerfile").write_text(
        f"{BASE}FROM base AS a\nRUN echo a > /a; exit 1\nFROM base AS b\nRUN echo b > /b; exit 2\n"
        "FROM base AS c\n"
    )
    targets = "".join(f'target "{n}" {{\n target = "{n}"\n context = "{place.context}"\n}}\n' for n in "abc")
    (place.folder / "docker-bake.hcl").write_text(targets)
    words = ("bake", "-f", str(place.folder / "docker-bake.hcl"), "--allow", f"fs.read={place.folder}")
    done = place.run(*words, "--keep-going", "--on-failure", "keep=baked", "a", "b", "c")
    assert done.returncode == 4, done.stderr
    assert "a" in place.files("baked:a")
    assert "b" in place.files("baked:b")
    assert place.run("inspect", "store:baked:c").returncode != 0


@pytest.mark.slow
def test_what_cannot_be_kept_is_a_warning_and_nothing_has_the_name(tmp_path: Path, store: Path) -> None:
    need_root()
    with small_disk(tmp_path / "disk", "24m") as disk:
        shutil.copytree(store, disk / "store", symlinks=True)
        place = Place(tmp_path, disk / "store")
        text = f"{BASE}RUN --mount=type=bind,target=/b head -c 9m /dev/urandom > /big; exit 1\n"
        done = place.build(text, "--on-failure", "keep=big")
        assert done.returncode == 4, done.stderr
        assert "what the step left is not kept" in done.stderr
        assert "no space left" in done.stderr
        assert place.run("inspect", "store:big").returncode != 0
        assert list((disk / "store" / "ingest").iterdir()) == []
