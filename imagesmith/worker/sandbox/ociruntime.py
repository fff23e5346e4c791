"""Steps in an OCI runtime: runc or crun, whichever really runs something here.

Why: some machines trust a runtime that they have more than namespaces made by hand. The same RunSpec becomes
a config.json; the bundle lies on a tmpfs of the builder's own mount namespace, beside the root, so a secret
is on no disk and all is gone when the builder ends. The runtime is started by the helper (initchild.py) under
a warden, which kills what is left, for a container whose runtime was killed would live on.
Spec: OCI runtime-spec 1.0, config.md and config-linux.md.
Trust: the source of a bind mount may lie in what a step changes meanwhile, and a runtime looks it up by its
path. So what was found and held (interfaces.Mount) is mounted in the bundle, and the runtime gets that place;
nobody else can change what its path leads to. Targets inside the root are the runtime's to hold.
Threads: steps may run at the same time.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import math
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from imagesmith.errors import SandboxError, SandboxUnavailable
from imagesmith.fs.folders import temporary
from imagesmith.interfaces import Ids, Mount, Output, Place, RunSpec
from imagesmith.quotas import Limits
from imagesmith.values import replace
from imagesmith.worker.sandbox import kernel as k
from imagesmith.worker.sandbox.cgroups import PREFIX, hold_limits, sweep_groups
from imagesmith.worker.sandbox.etc import etc_files
from imagesmith.worker.sandbox.initpaths import Places, unmake
from imagesmith.worker.sandbox.native import NativeSandbox, NotStarted, capabilities_of
from imagesmith.worker.sandbox.seccomp import FAMILIES, NAMESPACES, PERSONALITIES, machines, refused_names
from imagesmith.worker.sandbox.syscalls import numbers

__all__ = ["OciSandbox", "find_runtime"]

_NAMES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
)  # fmt: skip
_MASKED = ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
           "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
           "/sys/devices/virtual/powercap"]  # fmt: skip
_READONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
_ARCHES = {
    "x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
    "i686": ["SCMP_ARCH_X86"],
    "aarch64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
}
_ENV = (("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),)


def find_runtime(ids: Ids) -> str:
    """The path of a runtime that has just run `true` here.

    Raises:
        SandboxUnavailable: there is none, or none works; the message has its own words.
    """
    said = []
    for name in ("runc", "crun"):
        path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin:/sbin:/bin")
        if path is None:
            continue
        problem = _try(path, ids)
        if not problem:
            return path
        said.append(f"{name}: {problem}")
    reason = "; ".join(said) or "neither runc nor crun is installed"
    raise SandboxUnavailable(f"--isolation oci does not work here: {reason}", hint="install runc")


def _try(runtime: str, ids: Ids) -> str:
    """Run the machine's own `true` in a root of its folders; returns what went wrong."""
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}-probe-") as bundle:
        folders = [f for f in ("/bin", "/lib", "/lib64", "/usr", "/nix") if os.path.isdir(f)]
        mounts = [Mount(kind="bind", source=f, target=f, readonly=True) for f in folders]
        spec = RunSpec(argv=("/bin/true",), env=_ENV)
        root = Path(bundle, "root")
        root.mkdir()
        config = _config(spec, mounts, root, f"{PREFIX}-{os.getpid()}-probe", ids)
        Path(bundle, "config.json").write_text(json.dumps(config))
        command = [runtime, "--root", f"{bundle}/state", "run", "--bundle", bundle, f"probe{os.getpid()}"]
        try:
            done = subprocess.run(command, capture_output=True, timeout=10, stdin=subprocess.DEVNULL)
        except (OSError, subprocess.TimeoutExpired) as e:
            return str(e)
    return "" if done.returncode == 0 else (done.stderr.decode(errors="replace").strip() or "it fails")


