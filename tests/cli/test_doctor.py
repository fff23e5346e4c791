"""doctor: what it says is what a build does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from imagesmith.cli.doctor import _run_lines, _snapshot_lines
from imagesmith.worker.sandbox.container import container
from tests.support import IMAGESMITH, PROJECT

pytestmark = pytest.mark.everyone


def run(*words: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(PROJECT)}
    return subprocess.run(
        [*prefix, *IMAGESMITH, *words], capture_output=True, text=True, env=env, cwd=PROJECT
    )


def examine(root: Path, *words: str, prefix: tuple[str, ...] = ()) -> tuple[int, dict[str, Any]]:
    done = run("doctor", "--json", "--root", str(root), *words, prefix=prefix)
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, found


def contained(uid: str) -> tuple[str, ...]:
    """As a process of an ordinary container."""
    return (sys.executable, "-m", "tests.worker.sandbox.contained", uid)


def test_json_and_text_tell_the_same(tmp_path: Path) -> None:
    status, found = examine(tmp_path / "store")
    done = run("doctor", "--root", str(tmp_path / "store"))
    assert done.returncode == status == (0 if found["run"]["works"] else 1)
    heads = [line.split()[0] for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert heads == ["machine", "RUN", "snapshots", "platforms", "compression"]
    assert found["machine"]["uid"] == os.geteuid()
    for row in found["run"]["refused"] + found["snapshots"]["refused"]:
        assert row["reason"] in done.stdout
    assert str(tmp_path / "store") in done.stdout


@pytest.mark.slow
def test_in_a_container_root_has_a_chroot_and_copies(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    status, found = examine(tmp_path / "store", prefix=contained("0"))
    assert (status, found["run"]["isolation"], found["snapshots"]["kind"]) == (0, "chroot", "copying")
    assert found["machine"]["container"] == "pid 1 says container=tests"
    assert [row["way"] for row in found["run"]["refused"]] == ["root", "subid"]
    assert "seccomp=unconfined" in found["run"]["hint"]
    assert "set-uid programs give users no rights" in found["run"]["weaker"]


@pytest.mark.slow
def test_on_a_machine_a_chroot_is_for_who_asks_for_it(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if container():
        pytest.skip("this is a container itself")
    status, found = examine(tmp_path / "store", prefix=contained("bare"))
    assert (status, found["run"]["isolation"], found["machine"]["container"]) == (1, "none", "")
    assert [row["way"] for row in found["run"]["refused"]] == ["root", "subid", "chroot"]
    assert "--isolation chroot" in found["run"]["hint"]


@pytest.mark.slow
def test_in_a_container_a_user_has_no_run_and_a_hint() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        status, found = examine(Path(folder, "store"), prefix=contained(str(os.geteuid() or 1000)))
    assert (status, found["run"]["isolation"], found["run"]["works"]) == (1, "none", False)
    assert found["run"]["hint"]
    assert found["snapshots"]["kind"] == "copying"


def test_a_step_is_tried_as_a_build_has_it(tmp_path: Path) -> None:
    status, found = examine(tmp_path / "store")
    assert found["run"]["trial"] == ("done" if status == 0 else "")
    assert not [p for p in (tmp_path / "store").iterdir() if p.name.startswith("trial-")]


def test_a_store_that_cannot_be_used_is_told_and_a_step_tried_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, found = examine(tmp_path / "file")
    assert found["snapshots"]["problem"] == f"cannot use the store at {tmp_path / 'file'}: File exists"
    assert "--root" in found["snapshots"]["hint"]
    assert found["run"]["trial"] == ("done" if status == 0 else "")


@pytest.mark.slow
def test_where_no_program_can_be_executed_a_chroot_says_so(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    mounted = f'mount -t tmpfs -o noexec,nodev tmpfs {tmp_path} && exec "$@"'
    prefix = ("unshare", "--mount", "sh", "-c", mounted, "sh")
    status, found = examine(tmp_path / "store", prefix=prefix)
    assert (status, found["run"]["trial"], found["run"]["ids"]) == (0, "done", "root")
    status, found = examine(tmp_path / "store", "--isolation", "chroot", prefix=prefix)
    assert (status, found["run"]["works"]) == (1, False)
    assert "(noexec)" in found["run"]["trial"]
    assert "--root" in found["run"]["hint"]


def test_isolation_that_does_not_work_is_an_error(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("needs an ordinary user")
    done = run("doctor", "--isolation", "chroot", "--root", str(tmp_path / "store"))
    assert done.returncode != 0
    assert "--isolation chroot does not work here" in done.stderr


def test_every_way_is_told_in_words() -> None:
    world = {"isolation": "none", "ids": "own", "refused": [{"way": "chroot", "reason": "no"}],
             "weaker": ["x"], "hint": "do it", "trial": "", "limits": {"no_cgroups": "x: no"},
             "runtime": {"path": "", "refused": ""}}  # fmt: skip
    assert list(_run_lines(world)) == [
        "refused; COPY, ADD and all else work",
        "--memory and --cpus are held by a watch of /proc and affinity, no cgroup can be made (x: no)",
        "not a chroot: no", "weaker than root's: x",
        "to improve: do it",
    ]  # fmt: skip
    copying = {"problem": "", "kind": "copying", "files": False, "refused": [], "hint": "", "store": "/s"}
    assert list(_snapshot_lines(copying)) == ["copied, file by file", "in /s"]
