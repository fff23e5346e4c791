"""The helper that starts steps: a small process kept for a whole build, and the child that becomes the step.

    builder --control socket--> helper --clone--> pid 1 of new namespaces: root, ids, capabilities, exec

Why apart: forking the builder, with its threads and its memory, costs tens of milliseconds and is unsafe; this
one has no threads, 10 MB, and forks in one or two. A step that lasts 3 ms is told from the next by nothing
but its own socket, on which its request came and its end is answered; closing that socket kills the step.
When the control socket ends, because the builder ended in whatever way, every step is killed.
Runs as `python -I -S`; imports the standard library and its neighbours kernel and initroot only.
Trust: requests come from the builder. What the step's files hold is hostile: paths in its root are followed
one directory at a time when stubs are taken away.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import fcntl
import json
import os
import resource
import selectors
import signal
import socket
import stat
import struct
from typing import Any, NoReturn

from imagesmith.sandbox import kernel as k
from imagesmith.sandbox.initroot import Root

__all__ = ["main"]

_NAMESPACES = k.CLONE_NEWNS | k.CLONE_NEWPID | k.CLONE_NEWIPC | k.CLONE_NEWUTS


def main() -> None:
    """Serve the control socket, which is standard input."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the builder decides; a terminal's Ctrl-C reaches us too
    os.umask(0o022)
    Server(socket.socket(fileno=os.dup(0))).serve()


def _receive(sock: socket.socket) -> dict[str, Any]:
    """One request: its length, then JSON."""
    data = b""
    size = -1
    while size < 0 or len(data) < size:
        more = sock.recv(1 << 16)
        if not more:
            raise EOFError
        data += more
        if size < 0 and len(data) >= 4:
            size = struct.unpack("<I", data[:4])[0]
            data = data[4:]
    plan: dict[str, Any] = json.loads(data)
    for m in plan["mounts"]:
        m["data"] = base64.b64decode(m["data"])
    plan["filter"] = base64.b64decode(plan["filter"])
    return plan


class Step:
    """A running step, as the helper sees it."""

    def __init__(self, plan: dict[str, Any], sock: socket.socket, pid: int, report: int) -> None:
        self.plan, self.sock, self.pid, self.report = plan, sock, pid, report
        self.pidfd = os.pidfd_open(pid)
        self.said = b""
        self.killed = False

    def kill(self) -> None:
        """End everything in the step's pid namespace."""
        self.killed = True
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)


class Server:
    """The helper's loop: requests come in, ends go out."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.selector = selectors.DefaultSelector()
        self.steps: list[Step] = []
        self.own = os.pidfd_open(os.getpid())

    def serve(self) -> None:
        """Until the builder is gone."""
        self.selector.register(self.control, selectors.EVENT_READ, None)
        while True:
            for key, _ in self.selector.select():
                if key.data is None:
                    if not self._accept():
                        self._end()
                        return
                    continue
                step, what = key.data
                if what == "report":
                    self._listen(step)
                elif what == "socket":
                    self.selector.unregister(step.sock)
                    step.kill()
                else:
                    self._finish(step)

    def _accept(self) -> bool:
        try:
            data, fds, _, _ = socket.recv_fds(self.control, 1, 4)
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
            self._answer(sock, {"status": -1, "error": f"cannot start a process: {e.strerror}"})
        finally:
            for fd in fds[1:]:
                os.close(fd)
        return True

    def _start(self, plan: dict[str, Any], sock: socket.socket, streams: list[int]) -> None:
        read, write = os.pipe()
        flags = _NAMESPACES | (k.CLONE_NEWNET if plan["network"] == "none" else 0)
        try:
            pid = k.clone(flags)
        except OSError:
            os.close(read)
            os.close(write)
            raise
        if pid == 0:
            os.close(read)
            Child(plan, streams, write, self.own).run()
        os.close(write)
        step = Step(plan, sock, pid, read)
        self.steps.append(step)
        self.selector.register(read, selectors.EVENT_READ, (step, "report"))
        self.selector.register(sock, selectors.EVENT_READ, (step, "socket"))
        self.selector.register(step.pidfd, selectors.EVENT_READ, (step, "end"))

    def _listen(self, step: Step) -> None:
        data = os.read(step.report, 1 << 16)
        step.said += data
        if not data:
            self.selector.unregister(step.report)
            os.close(step.report)
            step.report = -1

    def _finish(self, step: Step) -> None:
        while step.report >= 0:
            self._listen(step)
        _, status = os.waitpid(step.pid, 0)
        self.selector.unregister(step.pidfd)
        os.close(step.pidfd)
        self.steps.remove(step)
        with contextlib.suppress(KeyError):
            self.selector.unregister(step.sock)
        said: dict[str, Any] = {} if step.said or step.killed else {"error": "the step's process ended early"}
        for line in step.said.splitlines():
            said |= json.loads(line)
        code = os.waitstatus_to_exitcode(status)
        answer = {"status": 128 - code if code < 0 else code, "error": said.get("error", ""),
                  "started": said.get("started", False)}  # fmt: skip
        try:
            unmake(step.plan["root"], said.get("made", []))
        except OSError as e:
            answer["error"] = answer["error"] or f"cannot take away {e.filename}: {e.strerror}"
        self._answer(step.sock, answer)

    def _answer(self, sock: socket.socket, answer: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            sock.sendall(json.dumps(answer).encode())
        sock.close()

    def _end(self) -> None:
        for step in self.steps:
            step.kill()
        for step in self.steps:
            os.waitpid(step.pid, 0)


def unmake(root: str, made: list[str]) -> None:
    """Take places away that nobody used, innermost first; the folders above keep their times."""
    for path in reversed(made):
        *parents, name = path.strip("/").split("/")
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in parents:
                below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
                os.close(fd)
                fd = below
            st, above = os.stat(name, dir_fd=fd, follow_symlinks=False), os.fstat(fd)
            if stat.S_ISDIR(st.st_mode):
                os.rmdir(name, dir_fd=fd)
            elif st.st_size:
                continue
            else:
                os.unlink(name, dir_fd=fd)
            os.utime(fd, ns=(above.st_atime_ns, above.st_mtime_ns))
        except OSError as e:
            if e.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENOTEMPTY):
                raise
        finally:
            os.close(fd)


class _NotStarted(Exception):
    """The step's program cannot be executed; the text is in the words of runc."""


