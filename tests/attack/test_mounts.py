"""Attacks by steps on what is mounted: sources exchanged while they are looked up, nodes of devices, stubs.

IMAGESMITH_ATTACKS says how many builds each race gets; IMAGESMITH_ATTACK_WITH how the program is started, for
other users and runtimes.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.fs.hold import hold
from tests.support import IMAGESMITH, need_program

pytestmark = pytest.mark.slow

_BUILDS = int(os.environ.get("IMAGESMITH_ATTACKS", "2"))
_PROGRAM = shlex.split(os.environ.get("IMAGESMITH_ATTACK_WITH", "")) or [*IMAGESMITH]
_CANARY = "canary-of-the-machine"
_BASE = """FROM scratch AS base
COPY busybox swap* /bin/
RUN ["/bin/busybox", "--install", "-s", "/bin"]
"""


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A context with busybox, and with a program that exchanges two names where one can be compiled."""
    folder = tmp_path_factory.mktemp("context")
    folder.chmod(0o755)
    shutil.copy(need_program("busybox"), folder / "busybox")
    compiler = shutil.which("gcc")
    if compiler is not None:
        source = Path(__file__).with_name("swap.c")
        subprocess.run([compiler, "-O2", "-static", "-o", folder / "swap", source], check=True)
    return folder


