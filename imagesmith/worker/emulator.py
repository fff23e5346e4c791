"""Which platforms RUN works for here, and by what: the kernel, or an emulator that the sandbox starts.

For a platform of another architecture, the first that has just run a program of it, in an empty root:

    given        --emulator
    the kernel   the processor takes such programs too, or one is registered in binfmt_misc with flag F
    on PATH      qemu-NAME-static, qemu-NAME, buildkit-qemu-NAME
    registered   without flag F: then the image must have the emulator, at the path that was registered

An emulator that is not registered is started by the kernel all the same where a user namespace may have a
binfmt_misc of its own (binfmt.py); elsewhere by who answers a step's calls (sandbox/execs.py).
What runs is a sealed copy in memory: a step can neither change the machine's file, nor put another in its
place.
Why by running: a name may promise what a program does not hold, one that needs libraries starts nothing in
another root, and whether the kernel has something registered cannot be read in every container.
Spec: BuildKit's util/archutil; memfd_create(2).
Trust: emulators are the user's or the machine's.
Threads: methods may be called from any. Answers are kept for the process.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from imagesmith.errors import SandboxUnavailable
from imagesmith.oci.names import Platform
from imagesmith.request import Emulator
from imagesmith.values import frozen
from imagesmith.worker.binfmt import Instance, machine_entries
from imagesmith.worker.sandbox import kernel as k
from imagesmith.worker.sandbox.foreign import can_start
from imagesmith.worker.sandbox.world import World
from imagesmith.worker.tinyprograms import kind_for, program_for

__all__ = ["PLATFORMS", "Emulators", "Way"]

#: What is asked of a machine where all is asked.
PLATFORMS = ("linux/amd64", "linux/amd64/v2", "linux/amd64/v3", "linux/amd64/v4", "linux/arm64", "linux/386",
             "linux/arm/v7", "linux/riscv64", "linux/ppc64le", "linux/s390x", "linux/loong64",
             "linux/mips64le", "linux/mips64")  # fmt: skip

#: What qemu calls an architecture, where that is another name.
_NAMES = {"amd64": "x86_64", "arm64": "aarch64", "386": "i386", "loong64": "loongarch64",
          "mips64le": "mips64el"}  # fmt: skip
_FORMS = ("qemu-{}-static", "qemu-{}", "buildkit-qemu-{}")
_FOLDERS = "/usr/local/bin:/usr/bin:/bin"
_SYS_PTRACE = 1 << 19
_PATIENCE_S = 20.0
_ADD_SEALS, _SEALS = 1033, 1 | 2 | 4 | 8
_SEALABLE, _EXECUTABLE = 2, 0x10
#: In an empty root: arguments are the folder, and the descriptor of the emulator or -1.
_PROBE = """
import os, sys
os.chroot(sys.argv[1])
os.chdir("/")
fd = int(sys.argv[2])
if fd < 0:
    os.execve("/program", ["/program"], {})
