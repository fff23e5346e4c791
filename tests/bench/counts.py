"""Count what builds cost, in figures that do not depend on how busy the machine is.

    python3 tests/bench/counts.py [--only small:warm,copy] [--instructions] [--check | --keep]
    python3 tests/bench/counts.py --profile small

Of each build and command: modules imported, processes and threads started, system calls, fsyncs, requests
to the registry; with `--instructions`, millions of them in the first process, by valgrind. `--profile NAME`
prints instead what the time of one is spent on (profiles.py). `--keep` writes the counts to counts.json,
and `--check` ends with status 1 where one is higher than is kept there, which a test asks for. Needs root,
strace and skopeo.

The workloads are those of bench.py at a hundredth of their size, in empty stores below a temporary folder,
with an embedded registry on loopback. `:warm` is a build after that, `:cached` one on an empty machine with
the cache of another one in the registry, `:changed` the same after a file of the context has changed.

What is counted is the same on every machine with this version of Python: on one processor, without the
settings of who runs it, and with no module but those that an installation has (alone.py).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import bench

KEPT = Path(__file__).with_name("counts.json")
#: What is measured by default.
NAMES = "help,small,small:warm,small:cached,small:changed,files,files:warm,copy"
#: What is counted of each, in the order of the table.
COUNTED = ("modules", "processes", "threads", "calls", "fsyncs", "requests")
#: How much more than is kept passes, in percent and as a number; nothing but these may grow at all. A pool
#: starts a thread unless one is idle at that moment, and what others send comes in pieces.
LOOSE = {"calls": (15, 0), "threads": (0, 3)}
#: Calls that are made only where one thread happens to wait for another.
WAITS = ("futex", "sched_yield", "restart_syscall")
SYNCS = ("fsync", "fdatasync", "sync_file_range", "syncfs")
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


class World:
    """A folder with workloads and a registry, where one command after another is measured."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder, self.address, self.runs = folder, address, 0
        self.workloads = bench.make_workloads(folder, address, 0.01)
        self.env = surroundings(folder)

    def words(self, name: str) -> list[str]:
        """What is measured under that name; whatever has to be before it is done here."""
        self.runs += 1
        root = ["--root", str(self.folder / f"store{self.runs}")]
        workload, _, how = name.partition(":")
        target = f"{self.address}/counted/{workload}{self.runs}:1"
        if workload == "help":
            return ["--help"]
        if workload == "copy":
            return ["copy", f"{self.address}/base:latest", target]
        build = ["build", "--progress", "plain", "--push", "-t", target, str(self.workloads / workload)]
        cache = f"type=registry,ref={self.address}/caches/{workload}{self.runs}:1"
        if how == "warm":
            self.run([*build, *root])
        elif how in ("cached", "changed"):  # an empty machine, and the cache of another one
            self.run([*build, "--root", f"{root[1]}-before", "--cache-to", f"{cache},mode=max"])
            build += ["--cache-from", cache]
            if how == "changed":
                with (self.workloads / workload / "app.txt").open("a") as file:
                    file.write("more\n")
        return [*build, *root]

    def run(
        self, words: list[str], before: tuple[str, ...] = (), python: tuple[str, ...] = (), imports: str = ""
    ) -> str:
        """Run imagesmith, and return what it wrote to standard error; `imports` is a file for their names.

        Raises:
            SystemExit: it failed.
        """
        command = [*before, sys.executable, "-S", "-P", *python, str(KEPT.with_name("alone.py")), *words]
        env = {**self.env, "ALONE_IMPORTS": imports}
        done = subprocess.run(
            command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=self.folder
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}: {done.stderr.strip().splitlines()[-1:]}")
        return done.stderr


def surroundings(folder: Path) -> dict[str, str]:
    """The environment of what is measured: settings of its own, and bytecode as an installation has it."""
    (folder / "registries.conf").touch()
    packages = dict.fromkeys([str(bench.PROJECT), *(sysconfig.get_path(p) for p in ("purelib", "platlib"))])
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "PYTHONPATH": ":".join(packages),
        "PYTHONHASHSEED": "0",
        "CONTAINERS_REGISTRIES_CONF": str(folder / "registries.conf"),
    }


