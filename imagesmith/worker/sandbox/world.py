"""The process's own place: which ids and mounts it may make, and so which sandbox RUN gets.

The ladder, best first; each rung is decided by doing it, for a file in /proc can promise what a filter or a
security module then refuses:

    root        a mount namespace of its own, so that no mount outlives the process, even after SIGKILL
    subid       a user namespace with the ids that the system lends to the user (newuidmap, newgidmap), or
                with all that root has
    single      a user namespace with one id
    chroot      root without the right to mount, in a container, which then is the boundary; elsewhere only
                where it is asked for by name
    none        no RUN; all else works

Why the builder itself enters: snapshots are then ordinary files to it, whoever owns them.
Trust: the kernel's answers, and files below /proc.
Threads: `enter` is called once, before there is a second thread; the kernel refuses it later.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Literal

from imagesmith.errors import SandboxUnavailable
from imagesmith.interfaces import Place, Sandbox
from imagesmith.values import frozen
from imagesmith.worker.sandbox import kernel as k

__all__ = ["World", "enter", "proc_is_covered"]

#: Of Docker's fourteen capabilities those that change what files a step leaves, or whether it works.
_CAPABILITIES = {
    0: "CHOWN", 1: "DAC_OVERRIDE", 3: "FOWNER", 4: "FSETID", 5: "KILL", 6: "SETGID", 7: "SETUID",
    10: "NET_BIND_SERVICE", 31: "SETFCAP",
}  # fmt: skip

Isolation = Literal["native", "chroot", "oci", "none"]

_SYS_ADMIN = 1 << 21

#: What a weaker way does not hold, by isolation and ids; `doctor` shows it, and builds with a RUN warn.
_WEAKER = {
    ("native", "single"): (
        "a process that is not root is not kept from reading files of others",
        "access lists that name users or groups are refused, and so are ports below 1024",
        "devices are empty files while a step runs",
    ),
    ("oci", "single"): ("files and processes can belong to root only",),
    ("chroot", "root"): (
        "steps see the machine's network",
        "chroot(2) is refused",
        "a write to a read-only mount fails a step at its end only",
        "device nodes are empty files while a step runs",
    ),
}


@frozen
class World:
    """What this process may do.

    isolation   how RUN is kept apart
    refused     better ways, best first, and why each is not used
    user        the id of who builds, outside of every namespace
    scoped      behind a chroot the kernel keeps a step's signals and abstract sockets to itself
    named       steps can have a host name of their own
    """

    place: Place
    isolation: Isolation
    refused: tuple[tuple[str, str], ...] = ()
    user: int = 0
    scoped: bool = False
    named: bool = True

    @property
    def hint(self) -> str:
        """The one thing to do that would improve it, or empty."""
        from imagesmith.worker.sandbox.hints import for_ids, for_run  # most builds need none

        if self.isolation == "none" or (self.isolation == "chroot" and _contained()):
            return for_run(self.refused)
        return for_ids(self.user) if self.place.ids == "single" else ""

    @property
    def weaker(self) -> tuple[str, ...]:
        """What steps here do not have of those of a build by root."""
        found = _WEAKER.get((self.isolation, self.place.ids), ())
        if self.isolation == "native" and self.place.ids in ("subid", "single") and proc_is_covered():
            found = (*found, "steps see the machine's processes: parts of its /proc are covered")
        if self.isolation == "chroot" and not self.scoped:
            found = (*found, "steps run one at a time: this kernel is older than Linux 6.12")
        if self.isolation == "chroot" and not k.permitted() & _SYS_ADMIN:  # see initprocess.py
            found = (*found, "set-uid programs give users no rights")
        if self.isolation == "chroot" and (lacking := _lacking()):
            found = (*found, f"steps lack {', '.join(lacking)}")
        return found if self.named else (*found, "steps have the machine's host name")

    def sandbox(self) -> Sandbox:
        """Make the sandbox.

        Raises:
            SandboxUnavailable: this machine offers none; one line says what is missing.
        """
        if self.isolation in ("native", "chroot"):
            from imagesmith.worker.sandbox.native import NativeSandbox, Way

            way: Way = "chroot" if self.isolation == "chroot" else "namespaces"
            native = NativeSandbox(self.place, way=way, scoped=self.scoped)
            native.start()  # it gets ready while the root is made
            return native
        if self.isolation == "oci":
            from imagesmith.worker.sandbox.ociruntime import OciSandbox

            return OciSandbox(self.place)
        reasons = "; ".join(reason for _, reason in self.refused)
        raise SandboxUnavailable(f"RUN cannot be executed here: {reasons}", hint=self.hint)


def enter(isolation: str = "auto") -> World:
    """Enter the namespaces that the wanted isolation needs, or the best that there are.

    Raises:
        SandboxUnavailable: the isolation that was asked for does not work here.
    """
    refused: list[tuple[str, str]] = []
    user = os.geteuid()
    root = user == 0
    if isolation != "chroot":
        place = (_own_mounts(refused) if root else None) or _own_users(refused)
        if place is not None:
            way: Isolation = "oci" if isolation == "oci" else "native"
            return World(place, way, tuple(refused), user, named=place.ids == "root" or _may_name())
    if isolation in ("auto", "chroot") and _chroot_works(refused):
        if isolation == "chroot" or _contained():
            k.prctl(k.PR_SET_DUMPABLE, 0)  # a step has our ids; it shall not read our memory
            place, scoped = Place(ids="root", mounts=False), not _try(k.confine)
            return World(place, "chroot", tuple(refused), user, scoped)
        refused.append(("chroot", "a chroot alone keeps no step from the machine, and this is no container"))
    world = World(Place(ids="root" if root else "own", mounts=False), "none", tuple(refused), user)
    if isolation != "auto":
        raise SandboxUnavailable(
            f"--isolation {isolation} does not work here: {refused[-1][1]}", hint=world.hint
        )
    return world


def proc_is_covered(mountinfo: str = "/proc/self/mountinfo") -> bool:
    """True if something is mounted in /proc, as in a container: user namespaces get no /proc of their own.

    What the kernel refuses is a view of more than there was; a mount over an empty folder hides nothing.
    """
    try:
        points = k.mount_points(mountinfo)
    except OSError:
        return False
    return any(p.startswith("/proc/") and p != "/proc/sys/fs/binfmt_misc" for p in points)


# --- the rungs ---------------------------------------------------------------------------------


def _own_mounts(refused: list[tuple[str, str]]) -> Place | None:
    """Root's own mount namespace."""
    try:
        _own_mount_points()
    except OSError as e:
        refused.append(
            ("root", f"root may not make mounts here ({e.filename}: {(e.strerror or '').lower()})")
        )
        return None
    return Place(ids="root", mounts=True)


