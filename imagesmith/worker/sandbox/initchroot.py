"""A step behind a chroot, for root that may not mount: an ordinary container.

    warden    the step's parent: lays what is to be mounted into the root, waits, kills what is left, puts
              everything back
    step      initchrooted.py

Why moves: without mount(2) a folder of the builder is shown at a target by moving it there and back
afterwards, and what is at the target is moved aside meanwhile; nothing is copied, and the snapshot is as it
was. A folder of the machine (`imagesmith run -v`), or one on another file system, is copied, and a writable
one copied back: who else uses it must not miss it, nor lose it with a machine that dies.
What it cannot hold: /sys is empty, the network of the machine is seen; a write to a read-only mount, or more
than a tmpfs may hold, fails the step at its end only (initseals.py). A secret is a file of the root, with its
bytes in it while it is open (initsecrets.py). The documentation lists it. For names in /proc, and for the
host name, the warden answers in the kernel's stead (chroot_calls.py). Where root may unshare after all, a
step has /dev/shm of its size.
Imports the standard library only: the step's process uses it.
Trust: a step may put a link in place of anything in its root, also of a mount: what is put back is reached
from descriptors that were opened before it began, and no link is followed. What is moved is what was held;
what is copied is read as initcopy.py says.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import select
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from imagesmith.worker.sandbox import kernel as k
from imagesmith.worker.sandbox.initchrooted import Chrooted, Plain
from imagesmith.worker.sandbox.initcopy import copy_tree, remove_folder, same_node
from imagesmith.worker.sandbox.initends import Ends
from imagesmith.worker.sandbox.initpaths import FOLDER, Places, opened, unmake
from imagesmith.worker.sandbox.initproc import ProcFolder
from imagesmith.worker.sandbox.initprocess import Process
from imagesmith.worker.sandbox.initseals import Seal, clock_ns
from imagesmith.worker.sandbox.initsecrets import Secrets

if TYPE_CHECKING:
    from imagesmith.worker.sandbox.chroot_calls import ChrootCalls

__all__ = ["Warden", "fork_warden"]

_DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
}
#: Where links of an image to these end; by their own names the warden answers for them.
_LINKS = {"fd": "/proc/self/fd", "stdin": "null", "stdout": "null", "stderr": "null"}


def fork_warden() -> int:
    """`os.fork` for the helper, which ignores SIGTERM: a warden's waits until it is read."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    pid = -1
    try:
        pid = os.fork()
    finally:
        if pid:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


