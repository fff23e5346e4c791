"""The native and the chroot sandbox, the builder's side: the helper (initchild.py) starts the steps.

Why a helper: see there. It is started by the first step that runs, so a build that finds all in its cache
never has one.
Trust: the source of a bind mount may lie in what a step changes meanwhile, so the helper gets no path of it
but a descriptor: of a mount made here of the very folder that was found and held (interfaces.Mount), or,
behind a chroot, of the folder.
Threads: steps may run at the same time; each has its own socket, the control socket is locked.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import itertools
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from imagesmith.errors import Cancelled, SandboxError
from imagesmith.interfaces import Ids, Mount, Output, Place, RunSpec
from imagesmith.quotas import KILLED, OutOfMemory
from imagesmith.values import field_names
from imagesmith.worker.sandbox import kernel as k
from imagesmith.worker.sandbox.cgroups import Group, Held, hold_limits, substitutes
from imagesmith.worker.sandbox.etc import etc_files
from imagesmith.worker.sandbox.streams import Streams, follow
from imagesmith.worker.snapshot.ownership import held

__all__ = ["NativeSandbox", "NotStarted", "capabilities_of"]

#: Docker's fourteen: chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service,
#: net_raw, sys_chroot, mknod, audit_write, setfcap.
_CAPABILITIES, _NET_RAW = 0xA80425FB, 1 << 13
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from imagesmith.worker.sandbox.initchild import main; main()"
)
_POLL_S = 0.05
_FLAGS = (("readonly", 1), ("nosuid", 2), ("nodev", 4), ("noexec", 8))

#: How the helper keeps a step apart: by namespaces, behind a chroot, or not at all, for it is a runtime.
Way = Literal["namespaces", "chroot", "plain"]


class NotStarted(SandboxError):
    """The root is there, but the program cannot be executed; the message is the reason, in runc's words."""

    code = "not-started"


