"""A step behind a chroot, for root that may not mount: an ordinary container.

    warden    the step's parent: lays what is to be mounted into the root, waits, kills what is left, puts
              everything back
    step      changes its root, gives up CAP_SYS_CHROOT (a second chroot would lead out) and CAP_MKNOD

Why moves: without mount(2) a folder of the builder is shown at a target by moving it there and back
afterwards, and what is at the target is moved aside meanwhile; nothing is copied, and the snapshot is as it
was. A folder of the machine (`imagesmith run -v`), or one on another file system, is copied, and a writable
one copied back: who else uses it must not miss it, nor lose it with a machine that dies.
What it cannot hold: /proc and /sys are empty, the network and the processes of the machine are seen; a write
to a read-only mount, or more than a tmpfs may hold, fails the step at its end only (initseals.py). The
documentation lists it.
Why a subreaper: a step's strays become the warden's children, whatever they forked, so it can kill them all.
Imports the standard library only: the step's process uses it.
Trust: a step may put a link in place of anything in its root, also of a mount: what is put back is reached
from descriptors that were opened before it began, and no link is followed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import shutil
import signal
import stat
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from imagesmith.sandbox import kernel as k
from imagesmith.sandbox.initcopy import copy_tree, same_node
from imagesmith.sandbox.initpaths import Places, resolve, unmake
from imagesmith.sandbox.initprocess import Process
from imagesmith.sandbox.initseals import Seal, clock_ns

__all__ = ["Warden", "children"]

_DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
}
_SYS_CHROOT, _MKNOD = 1 << 18, 1 << 27


def children() -> list[int]:
    """The pids of this process's children, those that it took over among them."""
    pid = os.getpid()
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            return [int(word) for word in f.read().split()]
    except OSError:  # a kernel without that file
        return [p for p in map(int, filter(str.isdigit, os.listdir("/proc"))) if _parent(p) == pid]


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as f:
            return int(f.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0


class _Chrooted(Process):
    """The step; its root is laid out by the warden."""

    def __init__(self, plan: dict[str, Any], streams: list[int], report: int, parent: int) -> None:
        super().__init__(plan, streams, report, parent)
        if not plan["insecure"]:
            plan["capabilities"] &= ~(_SYS_CHROOT | _MKNOD)

    def enter_root(self) -> list[str]:
        """See Process."""
        if self.plan["network"] == "none":
            try:
                k.unshare(k.CLONE_NEWNET)
            except OSError as e:
                raise OSError(
                    e.errno, "a step without network needs a network namespace, refused here"
                ) from e
        os.chroot(self.plan["root"])
        os.chdir("/")
        cwd = resolve("", self.plan["cwd"])
        if not os.path.lexists(cwd):
            os.makedirs(cwd, mode=0o755)
        return []

    def made(self) -> list[str]:
        """See Process."""
        return []


class _Plain(Process):
    """An OCI runtime, which does the rest itself."""

    def enter_root(self) -> list[str]:
        """See Process."""
        os.chdir("/")
        return []

    def made(self) -> list[str]:
        """See Process."""
        return []

    def become(self) -> None:
        """See Process."""


class Warden:
    """The parent of one step. Arguments as for Process."""

    def __init__(self, plan: dict[str, Any], streams: list[int], report: int, parent: int) -> None:
        self.plan, self.streams, self.report, self.parent = plan, streams, report, parent
        self.layout = _Layout(plan["root"])

    def run(self) -> NoReturn:
        """Start the step, wait for it, put everything back, and end with its status."""
        status = 127
        process = (_Plain if self.plan["way"] == "plain" else _Chrooted)(
            self.plan, self.streams, self.report, self.parent
        )
        try:
            k.prctl(k.PR_SET_CHILD_SUBREAPER, 1)
            wake, woken = os.pipe()
            signal.signal(signal.SIGTERM, lambda *_: os.write(woken, b"x"))
            k.prctl(k.PR_SET_PDEATHSIG, signal.SIGTERM)
            if self.plan["way"] == "chroot":
                self._lay()
            status = self._watch(process, wake)
        except OSError as e:
            where = f"{e.filename}: " if e.filename else ""
            process.say({"error": f"{where}{(e.strerror or str(e)).lower()}"})
        except BaseException as e:  # this process must end here, whatever it was
            process.say({"error": f"{type(e).__name__}: {e}"})
        try:
            self._kill_all()
            if broken := "" if status else self.layout.broken():
                process.say({"error": broken, "started": True})
            self.layout.undo()
        except OSError as e:
            process.say({"error": f"cannot put back {e.filename}: {(e.strerror or '').lower()}"})
        os._exit(status)

    def _lay(self) -> None:
        layout, plan = self.layout, self.plan
        for name in ("proc", "sys"):
            layout.places.make(f"/{name}", folder=True, stays=True)
        layout.places.make("/dev", folder=True, stays=True)
        layout.devices("/dev")
        for m in plan["mounts"]:
            layout.put(m)
        layout.seal()

    def _watch(self, process: Process, wake: int) -> int:
        """Start the step and wait until it, or the builder's patience, ends."""
        me = os.pidfd_open(os.getpid())
        pid = os.fork()
        if pid == 0:
            process.parent = me
            process.run()
        for fd in self.streams:
            os.close(fd)
        pidfd = os.pidfd_open(pid)
        waiting = select.poll()
        for fd in (pidfd, wake, self.parent):
            waiting.register(fd, select.POLLIN)
        ready = {fd for fd, _ in waiting.poll()}
        if pidfd not in ready:
            os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return 128 - code if code < 0 else code

    def _kill_all(self) -> None:
        while pids := children():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for pid in pids:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)


