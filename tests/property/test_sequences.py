"""Any sequence of builds in one store gives what an empty store gives: as root, by a chroot, as users.

SEQUENCES says how many each way builds (a hundred in CI, over all ways), SEED where they begin.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.e2e.conftest import as_user, ordinary_user
from tests.support import PROJECT, in_ci, lacking

pytestmark = pytest.mark.slow

WAYS = {
    "root": ("auto", None), "root, layers extracted": ("extracting", None), "chroot": ("chroot", None),
    "root, empty stores with a cache": ("cached", None),
    "one id": ("auto", False), "lent ids": ("auto", True),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_used_store_gives_what_an_empty_one_gives(way: str) -> None:
    if not os.path.exists("/bin/busybox"):
        lacking("/bin/busybox is not there (Debian: busybox-static)")
    if os.geteuid() != 0:
        pytest.skip("needs root, which becomes each of the users")
    kind, lent = WAYS[way]
    user = None if lent is None else ordinary_user(lent=lent)
    count = os.environ.get("SEQUENCES", "20" if in_ci() else "4")
    with tempfile.TemporaryDirectory(prefix="imagesmith-") as place:
        folder = Path(place) / "here"
        folder.mkdir()
        Path(place).chmod(0o755)
        if user is not None:
            shutil.chown(folder, user)
        done = subprocess.run(
            [
                *(as_user(user) if user is not None else ()), sys.executable, "-m",
                "tests.property.sequences", kind, str(folder), count, os.environ.get("SEED", "1"),
            ],
            capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=PROJECT,
            env={**os.environ, "HOME": str(folder), "PYTHONPATH": str(PROJECT)},
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith("all the same")