@contextlib.contextmanager
def world() -> Iterator[World]:
    """A world that is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="counts-") as tmp, one_processor():
        address = f"127.0.0.1:{bench.free_port()}"
        serve = ["-m", "imagesmith", "registry", "serve", "--dir", f"{tmp}/registry", "--addr", address]
        env = {**os.environ, "PYTHONPATH": str(bench.PROJECT)}
        server = subprocess.Popen([sys.executable, *serve], env=env, stdout=subprocess.PIPE)
        try:
            assert server.stdout is not None
            server.stdout.readline()  # it listens
            yield World(Path(tmp), address)
        finally:
            server.terminate()
            server.wait()


@contextlib.contextmanager
def one_processor() -> Iterator[None]:
    """Have one processor only, for pools have as many threads as there are processors."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def counts(place: World, name: str) -> dict[str, int]:
    """The counts of one command, each from a run of its own, for what counts one disturbs the others.

    Modules are those that are imported after the interpreter's start.
    """
    imports, log = place.folder / f"imports{place.runs}", place.folder / "calls"
    place.run(place.words(name), imports=str(imports))
    said = place.run(["-v", *place.words(name)])
    place.run(place.words(name), before=("strace", "-f", "-qq", "-o", str(log)))
    text = log.read_text(errors="replace")
    calls = Counter(re.findall(r"^\d+ +(\w+)\(", text, re.MULTILINE))
    for wait in WAITS:
        del calls[wait]
    starts = re.findall(r"^\d+ +(?:clone3?|v?fork)\(.*", text, re.MULTILINE)
    return {
        "modules": len(set(imports.read_text().split())),
        "processes": sum("CLONE_THREAD" not in line for line in starts),
        "threads": sum("CLONE_THREAD" in line for line in starts),
        "calls": calls.total(),
        "fsyncs": sum(calls[c] for c in SYNCS),
        "requests": len(
            re.findall(r"^imagesmith\.registry\.\w+: (?:GET|HEAD|PUT|POST|PATCH) ", said, re.MULTILINE)
        ),
    }


def instructions(place: World, name: str) -> int:
    """Millions of instructions of the command's first process; what it forks counts on from there."""
    out = place.folder / "valgrind"
    out.mkdir(exist_ok=True)
    tool = ("valgrind", "--tool=cachegrind", "--cache-sim=no", "-q", f"--cachegrind-out-file={out}/%p")
    place.run(place.words(name), before=tool)
    found = [re.search(r"^summary: (\d+)", f.read_text(), re.MULTILINE) for f in out.iterdir()]
    shutil.rmtree(out)
    return max(int(m[1]) for m in found if m) // 1_000_000


def measured(names: list[str], *, valgrind: bool = False) -> dict[str, dict[str, int]]:
    """The counts of each."""
    with world() as place:
        place.run(place.words("small"))  # bytecode is written
        found = {name: counts(place, name) for name in names}
        for name, row in found.items() if valgrind else ():
            row["instructions"] = instructions(place, name)
    return found


def more_than_kept(found: dict[str, dict[str, int]]) -> list[str]:
    """A line for each count that has grown; nothing is known of another version of Python than was kept."""
    whole = json.loads(KEPT.read_text())
    if whole["python"] != PYTHON:
        return [f"the counts in {KEPT.name} are those of Python {whole['python']}; this is {PYTHON}"]
    lines = []
    for name, row in found.items():
        if name not in whole["counts"]:
            lines.append(f"{name}: nothing is kept in {KEPT.name}")
            continue
        for what in COUNTED:
            kept, (percent, more) = whole["counts"][name][what], LOOSE.get(what, (0, 0))
            if 100 * (row[what] - more) > (100 + percent) * kept:
                lines.append(f"{name}: {row[what]} {what}, and {kept} are kept in {KEPT.name}")
    return lines


def keep(found: dict[str, dict[str, int]]) -> None:
    """Write the counts; those of what was not measured stay."""
    old = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    rows = {**(old["counts"] if old.get("python") == PYTHON else {}), **found}
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
    KEPT.write_text(f'{{"python": {json.dumps(PYTHON)}, "counts": {{\n{lines}\n}}}}\n')


def main() -> int:
    """Measure what is asked for, and print it."""
    ap = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    ap.add_argument("--only", default=NAMES)
    ap.add_argument("--instructions", action="store_true")
    ap.add_argument("--profile", metavar="NAME")
    ap.add_argument("--check", action="store_true")
    ap.add_argument("--keep", action="store_true")
    a = ap.parse_args()
    if a.profile:
        import profiles

        with world() as place:
            profiles.show(place, a.profile)
        return 0
    found = measured(a.only.split(","), valgrind=a.instructions)
    heads = [*COUNTED, *(["instructions"] if a.instructions else [])]
    print(f"{'':14}" + "".join(f"{h:>14}" for h in heads))
    for name, row in found.items():
        print(f"{name:14}" + "".join(f"{row[h]:14}" for h in heads))
    if a.keep:
        keep({name: {what: row[what] for what in COUNTED} for name, row in found.items()})
    faults = more_than_kept(found) if a.check else []
    print(*faults, sep="\n", end="\n" * bool(faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
