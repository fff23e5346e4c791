"""RUN of another architecture, through qemu, as each kind of user: whole builds of a small image."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.interfaces import Place
from imagesmith.oci.names import Platform, host_platform
from imagesmith.request import Emulator
from imagesmith.worker.emulator import PLATFORMS, Emulators
from imagesmith.worker.sandbox.world import World
from imagesmith.worker.tinyprograms import program_for
from tests.e2e.conftest import as_user, ordinary_user
from tests.foreign import PLATFORM, foreign_busybox, need_qemu
from tests.support import IMAGESMITH, PROJECT, need_root

pytestmark = pytest.mark.slow

_DOCKERFILE = r"""
FROM scratch
COPY --chmod=755 busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
COPY --chmod=755 inner outer /bin/
RUN uname -m > /machine && env id -u > /uid && mkdir /d && chown 5:6 /d && env outer second > /out && \
    find / -xdev -name '*emulator*' > /found && \
    test "$(ls /proc/self/fd | wc -l)" -le 4 && touch -d @0 /machine /uid /d /out /found
USER 1000
RUN test "$(env id -u)" = 1000 && ! env /machine && ! env /nowhere && ! touch /x
"""

#: Who builds: for root the words before and after the command.
_PLACES = {
    "root": ([], []),
    "chroot": ([], ["--isolation", "chroot"]),
    "container": ([sys.executable, "-m", "tests.worker.sandbox.contained", "0"], []),
    "old container": ([sys.executable, "-m", "tests.worker.sandbox.contained", "old"], []),
    "registered": ([sys.executable, "-m", "tests.worker.registered"], []),
    "lent ids": ([], []),
    "one id": ([], []),
    "lent ids, oci": ([], ["--isolation", "oci"]),
}


@pytest.fixture(scope="module")
def context() -> Iterator[Path]:
    """A context that every user can read."""
    need_qemu()
    with tempfile.TemporaryDirectory(prefix="imagesmith-emulator-") as place:
        folder = Path(place) / "context"
        folder.mkdir()
        (folder / "busybox").write_bytes(foreign_busybox())
        (folder / "Dockerfile").write_text(_DOCKERFILE)
        (folder / "inner").write_text('#!/bin/sh -e\nexec env sh -c \'echo $0 $1 $2 $3\' "$0" "$@"\n')
        (folder / "outer").write_text("#!/bin/inner first and only\n")
        for path in (Path(place), folder):
            path.chmod(0o755)
        yield folder


def _build(
    context: Path, store: Path, before: list[str], after: list[str]
) -> subprocess.CompletedProcess[str]:
    output = "type=oci,dest=/dev/null,rewrite-timestamp=true"
    command = [*before, *IMAGESMITH, "build", "--platform", PLATFORM, "--progress", "plain", "-o", output]
    env = {**os.environ, "SOURCE_DATE_EPOCH": "0", "PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [*command, "--root", str(store), *after, str(context)],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=PROJECT, env=env,
    )  # fmt: skip


def _digest(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return (done.stdout + done.stderr).strip().splitlines()[-1]


@pytest.fixture(scope="module")
def reference(context: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What root makes, or who runs the tests."""
    return _digest(_build(context, tmp_path_factory.mktemp("reference"), [], []))


@pytest.mark.parametrize("place", _PLACES)
def test_the_image_is_the_same_wherever_its_programs_are_emulated(
    place: str, context: Path, reference: str
) -> None:
    need_root()
    before, after = _PLACES[place]
    with tempfile.TemporaryDirectory(prefix="imagesmith-", ignore_cleanup_errors=True) as folder:
        store = Path(folder) / "store"
        store.mkdir()
        Path(folder).chmod(0o755)
        if "id" in place.split() or "ids" in place:
            user = ordinary_user(lent="lent" in place)
            shutil.chown(store, user, user)
            before = as_user(user)
        if place == "registered":
            before = [*before, need_qemu()]
        assert _digest(_build(context, store, before, after)) == reference


@pytest.mark.everyone
def test_a_step_is_emulated(context: Path, reference: str, tmp_path: Path) -> None:
    assert reference.startswith("sha256:")
    done = _build(context, tmp_path, [], ["--no-cache", "-o", f"type=local,dest={tmp_path}/out"])
    assert _digest(done)
    found = {name: (tmp_path / "out" / name).read_text() for name in ("machine", "uid", "out", "found")}
    assert found == {
        "machine": "aarch64\n", "uid": "0\n", "out": "/bin/inner first and only /bin/outer second\n",
        "found": "",
    }  # fmt: skip


