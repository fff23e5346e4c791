"""A user that has no name and no home, as pods may run anybody, is served by every verb."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import PROJECT, need_program, need_root

pytestmark = pytest.mark.slow


@pytest.fixture
def closed_run() -> Iterator[None]:
    """A /run/containers as podman makes it for root, closed to all others."""
    need_root()
    folder = Path("/run/containers")
    made = not folder.exists()
    folder.mkdir(mode=0o700, exist_ok=True)
    yield
    if made and not any(folder.iterdir()):
        folder.rmdir()


@pytest.mark.parametrize(
    "words", [["digest", "oci:base"], ["copy", "oci:base", "oci:{}/copy"], ["build", "-q", "{}"],
              ["tags", "127.0.0.1:9/none"], ["build", "--push", "-t", "127.0.0.1:9/none", "{}"]],
    ids=lambda words: " ".join(words[:2]),
)  # fmt: skip
def test_a_user_without_a_name_and_a_home_is_served(
    base_image: Path, words: list[str], closed_run: None
) -> None:
    with tempfile.TemporaryDirectory(prefix="imagesmith-", dir="/tmp") as place:
        shutil.copytree(base_image, f"{place}/base")
        mine = Path(place, "mine")
        mine.mkdir()
        (mine / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
        os.chown(mine, 4242, 4242)
        Path(place).chmod(0o755)
        env = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_DATA_HOME", "IMAGESMITH_ROOT")}
        done = subprocess.run(
            [need_program("setpriv"), "--reuid", "4242", "--regid", "4242", "--clear-groups",
             sys.executable, "-m", "imagesmith", *(w.format(mine) for w in words)],
            capture_output=True, text=True, cwd=place,
            env={**env, "PYTHONPATH": str(PROJECT), "TMPDIR": str(mine)},
        )  # fmt: skip
    assert "internal error" not in done.stderr
    assert f"warning: this user has no home; the store is {mine}/imagesmith-4242" in done.stderr
    asks = "127.0.0.1:9/none" in words  # where nobody listens
    assert (done.returncode == 0) is not asks, done.stderr
    assert ("connection refused" in done.stderr.lower()) is asks, done.stderr
