"""Who builds and who copies: imagesmith and its peers, each with the command that is timed.

A builder is `ready` within a block, with an empty store of its own in the folder that it is given; `command`
is what builds a workload and pushes it.

*Caches in the registry.* `Job.cache_to` and `Job.cache_from` name what one build writes its cache to and
another reads it from. imagesmith uses `type=registry,mode=max`. docker.io has BuildKit without buildx, where
the one cache that can be written is the inline one: it is in the image and holds the steps of the last stage.
The workload `cached` has one stage, so that both hold every step. buildah writes an image for each step.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from services import cpu_of, registry, stop
from workloads import LARGE, PROJECT

DOCKER = "/usr/bin/docker"


@dataclass(frozen=True)
class Job:
    """One build: its folder, the image's name, and a repository with or for a cache."""

    workload: Path
    target: str
    cache_to: str = ""
    cache_from: str = ""


class Builder(Protocol):
    """What is measured."""

    name: str
    env: dict[str, str]
    start_s: float

    def ready(self, folder: Path, address: str) -> contextlib.AbstractContextManager[None]:
        """Able to build within the block, with an empty store in the folder."""
        ...

    def command(self, job: Job) -> list[str]:
        """What is timed."""
        ...

    def cpu_s(self) -> float:
        """CPU seconds so far of what works for the command and is not its child."""
        ...


class Plain:
    """A builder that nothing runs beside."""

    name = ""
    start_s = 0.0

    def __init__(self) -> None:
        self.env = dict(os.environ)
        self.folder = Path()

    @contextlib.contextmanager
    def ready(self, folder: Path, address: str) -> Iterator[None]:
        """Nothing is started."""
        del address
        self.folder = folder
        yield

    def cpu_s(self) -> float:
        """None."""
        return 0.0


class Imagesmith(Plain):
    """This checkout."""

    def __init__(self, name: str = "imagesmith") -> None:
        super().__init__()
        self.name = name
        self.env["PYTHONPATH"] = str(PROJECT)
        self.env.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode

    def command(self, job: Job) -> list[str]:
        """Build and push in one."""
        caches = [("--cache-to", job.cache_to, ",mode=max"), ("--cache-from", job.cache_from, "")]
        flags = [w for flag, ref, more in caches if ref for w in (flag, f"type=registry,ref={ref}{more}")]
        words = ["build", "--progress", "plain", "--push", "-t", job.target, *flags, str(job.workload)]
        return self.words(*words)

    def words(self, *arguments: str) -> list[str]:
        """imagesmith with some arguments and the store of this run."""
        verb, *more = arguments
        return [sys.executable, "-m", "imagesmith", verb, "--root", str(self.folder / "store"), *more]


class OneId(Imagesmith):
    """This checkout as a user who has but one id, whatever ids the machine lends him: it shows him none."""

    USERS = ("imagesmith-ci", "nobody")

    @contextlib.contextmanager
    def ready(self, folder: Path, address: str) -> Iterator[None]:
        """A folder that is the user's own."""
        del address
        self.folder = folder
        shutil.chown(folder, self._user)
        self.env |= {"HOME": str(folder), "TMPDIR": tempfile.gettempdir()}
        yield

    @property
    def _user(self) -> str:
        known = {u.pw_name for u in pwd.getpwall()}
        return next(u for u in self.USERS if u in known)

    def words(self, *arguments: str) -> list[str]:
        """The command, with nothing in /etc/subuid and /etc/subgid, and as the user."""
        script = (
            "for f in /etc/subuid /etc/subgid; do [ ! -e $f ] || mount --bind /dev/null $f; done; "
            'exec runuser -u "$0" -- "$@"'
        )
        return ["unshare", "--mount", "sh", "-ec", script, self._user, *super().words(*arguments)]


class Buildah(Plain):
    """buildah with its chroot isolation."""

    name = "buildah"

    def command(self, job: Job) -> list[str]:
        """A build and a push in one shell command."""
        store = f"--root {self.folder}/root --runroot {self.folder}/run --storage-driver overlay"
        script = (
            f't=$1 w=$2; shift 2; buildah {store} bud --isolation chroot --layers --tls-verify=false "$@" '
            f'-t "$t" "$w" && buildah {store} push --tls-verify=false "$t"'
        )
        caches = [("--cache-to", job.cache_to), ("--cache-from", job.cache_from)]
        flags = [w for flag, ref in caches if ref for w in (flag, ref.rpartition(":")[0])]
        return ["sh", "-c", script, "bench", job.target, str(job.workload), *flags]


