"""Measure whole builds against other builders, side by side in one run, and print a table of ratios.

    python3 tests/bench/bench.py [--runs 5] [--scale 1.0] [--only small,files] [--peers buildkit,buildah]

Each run begins with an empty store and ends with the image in a registry on loopback (Debian's
docker-registry); builders take turns, so that a machine whose speed drifts does so for all. Figures are wall
seconds, medians of the runs; a ratio is imagesmith's time over the peer's, pair by pair. BuildKit is that of
docker.io, in a daemon that is started anew with an empty store for every run; its start is not counted. The
peers need root.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
WORKLOADS = ("small", "files", "big", "runs", "stages", "install")
#: What issue trackers call the goal: imagesmith's time over BuildKit's.
GOALS = {"small": 0.6, "files": 0.15, "big": 0.33, "runs": 0.35, "stages": 0.95, "install": 0.2}


@dataclass
class Figures:
    """What the runs of one builder over one workload took; `failed` says why there are none."""

    wall_s: list[float] = field(default_factory=list)
    peak_mib: list[float] = field(default_factory=list)
    failed: str = ""


def timed(words: list[str], env: dict[str, str]) -> tuple[float, float]:
    """Wall seconds, and peak MiB of the largest process.

    Raises:
        RuntimeError: the command failed; the message is the last line that it printed.
    """
    with tempfile.TemporaryFile() as log:
        start = time.perf_counter()
        child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            log.seek(0)
            raise RuntimeError((log.read().decode(errors="replace").strip().splitlines() or ["failed"])[-1])
    return wall, usage.ru_maxrss / 1024


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextlib.contextmanager
def registry(folder: Path) -> Iterator[str]:
    """The address of a docker-registry that runs while the block does."""
    address = f"127.0.0.1:{free_port()}"
    config = folder / "registry.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nhttp: {{addr: '{address}'}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder}/registry}}}}\n"
    )
    server = subprocess.Popen(
        ["docker-registry", "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(200):
            with contextlib.suppress(OSError, urllib.error.URLError):
                urllib.request.urlopen(f"http://{address}/v2/", timeout=1).close()
                break
            time.sleep(0.05)
        else:
            raise SystemExit("docker-registry does not answer")
        yield address
    finally:
        server.terminate()
        server.wait()


class Imagesmith:
    """This checkout, with an empty store."""

    name = "imagesmith"

    def __init__(self, program: list[str]) -> None:
        self.program, self.env = program, {}

    def prepare(self, folder: Path, address: str) -> list[str]:
        """The command's beginning; nothing runs beforehand."""
        del address
        self.env = {**os.environ, "IMAGESMITH_ROOT": str(folder / "store")}
        self.env.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
        return [*self.program, "build", "--progress", "plain", "--push", "-t"]

    def finish(self) -> None:
        """Nothing runs on."""


class Buildah:
    """buildah with its chroot isolation."""

    name = "buildah"

    def __init__(self) -> None:
        self.env = dict(os.environ)

    def prepare(self, folder: Path, address: str) -> list[str]:
        """A build and a push in one shell command."""
        del address
        flags = f"--root {folder}/root --runroot {folder}/run --storage-driver overlay"
        script = (
            f'buildah {flags} bud --isolation chroot --layers --tls-verify=false -t "$1" "$2" && '
            f'buildah {flags} push --tls-verify=false "$1"'
        )
        return ["sh", "-c", script, "bench"]

    def finish(self) -> None:
        """Nothing runs on."""