class OciSandbox:
    """See interfaces.Sandbox."""

    def __init__(self, place: Place) -> None:
        """Find a runtime.

        Raises:
            SandboxUnavailable: see find_runtime.
        """
        self._runtime, self._ids = find_runtime(place.ids), place.ids
        self._starter = NativeSandbox(place, way="plain")
        sweep_groups()
        self._numbers = itertools.count(1)

    def close(self) -> None:
        """End the helper."""
        self._starter.close()

    def run(self, spec: RunSpec, root: Path, output: Output, cancelled: Callable[[], bool]) -> int:
        """See interfaces.Sandbox."""
        if self._ids == "single" and (spec.uid or spec.gid):
            raise SandboxError(
                f"{self._runtime} cannot become {spec.uid}:{spec.gid} in a namespace of one id",
                hint="leave --isolation oci out: the native sandbox can",
            )
        number = next(self._numbers)
        name = f"{PREFIX}-{os.getpid()}-{number}"
        limits = spec.limits
        if limits and self._has_groups(spec, number):
            limits = Limits()
        else:  # the starter holds them
            spec = replace(spec, limits=Limits())
        bundle = temporary("oci-", root.parent)
        places = Places(str(root))
        try:
            self._prepare(spec, root, bundle, name, places)
            command = self._command(bundle, "run", "--bundle", str(bundle), name)
            plain = RunSpec(
                argv=tuple(command), env=_ENV, timeout_s=spec.timeout_s, tty=spec.tty,
                interactive=spec.interactive, limits=limits,
            )  # fmt: skip
            status = self._starter.run(plain, root, output, cancelled)
            reason = _reason(bundle / "log") if status else ""
        finally:
            subprocess.run(self._command(bundle, "delete", "--force", name), capture_output=True, check=False)
            unmake(str(root), places.made)
            with contextlib.suppress(OSError):  # it was not mounted
                k.umount(str(bundle), k.MNT_DETACH)
            bundle.rmdir()
        if reason:
            start, _, told = reason.rpartition("unable to start container process: ")
            raise NotStarted(told) if start and told.startswith("exec: ") else SandboxError(reason)
        return status

    def _has_groups(self, spec: RunSpec, number: int) -> bool:
        """True if the runtime can make a cgroup with the step's limits, as is tried.

        Raises:
            SandboxError: see hold_limits.
        """
        if self._ids != "root":
            return False
        group = hold_limits(spec, number).group
        if group is not None:
            group.remove()
        return group is not None

    def _prepare(self, spec: RunSpec, root: Path, bundle: Path, name: str, places: Places) -> None:
        try:
            k.mount("tmpfs", str(bundle), "tmpfs", k.MS_NOSUID | k.MS_NODEV, "mode=700")
            mounts = [_laid(m, bundle / f"mount{n}") for n, m in enumerate(_mounts(spec))]
            config = _config(spec, mounts, root, name, self._ids)
            (bundle / "config.json").write_text(json.dumps(config))
            _make_places(spec, mounts, places)
        except OSError as e:
            raise SandboxError(f"cannot prepare {self._runtime}: {e.filename}: {e.strerror}") from e

    def _command(self, bundle: Path, *words: str) -> list[str]:
        log = ["--log", str(bundle / "log"), "--log-format", "json"]
        return [self._runtime, "--root", str(bundle / "state"), *log, *words]


def _reason(log: Path) -> str:
    """Why the runtime itself failed, from its log."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if record.get("level") == "error":
            return str(record.get("msg", ""))
    return ""


def _make_places(spec: RunSpec, mounts: list[Mount], places: Places) -> None:
    """Make what is missing in the root for mounts; what lies inside a mount the runtime makes there."""
    for name in ("/proc", "/sys", "/dev"):
        places.make(name, folder=True, stays=True).close()
    for m in mounts:
        if not places.covers(m.target):
            with places.make(m.target, folder=m.kind == "tmpfs" or os.path.isdir(m.source)) as spot:
                if m.kind == "tmpfs" and spot.new:  # the runtime gives a tmpfs its place's mode
                    os.chmod(f"/proc/self/fd/{spot.fd}", m.mode)
    if spec.cwd != "/" and not places.covers(spec.cwd):
        places.make(spec.cwd, folder=True, stays=True).close()


def _mounts(spec: RunSpec) -> list[Mount]:
    return sorted((*etc_files(spec), *spec.mounts), key=lambda m: m.target)


def _laid(m: Mount, place: Path) -> Mount:
    """The mount with what it shows laid at a place in the bundle: a file's bytes, or a mount."""
    if m.kind == "file":
        place.write_bytes(m.data)
        os.chown(place, m.uid, m.gid)
        place.chmod(m.mode)
    elif m.kind == "bind":
        with contextlib.ExitStack() as held:
            fd = m.fd
            if fd < 0:  # the user's own word, or a file of the builder's
                fd = os.open(m.source, os.O_PATH | os.O_CLOEXEC)
                held.callback(os.close, fd)
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                place.mkdir()
            else:
                place.touch()
            at = os.open(place, os.O_PATH | os.O_CLOEXEC)
            held.callback(os.close, at)
            tree = k.open_tree(fd)
            held.callback(os.close, tree)
            k.attach(tree, at, m.target)
    else:
        return m
    return replace(m, source=str(place))


# --- config.json -------------------------------------------------------------------------------


def _config(spec: RunSpec, mounts: list[Mount], root: Path, name: str, ids: Ids) -> dict[str, Any]:
    every = (1 << len(_NAMES)) - 1
    mask = every if spec.insecure else capabilities_of(spec, ids)
    names = [f"CAP_{n}" for bit, n in enumerate(_NAMES) if mask >> bit & 1]
    namespaces = ["mount", "pid", "ipc", "uts", *(["network"] if spec.network == "none" else [])]
    limits = [
        {"type": f"RLIMIT_{n.upper()}", "soft": s % 2**64, "hard": h % 2**64} for n, s, h in spec.ulimits
    ]
    groups = list(spec.groups) if ids != "single" else []  # nobody may set any there
    return {
        "ociVersion": "1.0.2",
        "hostname": spec.hostname,
        "root": {"path": str(root), "readonly": False},
        "process": {
            "terminal": spec.tty,
            "user": {"uid": spec.uid, "gid": spec.gid, "umask": 0o022, "additionalGids": groups},
            "args": list(spec.argv),
            "env": [f"{key}={value}" for key, value in spec.env],
            "cwd": spec.cwd,
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), names),
            "rlimits": limits,
            "noNewPrivileges": False,
        },
        "mounts": [*_usual(spec, ids), *map(_entry, mounts)],
        "linux": {
            "namespaces": [{"type": kind} for kind in namespaces],
            **({"cgroupsPath": f"{spec.cgroup_parent or ''}/{name}"} if ids == "root" else {}),
            "maskedPaths": [] if spec.insecure else _MASKED,
            "readonlyPaths": [] if spec.insecure else _READONLY,
            "resources": _resources(spec),
            **({} if spec.insecure else {"seccomp": _seccomp()}),
        },
    }


