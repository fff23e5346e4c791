"""What control groups say, of both kinds, is kept to; and a step that ran out of memory is told so."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from imagesmith import quotas
from imagesmith.settings import Settings
from tests.support import IMAGESMITH, PROJECT, need_program, need_root


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of /sys/fs/cgroup, and a file in that of /proc/self/cgroup."""
    (tmp_path / "fs").mkdir()
    monkeypatch.setattr(quotas, "_ROOT", tmp_path / "fs")
    monkeypatch.setattr(quotas, "_OWN", tmp_path / "own")
    return tmp_path


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def test_unified_limits_of_every_group_above_count(groups: Path) -> None:
    (groups / "own").write_text("0::/a/b\n")
    write(groups / "fs" / "a", cpu__max="150000 100000", memory__max="1000", memory__current="300")
    write(groups / "fs" / "a" / "b", cpu__max="max 100000", memory__max="max", memory__current="200")
    assert (quotas.processors(), quotas.memory_left()) == (1.5, 700)
    assert Settings.load("/s").workers == min(2, len(os.sched_getaffinity(0)))


def test_old_limits_count_and_a_path_of_the_machine_is_the_root(groups: Path) -> None:
    (groups / "own").write_text("4:cpu,cpuacct:/docker/x\n3:memory:/docker/x\n")
    write(groups / "fs" / "cpu", cpu__cfs_quota_us="50000", cpu__cfs_period_us="100000")
    write(groups / "fs" / "memory", memory__limit_in_bytes="9223372036854771712", memory__usage_in_bytes="1")
    assert (quotas.processors(), quotas.memory_left()) == (0.5, math.inf)
    assert Settings.load("/s").workers == 1


def test_nothing_that_can_be_understood_is_no_limit(groups: Path) -> None:
    (groups / "own").write_text("nonsense\n0::/\n")
    write(groups / "fs", cpu__max="x y", memory__max="-", memory__current="")
    assert (quotas.processors(), quotas.memory_left()) == (math.inf, math.inf)
    assert quotas.OutOfMemory().told() == ""


@pytest.mark.parametrize("name", ["memory__events", "memory__oom_control"])
def test_what_the_kernel_ended_is_told_once(groups: Path, name: str) -> None:
    group = groups / "fs" / "g"
    write(group, memory__max=str(64 << 20), **{name: "oom_kill_disable 0\noom_kill 2"})
    memory = quotas.OutOfMemory([group])
    assert memory.told() == ""
    write(group, **{name: "oom_kill 3"})
    assert memory.told() == "memory ran out (the limit of 64 MiB), and the kernel ended a process for it"
    assert memory.told() == ""


def test_a_step_that_ran_out_of_memory_says_so(tmp_path: Path) -> None:
    need_root()
    (tmp_path / "busybox").write_bytes(Path(need_program("busybox")).read_bytes())
    (tmp_path / "Dockerfile").write_text(
        'FROM scratch\nCOPY --chmod=755 busybox /bin/busybox\nENTRYPOINT ["/bin/busybox"]\n'
    )
    store = ["--root", str(tmp_path / "store")]
    subprocess.run([*IMAGESMITH, "build", "-q", *store, "-t", "x", str(tmp_path)], check=True, cwd=PROJECT)
    words = ["run", *store, "--memory", "16m", "x", "sh", "-c", "busybox tail -c 100000000 /dev/zero; exit 1"]
    done = subprocess.run([*IMAGESMITH, *words], capture_output=True, text=True, cwd=PROJECT, timeout=60)
    if "cannot be made" in done.stderr:
        pytest.skip("cgroups cannot be written by this user, or are the runtime's")
    assert done.returncode != 0
    assert "memory ran out (the limit of 16 MiB)" in done.stderr, (sys.argv, done)
