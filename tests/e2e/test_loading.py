"""--load into the real ones: Podman, Docker's daemon and its containerd; eStargz as that has it."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.errors import ImagesmithError, RegistryError
from imagesmith.layer.estargz import LANDMARK, TABLE_NOTE
from imagesmith.registry.dockerapi import Daemon
from tests.e2e.conftest import DEMO, Smith
from tests.e2e.test_peers import said
from tests.support import lacking, need_program, need_root

pytestmark = pytest.mark.slow

APP = str(DEMO / "app")
IMAGE = "demo.example/app:1"


@pytest.fixture(scope="module")
def short() -> Iterator[Path]:
    """A folder with a short name: sockets need one, and podman."""
    need_root()
    with tempfile.TemporaryDirectory(prefix="l", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def daemon(short: Path) -> Iterator[Path]:
    """The folder of a Docker daemon: `s` is its socket, `x/containerd/containerd.sock` its containerd's."""
    words = ["--data-root", f"{short}/d", "--exec-root", f"{short}/x", "--pidfile", f"{short}/p"]
    words += ["--bridge", "none", "--iptables=false", "--ip6tables=false", "--storage-driver", "vfs"]
    with (short / "log").open("wb") as log:
        process = subprocess.Popen(
            [need_program("dockerd"), "--host", f"unix://{short}/s", *words], stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 60
        while not _answers(short) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        if not _answers(short):
            lacking(f"no Docker daemon can be started: {(short / 'log').read_text().splitlines()[-1:]}")
        yield short
    finally:
        process.terminate()
        process.wait(60)


def _answers(folder: Path) -> bool:
    try:
        Daemon(f"unix://{folder}/s").check()
    except ImagesmithError:
        return False
    return True


def test_podman_has_the_image(smith: Smith, short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_program("podman")
    (short / "storage.conf").write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{short}/pr"\nrunroot = "{short}/pn"\n'
    )
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", f"{short}/storage.conf")
    smith.build("--load=podman", "-t", IMAGE, APP)
    found = json.loads(said("podman", "image", "inspect", IMAGE))
    assert found[0]["Config"]["User"] == "1000"


def test_docker_has_the_image_by_its_socket(
    smith: Smith, daemon: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{daemon}/s")
    smith.build("--load", "-t", IMAGE, "--iidfile", str(tmp_path / "id"), APP)
    found = json.loads(said("docker", "image", "inspect", IMAGE))
    assert found[0]["Config"]["User"] == "1000"
    assert found[0]["Id"] == (tmp_path / "id").read_text()


def test_docker_refuses_what_it_cannot_read(daemon: Path) -> None:
    found = Daemon(f"unix://{daemon}/s")
    with pytest.raises(RegistryError, match="refused the image: "), found.loading() as stream:
        stream.write(b"no tar" * 1000)


def test_containerd_has_the_image_under_its_whole_name(
    smith: Smith, daemon: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_program("ctr")
    monkeypatch.setenv("CONTAINERD_ADDRESS", f"{daemon}/x/containerd/containerd.sock")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{daemon}/none")
    smith.build("--load=containerd:k8s.io", "-t", IMAGE, APP)
    address = os.environ["CONTAINERD_ADDRESS"]
    assert IMAGE in said("ctr", "--address", address, "--namespace", "k8s.io", "images", "list", "--quiet")


def test_stargz_snapshotters_own_program_reads_the_tables_of_estargz_layers(
    smith: Smith, daemon: Path, tmp_path: Path
) -> None:
    """ctr-remote opens a layer by the snapshotter's library, by its footer and its table."""
    out = f"type=oci,dest={tmp_path}/e.tar,compression=estargz,force-compression=true"
    smith.build("-t", IMAGE, "-o", out, APP)
    address = ("--address", f"{daemon}/x/containerd/containerd.sock")
    said("ctr", *address, "images", "import", "--no-unpack", f"{tmp_path}/e.tar")
    manifest = json.loads(smith.run("manifest", "get", f"oci-archive:{tmp_path}/e.tar").stdout)
    assert len(manifest["layers"]) > 2
    for layer in manifest["layers"]:
        reading = ("ctr-remote", *address, "images", "get-toc-digest")
        assert said(*reading, layer["digest"]).strip() == layer["annotations"][TABLE_NOTE]
        table = said(*reading, "--dump-toc", layer["digest"])
        assert LANDMARK in [entry["name"] for entry in json.loads(table)["entries"]]
