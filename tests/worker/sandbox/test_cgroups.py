"""Groups of steps: made where they can be, and taken away also for builders that could not do it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagesmith import quotas
from imagesmith.errors import SandboxError
from imagesmith.interfaces import RunSpec
from imagesmith.quotas import Limits
from imagesmith.worker.sandbox import cgroups


class Kernel:
    """A folder in place of the kernel's, as a unified hierarchy; `own` is where this process is."""

    def __init__(self, root: Path, own: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        (root / "cgroup.controllers").write_text("cpu memory cpuset")
        (root / "own").write_text(f"0::{own}\n")
        monkeypatch.setattr(cgroups, "_ROOT", root)
        monkeypatch.setattr(quotas, "_ROOT", root)
        monkeypatch.setattr(quotas, "_OWN", root / "own")
        make = Path.mkdir

        def mkdir(path: Path, *args: int, **kwargs: bool) -> None:
            make(path, *args, **kwargs)  # type: ignore[arg-type]
            given = path.parent / "cgroup.subtree_control"
            for controller in given.read_text().split() if given.is_file() else ():
                for name in _FILES[controller]:
                    (path / name).touch()
            (path / "cgroup.procs").touch()

        monkeypatch.setattr(Path, "mkdir", mkdir)
        (root / own.strip("/")).mkdir(parents=True, exist_ok=True)


_FILES = {"+cpu": ["cpu.max", "cpu.weight"], "+memory": ["memory.max", "memory.swap.max"],
          "+cpuset": ["cpuset.cpus", "cpuset.mems"]}  # fmt: skip


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That of a process at the top."""
    return Kernel(tmp_path, "/", monkeypatch).root


def spec(parent: str, **limits: int | str) -> RunSpec:
    return RunSpec(argv=("true",), env=(), cgroup_parent=parent, limits=Limits(**limits))  # type: ignore[arg-type]


def made(asked: RunSpec, number: int = 1) -> cgroups.Group:
    group = cgroups.hold_limits(asked, number).group
    assert group is not None
    return group


def test_step_that_asks_for_nothing_has_no_group(root: Path) -> None:
    before = sorted(root.iterdir())
    assert cgroups.hold_limits(spec(""), 1) == cgroups.Held()
    assert sorted(root.iterdir()) == before


def test_groups_of_builders_that_are_gone_are_removed(root: Path) -> None:
    gone, running = "imagesmith-4194999-1", f"imagesmith-{os.getpid()}-7"
    for name in (gone, running):
        os.makedirs(root / "below" / name)
    group = made(spec("/below/"), 8)
    assert group.doors == [str(root / "below" / f"imagesmith-{os.getpid()}-8" / "cgroup.procs")]
    assert [p.name for p in (root / "below").iterdir() if p.is_dir() and p.name.endswith("-1")] == []
    assert (root / "below" / running).is_dir()


def test_parent_leads_nowhere_else(root: Path) -> None:
    with pytest.raises(SandboxError, match="has no meaning"):
        cgroups.hold_limits(spec("../x"), 1)


def test_limits_are_written_as_the_kernel_reads_them(root: Path) -> None:
    asked = spec("", memory_bytes=1 << 20, quota_us=150_000, shares=1024, cpus="0", nodes="0")
    folder = made(asked).folders[0]
    assert {p.name: p.read_text() for p in folder.iterdir() if p.stat().st_size} == {
        "memory.max": "1048576", "memory.swap.max": "1048576", "cpu.max": "150000 100000", "cpu.weight": "39",
        "cpuset.cpus": "0", "cpuset.mems": "0",
    }  # fmt: skip
    asked = spec("", memory_bytes=1 << 20, swap_bytes=-1)
    assert (made(asked, 2).folders[0] / "memory.swap.max").read_text() == "max"


def test_a_builder_that_is_alone_in_its_group_moves_below_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel(tmp_path, "/user/scope", monkeypatch)
    scope = kernel.root / "user" / "scope"
    (scope / "cgroup.procs").write_text(f"{os.getpid()}\n")
    write = Path.write_text

    def busy(path: Path, text: str, *args: str, **kwargs: str) -> int:
        if path == scope / "cgroup.subtree_control" and not (scope / "imagesmith-builder").exists():
            raise OSError(16, "Device or resource busy", str(path))
        return write(path, text, *args, **kwargs)

    monkeypatch.setattr(Path, "write_text", busy)
    group = made(spec("", memory_bytes=1 << 20))
    assert group.folders[0].parent == scope
    assert (scope / "imagesmith-builder" / "cgroup.procs").read_text() == str(os.getpid())


def test_beside_others_its_group_is_beside_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(tmp_path, "/user/session", monkeypatch)
    session = kernel.root / "user" / "session"
    (session / "cgroup.procs").write_text(f"1\n{os.getpid()}\n")
    (session / "cgroup.subtree_control").mkdir()  # nobody writes it
    assert made(spec("", memory_bytes=1 << 20)).folders[0].parent == kernel.root / "user"


def test_without_any_something_else_holds_limits(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "cgroup.subtree_control").mkdir()
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {2, 3, 5, 7})
    asked = spec("", memory_bytes=8 << 20, quota_us=150_000)
    held = [cgroups.hold_limits(asked, number) for number in range(3)]
    assert [h.processors for h in held] == [(2, 3), (5, 7), (2, 3)]
    assert {(h.group, h.memory_bytes, h.swap_bytes) for h in held} == {(None, 8 << 20, 16 << 20)}
    assert "memory by watching the step's processes, processors by binding it to 2" in held[0].told
    assert cgroups.hold_limits(spec("", quota_us=900_000), 1) == cgroups.Held()
    assert cgroups.hold_limits(spec("", cpus="3,5"), 1).processors == (3, 5)
    with pytest.raises(SandboxError, match="cpu-shares=5 cannot be held here: no cgroup can be made"):
        cgroups.hold_limits(spec("", shares=5), 1)


def test_numbers() -> None:
    assert cgroups.numbers_of("") == []
    assert cgroups.numbers_of("0-2,5") == [0, 1, 2, 5]
