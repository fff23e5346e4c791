"""What we build is read by the tools that people have: skopeo, buildah, podman, umoci, docker-registry."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.e2e.conftest import DEMO, Smith
from tests.support import need_program, need_root

pytestmark = pytest.mark.slow

APP = str(DEMO / "app")


def said(*words: str, **env: str) -> str:
    """What a peer prints; it must succeed."""
    done = subprocess.run(
        [need_program(words[0]), *words[1:]], capture_output=True, text=True, env={**os.environ, **env}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(smith: Smith, docker_registry: str) -> dict[str, str]:
    """Every form of one build, by the name under which skopeo reads it; `image` is its name."""
    folder, image = smith.folder, f"{docker_registry}/demo/app:1"
    forms = (f"type=oci,dest={folder}/oci.tar", f"type=docker,dest={folder}/docker.tar",
             f"type=oci,tar=false,dest={folder}/layout", "type=image,push=true")  # fmt: skip
    smith.build("-t", image, *(word for form in forms for word in ("-o", form)), APP)
    return {
        "oci-archive": f"oci-archive:{folder}/oci.tar",
        "oci": f"oci:{folder}/layout:1",
        "docker-archive": f"docker-archive:{folder}/docker.tar:{image}",
        "registry": f"docker://{image}",
        "image": image,
    }


@pytest.mark.parametrize("form", ["oci-archive", "oci", "docker-archive", "registry"])
def test_skopeo_inspects(built: dict[str, str], form: str) -> None:
    found = json.loads(said("skopeo", "inspect", "--tls-verify=false", "--config", built[form]))
    assert found["config"]["Cmd"] == ["/app/greet.sh"]
    assert len(found["rootfs"]["diff_ids"]) == len([h for h in found["history"] if not h.get("empty_layer")])


def test_skopeo_copies_what_is_in_the_registry(built: dict[str, str], tmp_path: Path) -> None:
    said("skopeo", "copy", "--src-tls-verify=false", built["registry"], f"oci:{tmp_path}/copy:1")
    names = {p.name for p in (tmp_path / "copy" / "blobs" / "sha256").iterdir()}
    raw = said("skopeo", "inspect", "--tls-verify=false", "--raw", built["registry"])
    assert {d["digest"].removeprefix("sha256:") for d in json.loads(raw)["layers"]} <= names


@pytest.mark.parametrize("form", ["oci-archive", "registry"])
def test_buildah_starts_from_it(built: dict[str, str], form: str, tmp_path: Path) -> None:
    need_root()
    flags = ["--root", str(tmp_path / "root"), "--runroot", str(tmp_path / "run"), "--storage-driver", "vfs"]
    name = said("buildah", *flags, "from", "--tls-verify=false", built[form]).strip()
    assert name
    place = Path(said("buildah", *flags, "mount", name).strip())
    assert "knows 7 words" in (place / "app" / "greeting.txt").read_text()
    said("buildah", *flags, "umount", name)
    said("buildah", *flags, "rm", name)


def test_podman_loads_the_docker_archive(built: dict[str, str]) -> None:
    need_root()
    with tempfile.TemporaryDirectory(prefix="p", dir="/tmp") as short:  # podman refuses long paths
        _podman_loads(built, ["--root", f"{short}/r", "--runroot", f"{short}/n", "--storage-driver", "vfs"])


def _podman_loads(built: dict[str, str], flags: list[str]) -> None:
    path = built["docker-archive"].removeprefix("docker-archive:").partition(".tar:")[0] + ".tar"
    assert built["image"] in said("podman", *flags, "load", "-i", path)
    found = json.loads(said("podman", *flags, "image", "inspect", built["image"]))
    assert found[0]["Config"]["User"] == "1000"


def test_umoci_unpacks_the_layout(built: dict[str, str], smith: Smith, tmp_path: Path) -> None:
    flags = [] if os.geteuid() == 0 else ["--rootless"]
    said("umoci", "unpack", *flags, "--image", f"{smith.folder}/layout:1", str(tmp_path / "bundle"))
    root = tmp_path / "bundle" / "rootfs"
    assert (root / "app" / "count.txt").read_text().strip() == "7"
    assert os.access(root / "app" / "greet.sh", os.X_OK)
    assert not (root / "app" / "words.txt").exists()


def test_it_comes_back_from_the_registry_as_it_was(
    built: dict[str, str], smith: Smith, tmp_path: Path
) -> None:
    before = smith.run("inspect", "--raw", built["image"]).stdout
    other = Smith(tmp_path, smith.base)
    other.run("pull", "-q", built["image"])
    assert other.run("inspect", "--raw", built["image"]).stdout == before
