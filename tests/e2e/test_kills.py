"""A builder that is killed at any moment leaves nothing running or mounted, and the next build is right.

IMAGESMITH_KILLS sets how often each isolation is tried; the default is for every day.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import as_user, ordinary_user, place_of
from tests.support import IMAGESMITH, need_program, need_root

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("IMAGESMITH_KILLS", "3"))
EPOCH = "1700000000"
DOCKERFILE = """FROM base AS one
RUN mkdir /made && echo 1 > /made/one && sleep {nap} && rm -rf /tmp
RUN (sleep {nap} &) ; ln /made/one /made/two
FROM base
COPY --from=one /made /made
RUN sleep {nap}; cat /made/* > /all
"""


class Builder:
    """The command that builds, as some user and under some isolation, in a store of its own."""

    def __init__(self, folder: Path, base: Path, isolation: str, *before: str) -> None:
        self.store, self.before, self.nap = folder / "store", before, f"0.{random.randrange(10**8, 10**9)}"
        self.out = folder / "out.tar"
        context = folder / "context"
        context.mkdir()
        (context / "Dockerfile").write_text(DOCKERFILE.format(nap=self.nap))
        self.words = [
            "build", "--no-cache", "--isolation", isolation, "--build-context", f"base=oci-layout://{base}",
            "-o", f"type=oci,dest={self.out},rewrite-timestamp=true", str(context),
        ]  # fmt: skip
        self.env = {**os.environ, "SOURCE_DATE_EPOCH": EPOCH, "IMAGESMITH_ROOT": str(self.store),
                    "HOME": str(folder)}  # fmt: skip

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a command of the program."""
        return subprocess.Popen(
            [*self.before, *IMAGESMITH, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=self.env, cwd="/",
        )  # fmt: skip

    def build(self) -> str:
        """Build to the end; the manifest's digest."""
        _, said = (process := self.start(*self.words)).communicate()
        assert process.returncode == 0, said.decode()
        return said.decode().splitlines()[-1]

    def left(self) -> list[str]:
        """Processes of steps, and mounts below the store, that are still there."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if self.nap.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                    found.append(pid)
            except OSError:
                continue
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        return found + [line for line in mounts if str(self.store) in line]


def survive(builder: Builder) -> None:
    """Kill builds at random moments; each time the next one must be right."""
    began = time.monotonic()
    reference = builder.build()
    whole = time.monotonic() - began
    for _ in range(KILLS):
        process = builder.start(*builder.words)
        time.sleep(random.uniform(0, whole))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert builder.build() == reference
        assert builder.left() == []
    assert builder.start("prune").wait() == 0
    assert [p.name for p in (builder.store / "work").glob("*")] == []


@pytest.mark.parametrize("isolation", ["native", "chroot", "oci"])
def test_root_s_builds_survive_kills(isolation: str, base_image: Path, tmp_path: Path) -> None:
    need_root()
    if isolation == "oci":
        need_program("runc")
    survive(Builder(tmp_path, base_image, isolation))


@pytest.mark.parametrize("lent", [False, True], ids=["one id", "lent ids"])
def test_a_user_s_builds_survive_kills(lent: bool, base_image: Path) -> None:
    need_root()
    user = ordinary_user(lent)
    with place_of(user, base_image) as (mine, base):
        survive(Builder(mine, base, "native", *as_user(user)))
