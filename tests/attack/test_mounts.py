"""Attacks by steps on what is mounted: sources exchanged while they are looked up, nodes of devices, stubs.

IMAGESMITH_ATTACKS says how many builds each gets; IMAGESMITH_ATTACK_WITH how the program is started, for
other users and runtimes. By hand, 200 builds of both in one isolation, and a line for each on what became of
it:

    IMAGESMITH_ATTACKS=200 python -m pytest -s tests/attack/test_mounts.py -k "(race or seed) and oci"
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.conformance import run as conformance
from imagesmith.fs.hold import hold
from tests.attack import hostile
from tests.attack.layers import disk, write_layout
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
    top = Path(f"/imagesmith-canary-{os.getpid()}")  # other runs have theirs
    if os.geteuid() == 0:
        top.write_text(_CANARY)
    away = "/".join([".."] * 12)
    look = (
        f"for d in /m /m/.. /c/sub/x; do cat $d{outside}/canary $d{top} $d/canary; done;"
        f" echo evil > /m{outside}/canary; echo evil > /m{top}; echo evil > /m/made; true"
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


def test_seed_of_a_cache_is_no_way_to_a_device(attack: Attack, outside: Path) -> None:
    """A cache begins with a folder of an image in which there are a disk and the machine's memory."""
    conformance.make_base(outside / "busybox")
    nodes = hostile.extraction(str(outside), disk())["devices"]
    write_layout(outside / "nodes", outside / "busybox", nodes)
    context = f"--build-context=nodes=oci-layout://{outside / 'nodes'}"
    look = (  # a device that is not to be opened may be a node, an empty file, or nothing
        "for f in disk mem kmsg; do echo $f: $(timeout 2 dd if=/c/$f bs=512 count=1 2>/dev/null | wc -c)"
        " $(cat /c/$f 2>/dev/null | head -c 9 | wc -c); done; true"
    )
    for n in range(_BUILDS):
        mount = f"from=nodes,source=/t,target=/c --mount=type=bind,from=nodes,source=/t,target=/b : {n};"
        done = attack(
            f"FROM base\nRUN --mount=type=cache,id=seed{n},{mount} {look}; {look.replace('/c', '/b')}\n",
            context,
        )
        assert done.returncode == 0, done.stderr
        got = re.findall(r"^#\d+ [\d.]+ (disk|mem|kmsg): (\d+) (\d+)$", done.stderr, re.MULTILINE)
        assert got == [(name, "0", "0") for name in ("disk", "mem", "kmsg")] * 2, done.stderr
        if os.environ.get("IMAGESMITH_ATTACKS"):
            print(n, done.returncode, done.stderr.splitlines()[-1:])


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
