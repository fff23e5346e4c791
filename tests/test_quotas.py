"""What control groups say, of both kinds, is kept to; and a step that ran out of memory is told so."""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import sys
from collections.abc import Iterator
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


@pytest.mark.parametrize(
    "hostile", ["9" * 400, "9" * 5000, "-5", "0", "1e3", "\u0663", "0x10", "1 2 3 4", "\0", "100000 0", "max"]
)
def test_hostile_numbers_set_no_limit_and_no_absurd_one(groups: Path, hostile: str) -> None:
    (groups / "own").write_text("0::/a\n4:cpu:/a\n3:memory:/a\n")
    names = ("cpu__max", "memory__max", "memory__high", "memory__current", "memory__stat", "memory__events")
    write(groups / "fs" / "a", **dict.fromkeys(names, hostile))
    write(groups / "fs" / "cpu" / "a", cpu__cfs_quota_us=hostile, cpu__cfs_period_us=hostile)
    old = ("memory__limit_in_bytes", "memory__usage_in_bytes", "memory__oom_control")
    write(groups / "fs" / "memory" / "a", **dict.fromkeys(old, hostile))
    assert quotas.processors() > 0
    assert 1 <= quotas.threads() <= 16
    assert quotas.memory_left() >= 0
    assert quotas.OutOfMemory().told() == ""


def test_least_quota_is_one_thread(groups: Path) -> None:
    (groups / "own").write_text("0::/\n")
    write(groups / "fs", cpu__max="1000 100000")
    assert (quotas.processors(), quotas.threads()) == (0.01, 1)


def test_what_cannot_be_read_is_passed_over(groups: Path) -> None:
    (groups / "own").write_text("0::/a/b\n")
    write(groups / "fs" / "a", memory__max="1000", memory__current="100")
    (groups / "fs" / "a" / "b" / "memory.max").mkdir(parents=True)
    (groups / "fs" / "a" / "cpu.max").mkdir()
    assert (quotas.processors(), quotas.memory_left(), quotas.memory_limit()) == (math.inf, 900, 1000)


def test_path_above_the_namespace_leads_nowhere_else(groups: Path) -> None:
    (groups / "own").write_text("0::/../x\n")
    write(groups / "x", memory__max="1", memory__current="0")
    write(groups / "fs", memory__max="1000", memory__current="0")
    assert quotas.memory_limit() == 1000


@pytest.mark.parametrize(
    ("files", "path"),
    [
        ({"memory__max": "1000", "memory__current": "990", "memory__stat": "anon 9\ninactive_file 800"}, "."),
        (
            {
                "memory__limit_in_bytes": "1000", "memory__usage_in_bytes": "990",
                "memory__stat": "inactive_file 3\ntotal_inactive_file 800",
            },
            "memory",
        ),
        ({"memory__max": "max", "memory__high": "1000", "memory__current": "190"}, "."),
    ],
)  # fmt: skip
def test_pages_of_files_that_nobody_uses_are_left(groups: Path, files: dict[str, str], path: str) -> None:
    (groups / "own").write_text("3:memory:/\n0::/\n")
    write(groups / "fs" / path, **files)
    assert quotas.memory_left() == 810


@pytest.mark.parametrize("name", ["memory__events", "memory__oom_control"])
def test_what_the_kernel_killed_is_told_once(groups: Path, name: str) -> None:
    group, above = groups / "fs" / "above" / "g", groups / "fs" / "above"
    write(above, memory__max=str(32 << 20), **{name: "oom_kill 7"})
    write(group, memory__max=str(64 << 20), **{name: "oom_kill_disable 0\noom_kill 2"})
    memory = quotas.OutOfMemory([groups / "fs" / "cpu", group, above])
    assert memory.told() == ""
    write(above, **{name: "oom_kill 8"})  # a neighbour's
    assert memory.told() == ""
    write(group, **{name: "oom_kill 3"})
    assert memory.told("x") == "killed for want of memory: the limit of 32 MiB of x was reached"
    assert memory.told() == ""
    for at in (group, above):
        write(at, memory__max="max")
    write(group, **{name: "oom_kill 4"})
    assert memory.told() == "killed for want of memory: the machine has no more"


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[list[str]]:
    """Words before a command that run it in a real cgroup of 64 MiB and half a processor."""
    need_root()
    name, root = f"imagesmith-test-{os.getpid()}", Path("/sys/fs/cgroup")
    unified = (root / "cgroup.controllers").exists()
    made = [root / name] if unified else [root / "memory" / name, root / "cpu" / name]
    try:
        for folder in made:
            folder.mkdir()
        if unified:
            (made[0] / "memory.max").write_text(str(64 << 20))
            (made[0] / "cpu.max").write_text("50000 100000")
        else:
            (made[0] / "memory.limit_in_bytes").write_text(str(64 << 20))
            (made[1] / "cpu.cfs_quota_us").write_text("50000")
    except OSError as e:
        pytest.skip(f"cgroups cannot be written: {e}")
    else:
        enter = "; ".join(f"echo $$ > {folder}/cgroup.procs" for folder in made)
        yield ["sh", "-c", f'{enter}; exec "$@"', "sh"]
    finally:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()


_BASE = "FROM scratch\nCOPY --chmod=755 busybox /bin/busybox\nCOPY --chmod=755 busybox /bin/sh\n"


def test_real_limits_are_kept_to_and_a_step_that_reaches_them_says_so(
    tmp_path: Path, limited: list[str]
) -> None:
    code = "from imagesmith import quotas as q; print(q.processors(), q.threads(), q.memory_limit())"
    asked = [*limited, sys.executable, "-c", code]
    found = subprocess.run(asked, capture_output=True, text=True, cwd=PROJECT, check=True).stdout
    assert found.split() == ["0.5", "1", str(64 << 20)]
    (tmp_path / "busybox").write_bytes(Path(need_program("busybox")).read_bytes())
    # the shell lives on, and ends with a status of its own, as a compiler's driver does
    (tmp_path / "Dockerfile").write_text(
        _BASE + "RUN /bin/busybox tail -c 200000000 /dev/zero; echo not the end >&2; exit 3\n"
    )
    words = ["build", "--root", str(tmp_path / "store"), str(tmp_path)]
    done = subprocess.run(
        [*limited, *IMAGESMITH, *words], capture_output=True, text=True, cwd=PROJECT, timeout=60
    )
    last = done.stderr.splitlines()
    error = next(line for line in last if line.startswith("error:"))
    assert "exit code: 3: killed for want of memory: the limit of 64 MiB of this " in error, done
    assert next(line for line in last if line.startswith("hint:")).startswith("hint: it needs a larger ")


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
    assert "memory: the limit of 16 MiB of the step was reached" in done.stderr, done
