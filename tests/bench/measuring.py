"""How one figure comes about: what is done before the clock runs, and what is read when it stops.

A label is a workload, with `:` and how it is built where that is not "with an empty store":

    :warm        the build after that, with nothing changed
    :changed     the build after that, with one file changed
    :unchanged   the copy after that, with nothing changed
    :one         as a user with one id, beside root

`cached` and `cached:changed` are measured with an empty store as well, and with the cache that a build with
another store left in the registry; the image is pushed where that one went.

*CPU* is user and system seconds, of the command and of every process below it that was awaited, as `wait4`
has it; for BuildKit also of the daemon and those below it while the command ran. What a step leaves running
is awaited by the kernel when the step's namespace of processes ends. The registry's CPU is nobody's.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from builders import Builder, Job
from services import end, unmount


@dataclass
class Figures:
    """What the runs of one builder over one workload took; `failed` says why there are none."""

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    start_s: list[float] = field(default_factory=list)
    peak_mib: list[float] = field(default_factory=list)
    failed: str = ""


#: Builder -> its figures over one workload; the first is who is compared with the others.
Row = dict[str, Figures]


@dataclass(frozen=True)
class Used:
    """What a command took; the peak is that of its largest process."""

    wall_s: float
    cpu_s: float
    peak_mib: float


def timed(words: list[str], env: dict[str, str]) -> Used:
    """Run a command and tell what it took.

    Raises:
        RuntimeError: it failed; the message is the last line that it printed.
    """
    with tempfile.TemporaryFile() as log:
        start = time.perf_counter()
        child = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, start_new_session=True
        )
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:  # somebody has enough of it
            end(child)
            raise
        wall = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            log.seek(0)
            raise RuntimeError((log.read().decode(errors="replace").strip().splitlines() or ["failed"])[-1])
    return Used(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


@dataclass
class Bench:
    """Where is measured: the workloads, the registry, and a folder for stores."""

    workloads: Path
    address: str
    stores: Path
    count: Iterator[int] = field(default_factory=itertools.count)

    def row(self, label: str, builders: list[Builder], runs: int) -> Row:
        """All runs of a label, where builders take turns. The first round only warms the page cache."""
        row = {b.name: Figures() for b in builders}
        for number in range(runs + 1):
            for b in builders:
                self._once(b, label, row[b.name] if number else Figures())
            print(".", end="", file=sys.stderr, flush=True)
        print(f" {label}", file=sys.stderr, flush=True)
        return row

    def _once(self, builder: Builder, label: str, figures: Figures) -> None:
        """One build or copy into a repository which has no blob yet."""
        name, _, how = label.partition(":")
        workload = self.workloads / name
        folder = self.stores / f"run{next(self.count)}"
        folder.mkdir()
        repository = f"{self.address}/{name}/{folder.name}"
        job = Job(workload, f"{repository}:latest")
        try:
            if name == "cached":
                first = Job(workload, f"{repository}:before", cache_to=f"{repository}:cache")
                with builder.ready(_made(folder / "before"), self.address):
                    timed(builder.command(first), builder.env)
                inline = builder.name == "buildkit"
                job = Job(workload, job.target, cache_from=first.target if inline else first.cache_to)
            with builder.ready(_made(folder / "now"), self.address):
                if how in ("warm", "changed", "unchanged") and name != "cached":
                    timed(builder.command(job), builder.env)
                if how == "changed":
                    _change(workload)
                self._measured(builder, job, figures)
        except RuntimeError as e:
            figures.failed = str(e)
        finally:
            unmount(folder)

    def _measured(self, builder: Builder, job: Job, figures: Figures) -> None:
        before = builder.cpu_s()
        used = timed(builder.command(job), builder.env)
        figures.cpu_s.append(used.cpu_s + builder.cpu_s() - before)
        figures.wall_s.append(used.wall_s)
        figures.peak_mib.append(used.peak_mib)
        figures.start_s.append(builder.start_s)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _change(workload: Path) -> None:
    """Another line in one source file, as somebody at work would add it."""
    sources = sorted(workload.rglob("*.js"))
    if not sources:
        raise RuntimeError("it has no source file that could change")
    with sources[-1].open("a") as f:
        f.write("// changed\n")


def bound(workers: Iterable[int]) -> tuple[list[list[int]], list[int]]:
    """Sets of CPUs of those sizes that the machine has, and the sizes that it has not."""
    here = sorted(os.sched_getaffinity(0))
    sizes = sorted(set(workers))
    return [here[:n] for n in sizes if n <= len(here)], [n for n in sizes if n > len(here)]
