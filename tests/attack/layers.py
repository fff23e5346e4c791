"""Build on every hostile layer, and look that nothing outside was read or changed.

By hand, as the user who runs it, for another isolation or an own folder:

    python -m tests.attack.layers ISOLATION [PART OF A NAME]

Each layer of hostile.py is the base of a build whose RUN step lists, reads, writes and removes what the layer
has, and of one that copies from it. Whatever comes of it is told by one line or is an image; canaries lie
beside the store, in it, and in a folder of /tmp to which links lead.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fixtures.conformance import run as conformance
from fixtures.reported import layers
from tests.attack import hostile
from tests.support import IMAGESMITH, PROJECT

__all__ = ["MEBIBYTES", "SECONDS", "Bench", "Outcome", "bench", "disk", "write_layout"]

SECONDS, MEBIBYTES = 60, 512
_CANARY = "canary-of-the-machine"
#: What a build may end with: done, a Dockerfile's, a step's, a context's, an image's fault, the sandbox's.
_STATUSES = (0, 3, 4, 5, 6, 9)
_DOCKERFILE = """FROM evil AS evil
RUN for f in $(busybox find /t /dev /tmp /etc -maxdepth 3 2>/dev/null | busybox head -300); do \
 if [ -b $f ] || [ $f = /t/mem ] || [ $f = /t/kmsg ]; then \
  test 0 = $(busybox timeout 2 busybox dd if=$f bs=512 count=1 2>/dev/null | busybox wc -c) ||\
   echo READ A DEVICE $f; fi; \
 if [ -f $f ]; then busybox head -c 300 $f; echo evil >> $f; fi; \
 if [ -d $f ]; then echo evil > $f/made; busybox cat $f/canary; fi; done 2>/dev/null; \
 busybox ls -la /t OUTSIDE 2>/dev/null; busybox rm -rf /t/* 2>/dev/null; busybox true
FROM busybox
COPY --from=evil / /copy/
COPY --from=plain /t* /bin/busybox /other/
"""


@dataclass(frozen=True)
class Outcome:
    """What came of a build: its status, what it said, and what it cost; `wrong` tells what may not be."""

    status: int
    said: str
    seconds: float
    mebibytes: float
    wrong: str


class Bench:
    """Builds on hostile layers in one isolation, beside canaries."""

    def __init__(self, folder: Path, isolation: str) -> None:
        self._folder, self._isolation = folder, isolation
        self.outside = folder / "outside"
        self.outside.mkdir()
        (folder / "store").mkdir()
        self._canaries = [folder / "canary", folder / "store" / "canary", self.outside / "canary"]
        for path in self._canaries:
            path.write_text(_CANARY)
        conformance.make_base(folder / "busybox")
        self._before = self._state()
        self.layers = hostile.extraction(str(self.outside), disk()) | hostile.formats()

    def _state(self) -> object:
        """The canaries, and what lies beside them."""
        stats = [(p, p.stat()) for p in self._canaries]
        known = [(p.read_text(), s.st_mode, s.st_uid, s.st_mtime_ns, s.st_nlink) for p, s in stats]
        here = {p.name for p in self._folder.iterdir()} - {"layout", "out.tar", "Dockerfile"}
        return known, here, sorted(os.listdir(self.outside)), self.outside.stat().st_mode

    def build(self, blobs: list[hostile.Blob]) -> Outcome:
        """Build on these layers."""
        shutil.rmtree(self._folder / "layout", ignore_errors=True)
        write_layout(self._folder / "layout", self._folder / "busybox", blobs)
        file, out = self._folder / "Dockerfile", self._folder / "out.tar"
        file.write_text(_DOCKERFILE.replace("OUTSIDE", str(self.outside)))
        out.unlink(missing_ok=True)
        places = {"evil": "layout", "plain": "layout", "busybox": "busybox"}
        contexts = [f"--build-context={name}=oci-layout://{self._folder / at}" for name, at in places.items()]
        words = ["build", "--progress", "plain", "--no-cache", "--root", str(self._folder / "store")]
        words += [*contexts, "--isolation", self._isolation, "-f", str(file), "-o", f"type=tar,dest={out}"]
        words.append(str(self.outside))
        begun = time.monotonic()
        with tempfile.TemporaryFile() as said:
            status, memory = _run([*IMAGESMITH, *words], said.fileno())
            seconds = time.monotonic() - begun
            said.seek(0)
            text = said.read().decode(errors="replace")
        wrong = self._wrong(status, text, seconds, memory, out)
        return Outcome(status, text, seconds, memory, wrong)

    def _wrong(self, status: int, said: str, seconds: float, memory: float, out: Path) -> str:
        found = []
        if "Traceback" in said or "internal error" in said:
            found.append("a fault of the program")
        if status not in _STATUSES:
            found.append(f"status {status}")
        errors = [line for line in said.splitlines() if line.startswith("error: ")]
        if status and len(errors) != 1:
            found.append(f"{len(errors)} lines tell the error")
        if _CANARY in said or (out.exists() and _CANARY.encode() in out.read_bytes()):
            found.append("a canary was read")
        if "READ A DEVICE" in said.replace("echo READ A DEVICE", ""):
            found.append("a device was read")
        if self._state() != self._before:
            found.append("a canary was changed")
        if seconds > SECONDS or memory > MEBIBYTES:
            found.append(f"{seconds:.0f} s, {memory:.0f} MiB")
        return ", ".join(found)


def _run(words: list[str], into: int) -> tuple[int, float]:
    """Run a command; its status, and the most memory (MiB) that it or one that it waited for had."""
    env = {**os.environ, "PYTHONPATH": str(PROJECT)}
    child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=into, stderr=into, cwd="/", env=env)
    until = time.monotonic() + 3 * SECONDS
    while True:
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            return child.returncode, usage.ru_maxrss / 1024
        if time.monotonic() > until:
            child.kill()
        time.sleep(0.02)


def write_layout(folder: Path, base: Path, blobs: list[hostile.Blob]) -> None:
    """An OCI layout of the base's layers with these on top, whatever they are."""
    import hashlib
    import json

    layers.write(folder, base, [f"{n}".encode() for n in range(len(blobs))])
    store = folder / "blobs" / "sha256"

    def put(data: bytes) -> tuple[str, int]:
        digest = hashlib.sha256(data).hexdigest()
        (store / digest).write_bytes(data)
        return f"sha256:{digest}", len(data)

    index = json.loads((folder / "index.json").read_text())
    manifest = json.loads((store / index["manifests"][0]["digest"][7:]).read_text())
    config = json.loads((store / manifest["config"]["digest"][7:]).read_text())
    first = len(manifest["layers"]) - len(blobs)
    for n, blob in enumerate(blobs, first):
        manifest["layers"][n]["digest"], manifest["layers"][n]["size"] = put(blob.data)
        config["rootfs"]["diff_ids"][n] = f"sha256:{blob.digest_of_plain}"
    manifest["config"]["digest"], manifest["config"]["size"] = put(json.dumps(config).encode())
    index["manifests"][0]["digest"], index["manifests"][0]["size"] = put(json.dumps(manifest).encode())
    (folder / "index.json").write_text(json.dumps(index))


@contextmanager
def bench(isolation: str) -> Iterator[Bench]:
    """A bench in a folder below /tmp that goes away with all that builds left there."""
    folder = Path(tempfile.mkdtemp(prefix="imagesmith-", dir="/tmp"))
    try:
        yield Bench(folder, isolation)
    finally:
        subprocess.run(["chmod", "-R", "u+rwX", folder], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(folder, ignore_errors=True)


def disk() -> tuple[int, int]:
    """The numbers of a disk of this machine."""
    for line in Path("/proc/partitions").read_text().splitlines()[2:]:
        major, minor, *_ = line.split()
        return int(major), int(minor)
    number = os.stat("/").st_dev
    return os.major(number), os.minor(number)


def main() -> int:
    """Build on all of them and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("isolation", choices=("auto", "native", "chroot", "oci"))
    parser.add_argument("part", nargs="?", default="", help="only layers that have this in their name")
    args = parser.parse_args()
    wrong = 0
    with bench(args.isolation) as made:
        every = {name: blobs for name, blobs in made.layers.items() if args.part in name}
        for name, blobs in every.items():
            done = made.build(blobs)
            told = next((line for line in done.said.splitlines() if line.startswith("error: ")), "built")
            mark = f"WRONG: {done.wrong}" if done.wrong else "ok"
            wrong += bool(done.wrong)
            cost = f"{done.seconds:.1f} s\t{done.mebibytes:.0f} MiB"
            print(f"{mark}\t{name}\t{done.status}\t{cost}\t{told[:200]}", flush=True)
    print(f"{len(every)} layers, {wrong} wrong")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
