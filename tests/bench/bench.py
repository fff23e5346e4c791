"""Measure whole builds against other builders, side by side in one run, and print tables of ratios.

    python3 tests/bench/bench.py [--runs 5] [--scale 1.0] [--only small,files:changed] [--peers buildkit]
                                 [--workers 1,2,4] [--json FILE]

Each run begins with an empty store and ends with the image in a registry on loopback (Debian's
docker-registry); builders take turns, so that a machine whose speed drifts does so for all. What workloads
there are says workloads.py, what `:warm` and the like behind them mean measuring.py, and how the peers are
started builders.py. Figures are medians of the runs; a ratio is imagesmith's time over the peer's, pair by
pair. CPU seconds are beside wall seconds, for a busy machine changes them less.

BuildKit is that of docker.io, in a daemon that is started anew for every run; its start is counted in the
ratio "started" only, which is what a build on a fresh machine takes. The peers and `:one` need root.
`--workers` measures everything once for each number, with all that is started bound to so many CPUs.

Folders are deleted when all is measured, for a file system is slow for a while where much was deleted: there
must be room for some gigabytes a run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from builders import PEERS, Builder, Imagesmith, OneId, builders, copiers
from measuring import Bench, Row, bound
from services import free_port, registry
from table import failures, table
from workloads import AGREED, MORE, PROJECT, make_base, make_more, make_workloads

__all__ = ["PROJECT", "free_port", "make_workloads"]  # counts.py

#: Which builds are measured by default.
MEASURED = (
    *AGREED, "small:warm", "files:warm", "files:changed", "cached", "cached:changed", "base", "npm", "apt",
    "npm:one", "apt:one", "copy", "copy:unchanged",
)  # fmt: skip
#: The goals: imagesmith's time over BuildKit's, or what is said.
GOALS = {
    "small": "0.50", "files": "0.10", "big": "0.25", "runs": "0.20", "stages": "0.70", "install": "0.20",
    "files:changed": "0.15", "small:warm": "0.09 s", "files:warm": "0.7 s",
    "cached": "0.30", "cached:changed": "0.40",
    "npm:one": "cpu 1.6", "apt:one": "cpu 1.6", "copy": "crane 0.90",
}  # fmt: skip


def known(label: str) -> bool:
    """Whether a label says something that can be measured."""
    name, _, how = label.partition(":")
    if name == "copy":
        return how in ("", "unchanged")
    return name in (*AGREED, *MORE) and how in ("", "warm", "changed", "one")


def takers(label: str, peers: list[str]) -> list[Builder]:
    """Who builds or copies what a label says."""
    if label.endswith(":one"):
        return [OneId("one id"), Imagesmith("root")]
    return (copiers if label.startswith("copy") else builders)(peers)


def make(labels: list[str], folder: Path, address: str, scale: float) -> list[str]:
    """The workloads of some labels, and a line for each that cannot be made here."""
    names = list(dict.fromkeys(label.partition(":")[0] for label in labels))
    if set(names) & set(AGREED):
        make_workloads(folder, address, scale)
    else:
        make_base(folder, address)
    notes = []
    for name in names:
        if name not in AGREED:
            try:
                make_more(name, folder, address, scale)
            except (OSError, subprocess.CalledProcessError) as e:
                notes.append(f"{name}: left out, it cannot be made here: {e}")
                labels[:] = [label for label in labels if label.partition(":")[0] != name]
    return notes


def measure(
    bench: Bench, labels: list[str], peers: list[str], workers: list[int], runs: int
) -> dict[str, Row]:
    """A row for each label, or for each label and number of CPUs, which follows an @."""
    everywhere = os.sched_getaffinity(0)
    rows = {}
    for label in labels:
        for cpus in bound(workers)[0] if workers else [[]]:
            os.sched_setaffinity(0, cpus or everywhere)
            try:
                at = f"@{len(cpus)}" if cpus else ""
                rows[label + at] = bench.row(label, takers(label, peers), runs)
            finally:
                os.sched_setaffinity(0, everywhere)
    return rows


def report(rows: dict[str, Row], notes: list[str]) -> str:
    """A table for each set of builders, then what there is to say."""
    parts: dict[tuple[str, ...], dict[str, Row]] = {}
    for label, row in rows.items():
        parts.setdefault(tuple(row), {})[label] = row
    text = [table(part, GOALS) + "\n" for part in parts.values()]
    if any(":one" in label for label in rows):
        notes = [
            *notes,
            "one id: neither BuildKit nor buildah builds with one id alone; root is imagesmith's",
        ]
    return "\n".join([*text, *notes, *failures(rows)])


def main() -> None:
    """Make the workloads, measure, print."""
    ap = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    ap.add_argument("--runs", type=int, default=5)
    ap.add_argument("--scale", type=float, default=1.0)
    ap.add_argument("--only", default=",".join(MEASURED))
    ap.add_argument("--peers", default="buildkit,buildah,skopeo,crane")
    ap.add_argument("--workers", default="")
    ap.add_argument("--json", type=Path)
    a = ap.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that blocks end, and servers with them
    labels, peers = a.only.split(","), [p for p in a.peers.split(",") if p]
    workers = [int(w) for w in a.workers.split(",") if w]
    if unknown := [label for label in labels if not known(label)] + sorted({*peers} - {*PEERS}):
        ap.error(f"not known: {', '.join(unknown)}")
    with tempfile.TemporaryDirectory(prefix="bench-data-") as tmp, registry(Path(tmp)) as address:
        Path(tmp).chmod(0o755)
        notes = make(labels, Path(tmp), address, a.scale)
        stores = Path(tmp, "stores")
        stores.mkdir()
        bench = Bench(Path(tmp, "workloads"), address, stores)
        rows = measure(bench, labels, peers, workers, a.runs)
        notes += [
            f"{p}: not measured, {PEERS[p]} is not installed" for p in peers if not shutil.which(PEERS[p])
        ]
        notes += [f"{n} workers: not measured, this machine has fewer CPUs" for n in bound(workers)[1]]
        print(report(rows, notes), flush=True)  # to delete what was measured may take minutes
        if a.json:
            plain = {w: {b: vars(f) for b, f in row.items()} for w, row in rows.items()}
            a.json.write_text(json.dumps(plain, indent=2))
        subprocess.run(["rm", "-rf", str(stores)], check=False)


if __name__ == "__main__":
    main()
