"""Show that cost grows with the work: `files` and `big` at a tenth, once and ten times their size.

    python3 tests/bench/linear.py [--scales 0.1,1,10] [--only files,big]

From 5,000 to 500,000 files and from 100 MiB to 10 GiB, each built with an empty store and pushed to an empty
repository on loopback, twice; the second figure counts. Needs 60 GB of disk, docker-registry, and root.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from builders import Imagesmith, Job
from measuring import timed
from services import registry
from workloads import make_workloads

#: How much of what a workload holds at scale 1: its unit, and the number.
UNITS = {"files": ("file", 50_000, "us"), "big": ("MiB", 1024, "ms")}


def measure(name: str, scale: float, workload: Path, address: str, folder: Path) -> str:
    """A row of the table: size, seconds, time for each unit, peak memory."""
    builder = Imagesmith()
    for number in range(2):
        with builder.ready(folder, address):
            job = Job(workload, f"{address}/linear/{name}-{number}:latest")
            used = timed(builder.command(job), builder.env)
        shutil.rmtree(folder, ignore_errors=True)
    unit, count, part = UNITS[name]
    each = used.wall_s / (count * scale) * {"us": 1e6, "ms": 1e3}[part]
    size = f"{count * scale:,.0f} {unit}"
    return (
        f"{name:<6} {size:>14} {used.wall_s:>8.2f} s {each:>8.1f} {part} each {used.peak_mib:>6.0f} MiB peak"
    )


def main() -> None:
    """Make each size of the workloads, measure, print, delete."""
    ap = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    ap.add_argument("--scales", default="0.1,1,10")
    ap.add_argument("--only", default="files,big")
    a = ap.parse_args()
    for scale in map(float, a.scales.split(",")):
        with tempfile.TemporaryDirectory(prefix="bench-linear-") as tmp, registry(Path(tmp)) as address:
            workloads = make_workloads(Path(tmp), address, scale)
            for name in a.only.split(","):
                print(measure(name, scale, workloads / name, address, Path(tmp, "stores")), flush=True)


if __name__ == "__main__":
    main()
