"""A call of the library that Ctrl-C interrupts, at whatever moment, leaves nothing and nothing running."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.e2e.conftest import Smith

pytestmark = pytest.mark.slow

CALL = """
import contextlib, os, signal, sys, threading, time
import imagesmith
root, what, after = sys.argv[1], sys.argv[2], float(sys.argv[3])
def interrupt():
    time.sleep(after)
    os.kill(os.getpid(), signal.SIGINT)
def call():
    if what == "copy":
        return imagesmith.copy(sys.argv[4], "store:b", root=root)
    return imagesmith.build(sys.argv[4], root=root, contexts={"base": sys.argv[5]}, no_cache=True)
try:
    threading.Thread(target=interrupt, daemon=True).start()
    call()
    time.sleep(after)  # it was quicker
except KeyboardInterrupt:
    pass
for folder in ("work", "ingest"):
    if os.path.isdir(f"{root}/{folder}"):
        print(*(f"{folder}/{name}" for name in os.listdir(f"{root}/{folder}") if name != "lock"))
for thread in os.listdir("/proc/self/task"):
    with contextlib.suppress(OSError):
        print(open(f"/proc/self/task/{thread}/children").read())
print(*(line.split()[4] for line in open("/proc/self/mountinfo") if root in line), flush=True)
os._exit(0)
"""

FILE = """
FROM base AS a
RUN sleep 0.1; echo a > /a
FROM base AS b
RUN --mount=type=bind,target=/m sleep 0.2; echo b > /b
FROM base
COPY big /big
ADD t.tgz /x
COPY --from=a /a /a
COPY --from=b /b /b
RUN head -c 20000000 /dev/zero > /z; sleep 0.2
"""


def left(folder: Path, *words: str) -> str:
    """What a call that was interrupted has left."""
    done = subprocess.run(
        [sys.executable, "-c", CALL, str(folder / "store"), *words],
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    return done.stdout.strip()


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A context that takes a while to build."""
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "big").write_bytes(os.urandom(20_000_000))
    (folder / "Dockerfile").write_text(FILE)
    with tarfile.open(folder / "t.tgz", "w:gz", compresslevel=1) as tar:
        tar.add(folder / "big", "big")
    return folder


@pytest.mark.parametrize("seed", range(8))
def test_an_interrupted_build_leaves_nothing(
    tmp_path: Path, context: Path, base_image: Path, seed: int
) -> None:
    after = random.Random(seed).uniform(0.05, 1.5)
    assert left(tmp_path, "build", f"{after:.3f}", str(context), f"oci-layout://{base_image}") == ""


@pytest.mark.parametrize("seed", range(3))
def test_an_interrupted_copy_leaves_nothing(tmp_path: Path, context: Path, smith: Smith, seed: int) -> None:
    archive = tmp_path / "a.tar"
    (context / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    smith.build(str(context), "-o", f"type=oci,dest={archive}")
    after = random.Random(seed).uniform(0.01, 0.3)
    assert left(tmp_path, "copy", f"{after:.3f}", f"oci-archive:{archive}") == ""
