"""Images are given to who is there: programs are stood for by small ones that write down what they get."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import imagesmith
from imagesmith.errors import ImagesmithError, RegistryError, UsageError
from imagesmith.export import loading
from imagesmith.export.loading import loader_of, prepare
from imagesmith.outputoptions import loaded, parse_output, pushed
from imagesmith.request import Output
from tests.kitchen import Kitchen
from tests.registry.test_dockerapi import daemon, says
from tests.support import IMAGESMITH

FILE = "FROM scratch\nCOPY f /f\n"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which nobody is, and a folder for its programs."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    monkeypatch.setenv("CONTAINERD_ADDRESS", f"{tmp_path}/containerd.sock")
    monkeypatch.delenv("CONTAINERD_NAMESPACE", raising=False)
    monkeypatch.setattr(loading, "_ready", {})
    return programs


def program(programs: Path, name: str, text: str = "", status: int = 0) -> Path:
    """One that writes its words and what it reads beside itself."""
    path, seen = programs / name, programs / f"{name}.seen"
    path.write_text(f'#!/bin/sh\necho "$@" > {seen}.words\n/bin/cat > {seen}\n{text}\nexit {status}\n')
    path.chmod(0o755)
    return seen


@pytest.fixture
def cook(kitchen: Kitchen) -> Kitchen:
    kitchen.write({"f": os.urandom(300_000)})
    (kitchen.context / "Dockerfile").write_text(FILE)
    return kitchen


@pytest.fixture
def containerd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A socket on which somebody listens."""
    with tempfile.TemporaryDirectory(prefix="c", dir="/tmp") as folder, socket.socket(socket.AF_UNIX) as s:
        s.bind(f"{folder}/s")
        s.listen()
        monkeypatch.setenv("CONTAINERD_ADDRESS", f"{folder}/s")
        yield f"{folder}/s"


def tags_of(archive: Path) -> list[str]:
    with tarfile.open(archive) as tar:
        (row,) = json.loads(tar.extractfile("manifest.json").read())  # type: ignore[union-attr]
        assert set(row["Layers"]) <= set(tar.getnames())
    found: list[str] = row["RepoTags"]
    return found


def test_podman_reads_the_archive(cook: Kitchen, machine: Path) -> None:
    seen = program(machine, "podman")
    cook.build(tags=["r.example/x:1"], outputs=["type=docker,load=podman"])
    assert Path(f"{seen}.words").read_text() == "load\n"
    assert tags_of(seen) == ["r.example/x:1"]


def test_kind_reads_a_file_which_is_gone_afterwards(cook: Kitchen, machine: Path) -> None:
    seen = program(machine, "kind", f'/bin/cp "$5" {machine}/copy')
    cook.build(tags=["x:1"], outputs=["type=docker,load=kind:two"])
    words = Path(f"{seen}.words").read_text().split()
    assert words[:4] == ["load", "image-archive", "--name", "two"]
    assert tags_of(machine / "copy") == ["x:1"]
    assert not Path(words[4]).exists()


@pytest.mark.parametrize("name", ["ctr", "nerdctl"])
def test_containerd_has_a_namespace(cook: Kitchen, machine: Path, containerd: str, name: str) -> None:
    seen = program(machine, name)
    cook.build(tags=["x:1"], outputs=["type=docker,load=containerd:k8s.io"])
    words = Path(f"{seen}.words").read_text()
    assert f"--address {containerd} --namespace k8s.io " in words
    assert words.endswith("images import -\n" if name == "ctr" else "load\n")
    assert tags_of(seen) == ["x:1"]


