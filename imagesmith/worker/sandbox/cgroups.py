"""A cgroup for one step: --cgroup-parent, and limits of memory and processor time.

Why only when asked: on most machines they cannot be written without root, and a step needs none to be killed.
A group is named after the process that made it, so the next builder can remove what a killed one left.
Spec: the kernel's admin-guide/cgroup-v2.rst and cgroup-v1/.
Trust: limits are the user's own; the files are the kernel's.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from imagesmith.errors import SandboxError
from imagesmith.interfaces import RunSpec

__all__ = ["PREFIX", "Group", "make_group", "sweep_groups"]

#: How the names of all our groups begin; the process's id and a number follow.
PREFIX = "imagesmith"

_ROOT = Path("/sys/fs/cgroup")
_V1 = ("cpu", "memory", "pids", "blkio", "freezer")
_PERIOD_US = 100_000


class Group:
    """A group, as a folder of the unified hierarchy or one of each old controller."""

    def __init__(self, folders: list[Path]) -> None:
        self._folders = folders
        self._made: list[Path] = []

    def make(self) -> None:
        """Make the folders, and those above that are missing."""
        for folder in self._folders:
            for at in (*reversed(folder.parents), folder):
                if not at.exists():
                    at.mkdir()
                    self._made.append(at)

    @property
    def doors(self) -> list[str]:
        """The files by which a process enters: it writes a 0 to each."""
        return [str(f / "cgroup.procs") for f in self._folders]

    @property
    def folders(self) -> list[Path]:
        """Where limits and counts are."""
        return self._folders

    @property
    def above(self) -> list[Path]:
        """The groups around it, whose limits hold for it as well; the innermost first."""
        return [at for f in self._folders for at in f.parents if at != _ROOT and at.is_relative_to(_ROOT)]

    def remove(self) -> None:
        """Remove it; all its processes have ended."""
        for folder in reversed(self._made):
            with contextlib.suppress(OSError):
                folder.rmdir()


def make_group(spec: RunSpec, number: int) -> Group | None:
    """The group that a step asks for; None if it asks for none.

    Raises:
        SandboxError: groups, or one of the limits, cannot be made here.
    """
    if not (spec.cgroup_parent or spec.memory_bytes or spec.cpus):
        return None
    name = Path(spec.cgroup_parent.strip("/")) / f"{PREFIX}-{os.getpid()}-{number}"
    if ".." in name.parts:
        raise SandboxError(f"--cgroup-parent {spec.cgroup_parent}: .. has no meaning here")
    sweep_groups()
    unified = (_ROOT / "cgroup.controllers").exists()
    folders = [_ROOT / name] if unified else [_ROOT / c / name for c in _V1 if (_ROOT / c).is_dir()]
    group = Group(folders)
    try:
        group.make()
        if unified:
            _unified(spec, folders[0])
        else:
            _separate(spec, {c: _ROOT / c / name for c in _V1})
    except OSError as e:
        group.remove()
        raise SandboxError(
            f"a cgroup for the step cannot be made ({e.filename}: {(e.strerror or '').lower()})",
            hint="leave --cgroup-parent and limits out, or run as root where cgroups can be written",
        ) from e
    return group


def _unified(spec: RunSpec, folder: Path) -> None:
    for parent in reversed(folder.relative_to(_ROOT).parents):
        with contextlib.suppress(OSError):  # what matters is whether the files below are there
            (_ROOT / parent / "cgroup.subtree_control").write_text("+cpu +memory")
    if spec.memory_bytes:
        (folder / "memory.max").write_text(str(spec.memory_bytes))
    if spec.cpus:
        (folder / "cpu.max").write_text(f"{int(spec.cpus * _PERIOD_US)} {_PERIOD_US}")


def _separate(spec: RunSpec, folders: dict[str, Path]) -> None:
    if spec.memory_bytes:
        (folders["memory"] / "memory.limit_in_bytes").write_text(str(spec.memory_bytes))
    if spec.cpus:
        (folders["cpu"] / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
        (folders["cpu"] / "cpu.cfs_quota_us").write_text(str(int(spec.cpus * _PERIOD_US)))


def sweep_groups() -> None:
    """Remove the empty groups of builders that were killed."""
    for pattern in (f"{PREFIX}-*", f"*/{PREFIX}-*"):
        for folder in _ROOT.glob(pattern):
            if not os.path.exists(f"/proc/{folder.name.split('-')[1]}"):
                with contextlib.suppress(OSError):
                    folder.rmdir()
