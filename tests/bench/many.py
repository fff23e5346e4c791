"""Show what one solve saves: forty targets on a shared base by `bake`, against forty builds in turn.

    python3 tests/bench/many.py [--targets 40]

The base is in the store of both before, as in a CI that has its cache; then everything once more, where all
is cached. Prints wall time, CPU and peak memory of each, and the ratio. Needs Debian's busybox-static.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DOCKERFILE = """FROM scratch AS base
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
RUN mkdir /w; for i in 1 2 3 4 5 6 7 8 9 10; do dd if=/dev/urandom of=/w/f$i bs=64k count=4 2>/dev/null; done
FROM base
COPY source-{n} /source
RUN sha256sum /w/f* /source > /out-{n}
RUN i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; echo {n} >> /out-{n}
"""
IMAGESMITH = (sys.executable, "-m", "imagesmith")


def make(folder: Path, count: int) -> None:
    """The context, the Dockerfiles and the bake file."""
    context = folder / "context"
    context.mkdir()
    shutil.copy("/bin/busybox", context / "busybox")
    names = ", ".join(f'"t{n}"' for n in range(count))
    blocks = [f'group "default" {{\n  targets = [{names}]\n}}\n']
    for n in range(count):
        (context / f"Dockerfile-{n}").write_text(DOCKERFILE.replace("{n}", str(n)))
        (context / f"source-{n}").write_text(f"source {n}\n" * 100)
        blocks.append(
            f'target "t{n}" {{\n  context = "context"\n  dockerfile = "Dockerfile-{n}"\n'
            f'  tags = ["bench/t{n}:1"]\n}}\n'
        )
    (folder / "docker-bake.hcl").write_text("".join(blocks))


def timed(folder: Path, commands: list[list[str]]) -> tuple[float, float, float]:
    """Seconds of wall time and of CPU of some commands, and the peak of one in MiB."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    for command in commands:
        subprocess.run([*IMAGESMITH, *command], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, after.ru_maxrss / 1024


def main() -> None:
    """Measure, and print a line for each."""
    ap = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    ap.add_argument("--targets", type=int, default=40)
    count = ap.parse_args().targets
    os.environ.pop("SOURCE_DATE_EPOCH", None)
    with tempfile.TemporaryDirectory(prefix="bench-many-") as tmp:
        folder = Path(tmp)
        make(folder, count)
        base = ["build", "-q", "-f", "context/Dockerfile-0", "--target", "base"]
        begin = ["build", "-q", "--root", "alone"]
        one = [
            [*begin, "-t", f"bench/t{n}:1", "-f", f"context/Dockerfile-{n}", "context"] for n in range(count)
        ]
        many = [["bake", "--progress", "quiet", "--root", "together"]]
        for store in ("alone", "together"):
            timed(folder, [[*base, "--root", store, "context"]])
        for what in ("new", "cached"):
            together, alone = timed(folder, many), timed(folder, one)
            for name, (wall, cpu, peak) in (("bake", together), ("alone", alone)):
                print(f"{what:<6} {name:<5} {wall:7.2f} s {cpu:7.2f} s of CPU {peak:6.0f} MiB peak")
            print(f"{what:<6} ratio {together[0] / alone[0]:7.2f}", flush=True)


if __name__ == "__main__":
    main()
