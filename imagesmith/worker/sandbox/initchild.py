"""The helper that starts steps: a small process kept for a whole build.

    builder --control socket--> helper --clone--> pid 1 of new namespaces: root, ids, capabilities, exec
                                       --fork---> warden --fork--> the step behind a chroot

Why apart: forking the builder, with its threads and its memory, costs tens of milliseconds and is unsafe;
this one has no threads, 10 MB, and forks in one or two. Each step has a socket of its own, on which its
request comes and its end is answered; a byte on it is the number of a signal, SIGKILL and the socket's end
kill all of the step. When the control socket ends, because the builder ended, every step is killed.
Runs as `python -I -S`; imports the standard library and its init* neighbours only.
Trust: requests come from the builder, and with each the descriptors of what it mounts. `unmake` works in a
hostile root (initpaths.py).
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import selectors
import signal
import socket
import struct
from typing import Any

from imagesmith.worker.sandbox import kernel as k
from imagesmith.worker.sandbox.accesslists import AccessLists
from imagesmith.worker.sandbox.initchroot import Warden, fork_warden
from imagesmith.worker.sandbox.initdevices import DeviceGroup
from imagesmith.worker.sandbox.initends import children
from imagesmith.worker.sandbox.initmemory import MemoryWatch
from imagesmith.worker.sandbox.initpaths import unmake
from imagesmith.worker.sandbox.initprocess import Process, handled_signals
from imagesmith.worker.sandbox.initroot import Root
from imagesmith.worker.sandbox.initsupervisor import Supervisor

__all__ = ["main"]

_EXECS = "imagesmith.worker.sandbox.execs"
_NAMESPACES = k.CLONE_NEWNS | k.CLONE_NEWPID | k.CLONE_NEWIPC | k.CLONE_NEWUTS


def main() -> None:
    """Serve the control socket, which is standard input."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the builder decides; a terminal's Ctrl-C reaches us too
    handled_signals()
    os.umask(0o022)
    k.prctl(k.PR_SET_CHILD_SUBREAPER, 1)
    _Server(socket.socket(fileno=os.dup(0))).serve()
    os._exit(0)  # the builder waits, and an interpreter takes milliseconds to end


