"""Measure `imagesmith sbom` against syft over one layout, side by side: seconds, and our share of syft's.

    python3 tests/bench/sboms.py LAYOUT [--runs 5]

LAYOUT is what `imagesmith copy IMAGE oci:LAYOUT:1` makes.
"new" is with a store that has nothing of the image, "again" with one that has its layers; syft keeps nothing.
The goal for both is 0.25. Programs take turns. Syft is that of `pip install '.[peers]'`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GOAL = 0.25


def timed(words: list[str], **env: str) -> float:
    """Wall seconds of a command."""
    start = time.perf_counter()
    subprocess.run(words, stdout=subprocess.DEVNULL, check=True, env={**os.environ, **env})
    return time.perf_counter() - start


def main() -> None:
    """Measure, and print a line a case."""
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("layout", type=Path)
    ap.add_argument("--runs", type=int, default=5)
    a = ap.parse_args()
    ours = [sys.executable, "-m", "imagesmith", "sbom", f"oci:{a.layout}"]
    syft = [str(Path(sys.executable).parent / "syft"), "scan", "-q", f"oci-dir:{a.layout}", "-o", "spdx-json"]
    took: dict[str, list[float]] = {"new": [], "again": [], "syft": []}
    for _ in range(a.runs):
        with tempfile.TemporaryDirectory() as store:
            for case in ("new", "again"):
                took[case].append(timed(ours, IMAGESMITH_ROOT=store))
        took["syft"].append(timed(syft, SYFT_CHECK_FOR_APP_UPDATE="false"))
    for case in ("new", "again"):
        share = statistics.median(x / y for x, y in zip(took[case], took["syft"], strict=True))
        median, peer = statistics.median(took[case]), statistics.median(took["syft"])
        print(f"{case:6} {median:6.2f} s   syft {peer:6.2f} s   {share:.2f} of it, goal {GOAL}")


if __name__ == "__main__":
    main()