def test_docker_is_asked_first_and_podman_before_containerd(
    cook: Kitchen, machine: Path, containerd: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = parse_output("type=docker")
    program(machine, "ctr")
    assert loader_of(output).name == "containerd"
    program(machine, "podman")
    assert loader_of(output).name == "podman"
    with daemon(says("OK"), says("OK"), says('{"stream":"Loaded image: x"}')) as found:
        monkeypatch.setenv("DOCKER_HOST", found.host)
        assert loader_of(output).name == "docker"
        cook.build(tags=["x:1"], outputs=["type=docker"])


def test_docker_over_ssh_is_dockers_own_command(
    cook: Kitchen, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://me@far")
    with pytest.raises(UsageError, match="docker is not installed"):
        loader_of(parse_output("type=docker,load=docker"))
    seen = program(machine, "docker")
    cook.build(tags=["x:1"], outputs=["type=docker,load=docker"])
    assert Path(f"{seen}.words").read_text() == "--host ssh://me@far load\n"


def test_nobody_is_told_in_one_line_before_anything_is_built(machine: Path) -> None:
    with pytest.raises(
        UsageError, match=r"no Docker daemon answers at .*; there is no podman; no containerd"
    ) as e:
        prepare([parse_output("type=docker")])
    assert "\n" not in e.value.message
    assert "dest=FILE" in e.value.hint
    for where in ("docker", "podman", "containerd", "kind"):
        with pytest.raises(ImagesmithError) as told:
            prepare([parse_output(f"type=docker,load={where}")])
        assert "dest=FILE" in told.value.hint


def test_what_the_command_says_is_told_when_it_fails(cook: Kitchen, machine: Path) -> None:
    program(machine, "podman", "echo reading; echo Error: no room >&2", status=125)
    with pytest.raises(RegistryError, match=r"podman load` ended with status 125: Error: no room$"):
        cook.build(tags=["x:1"], outputs=["type=docker,load=podman"])


def test_command_that_ends_early_has_not_loaded_it(cook: Kitchen, machine: Path) -> None:
    for status, message in ((0, "ended before it had read the image"), (3, "ended with status 3: sorry")):
        (machine / "podman").write_text(f"#!/bin/sh\necho sorry\nexit {status}\n")
        (machine / "podman").chmod(0o755)
        with pytest.raises(RegistryError, match=message):
            cook.build(tags=["x:1"], outputs=["type=docker,load=podman"])


def test_build_that_fails_loads_nothing(cook: Kitchen, machine: Path) -> None:
    seen = program(machine, "podman")
    output = parse_output("type=docker,load=podman")
    prepare([output])
    process = loading._ready["podman", ""][0]._process  # type: ignore[attr-defined]
    with pytest.raises(ImagesmithError):
        cook.build("FROM scratch\nCOPY nothing /\n", outputs=[output])
    assert process.poll() is None
    loading._ready.clear()
    process.stdin.close()
    assert process.wait(10) == 0
    assert not seen.exists()


def test_archive_that_cannot_be_finished_is_not_loaded(
    cook: Kitchen, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imagesmith.transports.archive import ArchiveTarget

    def broken(_self: ArchiveTarget) -> None:
        raise RegistryError("lost")

    seen = program(machine, "podman")
    monkeypatch.setattr(ArchiveTarget, "close", broken)
    with pytest.raises(RegistryError, match="lost"):
        cook.build(tags=["x:1"], outputs=["type=docker,load=podman"])
    assert not Path(f"{seen}.done").exists()


@pytest.mark.slow
def test_command_is_started_where_the_user_is_not_in_the_builders_namespaces(
    cook: Kitchen, machine: Path
) -> None:
    """The builder has a mount namespace of its own by then, and as a user one of ids."""
    program(machine, "podman", f"/bin/readlink /proc/self/ns/mnt /proc/self/ns/user > {machine}/ns")
    done = subprocess.run(
        [*IMAGESMITH, "build", "--load=podman", "-t", "x:1", "--root", str(cook.root), str(cook.context)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ours = [os.readlink(f"/proc/self/ns/{name}") for name in ("mnt", "user")]
    assert (machine / "ns").read_text().split() == ours


@pytest.mark.slow
def test_library_loads_from_its_child(cook: Kitchen, machine: Path) -> None:
    seen = program(machine, "podman", f"/bin/readlink /proc/self/ns/mnt > {machine}/ns")
    imagesmith.build(cook.context, tags=["x:1"], outputs=["type=docker,load=podman"], root=cook.root)
    assert tags_of(seen) == ["x:1"]
    assert (machine / "ns").read_text().strip() == os.readlink("/proc/self/ns/mnt")


# --- what the words ask for ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("type=docker,load=minikube", "load=minikube: who is that"),
        ("type=docker,load=podmn", r"did you mean podman\?"),
        ("type=docker,load=podman:x", "load=podman:x: a cluster"),
        ("type=docker,load=kind:", "load=kind:: a cluster"),
        ("type=docker,load=podman,context=x", "context= is Docker's"),
        ("type=docker,dest=x,context=y", "context= says who is given the image, and dest=x is a file"),
        ("type=docker,dest=x,load=docker", "load= says who"),
        ("type=oci,dest=x,load=docker", "output oci has no option load"),
        ("type=docker,tar=false", "dest is required for docker exporter"),
    ],
)
def test_words_that_contradict_each_other_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_output(text)


def test_flags_adapt_an_output_or_add_one() -> None:
    out, image, docker = (parse_output(t) for t in ("out", "type=image", "type=docker"))
    assert loaded([], "true") == [docker]
    assert loaded([docker], "true") == [docker]
    assert loaded([out], "podman") == [out, parse_output("type=docker,load=podman")]
    assert loaded([docker], "kind:a") == [parse_output("type=docker,load=kind:a")]
    assert loaded([out], "false") == [out]
    archive = parse_output("type=docker,dest=x")
    assert loaded([archive], "true") == [archive, docker]
    assert pushed([out]) == [out, Output(type="image", options={"push": "true"})]
    assert pushed([image, out]) == [Output(type="image", options={"push": "true"}), out]