@pytest.fixture
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which the store lies, and files of the machine: above it, and at the very top."""
    folder = tmp_path_factory.mktemp("outside")
    for above in (folder, folder.parent, folder.parent.parent):
        above.chmod(0o755)
    folder.chmod(0o777)
    (folder / "canary").write_text(_CANARY)
    yield folder
    subprocess.run(["chmod", "-R", "u+rwX", folder], check=False)


class Attack:
    """Builds with hostile Dockerfiles into a store below `outside`."""

    def __init__(self, isolation: str, context: Path, outside: Path) -> None:
        self.isolation, self._context, self._outside = isolation, context, outside

    def __call__(self, text: str, *flags: str) -> subprocess.CompletedProcess[str]:
        """Build; skips where the isolation does not work."""
        file = self._outside / "Dockerfile"
        file.write_text(_BASE + text)
        words = ["build", "--progress", "plain", "--root", str(self._outside / "store")]
        done = subprocess.run(
            [*_PROGRAM, *words, "--isolation", self.isolation, "-f", str(file), *flags, str(self._context)],
            capture_output=True, text=True, timeout=120, cwd="/",
        )  # fmt: skip
        if "does not work here" in done.stderr:
            pytest.skip(done.stderr.splitlines()[0])
        assert "internal error" not in done.stderr, done.stderr
        return done


@pytest.fixture(params=["auto", "chroot", "oci"])
def attack(request: pytest.FixtureRequest, context: Path, outside: Path) -> Attack:
    """One for each isolation."""
    if request.param == "chroot" and (os.geteuid() or "IMAGESMITH_ATTACK_WITH" in os.environ):
        pytest.skip("needs root")
    return Attack(request.param, context, outside)


def swapper(context: Path, first: str, second: str, seconds: int) -> str:
    """A shell text that exchanges two names until /c/stop is there, at most so long."""
    if (context / "swap").exists():
        wait = f"for i in $(seq {seconds}0); do test -e /c/stop && break; sleep 0.1; done"
        return f"touch /c/go; swap {first} {second} & {wait}; kill %1"
    turn = f"mv {first} /c/x; mv {second} {first}; mv {first} {second}; mv /c/x {first}"
    return f"touch /c/go; for i in $(seq {seconds}000); do test -e /c/stop && break; {turn}; done"


@pytest.mark.parametrize("way", ["source", "target"])
def test_race_on_a_cache_mounts_nothing_of_the_machine(
    attack: Attack, context: Path, outside: Path, way: str
) -> None:
    """One step exchanges a folder of a cache with a link out, others mount that folder, or mount on it."""
    top = Path("/imagesmith-canary")
    if os.geteuid() == 0:
        top.write_text(_CANARY)
    away = "/".join([".."] * 12)
    look = (
        f"for d in /m /m/.. /c/sub/x; do cat $d{outside}/canary $d/imagesmith-canary $d/canary; done;"
        f" echo evil > /m{outside}/canary; echo evil > /m/imagesmith-canary; echo evil > /m/made; true"
    )
    whole = "--mount=type=cache,id=race,target=/c"
    if way == "source":  # a cache that is mounted by `source` is another one than that mounted as a whole
        whole += ",source=."
        mount = "--mount=type=cache,id=race,source=sub,target=/m"
        links = f"ln -sfn {away} /c/link"
    else:
        mount = f"{whole} --mount=type=tmpfs,target=/c/sub/x"
        links = f"ln -sfn /proc/self/cwd/../../../../../{str(outside).strip('/')} /c/link"
    prepare = f"rm -rf /c/*; mkdir -p /c/sub; {links}"
    ready = f"RUN {whole} for i in $(seq 20); do test -e /c/go && break; sleep 0.05; done; : $N"
    victims = f"FROM prepared AS ready\n{ready}\n"
    victims += "".join(f"FROM ready AS v{n}\nRUN {mount} : $N {n}; {look}\n" for n in range(3))
    together = "".join(f"COPY --from=v{n} /bin/busybox /v\n" for n in range(3))
    seconds = 1 if attack.isolation == "chroot" else 10  # it has the cache for itself there
    text = (
        f"FROM base AS prepared\nARG N\nENV N=$N\nRUN {whole} : $N; {prepare}\n"
        f"FROM prepared AS racer\nRUN {whole}"
        f" {swapper(context, '/c/sub', '/c/link', seconds)}; true\n{victims}"
        f"FROM prepared AS ends\n{together}RUN {whole} touch /c/stop\n"
        "FROM base\nCOPY --from=racer /bin/busybox /r\nCOPY --from=ends /bin/busybox /e\n"
    )
    before = {p.name for p in outside.iterdir()} | {"store", "Dockerfile"}
    try:
        for n in range(_BUILDS):
            done = attack(text, "--build-arg", f"N={n}")
            assert _CANARY not in done.stdout + done.stderr
            if os.environ.get("IMAGESMITH_ATTACKS"):
                print(n, done.returncode, done.stderr.count("DONE"), done.stderr.splitlines()[-1:])
            assert (outside / "canary").read_text() == _CANARY
            assert {p.name for p in outside.iterdir()} <= before
            if os.geteuid() == 0:
                assert top.read_text() == _CANARY
                assert not Path("/made").exists()
    finally:
        top.unlink(missing_ok=True)


@pytest.mark.parametrize("last", ["link", "folder/../../outside", "fifo/x", "..", "a/../../x", "link/inner"])
def test_what_is_held_is_found_through_no_link(tmp_path: Path, last: str) -> None:
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (root / "link").symlink_to(tmp_path)
    os.mkfifo(root / "fifo")
    (tmp_path / "outside").mkdir()
    (tmp_path / "inner").mkdir()
    with pytest.raises(OSError):
        hold(root, last)


def test_run_does_not_write_a_file_that_was_given_read_only(
    attack: Attack, context: Path, outside: Path
) -> None:
    done = attack("FROM base\n", "-t", "local/victim:1")
    assert done.returncode == 0, done.stderr
    words = ["run", "--root", str(outside / "store"), "--isolation", attack.isolation]
    volume = f"{outside}/canary:/x:ro"
    subprocess.run(
        [*_PROGRAM, *words, "-v", volume, "local/victim:1", "/bin/sh", "-c", "echo evil > /x; rm /x; true"],
        capture_output=True, timeout=60, cwd="/", check=False,
    )  # fmt: skip
    assert (outside / "canary").read_text() == _CANARY