class NativeSandbox:
    """See interfaces.Sandbox."""

    def __init__(self, place: Place, *, way: Way = "namespaces", scoped: bool = False) -> None:
        """Make it.

        Args:
            place: what the process may do.
            way: how the helper keeps a step apart.
            scoped: behind a chroot: kernel.confine works here.
        """
        self._place, self._way, self._scoped = place, way, scoped
        self._lock = threading.Lock()
        self._helper: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._filter: bytes | None = None
        self._numbers = itertools.count(1)
        self._told: set[str] = set()

    # --- the helper ----------------------------------------------------------------------------

    def start(self) -> None:
        """Start the helper, if it is not there yet."""
        with self._lock:
            if self._control is not None:
                return
            ours, theirs = socket.socketpair()
            package = str(Path(__file__).resolve().parents[3])
            env = {name: value for name, value in os.environ.items() if name.startswith("LD_")}
            try:
                self._helper = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-X", "utf8", "-c", _PROGRAM, package],
                    stdin=theirs.fileno(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env,
                    cwd="/",
                )  # fmt: skip
            except OSError as e:
                ours.close()
                raise SandboxError(f"cannot start {sys.executable}: {e.strerror}") from e
            finally:
                theirs.close()
            self._control = ours

    def close(self) -> None:
        """End the helper and with it what still runs."""
        with self._lock:
            if self._control is not None:
                self._control.close()
                self._control = None
            if self._helper is not None:
                self._helper.wait()
                self._helper = None

    # --- a step --------------------------------------------------------------------------------

    def run(self, spec: RunSpec, root: Path, output: Output, cancelled: Callable[[], bool]) -> int:
        """See interfaces.Sandbox."""
        self.start()
        number = next(self._numbers)
        if self._way == "plain":  # a runtime makes the groups; see ociruntime.py
            held = substitutes(spec.limits, number, "the runtime makes none here") if spec.limits else Held()
        else:
            held = hold_limits(spec, number)
        if held.told and held.told not in self._told:
            self._told.add(held.told)
            output(2, f"{held.told}\n".encode())
        group = held.group
        memory = OutOfMemory([*group.folders, *group.above] if group else ())
        try:
            status, over = self._run(spec, root, output, cancelled, held)
            # its own group counts for it alone: also a step that went on says what it lost
            told = memory.told(_whose(group)) if status or group else ""
            if over:
                told = f"{KILLED}the limit of {held.memory_bytes / (1 << 20):.0f} MiB of the step was reached"
            if told:
                output(2, f"{told}\n".encode())
            return status
        finally:
            if group is not None:
                group.remove()

    def _run(
        self, spec: RunSpec, root: Path, output: Output, cancelled: Callable[[], bool], limits: Held
    ) -> tuple[int, bool]:
        """Returns the status, and whether the helper ended the step for its memory."""
        mounts = sorted((*etc_files(spec), *spec.mounts), key=lambda m: m.target)
        request = json.dumps(self._plan(spec, mounts, root, limits)).encode()
        ours, theirs = socket.socketpair()
        streams = Streams(spec)
        with contextlib.ExitStack() as whole:
            whole.callback(ours.close)
            whole.callback(streams.close)
            with contextlib.ExitStack() as held:
                held.callback(streams.sent)
                held.enter_context(theirs)
                alone = [self._alone(whole, cancelled)] if self._way == "chroot" and not self._scoped else []
                binds = [self._hold(m, held) for m in mounts if m.kind == "bind"]
                emulators = [e[3] for e in spec.emulators]
                self._ask(request, ours, [theirs.fileno(), *streams.theirs, *binds, *emulators, *alone])
            answer = follow(ours, streams, spec, output, cancelled)
        status, notes, over = _status(answer)
        for note in notes:
            output(2, f"not as under root: {note}\n".encode())
        return status, over

    def _hold(self, m: Mount, held: contextlib.ExitStack) -> int:
        """A descriptor of what a bind mount shows, until `held` is undone; a mount of it where one can be."""
        try:
            fd = m.fd
            if fd < 0:  # the user's own word, or a file of the builder's
                fd = os.open(m.source, os.O_PATH | os.O_CLOEXEC)
                held.callback(os.close, fd)
            if self._way == "namespaces":
                fd = k.open_tree(fd)
                held.callback(os.close, fd)
        except OSError as e:
            raise SandboxError(f"cannot mount {m.source}: {(e.strerror or '').lower()}") from e
        return fd

    def _alone(self, held: contextlib.ExitStack, cancelled: Callable[[], bool]) -> int:
        """Wait until no other step runs behind a chroot, of any builder that sees this root directory.

        Two of them could meet at an abstract socket, and one pass the other a folder outside of its root.
        Returns the lock, for the step's warden to hold until it has killed what is left.
        """
        fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        held.callback(os.close, fd)
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if cancelled():
                    raise Cancelled("stopped") from None
                time.sleep(_POLL_S)
            except OSError as e:
                raise SandboxError(f"cannot lock / to run one step at a time: {e.strerror}") from e
            else:
                return fd

    def _ask(self, request: bytes, ours: socket.socket, fds: list[int]) -> None:
        """Send the helper a request, on a socket of its own, and what goes with it.

        fds: its end of that socket, the step's ends of the streams, one for each bind mount and emulator, and
        the lock.
        """
        if len(fds) > k.SCM_MAX_FD:
            raise SandboxError(f"a step can have {k.SCM_MAX_FD - 5} bind and cache mounts at most")
        try:
            with self._lock:
                assert self._control is not None
                socket.send_fds(self._control, [b"x"], fds)
            ours.sendall(struct.pack("<I", len(request)) + request)
        except (BrokenPipeError, ConnectionResetError) as e:
            raise SandboxError("the helper that starts steps has ended") from e

    def _plan(self, spec: RunSpec, mounts: list[Mount], root: Path, limits: Held) -> dict[str, Any]:
        """The request, as the helper reads it."""
        plan: dict[str, Any] = {name: getattr(spec, name) for name in field_names(spec)}
        plan["root"] = _text(os.path.realpath(root))
        plan["mounts"] = [_mount(m) for m in mounts]
        plan["emulators"] = [{"kind": e[:3]} for e in spec.emulators]
        plan["capabilities"] = capabilities_of(spec, self._place.ids)
        plan["filter"] = "" if spec.insecure else base64.b64encode(self._seccomp()).decode()
        plan["few"] = self._place.ids == "subid" and _needs_few(spec)
        plan["unotify"] = base64.b64encode(self._handed_over(spec, few=plan["few"])).decode()
        plan["ids"] = self._place.ids
        plan["setgroups"] = self._place.ids != "single" or bool(plan["unotify"])
        plan["way"], plan["scoped"] = self._way, self._scoped
        plan["doors"] = limits.group.doors if limits.group else []
        plan["limits"] = {
            "memory": limits.memory_bytes, "swap": limits.swap_bytes, "processors": limits.processors
        }  # fmt: skip
        return plan

    def _seccomp(self) -> bytes:
        if self._filter is None and self._way == "chroot":
            from imagesmith.worker.sandbox.signals import chroot_filter

            self._filter = chroot_filter(scoped=self._scoped)
        elif self._filter is None:
            from imagesmith.worker.sandbox.seccomp import docker_filter

            self._filter = docker_filter()
        return self._filter

    def _handed_over(self, spec: RunSpec, *, few: bool) -> bytes:
        """The filter of calls that a supervisor answers."""
        if self._way == "chroot":
            from imagesmith.worker.sandbox.chroot_filter import calls_filter

            if spec.insecure and not spec.emulators:
                return b""
            return calls_filter(scoped=self._scoped, only_execs=spec.insecure)
        if self._way == "namespaces" and self._place.ids == "root":
            from imagesmith.worker.sandbox.accesslists import lists_filter

            return lists_filter(execs=bool(spec.emulators))
        if self._place.ids not in ("single", "subid") or self._way != "namespaces":
            return b""
        from imagesmith.worker.sandbox.unotify import faked_filter

        return faked_filter(held=held() if few else None, execs=bool(spec.emulators))