class Warden:
    """The parent of one step. Arguments as for Process."""

    def __init__(self, plan: dict[str, Any], streams: list[int], report: int, parent: int) -> None:
        self.plan, self.streams, self.report, self.parent = plan, streams, report, parent
        self.secrets = Secrets()
        self.layout = _Layout(plan["root"], self.secrets)
        self.calls: ChrootCalls | None = None
        self.ends = Ends(traced=bool(plan["emulators"]))

    def run(self) -> NoReturn:
        """Start the step, wait for it, put everything back, and end with its status."""
        status = 127
        gc.disable()  # it would look at, and so copy, all that is shared with the helper
        process = (Plain if self.plan["way"] == "plain" else Chrooted)(
            self.plan, self.streams, self.report, self.parent
        )
        try:
            k.prctl(k.PR_SET_CHILD_SUBREAPER, 1)
            wake = k.signal_fd(signal.SIGTERM)
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
            self.ends.kill_all()
            if broken := "" if status else self.layout.broken():
                process.say({"error": broken, "started": True})
            if self.calls is not None:
                process.say({"notes": list(self.calls.notes)})
            self.layout.undo()
        except OSError as e:
            process.say({"error": f"cannot put back {e.filename}: {(e.strerror or '').lower()}"})
        os._exit(status)

    def _lay(self) -> None:
        layout, plan = self.layout, self.plan
        for name in ("proc", "sys"):
            layout.places.make(f"/{name}", folder=True, stays=True).close()
        real = layout.devices("/dev")
        if plan["unotify"]:
            from imagesmith.worker.sandbox.chroot_calls import ChrootCalls  # read by the helper, if ever

            self.calls = ChrootCalls(
                plan["root"], plan["hostname"], ProcFolder(lambda: layout.proc("/proc")), real_devices=real
            )
            self.calls.emulators = plan["emulators"]
        for m in plan["mounts"]:
            layout.put(m)
        layout.seal()

    def _watch(self, process: Process, wake: int) -> int:
        """Start the step and wait until it, or the builder's patience, ends."""
        me, listening = os.pidfd_open(os.getpid()), -1
        ours, theirs = socket.socketpair()
        self.plan["listener"] = theirs.fileno()
        pid = os.fork()
        if pid == 0:
            process.parent = me
            process.run()
        for fd in (*self.streams, theirs.detach()):
            os.close(fd)
        pidfd, orders = os.pidfd_open(pid), self.plan["orders"]
        waiting = select.poll()
        ends = {pidfd, wake, self.parent}
        for fd in (*ends, self.secrets.asked, ours.fileno(), orders, self.ends.fd):
            if fd >= 0:
                waiting.register(fd, select.POLLIN)
        while True:
            events = waiting.poll(self.secrets.patience_ms)
            if self.calls is not None and (listening, select.POLLIN) in events:
                self.calls.turn()
                if len(events) == 1:
                    continue  # as nearly always
            ready = dict(events)
            if self.ends.fd in ready:
                self.ends.turn()
            if ready.keys() & ends:
                break
            if ready.get(listening, 0) & ~select.POLLIN:  # nobody is left who could make one
                waiting.unregister(listening)
            if ours.fileno() in ready:
                waiting.unregister(ours)
                self.ends.begin(pid)
                if self.calls is not None:
                    self.calls.traced = self.ends.traced
                    listening = self.calls.take(ours)
                if listening >= 0:
                    waiting.register(listening, select.POLLIN)
            if ready.get(orders, 0) & select.POLLIN:
                for number in os.read(orders, 64):
                    with contextlib.suppress(PermissionError):  # a container without CAP_KILL
                        os.kill(pid, number)
            self.secrets.turn()
        if pidfd not in ready:
            os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(self.ends.status(pid))
        return 128 - code if code < 0 else code