class BuildKit:
    """docker.io's BuildKit in a daemon of its own."""

    name = "buildkit"

    def __init__(self) -> None:
        self.env = dict(os.environ)
        self.start_s = 0.0
        self._pid = 0

    @contextlib.contextmanager
    def ready(self, folder: Path, address: str) -> Iterator[None]:
        """A daemon with an empty store, that answers."""
        sock, began = f"unix://{folder}/docker.sock", time.perf_counter()
        daemon = subprocess.Popen(
            ["dockerd", "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "-H", sock,
             "--pidfile", f"{folder}/pid", "--iptables=false", "--bridge=none",
             "--insecure-registry", address],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            self.env = {**os.environ, "DOCKER_HOST": sock, "DOCKER_BUILDKIT": "1"}
            while subprocess.run([DOCKER, "version"], env=self.env, capture_output=True).returncode:
                if daemon.poll() is not None or time.perf_counter() - began > 60:
                    raise RuntimeError("dockerd does not answer")
                time.sleep(0.02)
            self.start_s, self._pid = time.perf_counter() - began, daemon.pid
            yield
        finally:
            stop(daemon)  # containerd ends with it, which is asked to by the kernel

    def command(self, job: Job) -> list[str]:
        """A build and a push in one shell command."""
        script = f't=$1 w=$2; shift 2; {DOCKER} build --network host "$@" -t "$t" "$w" && {DOCKER} push "$t"'
        inline = ["--build-arg", "BUILDKIT_INLINE_CACHE=1"] if job.cache_to else []
        cached = ["--cache-from", job.cache_from] if job.cache_from else []
        return ["sh", "-c", script, "bench", job.target, str(job.workload), *inline, *cached]

    def cpu_s(self) -> float:
        """The CPU of dockerd, its containerd, and each runc with its step."""
        return cpu_of(self._pid)


class Copier(Plain):
    """Who copies the large image from the registry into another one, which is empty and on loopback too.

    Within one registry blobs would be mounted, and nothing be copied.
    """

    def __init__(self, name: str, words: tuple[str, ...]) -> None:
        super().__init__()
        self.name, self._words = name, words
        self.source = self.target = ""

    @contextlib.contextmanager
    def ready(self, folder: Path, address: str) -> Iterator[None]:
        """The registry that is copied to; what it holds is deleted, for that is much and in few files."""
        self.folder = folder
        with registry(folder) as other:
            self.source, self.target = f"{address}/{LARGE}", f"{other}/copied/{LARGE}"
            try:
                yield
            finally:
                shutil.rmtree(folder / "registry", ignore_errors=True)

    def command(self, job: Job) -> list[str]:
        """Copy the image; nothing is built."""
        del job
        return [w.format(source=self.source, target=self.target) for w in self._words]


class ImagesmithCopier(Copier):
    """This checkout's `copy`."""

    def __init__(self) -> None:
        super().__init__("imagesmith", ())
        self._own = Imagesmith()
        self.env = self._own.env

    def command(self, job: Job) -> list[str]:
        """Copy the image, with an empty store."""
        del job
        self._own.folder = self.folder
        return self._own.words("copy", "-q", self.source, self.target)


SKOPEO = ("skopeo", "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false",
          "docker://{source}", "docker://{target}")  # fmt: skip
CRANE = ("crane", "copy", "--insecure", "{source}", "{target}")


#: Peers, and the program that each is not there without.
PEERS = {"buildkit": "dockerd", "buildah": "buildah", "skopeo": "skopeo", "crane": "crane"}


def builders(wanted: list[str]) -> list[Builder]:
    """imagesmith and those peers of builds that are asked for and installed."""
    peers = {"buildkit": BuildKit, "buildah": Buildah}
    return [Imagesmith(), *(make() for n, make in peers.items() if n in wanted and shutil.which(PEERS[n]))]


def copiers(wanted: list[str]) -> list[Builder]:
    """imagesmith and those peers of copies that are asked for and installed."""
    peers = {"skopeo": SKOPEO, "crane": CRANE}
    found = [Copier(n, w) for n, w in peers.items() if n in wanted and shutil.which(PEERS[n])]
    return [ImagesmithCopier(), *found]