class _Layout:
    """What lies in the root in place of mounts, and how to put everything back."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.places = Places(root)
        self._aside = 0
        self._undo: list[Callable[[], None]] = []
        self._seals: list[Seal] = []
        self._targets: list[str] = []
        self._since_ns = 0

    def seal(self) -> None:
        """All is laid out; what changes from now on is the step's doing."""
        if self._seals:
            self._since_ns = clock_ns()

    def broken(self) -> str:
        """What the step did that a mount would have refused, or ''."""
        return next(filter(None, (s.broken(self._since_ns, self._targets) for s in self._seals)), "")

    def undo(self) -> None:
        """Put everything back, last things first."""
        while self._undo:
            self._undo.pop()()
        unmake(self.root, self.places.made)

    def _clear(self, target: str, *, folder: bool) -> str:
        """The host path of a target, empty now: what was there is moved aside, out of the root.

        The folder above is named by a descriptor: whatever the step puts in its place, it stays the same.
        """
        where, name = os.path.split(self.root + self.places.make(target, folder=folder))
        above = f"/proc/self/fd/{os.open(where, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)}"
        at = f"{above}/{name}"
        self._aside += 1
        aside = f"{self.root}.aside{self._aside}"
        before = os.stat(above)
        os.rename(at, aside)

        def back() -> None:
            now = os.stat(above)
            if os.path.lexists(at):
                _remove(at)
            try:
                os.rename(aside, at)
            except FileNotFoundError:  # the step took the folder away
                _remove(aside)
            os.utime(above, ns=(now.st_atime_ns, now.st_mtime_ns))

        self._undo.append(back)
        os.utime(above, ns=(before.st_atime_ns, before.st_mtime_ns))
        return at

    def devices(self, target: str) -> None:
        """A /dev of its own, as far as this process may make nodes."""
        at = self._clear(target, folder=True)
        with _times_of(os.path.dirname(at)):
            os.mkdir(at, 0o755)
        for name, numbers in _DEVICES.items():
            with contextlib.suppress(PermissionError):
                os.mknod(f"{at}/{name}", stat.S_IFCHR | 0o666, os.makedev(*numbers))
                os.chmod(f"{at}/{name}", 0o666)  # noqa: S103 - as every system has it
        os.mkdir(f"{at}/shm")
        os.chmod(f"{at}/shm", 0o1777)  # noqa: S103 - as every system has it

    def put(self, m: dict[str, Any]) -> None:
        """Show one mount at its target."""
        self._targets.append(m["target"])
        if m["kind"] == "bind":
            self._bind(m)
            return
        at = self._clear(m["target"], folder=m["kind"] == "tmpfs")
        with _times_of(os.path.dirname(at)):
            if m["kind"] == "tmpfs":
                os.mkdir(at)
            else:
                fd = os.open(at, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
                with os.fdopen(fd, "wb") as f:
                    f.write(m["data"])
            os.chown(at, m["uid"], m["gid"])
            os.chmod(at, m["mode"])
        if m["kind"] == "tmpfs" and m["size_bytes"]:
            self._seals.append(Seal(at, m["target"], m["size_bytes"]))

    def _bind(self, m: dict[str, Any]) -> None:
        source, readonly = m["source"], bool(m["flags"] & k.MS_RDONLY)
        st = os.stat(source)
        folder = stat.S_ISDIR(st.st_mode)
        at = self._clear(m["target"], folder=folder)
        if readonly and m["ours"]:
            self._seals.append(Seal(at, m["target"]))
        with _times_of(os.path.dirname(at)):
            if folder and not m["ours"]:
                self._copied(source, at, readonly=readonly)
                return
            try:
                if not folder:
                    os.link(source, at)
                    return
                with _times_of(os.path.dirname(source)):
                    os.rename(source, at)
            except OSError as e:
                if e.errno != errno.EXDEV:
                    raise
                self._copied(source, at, readonly=readonly or not folder)
                return

        def back() -> None:
            if not _is_folder(at):  # the step took it away
                os.mkdir(source, 0o700)
                os.chown(source, st.st_uid, st.st_gid)
                os.chmod(source, stat.S_IMODE(st.st_mode))
                return
            with _times_of(os.path.dirname(at)):
                os.rename(at, source)

        self._undo.append(back)

    def _copied(self, source: str, at: str, *, readonly: bool) -> None:
        copy_tree(os.path.realpath(source), at)
        if not readonly:
            self._undo.append(lambda: _replace(at, source))


@contextlib.contextmanager
def _times_of(folder: str) -> Iterator[None]:
    """Leave a folder's times as they were before something in it changed."""
    before = os.stat(folder)
    yield
    os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False


def _remove(path: str) -> None:
    if _is_folder(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def _replace(made: str, target: str) -> None:
    """Bring a changed copy back to where it came from, unless the step took it away."""
    if not _is_folder(made):
        return
    new, old = f"{target}.new", f"{target}.old"
    copy_tree(made, new, same_node(target))
    os.rename(target, old)
    os.rename(new, target)
    _remove(old)