class Child:
    """The child until it becomes the step."""

    def __init__(self, plan: dict[str, Any], streams: list[int], report: int, helper: int) -> None:
        self.plan, self.streams, self.report, self.helper = plan, streams, report, helper
        self.root = Root(plan)

    def run(self) -> NoReturn:
        """Become the step, or say why not."""
        try:
            self._attach()
            self._set_limits()
            self.root.build()
            self._become()
            self._say({"made": self.root.made, "started": True})
            self._exec()
        except _NotStarted as e:
            self._say({"error": str(e), "started": True})
        except OSError as e:
            where = f"{e.filename}: " if e.filename else ""
            self._say({"error": f"{where}{(e.strerror or str(e)).lower()}", "made": self.root.made})
        except BaseException as e:  # this process must end here, whatever it was
            self._say({"error": f"{type(e).__name__}: {e}", "made": self.root.made})
        os._exit(127)

    def _say(self, what: dict[str, Any]) -> None:
        data = json.dumps(what).encode() + b"\n"
        while data:
            data = data[os.write(self.report, data) :]

    def _attach(self) -> None:
        k.prctl(k.PR_SET_PDEATHSIG, signal.SIGKILL)
        watch = selectors.PollSelector()
        watch.register(self.helper, selectors.EVENT_READ)
        if watch.select(0):  # it died before we asked to die with it
            os._exit(127)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
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
        for name, soft, hard in self.plan["ulimits"]:
            try:
                resource.setrlimit(getattr(resource, f"RLIMIT_{name.upper()}"), (soft, hard))
            except (PermissionError, ValueError) as e:
                now = resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))[1]
                raise OSError(errno.EPERM, f"the limit {name} can be raised to {now} at most") from e

    def _become(self) -> None:
        """Host name, network, filter, capabilities and ids, in the order in which each is still allowed."""
        plan = self.plan
        k.set_host_name(plan["hostname"])
        if plan["network"] == "none":
            _loopback_up()
        if plan["filter"]:
            k.install_filter(plan["filter"])
        if not plan["insecure"]:
            k.drop_bounding(plan["capabilities"])
        if plan["setgroups"]:
            os.setgroups(plan["groups"])
        os.setresgid(plan["gid"], plan["gid"], plan["gid"])
        os.setresuid(plan["uid"], plan["uid"], plan["uid"])
        if plan["uid"] == 0 and not plan["insecure"]:
            k.capset(plan["capabilities"])
        k.prctl(k.PR_SET_PDEATHSIG, signal.SIGKILL)  # lost with the change of ids
        os.chdir(plan["cwd"])

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
        self.report = os.dup2(self.report, 3, inheritable=False)
        k.close_from(4)
        try:
            os.execve(program, argv, env)
        except (OSError, ValueError) as e:
            reason = (e.strerror or "").lower() if isinstance(e, OSError) else str(e)
            raise _NotStarted(f'exec: "{name}": {reason}') from e


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, 0x8914, struct.pack("16sH14x", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: up, running
