"""The root file system of a step: made in the step's own process, after it has its namespaces.

    root, proc, /dev, sysfs, masks, the old root let go, what the builder mounts, working folder

Why pivot first: afterwards every target is looked up inside the new root, so a link in an image can lead
nowhere else.
Why the old root goes before the builder's mounts come: what they show may change while they are mounted, by a
step that has the same cache; from then on nothing of the machine has a name here. Their sources came with the
request as mounts that are attached nowhere yet; their targets are held (initpaths.py). No descriptor is left
when the working folder is entered, for a path may lead through /proc/self/fd.
What had to be made for a mount to have a place is told to the helper, which removes it when the step has
ended.
Why nodev: root keeps the right to make device nodes, as in Docker. Where no cgroup tells which of them it may
open (initdevices.py), on these mounts none opens but the few that are bound into /dev one by one.
Imports the standard library only, all of it before the root changes: its own files are gone then.
Trust: the root's content is hostile, and what is mounted changes under our hands. Until the first of the
builder's mounts nobody else has this root, and the paths used are without links.
Spec: OCI runtime-spec, config-linux.md; BuildKit's executor/oci/spec_linux.go and executor/stubs.go.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import Any

from imagesmith.worker.sandbox import kernel as k
from imagesmith.worker.sandbox.initdevices import is_held
from imagesmith.worker.sandbox.initpaths import Places, resolve

__all__ = ["Root"]

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1",
          "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx"}  # fmt: skip
_MASKED = ("/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
           "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
           "/sys/devices/virtual/powercap")  # fmt: skip
_READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_QUIET = k.MS_NOSUID | k.MS_NODEV | k.MS_NOEXEC
_FILE = ".file"
#: Where owners are looked for that a file cannot have (worker/snapshot/ownership.py).
_OWNER = "user.containers.override_stat"
#: Bits of statvfs that a bind mount in a user namespace may not lose.
_LOCKED = (
    (2, k.MS_NOSUID),
    (4, k.MS_NODEV),
    (8, k.MS_NOEXEC),
    (1024, 1024),
    (2048, 2048),
    (4096, k.MS_RELATIME),
)


class Root:
    """Builds the root of one step. `plan` is the request as the builder sent it."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.insecure = bool(plan["insecure"])
        self.nodev = 0 if self.insecure or plan["devices"] else k.MS_NODEV
        self.places = Places()
        self._old = self._dev_fd = -1
        self._pivoted = False
        #: Where /proc and /sys are, links followed.
        self._at: dict[str, str] = {}

    def build(self) -> None:
        """Do everything; the process is in the new root and its working folder afterwards."""
        self._enter()
        self._proc()
        self._dev()
        if self.plan["devices"]:
            self._refuse_devices()
        self._sys()
        if not self.insecure:
            self._mask()
        self._leave()
        for mount in self.plan["mounts"]:
            self._mount(mount)
        self._settle()

    # --- the root ------------------------------------------------------------------------------

    def _enter(self) -> None:
        root = self.plan["root"]
        k.mount(None, "/", flags=k.MS_REC | k.MS_PRIVATE)
        k.mount(root, root, flags=k.MS_BIND | k.MS_REC)
        if self.nodev:
            self._remount(root, self.nodev)
        self._old = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        os.chdir(root)
        try:
            k.pivot_root(".", ".")
            self._pivoted = True
        except OSError as e:  # initramfs, or a filter that does not know the call
            if e.errno not in (errno.EINVAL, errno.EPERM, errno.ENOSYS):
                raise
            k.mount(".", "/", flags=k.MS_MOVE)
            os.chroot(".")
        os.fchdir(self._old)

    def _refuse_devices(self) -> None:
        """Go without devices where nothing keeps the step from the machine's: seen by trying one."""
        at = self._place("/dev")
        if not is_held(at):
            self.nodev = k.MS_NODEV
            for made in ("/", at):
                self._remount(made, self.nodev)

    def _leave(self) -> None:
        os.fchdir(self._old)
        if self._pivoted:
            k.umount(".", k.MNT_DETACH)
        os.close(self._old)
        os.chdir("/")

    def _settle(self) -> None:
        """Go to the working folder."""
        for fd in [self._dev_fd, *(m["fd"] for m in self.plan["mounts"] if m["kind"] == "bind")]:
            os.close(fd)
        cwd = self.plan["cwd"]
        try:
            os.chdir(cwd)
        except FileNotFoundError:
            os.makedirs(resolve("", cwd), mode=0o755)
            os.chdir(cwd)
        except PermissionError:  # only the step's user may; tried again as that user
            pass

    # --- the usual places ----------------------------------------------------------------------

    def _place(self, target: str) -> str:
        """Make one of the usual places; returns its path, links followed."""
        with self.places.make(target, folder=True, stays=True) as spot:
            self._at[target] = spot.path
            return spot.path

    def _proc(self) -> None:
        at = self._place("/proc")
        try:
            k.mount("proc", at, "proc", _QUIET)
        except OSError as e:  # inside a container that covers parts of its own
            if e.errno != errno.EPERM:
                raise
            k.mount("proc", at, flags=k.MS_BIND | k.MS_REC)

    def _dev(self) -> None:
        at = self._place("/dev")
        k.mount("tmpfs", at, "tmpfs", k.MS_NOSUID | self.nodev, "mode=755,size=65536k")
        self._dev_fd = os.open(at, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        for name in self._all_devices() if self.insecure else _DEVICES:
            os.close(os.open(f"{at}/{name}", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o666))
            k.mount(f"dev/{name}", f"{at}/{name}", flags=k.MS_BIND)
        for name, target in _LINKS.items():
            os.symlink(target, f"{at}/{name}")
        for name in ("pts", "shm", "mqueue"):
            os.mkdir(f"{at}/{name}", 0o755)
        options = "newinstance,ptmxmode=0666,mode=0620"
        try:
            k.mount("devpts", f"{at}/pts", "devpts", k.MS_NOSUID | k.MS_NOEXEC, f"{options},gid=5")
        except OSError:  # group 5 does not exist in a namespace of one id
            k.mount("devpts", f"{at}/pts", "devpts", k.MS_NOSUID | k.MS_NOEXEC, options)
        k.mount("shm", f"{at}/shm", "tmpfs", _QUIET, f"mode=1777,size={self.plan['shm_size_bytes']}")
        with contextlib.suppress(OSError):  # a kernel without message queues
            k.mount("mqueue", f"{at}/mqueue", "mqueue", _QUIET)

    def _all_devices(self) -> set[str]:
        """The device nodes of the machine, for steps that may do everything."""
        found = {name for name in os.listdir("dev") if name not in ("ptmx", "console")}
        return {n for n in found if stat.S_IFMT(os.lstat(f"dev/{n}").st_mode) in (stat.S_IFCHR, stat.S_IFBLK)}

    def _sys(self) -> None:
        at = self._place("/sys")
        flags = _QUIET | (0 if self.insecure else k.MS_RDONLY)
        try:
            k.mount("sysfs", at, "sysfs", flags)
        except OSError as e:  # only the owner of the network namespace may
            if e.errno != errno.EPERM:
                raise
            k.mount("sys", at, flags=k.MS_BIND | k.MS_REC)
            if not self.insecure:
                with contextlib.suppress(OSError):  # before Linux 5.12 the outer one's rights have to do
                    k.make_readonly(at)
            return
        groups = f"{at}/fs/cgroup"
        if not os.path.isdir(groups):
            return
        try:
            k.mount("sys/fs/cgroup", groups, flags=k.MS_BIND | k.MS_REC)
            if not self.insecure:
                k.make_readonly(groups, _QUIET)
        except OSError:  # not there, or cannot be made read-only as a whole
            with contextlib.suppress(OSError):
                k.umount(groups, k.MNT_DETACH)

    def _mask(self) -> None:
        os.fchdir(self._old)
        for path in map(self._inside, _READONLY):
            with contextlib.suppress(FileNotFoundError):
                k.mount(path, path, flags=k.MS_BIND | k.MS_REC)
                self._remount(path, k.MS_RDONLY)
        for path in map(self._inside, _MASKED):
            try:
                mode = os.stat(path).st_mode
            except OSError:
                continue
            if stat.S_ISDIR(mode):
                k.mount("tmpfs", path, "tmpfs", _QUIET | k.MS_RDONLY, "size=0k")
            else:
                k.mount("dev/null", path, flags=k.MS_BIND)  # the machine's: a step may have its own /dev

    def _inside(self, path: str) -> str:
        """A path of /proc or /sys, where those are."""
        _, top, rest = path.split("/", 2)
        return f"{self._at[f'/{top}']}/{rest}"

    # --- what the builder mounts ---------------------------------------------------------------

    def _mount(self, m: dict[str, Any]) -> None:
        flags = m["flags"] | self.nodev
        if m["kind"] == "tmpfs":
            size = f",size={m['size_bytes']}" if m["size_bytes"] else ""
            with self.places.make(m["target"], folder=True) as spot:
                os.fchdir(spot.fd)
                k.mount("tmpfs", ".", "tmpfs", flags, f"mode={m['mode']:o}{size}")
            os.chdir("/")
            return
        tree = self._file(m) if m["kind"] == "file" else m["fd"]
        with self.places.make(m["target"], folder=stat.S_ISDIR(os.fstat(tree).st_mode)) as spot:
            late = bool(flags) and not k.set_flags(tree, flags)
            k.attach(tree, spot.fd, m["target"])
            if late:
                self._remount(f"/proc/self/fd/{tree}", flags)
        if m["kind"] == "file":  # it has no name once it is mounted
            os.unlink(_FILE, dir_fd=self._dev_fd)
            os.close(tree)

    def _file(self, m: dict[str, Any]) -> int:
        """A mount of a file of given bytes on the tmpfs of /dev."""
        how = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        fd = os.open(_FILE, how, 0o600, dir_fd=self._dev_fd)
        try:
            data = memoryview(m["data"])
            while data:
                data = data[os.write(fd, data) :]
            try:
                os.fchown(fd, m["uid"], m["gid"])
            except OSError:  # an owner that the namespace does not have is kept beside the file
                with contextlib.suppress(OSError):
                    os.setxattr(fd, _OWNER, f"{m['uid']}:{m['gid']}:0{m['mode']:o}".encode())
            os.fchmod(fd, m["mode"])
            return k.open_tree(fd)
        finally:
            os.close(fd)

    def _remount(self, at: str, flags: int) -> None:
        """Add flags to a bind mount; those that its source has are kept."""
        now = os.statvfs(at).f_flag
        for bit, flag in _LOCKED:
            if now & bit:
                flags |= flag
        k.mount(None, at, flags=k.MS_BIND | k.MS_REMOUNT | flags)
