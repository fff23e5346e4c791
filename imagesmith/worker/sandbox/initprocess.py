"""How the child becomes the step: standard streams, limits, filter, capabilities, ids, and the program.

Imports the standard library only: the step's process uses it.
Spec: runc's finalizeNamespace: each right is given up after what needs it; seccomp(2), capabilities(7).
Trust: the request comes from the builder. From the moment at which the root is entered, what lies in it is
hostile: the program is found and executed in there, with nothing open but its streams.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gc
import json
import os
import resource
import select
import signal
import socket
import stat
import struct
from functools import cache
from typing import Any, NoReturn

from imagesmith.worker.sandbox import kernel as k

__all__ = ["Process", "handled_signals"]


@cache
def handled_signals() -> list[int]:
    """The signals with another effect than usual in who asks first: the helper, for all that it forks."""
    caught = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
    return [int(n) for n in caught if signal.getsignal(n) != signal.SIG_DFL]


class _NotStarted(Exception):
    """The step's program cannot be executed; the text is in the words of runc."""


class Process:
    """The child until it becomes the step. Subclasses make its root.

    plan     the request
    streams  standard output and error, or input, output and error
    report   a pipe on which the helper is told, in lines of JSON, what was made and what failed
    parent   a pidfd of the process to die with
    """

    def __init__(self, plan: dict[str, Any], streams: list[int], report: int, parent: int) -> None:
        self.plan, self.streams, self.report, self.parent = plan, streams, report, parent

    def enter_root(self) -> list[str]:
        """Make the root and enter it; returns the places that were made for mounts."""
        raise NotImplementedError

    def made(self) -> list[str]:
        """The places made so far, where `enter_root` failed."""
        raise NotImplementedError

    def run(self) -> NoReturn:
        """Become the step, or say why not."""
        gc.disable()  # it would look at, and so copy, all that is shared with the helper
        try:
            self._attach()
            self._set_limits()
            made = self.enter_root()
            self.become()
            self.say({"made": made, "started": True})
            self._exec()
        except _NotStarted as e:
            self.say({"error": str(e), "started": True})
        except OSError as e:
            where = f"{e.filename}: " if e.filename else ""
            self.say({"error": f"{where}{(e.strerror or str(e)).lower()}", "made": self.made()})
        except BaseException as e:  # this process must end here, whatever it was
            self.say({"error": f"{type(e).__name__}: {e}", "made": self.made()})
        os._exit(127)

    def say(self, what: dict[str, Any]) -> None:
        """Tell the helper."""
        data = json.dumps(what).encode() + b"\n"
        while data:
            data = data[os.write(self.report, data) :]

    def _attach(self) -> None:
        k.prctl(k.PR_SET_PDEATHSIG, signal.SIGKILL)
        watch = select.poll()
        watch.register(self.parent, select.POLLIN)
        if watch.poll(0):  # it died before we asked to die with it
            os._exit(127)
        for number in handled_signals():
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.setsid()
        if len(self.streams) < 3:
            read, write = os.pipe()
            os.close(write)
            self.streams = [read, *self.streams]
        for n, fd in enumerate(self.streams[:3]):
            os.dup2(fd, n)
        if self.plan["tty"]:
            fcntl.ioctl(0, 0x540E, 0)  # TIOCSCTTY

    def _set_limits(self) -> None:
        for door in self.plan["doors"]:
            with open(door, "w", encoding="ascii") as f:
                f.write("0")
        # where memory ends the kernel kills a process of the step, and not the builder, who can tell of it
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as f:
            f.write("1000")
        if self.plan["limits"]["processors"]:
            os.sched_setaffinity(0, self.plan["limits"]["processors"])
        for name, soft, hard in self.plan["ulimits"]:
            kind = getattr(resource, f"RLIMIT_{name.upper()}", None)
            if kind is None:
                raise OSError(errno.EINVAL, f"the limit {name} is not known here")
            try:
                resource.setrlimit(kind, (soft, hard))
            except (PermissionError, ValueError) as e:
                now = resource.getrlimit(kind)[1]
                raise OSError(errno.EPERM, f"the limit {name} cannot be raised beyond {now} here") from e

    def become(self) -> None:
        """Filter, capabilities and ids, in the order in which each is still allowed."""
        plan = self.plan
        with contextlib.suppress(OSError):
            os.chdir(plan["cwd"])
        for fd in range(3):  # a user that is not root opens /dev/stdout too; runc does the same
            with contextlib.suppress(OSError):
                if stat.S_ISFIFO(os.fstat(fd).st_mode) or plan["tty"]:
                    os.fchown(fd, plan["uid"], -1)
        if plan["filter"]:
            self._install_filter()
        if plan["unotify"]:
            self._hand_over()
        if not plan["insecure"]:
            try:
                k.drop_bounding(plan["capabilities"])
            except PermissionError:  # a container without CAP_SETPCAP: then no program gains what is given up
                k.prctl(k.PR_SET_NO_NEW_PRIVS, 1)
        self._change_ids()
        if plan["uid"] == 0 and not plan["insecure"]:
            k.capset(plan["capabilities"] & k.permitted())
        k.prctl(k.PR_SET_PDEATHSIG, signal.SIGKILL)  # lost with the change of ids
        os.chdir(plan["cwd"])

    def _change_ids(self) -> None:
        """Become the step's user; who is that already needs no right for it."""
        plan, uid, gid = self.plan, self.plan["uid"], self.plan["gid"]
        try:
            if plan["setgroups"] and sorted(os.getgroups()) != sorted(plan["groups"]):
                os.setgroups(plan["groups"])
            if os.getresgid() != (gid, gid, gid):
                os.setresgid(gid, gid, gid)
            if os.getresuid() != (uid, uid, uid):
                os.setresuid(uid, uid, uid)
        except OSError as e:
            raise OSError(e.errno, f"cannot become {uid}:{gid}: {(e.strerror or '').lower()}") from e

    def _install_filter(self) -> None:
        """Without the right to administer the namespace only a process that gains no rights may have one."""
        try:
            k.install_filter(self.plan["filter"])
        except OSError as e:
            if e.errno != errno.EACCES:
                raise
            k.prctl(k.PR_SET_NO_NEW_PRIVS, 1)
            k.install_filter(self.plan["filter"])

    def _hand_over(self) -> None:
        """Let the supervisor answer what the kernel would refuse; see unotify.py."""
        k.prctl(k.PR_SET_TIMERSLACK, k.USUAL_SLACK_NS)  # whoever builds may have another; see unotify_ids.py
        if self.plan["emulators"] and self.plan["way"] == "chroot":
            k.prctl(k.PR_SET_DUMPABLE, 1)  # for the warden to trace it, see tracing.py
        with socket.socket(fileno=self.plan["listener"]) as sock:
            try:
                listener = self._listen()
            except OSError as e:
                mild = self.plan["scoped"] if self.plan["way"] == "chroot" else self.plan["ids"] == "root"
                if e.errno == errno.EBUSY and mild and not self.plan["emulators"]:
                    return  # something outside answers calls already; then the step does without
                raise
            sock.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("@i", listener))])
            os.close(listener)
            if not sock.recv(1):
                raise OSError(errno.ESRCH, "the supervisor is gone")

    def _listen(self) -> int:
        """Install the filter; returns the descriptor at which its calls come."""
        try:
            return k.install_filter(self.plan["unotify"], 8 | 32)  # once received, only death interrupts
        except OSError as e:
            if e.errno != errno.EINVAL:
                raise
        return k.install_filter(self.plan["unotify"], 8)  # before Linux 5.19

    def _exec(self) -> NoReturn:
        name, argv = self.plan["argv"][0], self.plan["argv"]
        env = dict(self.plan["env"])
        program = name
        if "/" not in name:
            folders = env.get("PATH", "").split(":")
            found = [p for p in (f"{f or '.'}/{name}" for f in folders) if _is_file(p)]
            program = next((p for p in found if os.access(p, os.X_OK)), "")
            if not program:
                reason = "permission denied" if found else "executable file not found in $PATH"
                raise _NotStarted(f'exec: "{name}": {reason}')
        emulated = self._emulated(program) if self.plan["emulators"] else None
        self.report = os.dup2(self.report, 3, inheritable=False)
        if emulated is not None:
            os.dup2(emulated[0], 4, inheritable=False)
        k.close_from(4 + (emulated is not None))
        try:
            if emulated is not None:
                os.execve(4, emulated[1], env)  # noqa: S606 - the step itself
            os.execve(program, argv, env)  # noqa: S606 - the step itself
        except (OSError, ValueError) as e:
            reason = (e.strerror or "").lower() if isinstance(e, OSError) else str(e)
            raise _NotStarted(f'exec: "{name}": {reason}') from e

    def _emulated(self, program: str) -> tuple[int, list[bytes]] | None:
        """An emulator's descriptor, above those that are given away, and its arguments; None for none."""
        from imagesmith.worker.sandbox.foreign import Kind, command_of, head_of

        def look(path: bytes) -> bytes:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                return head_of(fd, bare=False)
            finally:
                os.close(fd)

        emulators = {Kind(*e["kind"]): e["fd"] for e in self.plan["emulators"]}
        try:
            command = command_of(os.fsencode(program), look, emulators)
        except OSError:
            return None  # the kernel says what is wrong
        if command is None or not os.access(program, os.X_OK, effective_ids=True):
            return None
        fd = fcntl.fcntl(emulators[command.kind], fcntl.F_DUPFD_CLOEXEC, 5)
        return fd, command.argv([os.fsencode(word) for word in self.plan["argv"]])


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False
