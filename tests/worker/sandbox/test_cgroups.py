"""Groups of steps: made where they can be, and taken away also for builders that could not do it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagesmith.errors import SandboxError
from imagesmith.interfaces import RunSpec
from imagesmith.worker.sandbox import cgroups


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of the kernel's, as a unified hierarchy."""
    (tmp_path / "cgroup.controllers").write_text("cpu memory")
    monkeypatch.setattr(cgroups, "_ROOT", tmp_path)
    return tmp_path


def spec(parent: str) -> RunSpec:
    return RunSpec(argv=("true",), env=(), cgroup_parent=parent)


def test_step_that_asks_for_nothing_has_no_group(root: Path) -> None:
    assert cgroups.make_group(spec(""), 1) is None
    assert [p.name for p in root.iterdir()] == ["cgroup.controllers"]


def test_groups_of_builders_that_are_gone_are_removed(root: Path) -> None:
    gone, running = "imagesmith-4194999-1", f"imagesmith-{os.getpid()}-7"
    for name in (gone, running):
        (root / "below" / name).mkdir(parents=True)
    group = cgroups.make_group(spec("/below/"), 8)
    assert group is not None
    assert group.doors == [str(root / "below" / f"imagesmith-{os.getpid()}-8" / "cgroup.procs")]
    group.remove()
    assert [p.name for p in (root / "below").iterdir() if p.is_dir()] == [running]


def test_parent_leads_nowhere_else(root: Path) -> None:
    with pytest.raises(SandboxError, match="has no meaning"):
        cgroups.make_group(spec("../x"), 1)
