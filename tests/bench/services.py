"""What measuring needs beside the builders: a registry on loopback, ports, and an end that leaves nothing.

Whatever is started here is stopped when its block ends, also by an interrupt; a server that does not go
within `PATIENCE_S` is killed, and what it left mounted is taken away by `unmount`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

PATIENCE_S = 20.0
TICKS = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextlib.contextmanager
def registry(folder: Path) -> Iterator[str]:
    """The address of a docker-registry that runs while the block does, and keeps its blobs in the folder."""
    address = f"127.0.0.1:{free_port()}"
    config = folder / "registry.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nhttp: {{addr: '{address}'}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder}/registry}}}}\n"
    )
    words = ["docker-registry", "serve", str(config)]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
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
        stop(server)


def stop(server: subprocess.Popen[bytes]) -> None:
    """Ask a server to end, and kill it where it does not."""
    server.terminate()
    try:
        server.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def end(command: subprocess.Popen[bytes]) -> None:
    """Ask a command and all of its session to end, and kill what does not."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(command.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            command.wait(PATIENCE_S)
        os.killpg(command.pid, signal.SIGKILL)
    command.wait()


def unmount(folder: Path) -> None:
    """Take away what is mounted on or below a folder, the innermost first."""
    below = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    mounts = [m for m in below if Path(m).is_relative_to(folder)]
    for mount in sorted(mounts, reverse=True):
        subprocess.run(["umount", "-l", mount], check=False, stderr=subprocess.DEVNULL)


def cpu_of(pid: int) -> float:
    """User and system seconds so far of a process, its living descendants, and those that each awaited."""
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            fields = stat.read_text().rpartition(") ")[2].split()
            parents[int(stat.parent.name)] = int(fields[1])
            used[int(stat.parent.name)] = sum(map(int, fields[11:15])) / TICKS
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(used.get(p, 0.0) for p in family)
