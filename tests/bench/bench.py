"""Measure whole builds against other builders, side by side in one run, and print a table of ratios.

    python3 tests/bench/bench.py [--runs 5] [--scale 1.0] [--only small,files:changed] [--peers buildkit]

Each run begins with an empty store and ends with the image in a registry on loopback (Debian's
docker-registry); builders take turns, so that a machine whose speed drifts does so for all. `:warm` behind a
workload measures the build after that, with nothing changed, `:changed` the one with one file changed.
Figures are wall seconds, medians of the runs; a ratio is imagesmith's time over the peer's, pair by pair.
BuildKit is that of docker.io, in a daemon that is started anew for every run; its start is counted in the
ratio "with start" only, which is what a build on a fresh machine takes. The peers need root.

Folders are deleted when all is measured, for a file system is slow for a while where much was deleted: there
must be room for some gigabytes a run.
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
#: Which builds are measured by default: the workloads, and what is built again.
MEASURED = (*WORKLOADS, "small:warm", "files:warm", "files:changed")
#: The goals: imagesmith's time over BuildKit's, or seconds.
GOALS = {
    "small": "0.60", "files": "0.15", "big": "0.33", "runs": "0.35", "stages": "0.95", "install": "0.20",
    "files:changed": "0.15", "small:warm": "0.12 s", "files:warm": "0.7 s",
}  # fmt: skip


@dataclass
class Figures:
    """What the runs of one builder over one workload took; `failed` says why there are none."""

    wall_s: list[float] = field(default_factory=list)
    start_s: list[float] = field(default_factory=list)
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
    start_s = 0.0

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
    start_s = 0.0

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
        self.start_s = 0.0
        self._daemon: subprocess.Popen[bytes] | None = None

    def prepare(self, folder: Path, address: str) -> list[str]:
        """Start a daemon with an empty store."""
        sock, began = f"unix://{folder}/docker.sock", time.perf_counter()
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
            time.sleep(0.02)
        self.start_s = time.perf_counter() - began
        script = '/usr/bin/docker build --network host -t "$1" "$2" && /usr/bin/docker push "$1"'
        return ["sh", "-c", script, "bench"]

    def finish(self) -> None:
        """Stop the daemon."""
        if self._daemon is not None:
            self._daemon.terminate()
            self._daemon.wait()


Builder = Imagesmith | Buildah | BuildKit


def once(
    builder: Builder, workload: Path, again: str, folder: Path, address: str, number: int, figures: Figures
) -> None:
    """One build and push, with an empty store or, for `warm` and `changed`, after another build."""
    try:
        begin = builder.prepare(folder, address)
        tag = f"{address}/{builder.name}/{workload.name}{again}-{number}:latest"  # which has no blob yet
        command = [*begin, tag, str(workload)]
        if again:
            timed(command, builder.env)
        if again == "changed":
            with max(workload.rglob("*.js")).open("a") as f:
                f.write("// changed\n")
        wall, peak = timed(command, builder.env)
        figures.wall_s.append(wall)
        figures.peak_mib.append(peak)
        figures.start_s.append(builder.start_s)
    except RuntimeError as e:
        figures.failed = str(e)
    finally:
        builder.finish()
        subprocess.run(
            ["sh", "-c", f"umount -l {folder}/root/overlay {folder}/root 2>/dev/null"], check=False
        )


def measure(
    builders: list[Builder], wanted: list[str], workloads: Path, stores: Path, address: str, runs: int
) -> dict[str, dict[str, Figures]]:
    """All runs: workload -> builder -> figures. The first round only warms the page cache."""
    out: dict[str, dict[str, Figures]] = {}
    for label in wanted:
        name, _, again = label.partition(":")
        rows = out[label] = {b.name: Figures() for b in builders}
        for number in range(runs + 1):
            for b in builders:
                folder = Path(tempfile.mkdtemp(dir=stores))
                once(
                    b, workloads / name, again, folder, address, number, rows[b.name] if number else Figures()
                )
            print(".", end="", file=sys.stderr, flush=True)
        print(f" {label}", file=sys.stderr, flush=True)
    return out


def table(results: dict[str, dict[str, Figures]], peers: list[str]) -> str:
    """The table that is printed: medians, ratios against each peer, peak memory."""
    head = [
        "workload",
        "imagesmith s",
        "MiB",
        *(f"{p} s" for p in peers),
        *(f"ratio to {p}" for p in peers),
        *(["with start"] if "buildkit" in peers else []),
        "goal",
    ]
    rows = [head]
    for name, found in results.items():
        own = found["imagesmith"]
        row = [name, _median(own), f"{max(own.peak_mib):.0f}" if own.peak_mib else "-"]
        row += [_median(found[p]) for p in peers]
        row += [_ratio(own.wall_s, found[p].wall_s) for p in peers]
        if "buildkit" in peers:
            started = [
                a + b for a, b in zip(found["buildkit"].wall_s, found["buildkit"].start_s, strict=True)
            ]
            row.append(_ratio(own.wall_s, started))
        rows.append([*row, GOALS.get(name, "")])
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


def _ratio(own: list[float], peer: list[float]) -> str:
    pairs = [a / b for a, b in zip(own, peer, strict=False)]
    return f"{statistics.median(pairs):.2f}" if pairs else "-"


def make_workloads(folder: Path, address: str, scale: float) -> Path:
    """The folder with every workload, whose base image is pushed to the registry."""
    sys.path.insert(0, str(PROJECT / "fixtures" / "demo"))
    import base

    layout, image, made = folder / "base", f"{address}/base:latest", folder / "workloads"
    base.make(layout)
    copy = ["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{layout}", f"docker://{image}"]
    subprocess.run(copy, check=True)
    maker = [sys.executable, str(PROJECT / "fixtures/bench/make_workloads.py"), str(made)]
    subprocess.run([*maker, "--base", image, "--scale", str(scale)], check=True)
    return made


def main() -> None:
    """Make the workloads, measure, print."""
    ap = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    ap.add_argument("--runs", type=int, default=5)
    ap.add_argument("--scale", type=float, default=1.0)
    ap.add_argument("--only", default=",".join(MEASURED))
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
    with tempfile.TemporaryDirectory(prefix="bench-data-") as tmp, registry(Path(tmp)) as address:
        workloads = make_workloads(Path(tmp), address, a.scale)
        stores = Path(tmp, "stores")
        stores.mkdir()
        results = measure(builders, a.only.split(","), workloads, stores, address, a.runs)
        subprocess.run(["rm", "-rf", str(stores)], check=False)
    print(table(results, peers))
    if a.json:
        plain = {w: {b: vars(f) for b, f in found.items()} for w, found in results.items()}
        a.json.write_text(json.dumps(plain, indent=2))


if __name__ == "__main__":
    main()
