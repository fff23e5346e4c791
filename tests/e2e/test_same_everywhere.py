"""One build, one digest: whoever builds, in whatever folder, under whatever umask and zone, on any cores."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.e2e.conftest import DEMO, as_user, ordinary_user, place_of
from tests.support import IMAGESMITH, need_root

pytestmark = pytest.mark.slow

EPOCH = "1700000000"


def digest(
    context: Path, base: Path, store: Path, *before: str, flags: Sequence[str] = (), **env: str
) -> str:
    """The manifest's digest of the demo's app, built with an empty store by a command put before ours."""
    store.mkdir(parents=True, exist_ok=True)
    words = [
        *before, *IMAGESMITH, "build", "--build-context", f"base=oci-layout://{base}", "-o",
        f"type=oci,dest={store}/image.tar,rewrite-timestamp=true", "--metadata-file", f"{store}/made.json",
        *flags, str(context),
    ]  # fmt: skip
    done = subprocess.run(
        words, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd="/",
        env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH, "IMAGESMITH_ROOT": f"{store}/store", **env},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr.strip().splitlines()[-1]


@pytest.fixture
def reference(base_image: Path, tmp_path: Path) -> str:
    return digest(DEMO / "app", base_image, tmp_path / "reference")


def test_another_folder_umask_zone_and_core_make_the_same(
    reference: str, base_image: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "elsewhere" / "app"
    shutil.copytree(DEMO / "app", copy)
    old = os.umask(0o077)
    try:
        one_core = ["taskset", "-c", str(min(os.sched_getaffinity(0)))] if shutil.which("taskset") else []
        got = digest(copy, base_image, tmp_path / "b", *one_core, TZ="Pacific/Kiritimati", LC_ALL="C")
    finally:
        os.umask(old)
    assert got == reference


@pytest.mark.parametrize("lent", [False, True], ids=["one id", "lent ids"])
def test_an_ordinary_user_makes_the_same(
    reference: str, base_image: Path, tmp_path: Path, lent: bool
) -> None:
    """A user of the machine with ids in /etc/subuid, and one without; both are looked for, none is made."""
    need_root()
    user = ordinary_user(lent)
    with place_of(user, base_image) as (store, base):
        got = digest(DEMO / "app", base, store, *as_user(user), HOME=str(store))
    assert got == reference


def test_steps_that_run_again_in_one_store_make_the_same(base_image: Path, tmp_path: Path) -> None:
    """A layer that the store has keeps its times; a second name of its file is still no new file."""
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "Dockerfile").write_text(
        "FROM base AS one\nRUN mkdir /made && echo 1 > /made/one\nRUN ln /made/one /made/two\n"
        "FROM base\nCOPY --from=one /made /made\n"
    )
    made = {
        digest(tmp_path / "context", base_image, tmp_path / "again", flags=["--no-cache"]) for _ in range(3)
    }
    assert len(made) == 1
