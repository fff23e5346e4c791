"""Every exit status of README's table, each by a command that ends with it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.prepared import World, make_world
from tests.e2e.conftest import base_image
from tests.support import PROJECT

__all__ = ["base_image"]

pytestmark = pytest.mark.slow

#: What the root of a user namespace may say for all that is below it.
_NO_NAMESPACES = "for n in user mnt; do echo 0 > /proc/sys/user/max_${n}_namespaces; done"

#: Of bash, which tells the status of the first of a pipe's commands that failed.
LINES = [
    (0, "imagesmith build -t other:1 --target files ."),
    (0, "imagesmith build --check ."),
    (0, "imagesmith --version"),
    (1, "imagesmith build --check -f Dockerfile.lint ."),
    (2, "imagesmith build --no-cahce ."),
    (2, "imagesmith build -t App ."),
    (2, "imagesmith"),
    (3, "imagesmith build -f Dockerfile.typo ."),
    (3, "imagesmith build --target nowhere ."),
    (4, "imagesmith build -f Dockerfile.failing --build-context base=oci-layout://base ."),
    (5, "imagesmith build nowhere"),
    (5, "imagesmith build -f nowhere ."),
    (6, "imagesmith load -i Dockerfile"),
    (6, "imagesmith validate oci:damaged:1"),
    (7, "imagesmith build -f Dockerfile.absent ."),
    (7, "imagesmith pull {open}/team/app:absent"),
    (7, "imagesmith pull {down}/team/app"),
    (7, "imagesmith inspect oci:layout:absent"),
    (7, "imagesmith push absent"),
    (8, "imagesmith images --root Dockerfile"),
    (8, "imagesmith images > /dev/full"),
    (9, "unshare --user --map-root-user sh -c '" + _NO_NAMESPACES + "; imagesmith build --isolation native"
        " -f Dockerfile.run --build-context base=oci-layout://base .'"),
    (10, "imagesmith diff app:1 other:1"),
    (11, "imagesmith key generate --plain k && imagesmith verify --key k.pub store:app:1"),
    (130, "sleep 20 | timeout --signal INT --preserve-status 3 imagesmith build -"),
    (141, "set -o pipefail; imagesmith build --help | :"),
    (141, "set -o pipefail; PYTHONUNBUFFERED=1 imagesmith build --help | :"),
    (8, "PYTHONUNBUFFERED=1 imagesmith build --help > /dev/full"),
    (3, "imagesmith run --entrypoint /bin/sh base:1 -c 'exit 3'"),
    (141, "imagesmith run base:1 sh -c 'exit 141'"),
]  # fmt: skip

FILES = {
    "Dockerfile.lint": "from scratch\nCOPY greeting /\n",
    "Dockerfile.typo": "FROM scratch\nCOPPY greeting /\n",
    "Dockerfile.failing": "FROM base\nRUN exit 7\n",
    "Dockerfile.run": "FROM base\nRUN true\n",
    "Dockerfile.absent": "FROM {open}/team/absent:1\n",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, base_image: Path) -> Iterator[World]:
    """The world of prepared.py with a base image whose commands run, and a layout that was damaged."""
    with make_world(tmp_path_factory.mktemp("statuses") / "w") as world:
        for name, content in FILES.items():
            world.write(name, world.filled(content))
        (world.folder / "base").symlink_to(base_image)
        assert world.run("imagesmith copy oci:base store:base:1; cp -r layout damaged").returncode == 0
        blobs = world.folder / "damaged/blobs/sha256"
        largest = max(blobs.iterdir(), key=lambda p: p.stat().st_size)
        largest.chmod(0o644)
        largest.write_bytes(bytes(largest.stat().st_size))
        yield world


@pytest.mark.parametrize(("status", "line"), LINES, ids=[f"{status}-{line}" for status, line in LINES])
def test_a_command_ends_with_the_status_that_readme_tells(world: World, status: int, line: str) -> None:
    done = world.run(f"exec bash -c {shlex.quote(line)}")
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr


def test_readme_tells_these_statuses_and_no_others() -> None:
    table = (PROJECT / "README.md").read_text().partition("## Exit status")[2].partition("\n## ")[0]
    assert {int(n) for n in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == {
        status for status, _ in LINES
    }
