"""Limits of one step: a cgroup of its own, or what stands in for one where none can be made.

    a cgroup      --cgroup-parent, memory, processors: made where the kernel lets this process, which is as
                  root, and in a group of cgroup v2 that a user was given (a scope with Delegate=yes)
    memory        else the step's helper sums up what its processes hold and ends the step (initmemory.py)
    processors    else the step is bound to as many, rounded up; that is told

Why only when asked: on most machines groups cannot be written without root, and a step needs none to be
killed.
Why below the builder's own group: what limits the builder, as a job's or a service's group does, limits its
steps. In cgroup v2 a group with processes gives its controllers to none below it, so a builder that is alone
in its group moves into one below; otherwise the step's group stands beside the builder's.
A group is named after the process that made it, so the next builder can remove what a killed one left.
Spec: the kernel's admin-guide/cgroup-v2.rst and cgroup-v1/; runc's translation of shares into weights.
Trust: limits are the user's own; the files are the kernel's.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

from imagesmith.errors import SandboxError
from imagesmith.interfaces import RunSpec
from imagesmith.quotas import Limits, own_group
from imagesmith.values import frozen

__all__ = [
    "PREFIX", "Group", "Held", "hold_limits", "numbers_of", "substitutes", "sweep_groups", "why_no_groups",
]  # fmt: skip

#: How the names of all our groups begin; the process's id and a number follow.
PREFIX = "imagesmith"

_ROOT = Path("/sys/fs/cgroup")
#: Old controllers that a step below --cgroup-parent has a group of.
_V1 = ("cpu", "memory", "pids", "blkio", "freezer")
_NODES = Path("/sys/devices/system/node/online")


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


@frozen(kw_only=True)
class Held:
    """How a step's limits are held.

    group         its group; None where it has none
    memory_bytes  what the helper watches, memory alone, and with swap; 0 for nothing
    swap_bytes
    processors    those that the step is bound to; empty for any
    told          a line about what stands in for a group, or empty
    """

    group: Group | None = None
    memory_bytes: int = 0
    swap_bytes: int = 0
    processors: tuple[int, ...] = ()
    told: str = ""


def hold_limits(spec: RunSpec, number: int) -> Held:
    """Have the limits of a step held, and its --cgroup-parent.

    Args:
        spec: the step.
        number: of the step, among this process's.

    Raises:
        SandboxError: --cgroup-parent cannot be made, the machine has no such processor, or nothing holds a
        limit.
    """
    limits = spec.limits
    if not (spec.cgroup_parent or limits):
        return Held()
    _check_numbers(limits)
    name = f"{PREFIX}-{os.getpid()}-{number}"
    parent = Path(spec.cgroup_parent.strip("/"))
    if ".." in parent.parts:
        raise SandboxError(f"--cgroup-parent {spec.cgroup_parent}: .. has no meaning here")
    sweep_groups()
    unified = (_ROOT / "cgroup.controllers").exists()
    try:
        if unified:
            return Held(group=_unified(limits, [parent] if spec.cgroup_parent else _places(), name))
        return Held(group=_separate(limits, parent if spec.cgroup_parent else None, name))
    except OSError as e:
        why = f"{e.filename}: {(e.strerror or '').lower()}"
        if spec.cgroup_parent:
            raise SandboxError(
                f"a cgroup for the step cannot be made ({why})",
                hint="leave --cgroup-parent out, or run as root where cgroups can be written",
            ) from e
        return substitutes(limits, number, why)


def why_no_groups() -> str:
    """'' if steps' memory and processors are limited by cgroups here, as is tried; else why not."""
    limits = Limits(memory_bytes=64 << 20, quota_us=50_000)
    held = hold_limits(RunSpec(argv=("true",), env=(), limits=limits), 0)
    if held.group is None:
        return held.told.partition("(")[2].partition(")")[0]
    held.group.remove()
    return ""