class _Layout:
    """What lies in the root in place of mounts, and how to put everything back."""

    def __init__(self, root: str, secrets: Secrets) -> None:
        self.root, self._secrets = root, secrets
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

    def _clear(self, target: str, *, folder: bool, stays: bool = False) -> tuple[int, str]:
        """The folder above a target, held, and its name in it; what was there is moved out of the root.

        Whatever the step puts in the place of the folder above, it stays the same.
        """
        with self.places.make(target, folder=folder, stays=stays) as spot:
            above, name = os.open(".", FOLDER, dir_fd=spot.above), spot.name
        self._aside += 1
        aside = f"{self.root}.aside{self._aside}"
        with _times_of(above):
            os.rename(name, aside, src_dir_fd=above)

        def back() -> None:
            with _times_of(above):
                _remove(above, name)
                try:
                    os.rename(aside, name, dst_dir_fd=above)
                except FileNotFoundError:  # the step took the folder away
                    where, _, left = aside.rpartition("/")
                    with opened(where) as outside:
                        _remove(outside, left)
            os.close(above)

        self._undo.append(back)
        return above, name

    def proc(self, target: str) -> int:
        """An empty folder in the place of what is there, opened."""
        above, name = self._clear(target, folder=True)
        with _times_of(above):
            os.mkdir(name, 0o755, dir_fd=above)
        return os.open(name, FOLDER, dir_fd=above)

    def devices(self, target: str) -> bool:
        """A /dev of its own; False if the nodes in it are none, or cannot be opened."""
        above, name = self._clear(target, folder=True, stays=True)
        with _times_of(above):
            os.mkdir(name, 0o755, dir_fd=above)
        real, usual = True, os.umask(0)
        with opened(name, above) as at:
            for device, numbers in _DEVICES.items():
                try:
                    os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(*numbers), dir_fd=at)
                except PermissionError:
                    os.close(os.open(device, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=at))
                    real = False
            os.mkdir("shm", 0o1777, dir_fd=at)
            for link, text in _LINKS.items():
                os.symlink(text, link, dir_fd=at)
            try:
                os.close(os.open("null", os.O_WRONLY | os.O_CLOEXEC, dir_fd=at))
            except PermissionError:  # the file system of the store is mounted nodev
                real = False
        os.umask(usual)
        return real

    def put(self, m: dict[str, Any]) -> None:
        """Show one mount at its target."""
        self._targets.append(m["target"])
        if m["kind"] == "bind":
            self._bind(m)
            return
        above, name = self._clear(m["target"], folder=m["kind"] == "tmpfs")
        with _times_of(above):
            if m["kind"] == "tmpfs":
                os.mkdir(name, dir_fd=above)
                os.chmod(name, m["mode"], dir_fd=above)
            else:
                self._file(m, above, name)
        if m["kind"] == "tmpfs" and m["size_bytes"]:
            self._seals.append(Seal(f"/proc/self/fd/{above}/{name}", m["target"], m["size_bytes"]))

    def _file(self, m: dict[str, Any], above: int, name: str) -> None:
        """A file of given bytes."""
        fd = os.open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=above)
        if m["secret"]:
            self._undo.append(self._secrets.add(fd, m).end)
            return
        with open(fd, "wb") as f:
            f.write(m["data"])
            f.flush()
            os.fchown(fd, m["uid"], m["gid"])
            os.fchmod(fd, m["mode"])

    def _bind(self, m: dict[str, Any]) -> None:
        """Show what a descriptor stands for: moved, linked, or as a copy."""
        fd, readonly = m["fd"], bool(m["flags"] & k.MS_RDONLY)
        folder = stat.S_ISDIR(os.fstat(fd).st_mode)
        above, name = self._clear(m["target"], folder=folder)
        if readonly and m["ours"]:
            self._seals.append(Seal(f"/proc/self/fd/{above}/{name}", m["target"]))
        with _times_of(above):
            if m["ours"] and folder and self._move(fd, m["source"].rpartition("/")[2], above, name):
                return
            if not folder and (m["ours"] or not readonly):
                try:
                    os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=above)  # it follows, to the very file
                except OSError as e:
                    if e.errno != errno.EXDEV:
                        raise
                else:
                    return
            source = f"/proc/self/fd/{fd}/." if folder else os.path.realpath(m["source"])
            copy_tree(source, f"/proc/self/fd/{above}/{name}")
        if folder and not readonly:
            self._undo.append(lambda: _replace(above, name, m["source"]))

    def _move(self, fd: int, source: str, above: int, name: str) -> bool:
        """Move the builder's own folder to its target; False if it is on another file system.

        It is where its `..` is, and nothing but itself is taken: it is looked at again when it has arrived.
        """
        home, st = os.open("..", FOLDER, dir_fd=fd), os.fstat(fd)
        try:
            with _times_of(home):
                os.rename(source, name, src_dir_fd=home, dst_dir_fd=above)
        except OSError as e:
            os.close(home)
            if e.errno != errno.EXDEV:
                raise
            return False

        def back() -> None:
            if _is_folder(above, name):
                with _times_of(above):
                    os.rename(name, source, src_dir_fd=above, dst_dir_fd=home)
            else:  # the step took it away
                os.mkdir(source, 0o700, dir_fd=home)
                with opened(source, home) as made:
                    os.fchown(made, st.st_uid, st.st_gid)
                    os.fchmod(made, stat.S_IMODE(st.st_mode))
            os.close(home)

        self._undo.append(back)
        if not os.path.samestat(st, os.stat(name, dir_fd=above, follow_symlinks=False)):
            raise OSError(errno.ESTALE, "the source of a mount was changed while it was mounted", source)
        return True


@contextlib.contextmanager
def _times_of(folder: int) -> Iterator[None]:
    """Leave a folder's times as they were before something in it changed."""
    before = os.fstat(folder)
    yield
    os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))


def _is_folder(above: int, name: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(name, dir_fd=above).st_mode)
    except FileNotFoundError:
        return False


def _remove(above: int, name: str) -> None:
    """Remove what a name stands for, if there is something."""
    if _is_folder(above, name):
        remove_folder(above, name)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=above)


def _replace(above: int, name: str, target: str) -> None:
    """Bring a changed copy back to where it came from, unless the step took it away."""
    if not _is_folder(above, name):
        return
    where, _, last = os.path.realpath(target).rpartition("/")
    new, old = f"{last}.new", f"{last}.old"
    with opened(where or "/") as home:
        copy_tree(f"/proc/self/fd/{above}/{name}", f"{where}/{new}", same_node(target))
        os.rename(last, old, src_dir_fd=home, dst_dir_fd=home)
        os.rename(new, last, src_dir_fd=home, dst_dir_fd=home)
        _remove(home, old)