def capabilities_of(spec: RunSpec, ids: Ids) -> int:
    """What a step of root may do: Docker's fourteen, less net_raw where it would be the machine's network.

    In a user namespace that network is another's, and the right means nothing for it.
    """
    return _CAPABILITIES & ~(_NET_RAW if ids == "root" and spec.network != "none" else 0)


def _status(answer: bytes) -> tuple[int, list[str], bool]:
    """The status in the helper's answer, what differed from root's native step, and whether memory ended it.

    Raises:
        SandboxError: the answer is an error, or there is none.
    """
    if not answer:
        raise SandboxError("the helper that starts steps has ended")
    found = json.loads(answer)
    if found["error"]:
        raise (NotStarted if found["started"] else SandboxError)(found["error"])
    return int(found["status"]), found["notes"], bool(found.get("over"))


def _text(path: str) -> str:
    """A path as the helper, which always speaks UTF-8, has to read it."""
    return os.fsencode(path).decode("utf-8", "surrogateescape")


def _whose(group: Group | None) -> str:
    """Whose limit of memory a step is under, in words."""
    from imagesmith.worker.sandbox.hints import whose_limit  # only what fails needs it

    return "the step" if group is not None else whose_limit()


def _needs_few(spec: RunSpec) -> bool:
    """True if no id above the lent ones is met."""
    from imagesmith.worker.sandbox.largeids import needs_all

    return not needs_all(spec, held())


def _mount(m: Mount) -> dict[str, Any]:
    """A mount as the helper reads it."""
    return {
        "kind": m.kind, "target": m.target, "source": _text(m.source), "ours": m.ours,
        "flags": sum(bit for name, bit in _FLAGS if getattr(m, name)), "size_bytes": m.size_bytes,
        "mode": m.mode, "uid": m.uid, "gid": m.gid, "secret": m.secret, "owners": m.owners,
        "data": base64.b64encode(m.data).decode(),
    }  # fmt: skip