os.execve(fd, ["emulator", "-0", "program", "/program"], {})
"""

_lock = threading.Lock()
_instances: list[Instance] = []
#: The descriptors of all copies.
_held: list[int] = []


@frozen
class Way:
    """How programs of a platform are run.

    by      kernel: the processor's own, or registered there; namespace: registered in this user namespace;
            calls: by who answers a step's calls; image: registered, if the image has the emulator; or nothing
    path    of the emulator, where it is known
    reason  why there is none
    """

    by: str
    path: str = ""
    reason: str = ""


class Emulators:
    """The emulators of one build.

    given   those that the user names
    world   where RUN is executed
    folder  a folder in which programs may be executed
    """

    def __init__(self, given: Sequence[Emulator], world: World, folder: Path) -> None:
        self._given, self._world, self._folder = given, world, folder
        self._lock = threading.Lock()
        self._found: dict[Platform, Way] = {}
        self._rows: dict[Platform, tuple[tuple[int, int, int, int], ...]] = {}

    def way(self, platform: Platform) -> Way:
        """How RUN of a platform is executed here."""
        with self._lock:
            if platform not in self._found:
                self._rows[platform] = ()
                self._found[platform] = self._find(platform)
            return self._found[platform]

    def require(self, platform: Platform) -> None:
        """Raise unless RUN of a platform may work here.

        Raises:
            SandboxUnavailable: it does not; one line says why, and one what to install.
        """
        way = self.way(platform)
        if not way.by:
            names = " or ".join(_names(platform)[:2])
            raise SandboxUnavailable(
                f"RUN of {platform} cannot be executed here: {way.reason}",
                hint=f"install qemu-user-static, or give a static {names} by --emulator PATH",
            )

    def rows(self, platform: Platform) -> tuple[tuple[int, int, int, int], ...]:
        """What a step of a platform is given; see RunSpec.emulators."""
        self.way(platform)
        return self._rows[platform]

    def tell(self, platform: Platform) -> Way:
        """The same as `way`, for who only asks: nothing stays in memory. No step may run meanwhile."""
        way = self.way(platform)
        with self._lock:
            del self._found[platform], self._rows[platform]
            for instance in _instances:
                instance.forget()
            while _held:
                os.close(_held.pop())
            _copy.cache_clear()
            _run.cache_clear()
        return way

    def _find(self, platform: Platform) -> Way:
        if self._world.isolation == "none":
            return Way("", reason="no RUN can be")
        kind = kind_for(platform)
        if kind is None:
            return Way("", reason="its programs are not known")
        refused = [
            f"{e.path} does not run its programs{_dynamic(e.path)}"
            for e in self._given
            if e.platform in (None, platform) and not self._runs(e.path, platform)
        ]
        for e in self._given:
            if e.platform in (None, platform) and self._runs(e.path, platform):
                return self._by(platform, kind, e.path)
        if any(e.platform == platform for e in self._given):
            return Way("", reason="; ".join(refused))
        if _run(platform, -1, self._folder):
            return Way("kernel", _registered(kind))
        for path in _on_path(platform):
            if self._runs(path, platform):
                return self._by(platform, kind, path)
            refused.append(f"{path} does not run its programs{_dynamic(path)}")
        if _registered(kind):
            return Way("image", _registered(kind))
        none = "no emulator is registered in binfmt_misc with flag F, given by --emulator, or found on PATH"
        return Way("", reason="; ".join(refused) or none)

    def _runs(self, path: str, platform: Platform) -> bool:
        fd = _copy(path)
        return fd >= 0 and _run(platform, fd, self._folder)

    def _by(self, platform: Platform, kind: tuple[int, int, int], path: str) -> Way:
        """Have an emulator run the programs of a platform, in the best way that there is here."""
        fd, place = _copy(path), self._world.place
        if place.mounts and place.ids in ("single", "subid") and _register(kind, fd):
            _run.cache_clear()
            if _run(platform, -1, self._folder):
                return Way("namespace", path)
        if reason := self._why_not_calls():
            return Way("", reason=f"{path} would run it, but {reason}")
        self._rows[platform] = ((*kind, fd),)
        return Way("calls", path)

    def _why_not_calls(self) -> str:
        """Why who answers a step's calls cannot start an emulator; empty if it can."""
        world = self._world
        if world.isolation == "oci":
            return "--isolation oci starts none that is not registered in binfmt_misc"
        if not can_start():
            return "on this machine it has to be registered in binfmt_misc"
        if world.isolation == "native" and not k.permitted() & _SYS_PTRACE:
            return "starting it takes CAP_SYS_PTRACE, or it has to be registered in binfmt_misc"
        return ""


def _names(platform: Platform) -> list[str]:
    name = _NAMES.get(platform.architecture, platform.architecture)
    return [form.format(name) for form in _FORMS]


def _on_path(platform: Platform) -> Iterator[str]:
    folders = f"{os.environ.get('PATH', '')}:{_FOLDERS}"
    for name in _names(platform):
        found = shutil.which(name, path=folders)
        if found is not None:
            yield found


def _registered(kind: tuple[int, int, int]) -> str:
    """What is registered on the machine for programs of a kind; empty if that cannot be told."""
    size, order, machine = kind
    tail = machine.to_bytes(2, "little" if order == 1 else "big").hex()
    begins = f"7f454c46{size:02x}{order:02x}"
    for entry in machine_entries():
        if entry.offset == 0 and entry.magic.startswith(begins) and entry.magic[36:40] == tail:
            return entry.interpreter
    return ""


def _register(kind: tuple[int, int, int], emulator: int) -> bool:
    """Register an emulator in this process's user namespace; False where that cannot be."""
    with _lock:
        try:
            if not _instances:
                _instances.append(Instance())
            _instances[0].register(kind, emulator)
        except OSError:
            return False
    return True


@cache
def _copy(path: str) -> int:
    """A sealed copy of an emulator in memory, kept for the process; -1 if it cannot be read."""
    try:
        with open(path, "rb") as f:
            try:
                fd = os.memfd_create("emulator", os.MFD_CLOEXEC | _SEALABLE | _EXECUTABLE)
            except OSError:  # before Linux 6.3
                fd = os.memfd_create("emulator", os.MFD_CLOEXEC | _SEALABLE)
            while data := f.read(1 << 20):
                os.write(fd, data)
    except OSError:
        return -1
    fcntl.fcntl(fd, _ADD_SEALS, _SEALS)
    reading = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    os.close(fd)
    _held.append(reading)
    return reading


@cache
def _run(platform: Platform, emulator: int, folder: Path) -> bool:
    """Run the tiny program of a platform in an empty root, by an emulator's descriptor, or without (-1)."""
    program = program_for(platform)
    if not program:
        return False
    try:
        with tempfile.TemporaryDirectory(prefix="emulator-", dir=folder) as root:
            (Path(root) / "program").write_bytes(program)
            (Path(root) / "program").chmod(0o755)
            done = subprocess.run(
                [sys.executable, "-I", "-S", "-c", _PROBE, root, str(emulator)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                pass_fds=(emulator,) if emulator >= 0 else (), timeout=_PATIENCE_S, check=False,
            )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _dynamic(path: str) -> str:
    """A word on why an emulator starts nothing, where it is plain."""
    try:
        with open(path, "rb") as f:
            head = f.read(4096)
    except OSError as e:
        return f": {(e.strerror or '').lower()}"
    return ": it is not static" if b"/ld-linux" in head or b"/ld-musl" in head else ""