class BuildKit:
    """docker.io's BuildKit in a daemon of its own."""

    name = "buildkit"

    def __init__(self) -> None:
        self.env = dict(os.environ)
        self._daemon: subprocess.Popen[bytes] | None = None

    def prepare(self, folder: Path, address: str) -> list[str]:
        """Start a daemon with an empty store."""
        sock = f"unix://{folder}/docker.sock"
        self._daemon = subprocess.Popen(
            ["dockerd", "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "-H", sock,
             "--pidfile", f"{folder}/pid", "--iptables=false", "--bridge=none",
             "--insecure-registry", address],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.env = {**os.environ, "DOCKER_HOST": sock, "DOCKER_BUILDKIT": "1"}
        for _ in range(300):
            if (
                subprocess.run(["/usr/bin/docker", "version"], env=self.env, capture_output=True).returncode
                == 0
            ):
                break
            time.sleep(0.1)
        script = '/usr/bin/docker build --network host -t "$1" "$2" && /usr/bin/docker push "$1"'
        return ["sh", "-c", script, "bench"]

    def finish(self) -> None:
        """Stop the daemon."""
        if self._daemon is not None:
            self._daemon.terminate()
            self._daemon.wait()


Builder = Imagesmith | Buildah | BuildKit


def once(builder: Builder, workload: Path, address: str, number: int, figures: Figures) -> None:
    """One build and push with an empty store."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        begin = builder.prepare(folder, address)
        tag = f"{address}/{builder.name}/{workload.name}:{number}"
        wall, peak = timed([*begin, tag, str(workload)], builder.env)
        figures.wall_s.append(wall)
        figures.peak_mib.append(peak)
    except RuntimeError as e:
        figures.failed = str(e)
    finally:
        builder.finish()
        subprocess.run(
            ["sh", "-c", f"umount -l {folder}/root/overlay {folder}/root 2>/dev/null"], check=False
        )
        shutil.rmtree(folder, ignore_errors=True)


def measure(
    builders: list[Builder], workloads: list[Path], address: str, runs: int
) -> dict[str, dict[str, Figures]]:
    """All runs: workload -> builder -> figures. The first round only warms the page cache."""
    out: dict[str, dict[str, Figures]] = {}
    for workload in workloads:
        rows = out[workload.name] = {b.name: Figures() for b in builders}
        for number in range(runs + 1):
            for b in builders:
                once(b, workload, address, number, rows[b.name] if number else Figures())
            print(".", end="", file=sys.stderr, flush=True)
        print(f" {workload.name}", file=sys.stderr, flush=True)
    return out


def table(results: dict[str, dict[str, Figures]], peers: list[str]) -> str:
    """The table that is printed: medians, ratios against each peer, peak memory."""
    head = [
        "workload",
        "imagesmith s",
        "MiB",
        *(f"{p} s" for p in peers),
        *(f"ratio to {p}" for p in peers),
        "goal",
    ]
    rows = [head]
    for name, found in results.items():
        own = found["imagesmith"]
        row = [name, _median(own), f"{max(own.peak_mib):.0f}" if own.peak_mib else "-"]
        row += [_median(found[p]) for p in peers]
        for p in peers:
            pairs = [a / b for a, b in zip(own.wall_s, found[p].wall_s, strict=False)]
            row.append(f"{statistics.median(pairs):.2f}" if pairs else "-")
        rows.append([*row, f"{GOALS[name]:.2f}"])
    widths = [max(len(r[n]) for r in rows) for n in range(len(head))]
    lines = [
        "  ".join(c.rjust(w) if n else c.ljust(w) for n, (c, w) in enumerate(zip(r, widths, strict=True)))
        for r in rows
    ]
    notes = [
        f"{w}: {b} failed: {f.failed}" for w, found in results.items() for b, f in found.items() if f.failed
    ]
    return "\n".join([*lines, *notes])


def _median(figures: Figures) -> str:
    return f"{statistics.median(figures.wall_s):.2f}" if figures.wall_s else "-"


def main() -> None:
    """Make the workloads, measure, print."""
    ap = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    ap.add_argument("--runs", type=int, default=5)
    ap.add_argument("--scale", type=float, default=1.0)
    ap.add_argument("--only", default=",".join(WORKLOADS))
    ap.add_argument("--peers", default="buildkit,buildah")
    ap.add_argument("--json", type=Path)
    a = ap.parse_args()
    makers: dict[str, tuple[str, Callable[[], Builder]]] = {
        "buildkit": ("dockerd", BuildKit), "buildah": ("buildah", Buildah),
    }  # fmt: skip
    peers = [p for p in a.peers.split(",") if p and shutil.which(makers[p][0])]
    builders: list[Builder] = [
        Imagesmith([sys.executable, "-m", "imagesmith"]),
        *(makers[p][1]() for p in peers),
    ]
    sys.path.insert(0, str(PROJECT / "fixtures" / "demo"))
    import base

    with tempfile.TemporaryDirectory(prefix="bench-data-") as tmp, registry(Path(tmp)) as address:
        layout = Path(tmp) / "base"
        base.make(layout)
        image = f"{address}/base:latest"
        subprocess.run(
            ["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{layout}", f"docker://{image}"],
            check=True,
        )
        maker = [sys.executable, str(PROJECT / "fixtures/bench/make_workloads.py"), f"{tmp}/workloads"]
        subprocess.run([*maker, "--base", image, "--scale", str(a.scale)], check=True)
        names = [w for w in WORKLOADS if w in a.only.split(",")]
        results = measure(builders, [Path(tmp, "workloads", n) for n in names], address, a.runs)
    print(table(results, peers))
    if a.json:
        plain = {w: {b: vars(f) for b, f in found.items()} for w, found in results.items()}
        a.json.write_text(json.dumps(plain, indent=2))


if __name__ == "__main__":
    main()