def substitutes(limits: Limits, number: int, why: str) -> Held:
    """What holds the limits without a group.

    Args:
        limits: what is asked.
        number: of the step; steps that run side by side get different processors, as far as there are.
        why: there is no group.

    Raises:
        SandboxError: nothing holds one of them.
    """
    _check_numbers(limits)
    if limits.shares:
        raise _nothing(f"cpu-shares={limits.shares}", why)
    if limits.nodes and not set(numbers_of(_nodes())) <= set(numbers_of(limits.nodes)):
        raise _nothing(f"cpuset-mems={limits.nodes}", why)
    allowed = sorted(set(numbers_of(limits.cpus)) or os.sched_getaffinity(0))
    count = math.ceil(min(limits.processors, len(allowed)))
    bound = tuple(allowed[(number * count + n) % len(allowed)] for n in range(count))
    if not limits.cpus and count == len(allowed):
        bound = ()
    said = []
    if limits.memory_bytes:
        said.append("memory by watching the step's processes")
    if bound:
        said.append(f"processors by binding it to {count}")
    told = f"no cgroup can be made ({why}): limits are held otherwise, {', '.join(said)}" if said else ""
    most = limits.swap_most_bytes
    return Held(
        memory_bytes=limits.memory_bytes, swap_bytes=0 if most == math.inf else int(most),
        processors=tuple(sorted(bound)), told=told,
    )  # fmt: skip


def _nothing(what: str, why: str) -> SandboxError:
    return SandboxError(
        f"{what} cannot be held here: no cgroup can be made ({why})",
        hint="run as root where cgroups can be written, or in `systemd-run --user --scope -p Delegate=yes`",
    )


def _check_numbers(limits: Limits) -> None:
    """Raise unless the machine has the processors and nodes that limits name.

    Raises:
        SandboxError: it has not, or this process may not use them.
    """
    there = os.sched_getaffinity(0)
    if not set(numbers_of(limits.cpus)) <= there:
        usable = ",".join(map(str, sorted(there)))
        raise SandboxError(f"cpuset-cpus={limits.cpus}: this process may use the processors {usable} only")
    nodes = _nodes()
    if not set(numbers_of(limits.nodes)) <= set(numbers_of(nodes)):
        raise SandboxError(f"cpuset-mems={limits.nodes}: this machine has the memory nodes {nodes} only")


def numbers_of(text: str) -> list[int]:
    """The numbers of a list in the kernel's form, as 0-2,5; it was checked when it was parsed."""
    out: list[int] = []
    for part in text.split(",") if text else ():
        first, _, last = part.partition("-")
        out += range(int(first), int(last or first) + 1)
    return out


def _nodes() -> str:
    try:
        return _NODES.read_text(encoding="ascii").strip()
    except OSError:  # a kernel that knows of one node only
        return "0"


# --- one hierarchy -------------------------------------------------------------------------------


def _places() -> Iterator[Path]:
    """Groups that one for a step may be made in, the best first: the builder's own, and those around it."""
    own = Path(own_group(""))
    if own != Path():
        yield own
        yield from own.parents
    else:
        yield own


def _unified(limits: Limits, places: Iterator[Path] | list[Path], name: str) -> Group:
    """A group in the first of some places where all that is asked can be set.

    Raises:
        OSError: there is none; that of the first place.
    """
    failed: OSError | None = None
    for place in places:
        group = Group([_ROOT / place / name])
        try:
            if limits:
                _give(_ROOT / place, limits)
            group.make()
            _set_unified(limits, group.folders[0])
        except OSError as e:
            group.remove()
            failed = failed or e
        else:
            return group
    assert failed is not None
    raise failed


def _give(folder: Path, limits: Limits) -> None:
    """Have a group and those above it give the controllers to what is below them."""
    wanted = " ".join(f"+{name}" for name in sorted(limits.controllers))
    above = [_ROOT, *(_ROOT / p for p in reversed(folder.relative_to(_ROOT).parents) if p != Path())]
    for at in above if folder != _ROOT else []:
        with contextlib.suppress(OSError):  # given before, perhaps; what matters is whether files are there
            (at / "cgroup.subtree_control").write_text(wanted)
    with contextlib.suppress(OSError):
        (folder / "cgroup.subtree_control").write_text(wanted)
        return
    _leave(folder)
    with contextlib.suppress(OSError):
        (folder / "cgroup.subtree_control").write_text(wanted)