def _seccomp() -> dict[str, Any]:
    """The rules of worker/sandbox/seccomp.py for a runtime, which makes the filter; where they are, as there.

    What the list does not have is answered as if the kernel did not have it, clone3 too, and other
    personalities. Calls of x32 are in no architecture of it: for them a runtime's filter ends the process.
    """
    machine = os.uname().machine
    known = {name for kind in machines(machine) for name in numbers(kind)}
    if not known:
        return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [_row(refused_names(), errno.EPERM)]}
    asked = {"clone", "clone3", "personality", "socket"}
    refused = set(refused_names())
    rows = [_row(sorted(known - refused - asked)), _row(sorted(refused), errno.EPERM)]
    rows.append(_row(["clone"], value=NAMESPACES, valueTwo=0, op="SCMP_CMP_MASKED_EQ"))
    bits = [1 << n for n in range(32) if NAMESPACES >> n & 1]
    rows += [_row(["clone"], errno.EPERM, value=bit, valueTwo=bit, op="SCMP_CMP_MASKED_EQ") for bit in bits]
    rows += [_row(["personality"], value=value, op="SCMP_CMP_EQ") for value in PERSONALITIES]
    rows += [_row(["socket"], errno.EPERM, value=family, op="SCMP_CMP_EQ") for family in FAMILIES]
    low, high = FAMILIES
    rows.append(_row(["socket"], value=low, op="SCMP_CMP_LT"))
    rows += [_row(["socket"], value=family, op="SCMP_CMP_EQ") for family in range(low + 1, high)]
    rows.append(_row(["socket"], value=high, op="SCMP_CMP_GT"))
    return {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": errno.ENOSYS, "syscalls": rows,
            "architectures": _ARCHES[machine]}  # fmt: skip


def _row(names: list[str], code: int = 0, **argument: int | str) -> dict[str, Any]:
    """Calls that are let through, if the first argument is so, or answered with an error."""
    args = [{"index": 0, **argument}] if argument else []
    action = {"action": "SCMP_ACT_ERRNO", "errnoRet": code} if code else {"action": "SCMP_ACT_ALLOW"}
    return {"names": names, **action, "args": args}


def _resources(spec: RunSpec) -> dict[str, Any]:
    out: dict[str, Any] = {"devices": [{"allow": spec.insecure, "access": "rwm"}]}
    limits = spec.limits
    if limits.memory_bytes:
        most = limits.swap_most_bytes
        out["memory"] = {"limit": limits.memory_bytes, "swap": -1 if most == math.inf else int(most)}
    cpu: dict[str, Any] = {"quota": limits.quota_us, "period": limits.period} if limits.quota_us else {}
    words = {"shares": limits.shares, "cpus": limits.cpus, "mems": limits.nodes}
    if cpu := cpu | {key: value for key, value in words.items() if value}:
        out["cpu"] = cpu
    return out


def _usual(spec: RunSpec, ids: Ids) -> list[dict[str, Any]]:
    quiet = ["nosuid", "noexec", "nodev"]
    shm = f"size={spec.shm_size_bytes}"
    system = ("sysfs", "sysfs") if ids == "root" else ("bind", "/sys")  # sysfs is for the network's owner
    rows = (
        ("/proc", "proc", "proc", quiet),
        ("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        ("/dev/pts", "devpts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
        ("/dev/shm", "tmpfs", "shm", [*quiet, "mode=1777", shm]),
        ("/dev/mqueue", "mqueue", "mqueue", quiet),
        ("/sys", *system, [*quiet, "rw" if spec.insecure else "ro", *(["rbind"] if ids != "root" else [])]),
    )
    return [{"destination": d, "type": t, "source": s, "options": o} for d, t, s, o in rows]


def _entry(m: Mount) -> dict[str, Any]:
    """One of our mounts."""
    flags = [name for name in ("nosuid", "nodev", "noexec") if getattr(m, name)]
    flags += ["ro" if m.readonly else "rw"]
    if m.kind == "tmpfs":
        size = [f"size={m.size_bytes}"] if m.size_bytes else []
        options = [*flags, f"mode={m.mode:o}", *size]
        return {"destination": m.target, "type": "tmpfs", "source": "tmpfs", "options": options}
    return {"destination": m.target, "type": "bind", "source": m.source, "options": ["rbind", *flags]}