@pytest.mark.everyone
def test_a_build_without_an_emulator_ends_before_anything_is_built(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text('FROM scratch\nCOPY Dockerfile /\nRUN ["/x"]\n')
    words = [*IMAGESMITH, "build", "--platform", "linux/sparc64", "--root", f"{tmp_path}/store"]
    done = subprocess.run([*words, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 9
    assert "RUN of linux/sparc64 cannot be executed here" in done.stderr
    assert "hint: install qemu-user-static" in done.stderr
    assert "COPY Dockerfile /\n" not in done.stderr.partition("-----")[0]
    assert ">>> RUN" in done.stderr
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\nWORKDIR /w\n")
    subprocess.run([*words, str(tmp_path)], capture_output=True, check=True)


@pytest.mark.everyone
@pytest.mark.parametrize(
    ("step", "emulator"),
    [("RUN true", False), ('RUN ["./x"]', False), ('RUN ["x"]', False), ('RUN ["bin/text"]', True),
     ('RUN ["text"]', True)],
)  # fmt: skip
def test_a_program_that_is_not_there_needs_no_emulator(tmp_path: Path, step: str, emulator: bool) -> None:
    need_qemu()
    (tmp_path / "Dockerfile").write_text(f"FROM scratch\nCOPY --chmod=755 Dockerfile /bin/text\n{step}\n")
    words = [*IMAGESMITH, "build", "--platform", PLATFORM, "--root", f"{tmp_path}/store", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 4
    assert "did not complete successfully: exec: " in done.stderr
    assert ("runs here by an emulator" in done.stderr) == emulator


@pytest.mark.everyone
def test_what_the_cache_has_needs_no_emulator(context: Path, tmp_path: Path) -> None:
    words = [*IMAGESMITH, "build", "--platform", PLATFORM, "-q", "--root", f"{tmp_path}/store", str(context)]
    first = subprocess.run(words, capture_output=True, text=True, check=True)
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/false\n")
    broken.chmod(0o755)
    again = subprocess.run([*words, "--emulator", f"{PLATFORM}={broken}"], capture_output=True, text=True)
    assert (again.returncode, again.stdout) == (0, first.stdout), again.stderr
    third = subprocess.run(
        [*words, "--no-cache", "--emulator", f"{PLATFORM}={broken}"], capture_output=True, text=True
    )
    assert third.returncode == 9
    assert f"{broken} does not run its programs" in third.stderr


@pytest.mark.everyone
def test_an_emulator_has_to_be_there() -> None:
    words = [*IMAGESMITH, "build", "--emulator", "linux/arm64=/nowhere/qemu", "."]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 2
    assert "there is no program at /nowhere/qemu" in done.stderr


@pytest.mark.everyone
def test_doctor_tells_what_runs_which_platform(tmp_path: Path) -> None:
    words = [*IMAGESMITH, "doctor", "--json", "--root", f"{tmp_path}/store"]
    emulator = f"{PLATFORM}={need_qemu()}"
    found = json.loads(subprocess.run([*words, "--emulator", emulator], capture_output=True).stdout)
    by = {row["platform"]: row for row in found["platforms"]["run"]}
    assert by[str(host_platform())]["by"] == "kernel"
    assert by[PLATFORM]["path"] == need_qemu()
    assert by[PLATFORM]["by"] in ("namespace", "calls")
    said = subprocess.run([*IMAGESMITH, "doctor", "--root", f"{tmp_path}/store", "--emulator", emulator],
                          capture_output=True, text=True).stdout  # fmt: skip
    assert f"{PLATFORM} by {need_qemu()}" in said


def test_who_only_asks_keeps_no_emulator_in_memory(tmp_path: Path) -> None:
    need_root()
    emulator = Emulator(need_qemu(), Platform.parse(PLATFORM))
    found = Emulators([emulator], World(Place(ids="root", mounts=True), "native"), tmp_path)

    def copies() -> int:
        return sum(
            "memfd:emulator" in os.readlink(f) for f in Path("/proc/self/fd").iterdir() if f.is_symlink()
        )

    before = copies()
    assert found.tell(Platform.parse(PLATFORM)).by == "calls"
    assert copies() == before
    assert found.way(Platform.parse(PLATFORM)).by == "calls"
    assert copies() == before + 1


def test_an_emulator_that_needs_libraries_is_none(tmp_path: Path) -> None:
    need_root()
    dynamic = Emulator(shutil.which("env") or "/usr/bin/env", Platform.parse(PLATFORM))
    found = Emulators([dynamic], World(Place(ids="root", mounts=True), "native"), tmp_path)
    way = found.way(Platform.parse(PLATFORM))
    assert (way.by, way.reason) == ("", f"{dynamic.path} does not run its programs: it is not static")


@pytest.mark.parametrize("name", PLATFORMS)
def test_every_platform_has_a_tiny_program(name: str) -> None:
    assert program_for(Platform.parse(name)).startswith(b"\x7fELF")
