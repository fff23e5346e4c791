"""Count what builds cost, in figures that do not depend on how busy the machine is.

    python3 tests/bench/counts.py [--only small:warm,copy] [--instructions] [--check | --keep]
    python3 tests/bench/counts.py --profile small

Of each build and command: modules imported, processes and threads started, system calls, fsyncs, requests
to the registry; with `--instructions`, millions of them in the first process, by valgrind. `--profile NAME`
prints instead which imports and which functions take the time of one. `--keep` writes the counts to
counts.json beside this file, and `--check` ends with status 1 where one is higher than is kept there. Needs
strace.

The workloads are those of bench.py at a hundredth of their size, in empty stores below a temporary folder,
with an embedded registry on loopback. `:warm` is a build after that, `:cached` one on an empty machine with
the cache of another one in the registry.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pstats
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import bench

KEPT = Path(__file__).with_name("counts.json")
#: What is counted of each, in the order of the table.
COUNTED = ("modules", "processes", "calls", "fsyncs", "requests")
#: How much more than is kept passes: calls depend on timing (waits of threads), nothing else does.
LOOSE = {"calls": 0.15}
SYNCS = ("fsync", "fdatasync", "sync_file_range", "syncfs")
STARTS = ("clone", "clone3", "fork", "vfork")


class World:
    """A folder with workloads and a registry, where one command after another is measured."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder, self.address, self.runs = folder, address, 0
        self.workloads = bench.make_workloads(folder, address, 0.01)
        self.env = {**os.environ, "PYTHONPATH": str(bench.PROJECT)}
        self.env.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode

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
        elif how == "cached":  # an empty machine, and the cache of another one
            self.run([*build, "--root", f"{root[1]}-before", "--cache-to", f"{cache},mode=max"])
            build += ["--cache-from", cache]
        return [*build, *root]

    def run(self, words: list[str], before: tuple[str, ...] = (), python: tuple[str, ...] = ()) -> str:
        """Run imagesmith, and return what it wrote to standard error.

        Raises:
            SystemExit: it failed.
        """
        command = [*before, sys.executable, *python, "-m", "imagesmith", *words]
        done = subprocess.run(command, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}: {done.stderr.strip().splitlines()[-1:]}")
        return done.stderr


@contextlib.contextmanager
def world() -> Iterator[World]:
    """A world that is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="counts-") as tmp:
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


def counts(place: World, name: str) -> dict[str, int]:
    """The counts of one command, each from a run of its own, for what counts one disturbs the others."""
    imported = place.run(place.words(name), python=("-X", "importtime"))
    said = place.run(["-v", *place.words(name)])
    log = place.folder / "calls"
    place.run(place.words(name), before=("strace", "-f", "-qq", "-o", str(log)))
    calls = Counter(re.findall(r"^\d+ +(\w+)\(", log.read_text(errors="replace"), re.MULTILINE))
    return {
        "modules": len(re.findall(r"^import time: +\d", imported, re.MULTILINE)),
        "processes": sum(calls[c] for c in STARTS),
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


def profile(place: World, name: str) -> None:
    """Print the slowest imports by themselves, and the functions that take most time."""
    said = place.run(place.words(name), python=("-X", "importtime"))
    found = re.findall(r"^import time: +(\d+) \| +\d+ \| +(\S+)", said, re.MULTILINE)
    rows = [(int(us), module) for us, module in found]
    print(f"{len(rows)} imports, {sum(r[0] for r in rows) / 1000:.0f} ms; the slowest by themselves, in us:")
    print("\n".join(f"{us:8} {module}" for us, module in sorted(rows, reverse=True)[:30]))
    kept = place.folder / "profile"
    words = place.words(name)
    script = (
        "import cProfile, sys; from imagesmith.cli.main import main; p = cProfile.Profile();"
        "p.runcall(main, sys.argv[2:]); p.dump_stats(sys.argv[1])"
    )
    command = [sys.executable, "-c", script, str(kept), *words]
    subprocess.run(command, env=place.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    pstats.Stats(str(kept)).sort_stats("tottime").print_stats(30)


def main() -> int:
    """Measure what is asked for, and print it."""
    ap = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    ap.add_argument("--only", default="help,small,small:warm,small:cached,files,files:warm,copy")
    ap.add_argument("--instructions", action="store_true")
    ap.add_argument("--profile", metavar="NAME")
    ap.add_argument("--check", action="store_true")
    ap.add_argument("--keep", action="store_true")
    a = ap.parse_args()
    with world() as place:
        if a.profile:
            profile(place, a.profile)
            return 0
        place.run(place.words("small"))  # bytecode is written
        found = {name: counts(place, name) for name in a.only.split(",")}
        if a.instructions:
            for name, row in found.items():
                row["instructions"] = instructions(place, name)
    heads = [*COUNTED, *(["instructions"] if a.instructions else [])]
    print(f"{'':14}" + "".join(f"{h:>14}" for h in heads))
    for name, row in found.items():
        print(f"{name:14}" + "".join(f"{row[h]:14}" for h in heads))
    if a.keep:
        kept = {**json.loads(KEPT.read_text() if KEPT.exists() else "{}"), **found}
        KEPT.write_text(json.dumps(kept, indent=1) + "\n")
    faults = more_than_kept(found) if a.check else []
    print(*faults, sep="\n", end="\n" * bool(faults))
    return 1 if faults else 0


def more_than_kept(found: dict[str, dict[str, int]]) -> list[str]:
    """A line for each count that has grown."""
    kept = json.loads(KEPT.read_text())
    return [
        f"{name}: {row[what]} {what}, and {kept[name][what]} are kept in {KEPT.name}"
        for name, row in found.items()
        for what in COUNTED
        if row[what] > kept[name][what] * (1 + LOOSE.get(what, 0))
    ]


if __name__ == "__main__":
    sys.exit(main())