def _own_mount_points() -> None:
    """A mount namespace of this process's, of which others see nothing."""
    k.unshare(k.CLONE_NEWNS)
    k.mount(None, "/", flags=k.MS_REC | k.MS_PRIVATE)


def _own_users(refused: list[tuple[str, str]]) -> Place | None:
    """A user namespace in which the process is root."""
    from imagesmith.worker.sandbox.subids import enter_with_all, lent_ids

    def act() -> None:
        _enter_single()
        k.mount("tmpfs", "/", "tmpfs")  # a security module may let the namespace be and void its rights

    failed = _try(act)
    if failed:
        refused.append(("subid", f"{_refusal(failed)} ({failed})"))
        return None
    uid, gid = os.geteuid(), os.getegid()
    lent = "" if uid == 0 else lent_ids(uid, gid)
    if isinstance(lent, str) and uid:
        refused.append(("subid", lent))
        _enter_single()
        return Place(ids="single", mounts=True)
    enter_all = enter_with_all if isinstance(lent, str) else lent.enter

    def enter_many() -> None:
        if problem := enter_all(lambda: k.unshare(k.CLONE_NEWUSER)):
            raise OSError(0, problem)

    problem = _try(enter_many)  # where but one of two maps is written, there is no way back
    if problem:
        refused.append(("subid", problem))
        _enter_single()
        return Place(ids="single", mounts=True)
    enter_many()
    _own_mount_points()
    return Place(ids="subid", mounts=True)


def _refusal(failed: str) -> str:
    """What was not to be had, by what failed on the way to a mount in a user namespace."""
    name, found, _ = failed.partition(": ")
    if not found:
        return "ids cannot be mapped in a user namespace"
    return "user namespaces are refused" if name == "unshare" else "mounts are refused in a user namespace"


def _enter_single() -> None:
    uid, gid = os.geteuid(), os.getegid()
    k.unshare(k.CLONE_NEWUSER)
    _map_single(uid, gid)
    _own_mount_points()


def _may_name() -> bool:
    """True if a host name can be set in a namespace of one's own: default Podman's filter refuses it."""
    try:
        k.unshare(k.CLONE_NEWUTS)
        k.set_host_name(os.uname().nodename)
    except OSError:
        return False
    return True


def _chroot_works(refused: list[tuple[str, str]]) -> bool:
    """True if this process is root enough for steps behind a chroot."""
    failed = "the user is not root" if os.geteuid() else _try(lambda: os.chroot("/"))
    if failed:
        refused.append(("chroot", f"a chroot needs root with its capabilities ({failed})"))
    return not failed


def _lacking() -> list[str]:
    """The capabilities that a step of root should have behind a chroot, and this process cannot hand on."""
    there = k.permitted()
    return [f"CAP_{name}" for number, name in _CAPABILITIES.items() if not there >> number & 1]


def _contained() -> bool:
    from imagesmith.worker.sandbox.container import (
        container,  # few need it, and it has expressions to compile
    )

    return bool(container())


def _map_single(uid: int, gid: int) -> None:
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        fd = os.open(f"/proc/self/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)


def _try(action: Callable[[], None]) -> str:
    """Do something in a forked child; returns what failed, or ''."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(5)
            action()
            os._exit(0)
        except OSError as e:
            what = f"{e.filename}: " if e.filename else ""
            os.write(write, f"{what}{(e.strerror or '').lower()}".encode())
        finally:
            os._exit(1)
    os.close(write)
    said = os.read(read, 4096).decode()
    os.close(read)
    _, status = os.waitpid(pid, 0)
    return said or ("" if status == 0 else "the probe was killed")
