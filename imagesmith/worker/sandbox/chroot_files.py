"""File calls of a step behind a chroot that name something in /proc or /dev/fd; see chroot_proc.py for why.

Each returns what the call answers, `Opened` for a descriptor, or None where the kernel goes on with it.
What is read is a copy in memory: of files of /proc themselves only those are handed over that a process may
write about itself (its name, its score for want of memory).
Imports the standard library and its neighbours only: the warden uses it.
Spec: open(2), readlink(2), stat(2), access(2), statfs(2); proc(5).
Trust: arguments are the step's, hostile. Who calls has the rights of its user here too. What a descriptor
refers to is opened anew only if it lies in the step's root or in no folder. Nothing here waits: what is
opened is opened without (O_NONBLOCK), for it may be a pipe, or a secret that waits for this very process.
Threads: one, the warden's.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from typing import TypeVar

from imagesmith.worker.sandbox.chroot_caller import Callers
from imagesmith.worker.sandbox.chroot_proc import DEV, DEVICES, MACHINE, PUBLIC, SELF, WRITABLE, Found, Names
from imagesmith.worker.sandbox.chroot_ptys import Ptys
from imagesmith.worker.sandbox.initproc import ProcFolder
from imagesmith.worker.sandbox.signals import Family
from imagesmith.worker.sandbox.syscalls import Machine, numbers
from imagesmith.worker.sandbox.unotify_task import AT_NOFOLLOW, signed

__all__ = ["Args", "FileCalls", "Opened"]

Args = tuple[int, ...]
T = TypeVar("T")
_LOOK = os.O_PATH | os.O_CLOEXEC
#: What a caller's own flags decide when something is opened for it.
_TAKEN = os.O_ACCMODE | os.O_APPEND | os.O_DIRECTORY | os.O_TRUNC | os.O_SYNC | os.O_NOATIME | 0x400000
#: How much (bytes) is read of a file of /proc.
_MOST = 1 << 24
_TTYS = range(136, 144)
_STAT_SIZES = {"x86_64": 144, "aarch64": 128}
_STATX_SIZE, _STATFS_SIZE = 256, 120


class Opened:
    """A descriptor for the caller, closed when it has been handed over."""

    def __init__(self, fd: int, flags: int) -> None:
        self.fd, self.cloexec = fd, bool(flags & os.O_CLOEXEC)


class FileCalls:
    """The file calls of one step."""

    def __init__(
        self, callers: Callers, family: Family, names: Names, proc: ProcFolder, root: str, machine: Machine
    ) -> None:
        self.callers, self._family, self._names = callers, family, names
        self._proc, self._root = proc, root
        self._ptys = Ptys(callers)
        known = numbers(machine)
        self._stat, self._statx = known["newfstatat"], known["statx"]
        self._statfs, self.utimensat_number = known["statfs"], known["utimensat"]
        self._stat_size = _STAT_SIZES.get(machine, 0)

    # --- names ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def found(self, tid: int, path: bytes) -> Iterator[Found | None]:
        """What a path stands for, for as long as the context lasts."""
        found = self._names.find(tid, path)
        try:
            yield found
        finally:
            if found is not None:
                os.close(found.folder)

    def _text(self, found: Found) -> str:
        """What a link says, as the step sees it.

        Raises:
            OSError: EACCES for what lies outside of its root.
        """
        with self.callers.acting_as(found.ids):
            text = os.readlink(found.name, dir_fd=found.folder)
        return self._seen(text)

    def _seen(self, text: str) -> str:
        """A path of ours as the step sees it; see `_text`."""
        if not text.startswith("/") or text.startswith(("/memfd:", "/proc/", "/dev/pts/", "/dev/ptmx")):
            return text
        if text == self._root or text.startswith(f"{self._root}/"):
            return text[len(self._root) :] or "/"
        raise PermissionError(errno.EACCES, "outside of the root")

    @contextlib.contextmanager
    def target(self, found: Found) -> Iterator[int]:
        """A bare reference to what a link leads to, for as long as the context lasts.

        Raises:
            OSError: EACCES for what lies outside of the step's root, and has a name there.
        """
        with self.callers.acting_as(found.ids):
            fd = os.open(found.name, _LOOK, dir_fd=found.folder)
        try:
            text, st = os.readlink(f"/proc/self/fd/{fd}"), os.fstat(fd)
            inside = text == self._root or text.startswith((f"{self._root}/", "/memfd:"))
            tty = stat.S_ISCHR(st.st_mode) and os.major(st.st_rdev) in _TTYS
            if text.startswith("/") and not (inside or (tty and found.name.startswith("fd/"))):
                raise PermissionError(errno.EACCES, "outside of the root")
            yield fd
        finally:
            os.close(fd)

    # --- open ----------------------------------------------------------------------------------

    def open(self, tid: int, a: Args) -> Opened | None:
        """open(path, flags)."""
        return self._open(tid, a[0], a[1] & 0xFFFFFFFF)

    def openat(self, tid: int, a: Args) -> Opened | None:
        """openat(AT_FDCWD, path, flags)."""
        return self._open(tid, a[1], a[2] & 0xFFFFFFFF)

    def _open(self, tid: int, address: int, flags: int) -> Opened | None:
        path = self.callers.path(tid, address)
        if os.path.normpath(path) == b"/proc":
            self._proc.list_processes(self._family.members(), MACHINE)
            return None
        with self.found(tid, path) as found:
            if found is None:
                return None
            if found.kind == "link":
                return Opened(self._reopen(found, flags), flags)
            if found.kind == "pty":
                return Opened(self._open_pty(found, flags), flags)
            if found.kind == "device":
                return Opened(self._open_device(found, flags), flags)
            if found.kind == "list":
                return Opened(self._list(found, flags), flags)
            if flags & os.O_DIRECTORY:
                raise NotADirectoryError(errno.ENOTDIR, "not a folder")
            if flags & os.O_ACCMODE and not flags & os.O_PATH:
                return Opened(self._open_to_write(found, flags), flags)
            return Opened(self._copy(found), flags)

    def open_terminal(self, tid: int, path: bytes, flags: int) -> Opened | None:
        """Open one of the step's terminals by its name; None if it is none."""
        with self.found(tid, path) as found:
            return Opened(self._open_pty(found, flags), flags) if found and found.kind == "pty" else None

    def _reopen(self, found: Found, flags: int) -> int:
        """What a descriptor refers to, opened anew."""
        if flags & os.O_NOFOLLOW:
            raise OSError(errno.ELOOP, "a link")
        with self.target(found) as look:
            if flags & os.O_PATH:
                return os.dup(look)
            with self.callers.acting_as(found.ids):
                own = flags & _TAKEN | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
                fd = os.open(f"/proc/self/fd/{look}", own)
        return _waiting(fd, flags)

    def _open_pty(self, found: Found, flags: int) -> int:
        if flags & (os.O_PATH | os.O_DIRECTORY):
            raise NotADirectoryError(errno.ENOTDIR, "a device")
        fd = self._ptys.open(found.name.rpartition("/")[2], flags & (os.O_ACCMODE | os.O_APPEND), found.ids)
        return _waiting(fd, flags)

    def _open_device(self, found: Found, flags: int) -> int:
        """One of the container's that do no harm."""
        with self.callers.acting_as(found.ids):
            fd = os.open(found.name, flags & _TAKEN | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=found.folder)
        st = os.fstat(fd)
        numbers = DEVICES[b"/dev/" + found.name.encode()]
        if stat.S_ISCHR(st.st_mode) and (os.major(st.st_rdev), os.minor(st.st_rdev)) == numbers:
            return _waiting(fd, flags)
        os.close(fd)
        raise OSError(errno.ENXIO, "no such device")

    def _open_to_write(self, found: Found, flags: int) -> int:
        if not found.process or found.name not in WRITABLE:
            raise PermissionError(errno.EACCES, "not to be written")
        with self.callers.acting_as(found.ids):
            own = flags & os.O_ACCMODE | os.O_NOFOLLOW | os.O_CLOEXEC
            return os.open(found.name, own, dir_fd=found.folder)

    def _copy(self, found: Found) -> int:
        """A file of the same bytes."""
        data = found.text or self._read(found)
        memory = os.memfd_create(found.name.rpartition("/")[2])
        try:
            os.fchmod(memory, 0o444)
            left = memoryview(data)
            while left:
                left = left[os.write(memory, left) :]
            return os.open(f"/proc/self/fd/{memory}", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(memory)

    def _read(self, found: Found) -> bytes:
        with self.callers.acting_as(found.ids):
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            name = found.name if found.process else f"/proc/{found.name}"
            fd = os.open(name, flags, dir_fd=found.folder)
        with open(fd, "rb", buffering=0) as f:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise FileNotFoundError(errno.ENOENT, "a folder")
            data = b""
            while len(data) < _MOST and (more := f.read(1 << 16)):
                data += more
        return data.replace(os.fsencode(f"{self._root}/"), b"/") if "maps" in found.name else data

    def _list(self, found: Found, flags: int) -> int:
        """A folder of the step's own that lists what the other one does."""
        if flags & os.O_ACCMODE:
            raise IsADirectoryError(errno.EISDIR, "a folder")
        with self.callers.acting_as(found.ids):
            within = os.open(found.name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=found.folder)
        try:
            if found.name == "task":
                return self._proc.list_threads(found.process, os.listdir(within))
            if found.name == "fd":
                names = os.listdir(within)
                return self._proc.list_links(found.process, self._links(found, [f"fd/{n}" for n in names]))
        finally:
            os.close(within)
        files = {}
        for name in PUBLIC:
            with contextlib.suppress(OSError):
                files[name] = found._replace(name=name, text=b"").text or self._read(
                    found._replace(name=name)
                )
        return self._proc.list_process(found.process, files, self._links(found, ["exe", "cwd"]))

    def _links(self, found: Found, names: list[str]) -> dict[str, str]:
        """Links and what they say, as far as they are there."""
        links = {}
        for name in names:
            with contextlib.suppress(OSError):
                links[name.rpartition("/")[2]] = self._text(found._replace(name=name))
        return links

    # --- looking -------------------------------------------------------------------------------

    def readlink(self, tid: int, a: Args) -> int | None:
        """readlink(path, buffer, size)."""
        return self._readlink(tid, *a[:3])

    def readlinkat(self, tid: int, a: Args) -> int | None:
        """readlinkat(AT_FDCWD, path, buffer, size)."""
        return self._readlink(tid, *a[1:4])

    def _readlink(self, tid: int, address: int, buffer: int, size: int) -> int | None:
        path = self.callers.path(tid, address)
        if path == b"/proc/self/exe" and (own := _program(tid)):
            text = self._seen(own)
        elif path in SELF:
            process = self.callers.ids(tid).process
            text = f"{process}" if path == b"/proc/self" else f"{process}/task/{tid}"
        elif path == b"/dev/fd":
            return None
        elif path in DEV:
            text = os.fsdecode(DEV[path])
        else:
            with self.found(tid, path) as found:
                if found is None:
                    return None
                if found.kind != "link":
                    raise OSError(errno.EINVAL, "no link")
                text = self._text(found)
        if signed(size) <= 0:
            raise OSError(errno.EINVAL, "no room")
        data = os.fsencode(text)[: signed(size)]
        self.callers.write(tid, buffer, data)
        return len(data)

    def stat(self, tid: int, a: Args) -> int | None:
        """stat(path, buffer)."""
        return self._tell(tid, a[0], a[1], follow=True)

    def lstat(self, tid: int, a: Args) -> int | None:
        """lstat(path, buffer)."""
        return self._tell(tid, a[0], a[1], follow=False)

    def newfstatat(self, tid: int, a: Args) -> int | None:
        """newfstatat(AT_FDCWD, path, buffer, flags)."""
        return self._tell(tid, a[1], a[2], follow=not a[3] & AT_NOFOLLOW)

    def statx(self, tid: int, a: Args) -> int | None:
        """statx(AT_FDCWD, path, flags, mask, buffer)."""
        return self._tell(tid, a[1], a[4], follow=not a[2] & AT_NOFOLLOW, mask=a[3] & 0xFFFFFFFF)

    def _tell(self, tid: int, address: int, buffer: int, *, follow: bool, mask: int = -1) -> int | None:
        def raw(fd: int) -> memoryview:
            if mask >= 0:
                return self.callers.raw_stat(fd, self._statx, _STATX_SIZE, mask)
            return self.callers.raw_stat(fd, self._stat, self._stat_size)

        data = self.look(tid, address, raw, follow=follow)
        if data is None:
            return None
        self.callers.write(tid, buffer, data)
        return 0

    def access(self, tid: int, a: Args) -> int | None:
        """access(path, mode)."""
        return self._access(tid, a[0], a[1])

    def faccessat(self, tid: int, a: Args) -> int | None:
        """faccessat(AT_FDCWD, path, mode), and faccessat2."""
        return self._access(tid, a[1], a[2])

    def _access(self, tid: int, address: int, wanted: int) -> int | None:
        st = self.look(tid, address, os.fstat, follow=True)
        if st is None:
            return None
        ids = self.callers.ids(tid)
        uid, gid, groups = ids.uids[0], ids.gids[0], ids.groups
        shift = 6 if uid == st.st_uid else 3 if st.st_gid in (gid, *groups) else 0
        held = st.st_mode >> shift if uid else 0o6 | bool(st.st_mode & 0o111)
        if wanted & 7 & ~held:
            raise PermissionError(errno.EACCES, "not allowed")
        return 0

    def look(self, tid: int, address: int, how: Callable[[int], T], *, follow: bool) -> T | None:
        """Look at what a path names; None if it is the kernel's matter."""
        path = self.callers.path(tid, address)
        if not follow and path in (*DEV, b"/dev/fd"):
            return None
        with self.found(tid, path) as found:
            if found is None:
                return None
            if found.kind == "pty" and found.name != "ptmx":
                self._ptys.check(found.name[4:])
            if follow and found.kind == "link":
                with self.target(found) as fd, self.callers.acting_as(found.ids):
                    return how(fd)
            with self.callers.acting_as(found.ids):
                name = found.name if follow or path not in SELF else os.fsdecode(path)
                fd = os.open(name, _LOOK | os.O_NOFOLLOW, dir_fd=found.folder)
            try:
                return how(fd)
            finally:
                os.close(fd)

    def statfs(self, tid: int, a: Args) -> int | None:
        """statfs(path, buffer): the folder is a /proc."""
        path = self.callers.path(tid, a[0])
        if os.path.normpath(path) != b"/proc":
            with self.found(tid, path) as found:
                if found is None or found.kind == "link":
                    return None
        buffer = ctypes.create_string_buffer(_STATFS_SIZE)
        if self.callers.call(self._statfs, b"/proc", buffer) < 0:
            return None
        self.callers.write(tid, a[1], buffer.raw)
        return 0


def _waiting(fd: int, flags: int) -> int:
    """A descriptor that was opened without waiting, for who may wait."""
    if not flags & os.O_NONBLOCK:
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_NONBLOCK)
    return fd


def _program(tid: int) -> str:
    """What a thread executes; '' if that takes another's rights. Many programs ask for it as they begin."""
    try:
        return os.readlink(f"/proc/{tid}/exe")
    except OSError:
        return ""