class _Namespaced(Process):
    """A step that is pid 1 of its own namespaces."""

    def __init__(self, plan: dict[str, Any], streams: list[int], report: int, parent: int) -> None:
        super().__init__(plan, streams, report, parent)
        self._root = Root(plan)

    def enter_root(self) -> list[str]:
        """See Process."""
        self._set_host_name()
        if self.plan["network"] == "none":
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                fcntl.ioctl(s, 0x8914, struct.pack("16sH14x", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: up, running
        self._root.build()
        return self._root.places.made

    def _set_host_name(self) -> None:
        """The step's own name; where a filter refuses one, as Podman's, the machine's can be looked up."""
        try:
            k.set_host_name(self.plan["hostname"])
        except PermissionError:
            hosts = next(m for m in self.plan["mounts"] if m["target"] == "/etc/hosts")
            hosts["data"] += f"127.0.0.1\t{os.uname().nodename}\n".encode()

    def made(self) -> list[str]:
        """See Process."""
        return self._root.places.made


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(min(size - len(data), 1 << 16))
        if not more:
            raise EOFError
        data += more
    return data


def _receive(sock: socket.socket) -> dict[str, Any]:
    """One request: its length, then JSON; no byte more, for a signal may have come already."""
    (size,) = struct.unpack("<I", _exactly(sock, 4))
    plan: dict[str, Any] = json.loads(_exactly(sock, size))
    for m in plan["mounts"]:
        m["data"] = base64.b64decode(m["data"])
    plan["filter"] = base64.b64decode(plan["filter"])
    plan["unotify"] = base64.b64decode(plan["unotify"])
    return plan


class _Step:
    """A running step, as the helper sees it."""

    def __init__(self, plan: dict[str, Any], sock: socket.socket, pid: int, report: int, orders: int) -> None:
        self.plan, self.sock, self.pid, self.report, self.orders = plan, sock, pid, report, orders
        self.pidfd = os.pidfd_open(pid)
        self.said = b""
        self.killed = self.over = False
        self.watch: MemoryWatch | None = None
        if limits := plan["limits"]["memory"]:
            warden = plan["way"] != "namespaces"
            self.watch = MemoryWatch(pid, limits, plan["limits"]["swap"], warden=warden)
        self.supervisor: Supervisor | None = None
        self.lists: AccessLists | None = None
        self._signals = bytearray()

    def signal(self, numbers: bytes) -> None:
        """Send the program signals; those that come before it is there wait for it."""
        self._signals += numbers
        if b'"started": true' not in self.said:
            return
        if self.plan["way"] != "namespaces":  # its parent is the warden
            with contextlib.suppress(OSError):
                os.write(self.orders, self._signals)
        else:
            for number in self._signals:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self.pidfd, number)
        self._signals.clear()

    def kill(self) -> None:
        """End all of the step: its pid namespace dies with its init, a warden sees to it itself."""
        self.killed = True
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(
                self.pidfd, signal.SIGKILL if self.plan["way"] == "namespaces" else signal.SIGTERM
            )


class _Server:
    """The helper's loop: requests come in, ends go out."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.selector = selectors.DefaultSelector()
        self.steps: list[_Step] = []
        self.own = os.pidfd_open(os.getpid())
        self.devices: DeviceGroup | None = None
        self.no_devices = False

    def serve(self) -> None:
        """Until the builder is gone."""
        self.selector.register(self.control, selectors.EVENT_READ, None)
        while True:
            self._watch()
            for key, _ in self.selector.select(self._patience_s()):
                if key.data is None:
                    if not self._accept():
                        self._end()
                        return
                    continue
                step, what = key.data
                if step not in self.steps:  # it has ended by what came just before
                    continue
                if what == "report":
                    self._listen(step)
                elif what == "socket":
                    self._obey(step)
                elif what == "lists":
                    self._answer_lists(step)
                elif what == "supervisor":
                    self._end_supervisor(step)
                else:
                    self._finish(step)

    def _patience_s(self) -> float | None:
        """How long to wait for events: until a step's memory is to be looked at."""
        return min((s.watch.wait_s for s in self.steps if s.watch is not None), default=None)

    def _watch(self) -> None:
        """End the steps that hold more memory than they may."""
        for step in self.steps:
            if step.watch is not None and not step.killed and step.watch.over():
                step.watch, step.over = None, True
                step.kill()

    def _obey(self, step: _Step) -> None:
        """Send the signals that are asked for; a builder that is gone asks for the end."""
        try:
            numbers = step.sock.recv(64)  # left unread, they would make our answer a reset
        except ConnectionError:
            numbers = b""
        if numbers and signal.SIGKILL not in numbers:
            step.signal(numbers)
            return
        self.selector.unregister(step.sock)
        step.kill()

    def _accept(self) -> bool:
        try:
            data, fds, _, _ = socket.recv_fds(self.control, 1, k.SCM_MAX_FD)
        except ConnectionError:
            return False
        if not data:
            return False
        sock = socket.socket(fileno=fds[0])
        try:
            self._start(_receive(sock), sock, fds[1:])
        except EOFError:
            sock.close()
        except OSError as e:
            reason = f"cannot start a process: {(e.strerror or '').lower()}"
            self._answer(sock, {"status": -1, "error": reason, "started": False})
        finally:
            for fd in fds[1:]:
                os.close(fd)
        return True

    def _start(self, plan: dict[str, Any], sock: socket.socket, streams: list[int]) -> None:
        if plan["way"] == "chroot" and not plan["scoped"]:
            streams.pop()  # the lock of a step that is alone; who is forked here holds it too
        binds = [m for m in plan["mounts"] if m["kind"] == "bind"]
        for holder in reversed([*binds, *plan["emulators"]]):
            holder["fd"] = streams.pop()
        if plan["emulators"]:
            __import__(_EXECS)  # here, for all that are forked, and have another root then
        read, write = os.pipe()
        plan["orders"], orders = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        supervisor = lists = None
        try:
            if plan["unotify"] and plan["way"] == "chroot":
                from imagesmith.worker.sandbox.chroot_calls import prepare  # here, for all that are forked

                prepare()
            elif plan["unotify"] and plan["ids"] == "root":
                lists = AccessLists(plan)
            elif plan["unotify"]:
                supervisor = Supervisor(plan, write)
                plan["listener"] = supervisor.theirs.fileno()
            if plan["way"] == "namespaces":
                pid = self._clone(plan)
            else:
                if plan["way"] == "chroot":
                    k.prctl(k.PR_SET_DUMPABLE, 0)  # the step has our ids; it shall not read our memory
                pid = fork_warden()
        except OSError:
            os.close(read)
            os.close(orders)
            if supervisor is not None:
                supervisor.end()
            if lists is not None:
                lists.forked()
                lists.close()
            raise
        else:
            if pid == 0:
                os.close(read)
                os.close(orders)
                for other in self.steps:  # a warden lives on: held by it, another's end would not be seen
                    other.sock.close()
                (_Namespaced if plan["way"] == "namespaces" else Warden)(plan, streams, write, self.own).run()
        finally:
            os.close(write)
            os.close(plan["orders"])
        step = _Step(plan, sock, pid, read, orders)
        self.steps.append(step)
        self.selector.register(read, selectors.EVENT_READ, (step, "report"))
        self.selector.register(sock, selectors.EVENT_READ, (step, "socket"))
        self.selector.register(step.pidfd, selectors.EVENT_READ, (step, "end"))
        if lists is not None:
            lists.forked()
            step.lists = lists
            self.selector.register(lists.fd, selectors.EVENT_READ, (step, "lists"))
        if supervisor is not None:
            supervisor.theirs.close()
            step.supervisor = supervisor
            self.selector.register(supervisor.pidfd, selectors.EVENT_READ, (step, "supervisor"))

    def _clone(self, plan: dict[str, Any]) -> int:
        """Fork into new namespaces and, where devices are told apart for the step, into that cgroup."""
        flags = _NAMESPACES | (k.CLONE_NEWNET if plan["network"] == "none" else 0)
        plan["devices"] = plan["ids"] == "root" and not plan["insecure"] and not self.no_devices
        if plan["devices"]:
            try:
                self.devices = self.devices or DeviceGroup()
                self.devices.cover(plan["doors"])
                return k.clone(flags, self.devices.fd)
            except OSError:  # no cgroup v2, or not ours to write; older than Linux 5.7
                plan["devices"], self.no_devices = False, True
        return k.clone(flags)

    def _listen(self, step: _Step) -> None:
        data = os.read(step.report, 1 << 16) if step.report >= 0 else b""
        step.said += data
        step.signal(b"")
        if not data and step.report >= 0:
            self.selector.unregister(step.report)
            os.close(step.report)
            step.report = -1

    def _finish(self, step: _Step) -> None:
        status = os.waitpid(step.pid, 0)[1]
        if step.lists is not None and step.lists.fd >= 0:
            self.selector.unregister(step.lists.fd)
            step.lists.close()
        self._end_supervisor(step)
        self._reap()
        while step.report >= 0:
            self._listen(step)
        self.selector.unregister(step.pidfd)
        os.close(step.pidfd)
        os.close(step.orders)
        self.steps.remove(step)
        with contextlib.suppress(KeyError):
            self.selector.unregister(step.sock)
        code = os.waitstatus_to_exitcode(status)
        said: dict[str, Any] = {}
        if not step.said and not step.killed:
            how = f"by signal {-code}" if code < 0 else f"with status {code}"
            said["error"] = f"the step's process ended early, {how}"
        for line in step.said.splitlines():
            said |= json.loads(line)
        answer = {"status": 128 - code if code < 0 else code, "error": said.get("error", ""),
                  "started": said.get("started", False), "notes": said.get("notes", []),
                  "over": step.over}  # fmt: skip
        if step.over:
            answer["status"] = 128 + signal.SIGKILL
        try:
            unmake(step.plan["root"], said.get("made", []))
        except OSError as e:
            answer["error"] = answer["error"] or f"cannot take away {e.filename}: {e.strerror}"
        self._answer(step.sock, answer)

    def _answer_lists(self, step: _Step) -> None:
        lists = step.lists
        assert lists is not None
        # Before it may be closed: a child that is forked meanwhile holds it, and then its events would still
        # come, under a number that is another descriptor's by then.
        self.selector.unregister(lists.fd)
        lists.turn()
        if lists.fd >= 0:
            self.selector.register(lists.fd, selectors.EVENT_READ, (step, "lists"))

    def _end_supervisor(self, step: _Step) -> None:
        """Without its supervisor a step goes wrong: it is ended too."""
        supervisor, step.supervisor = step.supervisor, None
        if supervisor is None:
            return
        self.selector.unregister(supervisor.pidfd)
        if not supervisor.end():
            step.kill()
            step.said += b'{"error": "what answers for the kernel has ended early", "started": false}\n'

    def _reap(self) -> None:
        """Kill and wait for what a warden that was killed itself has left to us."""
        known = {step.pid for step in self.steps}
        known |= {step.supervisor.pid for step in self.steps if step.supervisor is not None}
        while strays := [pid for pid in children() if pid not in known]:
            for pid in strays:
                with contextlib.suppress(ProcessLookupError, ChildProcessError):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)

    def _answer(self, sock: socket.socket, answer: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            sock.sendall(json.dumps(answer).encode())
        sock.close()

    def _end(self) -> None:
        for step in self.steps:
            step.kill()
        for step in list(self.steps):
            self._finish(step)
        if self.devices is not None:
            self.devices.remove()