def _leave(folder: Path) -> None:
    """Move this process into a group below its own, if nobody else is in it."""
    with contextlib.suppress(OSError, ValueError):
        inside = {int(line) for line in (folder / "cgroup.procs").read_text().split()}
        if inside and inside <= _ours():
            below = folder / f"{PREFIX}-builder"
            below.mkdir(exist_ok=True)
            for pid in sorted(inside):
                (below / "cgroup.procs").write_text(str(pid))


def _ours() -> set[int]:
    """This process and what it has started."""
    from imagesmith.worker.sandbox.initmemory import family

    return {os.getpid(), *family(os.getpid())}


def _set_unified(limits: Limits, folder: Path) -> None:
    if limits.memory_bytes:
        _write(folder / "memory.max", str(limits.memory_bytes))
        swap = limits.swap_most_bytes - limits.memory_bytes
        _swap(limits, folder / "memory.swap.max", "max" if swap == math.inf else str(int(swap)))
    if limits.quota_us > 0:
        _write(folder / "cpu.max", f"{limits.quota_us} {limits.period}")
    if limits.shares:
        _write(folder / "cpu.weight", str(1 + (limits.shares - 2) * 9999 // 262142))
    if limits.cpus:
        _write(folder / "cpuset.cpus", limits.cpus)
    if limits.nodes:
        _write(folder / "cpuset.mems", limits.nodes)


# --- a hierarchy for each controller -------------------------------------------------------------


def _separate(limits: Limits, parent: Path | None, name: str) -> Group:
    wanted = set(limits.controllers)
    if parent is not None:
        wanted |= {c for c in _V1 if (_ROOT / c).is_dir()}
    folders = {c: _ROOT / c / (own_group(c) if parent is None else parent) / name for c in sorted(wanted)}
    group = Group(list(folders.values()))
    try:
        group.make()
        _set_separate(limits, folders)
    except OSError:
        group.remove()
        raise
    return group


def _set_separate(limits: Limits, folders: dict[str, Path]) -> None:
    if limits.memory_bytes:
        _write(folders["memory"] / "memory.limit_in_bytes", str(limits.memory_bytes))
        most = limits.swap_most_bytes
        text = "-1" if most == math.inf else str(int(most))
        _swap(limits, folders["memory"] / "memory.memsw.limit_in_bytes", text)
    if limits.quota_us > 0:
        _write(folders["cpu"] / "cpu.cfs_period_us", str(limits.period))
        _write(folders["cpu"] / "cpu.cfs_quota_us", str(limits.quota_us))
    if limits.shares:
        _write(folders["cpu"] / "cpu.shares", str(limits.shares))
    if "cpuset" in folders:  # a new group has none of either, and takes no process then
        at = folders["cpuset"]
        for folder in (*(f for f in reversed(at.parents) if f.is_relative_to(_ROOT / "cpuset")), at):
            for what in ("cpus", "mems"):
                if not (folder / f"cpuset.{what}").read_text().strip():
                    above = (folder.parent / f"cpuset.effective_{what}").read_text().strip()
                    _write(folder / f"cpuset.{what}", above)
        if limits.cpus:
            _write(at / "cpuset.cpus", limits.cpus)
        if limits.nodes:
            _write(at / "cpuset.mems", limits.nodes)


def _swap(limits: Limits, path: Path, text: str) -> None:
    """Limit swap; a kernel that does not count it is told only of a limit that was asked for."""
    if path.exists() or limits.swap_bytes > 0:
        _write(path, text)


def _write(path: Path, text: str) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)  # never a file that the kernel did not make
    except OSError as e:
        raise OSError(e.errno, e.strerror, str(path)) from e
    try:
        os.write(fd, text.encode())
    except OSError as e:
        raise OSError(e.errno, e.strerror, str(path)) from e
    finally:
        os.close(fd)


def sweep_groups() -> None:
    """Remove the empty groups of builders that were killed."""
    tops = {_ROOT / own_group(""), *(_ROOT / c / own_group(c) for c in ("memory", "cpu", "cpuset"))}
    patterns = [(_ROOT, f"{PREFIX}-*"), (_ROOT, f"*/{PREFIX}-*"), *((top, f"{PREFIX}-*") for top in tops)]
    for top, pattern in patterns:
        for folder in top.glob(pattern):
            pid = folder.name.split("-")[1]
            if pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
                with contextlib.suppress(OSError):
                    folder.rmdir()
