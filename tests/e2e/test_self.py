"""The image of imagesmith: what it holds, in a container and on another architecture.

Its base is made of Debian's packages, unpacked and not configured, which is all that its Dockerfile needs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.debian import SUITE, apt_settings, apt_sources
from tests.support import IMAGESMITH, PROJECT, in_ci, lacking, need_program, need_root

pytestmark = pytest.mark.slow

#: What the steps of the Dockerfile call.
PACKAGES = (
    "apt", "base-files", "bash", "busybox-static", "coreutils", "dash", "debian-archive-keyring", "dpkg",
    "findutils", "gpgv", "grep", "python3", "python3-pip-whl", "sed", "tar",
)  # fmt: skip
#: The bundle that this machine's clients believe.
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
MOST_BYTES = 50_000_000


def smith(store: Path, *words: str) -> str:
    """What imagesmith says."""
    env = {**os.environ, "IMAGESMITH_ROOT": str(store), "SOURCE_DATE_EPOCH": "1700000000"}
    done = subprocess.run([*IMAGESMITH, *words], capture_output=True, text=True, cwd=PROJECT, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def make_base(folder: Path) -> Path:
    """A layout of a Debian that has what the Dockerfile calls."""
    (folder / "apt").mkdir()
    for n, path in enumerate(apt_settings()):
        shutil.copy(path, folder / "apt" / f"99-{n}")
    options = [f"--aptopt={path}" for path in sorted((folder / "apt").iterdir())]
    (folder / "apt" / "98-empty").touch()
    command = [
        need_program("mmdebstrap"), "--quiet", "--variant=extract", f"--include={','.join(PACKAGES)}",
        "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", *options, SUITE, str(folder / "base.tar"),
        *map(str, apt_sources()),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lacking(f"no Debian base: {done.stderr.strip().splitlines()[-1:]}")
    (folder / "Dockerfile").write_text("FROM scratch\nADD base.tar /\nCOPY apt/ /etc/apt/apt.conf.d/\n")
    smith(folder / "store", "build", "-q", "-o", f"type=oci,tar=false,dest={folder}/base", str(folder))
    return folder / "base"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layout of the image, for both architectures."""
    if not in_ci() and not os.environ.get("IMAGESMITH_SELF"):
        pytest.skip("takes a minute and the network: set IMAGESMITH_SELF=1")
    need_root()
    folder = tmp_path_factory.mktemp("self")
    base = make_base(folder)
    secret = [f"--secret=id=ca-certificates,src={AUTHORITIES}"] if AUTHORITIES.exists() else []
    smith(
        folder / "store", "build", "-f", "fixtures/self/Dockerfile", *secret,
        "--platform", "linux/amd64,linux/arm64", "--build-context", f"debian:bookworm-slim=oci-layout://{base}",
        "-o", f"type=oci,tar=false,rewrite-timestamp=true,dest={folder}/image", ".",
    )  # fmt: skip
    return folder / "image"


@pytest.fixture(scope="module")
def podman(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Podman's words for a run of the image, in a store of its own; the name of its runroot must be short."""
    folder = tmp_path_factory.mktemp("podman")
    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as short:
        yield from _runs(image, folder, f"{short}/n")


def _runs(image: Path, folder: Path, runroot: str) -> Iterator[list[str]]:
    words = [need_program("podman"), "--root", f"{folder}/root", "--runroot", runroot]
    archive = folder / "image.tar"
    target = f"docker-archive:{archive}:self:1"
    smith(folder / "store", "copy", "--platform", "linux/amd64", f"oci:{image}", target)
    subprocess.run([*words, "load", "-q", "-i", str(archive)], check=True, capture_output=True)
    limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"]  # the defaults may be above ours
    yield [*words, "run", "--rm", "--runtime", need_program("runc"), *limits, "--network", "none"]
    subprocess.run([*words, "rmi", "-af"], capture_output=True, check=False)


def ran(words: list[str]) -> str:
    """What a command says on both of its outputs."""
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def test_it_is_small(image: Path) -> None:
    for arch in ("amd64", "arm64"):
        platform = f"--platform=linux/{arch}"
        told = json.loads(smith(image.parent / "store", "inspect", platform, f"oci:{image}"))
        assert told["Architecture"] == arch
        assert told["Size"] < MOST_BYTES
        assert told["Config"]["User"] == "1000"


def test_its_user_builds_in_a_container(podman: list[str], tmp_path: Path) -> None:
    shutil.copy(need_program("busybox"), tmp_path / "busybox")
    (tmp_path / "Dockerfile").write_text(
        'FROM scratch\nCOPY busybox /bin/\nRUN ["/bin/busybox", "--install", "-s", "/bin"]\nRUN id -u > /id\n'
    )
    tmp_path.chmod(0o755)
    shown = ["--volume", f"{tmp_path}:/workspace:ro"]
    assert ran([*podman, "self:1", "--version"]).startswith("imagesmith ")
    assert "uid 1000" in ran([*podman, "self:1", "doctor"])
    assert "named app:1" in ran([*podman, *shown, "self:1", "build", "-t", "app:1", "."])
    script = """
set -e
mkdir -p /kaniko/.docker
echo '{"auths": {}}' > /kaniko/.docker/config.json
/kaniko/executor --context . --no-push --destination app:1 --tar-path /tmp/app.tar --digest-file /tmp/digest
test "$(id -u)" = 1000
grep sha256 /tmp/digest
git --version
python3 -c 'import zstandard, deflate, yaml, httpx, lark, sqlite3'
python3 -c 'import ssl; assert ssl.create_default_context().get_ca_certs()'
"""
    assert "git version" in ran([*podman, *shown, "--entrypoint", "/busybox/sh", "self:1", "-c", script])


def test_the_other_architecture_s_runs(image: Path, tmp_path: Path) -> None:
    emulator = need_program("qemu-aarch64-static")
    root = tmp_path / "root"
    root.mkdir()
    files = str(tmp_path / "files.tar")
    smith(image.parent / "store", "export", "--platform", "linux/arm64", f"oci:{image}", files)
    subprocess.run(["tar", "-xf", files, "-C", str(root)], check=True)
    shutil.copy(emulator, root / "emulator")
    python = ["chroot", str(root), "/emulator", "/usr/bin/python3", "-I"]
    assert ran([*python, "/usr/bin/imagesmith", "--version"]).startswith("imagesmith ")
    modules = "import zstandard, deflate, yaml, sqlite3, ssl, cryptography.hazmat.bindings._rust"
    ran([*python, "-c", modules])
