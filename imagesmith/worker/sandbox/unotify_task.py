"""A stopped thread of the step, as its supervisor sees it: memory, paths and descriptors.

Why paths are opened here and not left to the kernel's second look: a path is bytes in the step's memory, and
another thread may change them meanwhile; what the supervisor acts on is what it has opened.
Imports the standard library only: the supervisor uses it.
Spec: proc(5), openat2(2).
Trust: what is read is the step's, hostile. Absolute paths and links are followed below its root; a descriptor
from here is a bare reference (O_PATH), so opening waits for nobody.
Threads: one.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Callable
from functools import cache

from imagesmith.worker.sandbox.initpaths import resolve
from imagesmith.worker.sandbox.notify import signed

__all__ = ["AT_EMPTY_PATH", "AT_FDCWD", "AT_NOFOLLOW", "Changing", "Kept", "Tasks", "libc", "signed"]

AT_FDCWD, AT_NOFOLLOW, AT_EMPTY_PATH = -100, 0x100, 0x1000
_OPENAT2, _IN_ROOT, _NO_LINKS = 437, 0x10, 0x04
_LOOK = os.O_PATH | os.O_CLOEXEC
_CALL, _SIZE, _EMPTY = ctypes.c_long(_OPENAT2), ctypes.c_long(24), ctypes.c_long(AT_EMPTY_PATH)
_PAGE, _PATH_MAX = 4096, 4096
#: Most paths are shorter.
_SHORT = 256
_MEMORIES = 16
#: How many files of /proc are kept open, and how much of one is looked at.
_KEPT, _PIECE = 64, 256


class Kept:
    """A file of /proc of many threads, kept open, for most calls come from the same few.

    What was opened is of the thread that had the number then: of one that is gone nothing can be read.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._fds: dict[int, int] = {}

    def read(self, tid: int) -> bytes:
        """How it begins; empty for a thread that is gone."""
        fd = self._fds.get(tid, -1)
        if fd >= 0:
            try:
                return os.pread(fd, _PIECE, 0)
            except ProcessLookupError:
                os.close(self._fds.pop(tid))
        try:
            fd = os.open(f"/proc/{tid}/{self._name}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return b""
        if len(self._fds) == _KEPT:
            os.close(self._fds.pop(next(iter(self._fds))))
        self._fds[tid] = fd
        try:
            return os.pread(fd, _PIECE, 0)
        except ProcessLookupError:
            return b""


class Changing:
    """Threads whose call the kernel was left to make, and may be making still.

    What is seen before it is done is right at that moment, and nothing to remember.
    """

    def __init__(self) -> None:
        self._number = 0
        self._begun: dict[int, int] = {}

    def called(self, tid: int, number: int) -> None:
        """A thread makes a call of that number: what it called before is done."""
        self._number = number
        if self._begun:
            self._begun.pop(tid, None)

    def begin(self, tid: int) -> None:
        """The call that is being answered will change what may be remembered."""
        self._begun[tid] = self._number

    @property
    def settled(self) -> bool:
        """True if all is done; to be asked before the look at what may be remembered."""
        while self._begun:
            tid, number = next(iter(self._begun.items()))
            if not _is_beyond(tid, number):
                return False
            del self._begun[tid]
        return True


def _is_beyond(tid: int, number: int) -> bool:
    """True if a thread is gone, or waits in another call than that one or in none."""
    try:
        with open(f"/proc/{tid}/syscall", "rb") as f:
            found = f.read(_PIECE).split(None, 1)
    except (FileNotFoundError, ProcessLookupError):
        return not os.path.exists(f"/proc/{tid}")
    except OSError:
        return False
    return bool(found) and found[0] not in (b"running", b"%d" % number)


@cache
def libc() -> ctypes.CDLL:
    """The library of this process."""
    return ctypes.CDLL(None, use_errno=True)


@cache
def _hows(resolve: int) -> dict[int, ctypes.Array[ctypes.c_char]]:
    """openat2's struct for the flags that paths are looked up with."""
    return {
        flags: ctypes.create_string_buffer(struct.pack("=QQQ", flags, 0, resolve))
        for flags in (_LOOK, _LOOK | os.O_NOFOLLOW)
    }


class Tasks:
    """The threads of one step, by their number here."""

    def __init__(self) -> None:
        self._syscall = libc().syscall
        self._how, self._plain_how = _hows(_IN_ROOT), _hows(_IN_ROOT | _NO_LINKS)
        self._memory: dict[int, int] = {}
        self._status = Kept("status")
        self._buffer = ctypes.create_string_buffer(256)
        self._told = memoryview(self._buffer).cast("B")
        self._root = -1
        #: Tells whether the call that is being answered is still there.
        self.pending: Callable[[], bool] = lambda: True
        #: Some process may have another root than the step's.
        self.many_roots = False
        #: Threads that may be changing the names or modes of folders.
        self.changing = Changing()

    def confirm(self) -> None:
        """Raise ESRCH unless the caller still waits: before anything is changed in its name.

        If it does, its number was its own all the time, and what was opened by it is not another's.
        """
        if not self.pending():
            raise OSError(errno.ESRCH, "the caller is gone")

    def umask(self, tid: int) -> int:
        """What its process takes from the modes of new files."""
        _, found, rest = self._status.read(tid).partition(b"\nUmask:")
        return int(rest.split(None, 1)[0], 8) if found else 0o22

    def need(self, tid: int, capability: int) -> None:
        """Raise EPERM unless the kernel would let it do what takes a capability."""
        if not int(_status(tid, b"CapEff:") or b"0", 16) >> capability & 1:
            raise PermissionError(errno.EPERM, "not allowed")

    # --- memory --------------------------------------------------------------------------------

    def read(self, tid: int, address: int, size: int) -> bytes:
        """Bytes of its memory.

        Raises:
            OSError: EFAULT where there is none.
        """
        for fresh in (False, True):
            fd = self._memory_of(tid, fresh=fresh)
            try:
                data = os.pread(fd, size, address)
            except (OSError, OverflowError):
                raise OSError(errno.EFAULT, "bad address") from None
            if len(data) == size:
                return data
            if data:
                break
        raise OSError(errno.EFAULT, "bad address")

    def write(self, tid: int, address: int, data: bytes | memoryview) -> None:
        """Change its memory.

        Raises:
            OSError: EFAULT where there is none.
        """
        for fresh in (False, True):
            try:
                fd = self._memory_of(tid, fresh=fresh)
                self.confirm()
                if os.pwrite(fd, data, address) == len(data):
                    return
            except (OSError, OverflowError):
                break
        raise OSError(errno.EFAULT, "bad address")

    def path(self, tid: int, address: int) -> bytes:
        """A string of its memory that names a file.

        Raises:
            OSError: EFAULT or ENAMETOOLONG.
        """
        fd = self._memory.get(tid, -1)
        if fd >= 0:
            try:
                data = os.pread(fd, min(_SHORT, _PAGE - address % _PAGE), address)
            except (OSError, OverflowError):
                raise OSError(errno.EFAULT, "bad address") from None
            end = data.find(b"\0")
            if end >= 0:
                return data[:end]
        data = b""
        while len(data) < _PATH_MAX:
            size = _PAGE - (address + len(data)) % _PAGE
            data += self.read(tid, address + len(data), size)
            end = data.find(b"\0")
            if end >= 0:
                return data[:end]
        raise OSError(errno.ENAMETOOLONG, "path too long")

    def memory(self, tid: int) -> int:
        """A descriptor of its memory, as it is now; it stays ours.

        Raises:
            OSError: it may not be looked at, or is gone.
        """
        return self._memory_of(tid, fresh=True)

    def forget(self, tid: int) -> None:
        """Its memory will be another one."""
        fd = self._memory.pop(tid, -1)
        if fd >= 0:
            os.close(fd)

    def close(self) -> None:
        """Close what is kept of threads and of their root."""
        for tid in list(self._memory):
            self.forget(tid)
        if self._root >= 0:
            os.close(self._root)
            self._root = -1

    def _memory_of(self, tid: int, *, fresh: bool) -> int:
        if fresh:  # the process that was seen first has ended, or executed something
            self.forget(tid)
        fd = self._memory.get(tid, -1)
        if fd < 0:
            if len(self._memory) >= _MEMORIES:
                self._forget_one()
            fd = self._memory[tid] = self._open_memory(tid)
        return fd

    def _forget_one(self) -> None:
        """Forget those that have ended, or the first: of who changed its ids it cannot be opened again."""
        ended = [tid for tid in self._memory if not os.path.exists(f"/proc/{tid}")]
        for tid in ended or [next(iter(self._memory))]:
            self.forget(tid)

    def _open_memory(self, tid: int) -> int:
        return os.open(f"/proc/{tid}/mem", os.O_RDWR | os.O_CLOEXEC)

    # --- files ---------------------------------------------------------------------------------

    def link(self, tid: int, dirfd: int) -> bytes:
        """The name of its working folder, or of one of its descriptors, in our /proc."""
        return b"/proc/%d/cwd" % tid if dirfd == AT_FDCWD else b"/proc/%d/fd/%d" % (tid, dirfd)

    def open_fd(self, tid: int, dirfd: int) -> int:
        """What one of its descriptors, or its working folder, refers to.

        Raises:
            OSError: EBADF.
        """
        try:
            return os.open(self.link(tid, dirfd), _LOOK)
        except FileNotFoundError:
            raise OSError(errno.EBADF, "bad file descriptor") from None

    def open(self, tid: int, dirfd: int, path: bytes, *, follow: bool) -> int:
        """What one of its paths names.

        Raises:
            OSError: as the kernel would answer.
        """
        if not path:
            raise FileNotFoundError(errno.ENOENT, "empty path")
        if not path.startswith(b"/"):
            here = self.link(tid, dirfd)
            if b"/" not in path and path != b"..":
                fd = self._open_name(here, path)
                if not follow or not stat.S_ISLNK(os.fstat(fd).st_mode):
                    return fd
                os.close(fd)
            path = self._name_of(here) + b"/" + path
        root = self._root_of(tid)
        try:
            return self._open_below(root, path, follow=follow)
        except OSError as e:
            if not follow or e.errno not in (errno.ENOENT, errno.EXDEV):
                raise
            return self._open_own(tid, path, e)
        finally:
            if root != self._root:
                os.close(root)

    def open_plainly(self, tid: int, path: bytes, *, follow: bool) -> int:
        """What an absolute path names where no link has to be followed, and all have the step's own root.

        Raises:
            OSError: it is not there, or a link is in the way.
        """
        root = self._root if self._root >= 0 else self._root_of(tid)
        how = self._plain_how[_LOOK if follow else _LOOK | os.O_NOFOLLOW]
        fd = self._syscall(_CALL, root, path, how, _SIZE)
        if fd < 0:
            raise OSError(ctypes.get_errno(), "not so plain")
        return int(fd)

    def _open_name(self, here: bytes, name: bytes) -> int:
        try:
            return os.open(here + b"/" + name, _LOOK | os.O_NOFOLLOW)
        except FileNotFoundError:
            if not os.path.lexists(here):
                raise OSError(errno.EBADF, "bad file descriptor") from None
            raise

    def _name_of(self, here: bytes) -> bytes:
        try:
            name = os.readlink(here)
        except FileNotFoundError:
            raise OSError(errno.EBADF, "bad file descriptor") from None
        if not name.startswith(b"/") or name.endswith(b" (deleted)"):
            raise FileNotFoundError(errno.ENOENT, "the folder is gone")
        return name

    def _open_below(self, root: int, path: bytes, *, follow: bool) -> int:
        how = self._how[_LOOK if follow else _LOOK | os.O_NOFOLLOW]
        for _ in range(20):
            fd = self._syscall(_CALL, root, path, how, _SIZE)
            if fd >= 0:
                return int(fd)
            number = ctypes.get_errno()
            if number != errno.EAGAIN:  # something was renamed meanwhile
                break
        raise OSError(number, os.strerror(number))

    def _open_own(self, tid: int, path: bytes, failure: OSError) -> int:
        """What leads to /proc/self, which is another for us: /dev/stdout, say."""
        real = resolve(f"/proc/{tid}/root", os.fsdecode(path))
        folder, _, number = real.rpartition("/")
        if folder not in ("/proc/self/fd", "/proc/thread-self/fd") or not number.isdecimal():
            raise failure  # the rest of it would be looked up in our root
        return os.open(f"/proc/{tid}/fd/{int(number)}", _LOOK)

    def number(self, tid: int, proc: int) -> int:
        """What the process is called in a /proc, which is the file system of that device number."""
        group = int(_status(tid, b"Tgid:"))
        if os.stat(f"/proc/{tid}").st_dev == proc:
            return group
        return int(_status(group, b"NSpid:").split()[-1])

    def root_of(self, tid: int) -> int:
        """Its root folder, to be closed."""
        return os.open(f"/proc/{tid}/root", _LOOK)

    def _root_of(self, tid: int) -> int:
        if self._root < 0:
            self._root = os.open(f"/proc/{tid}/root", _LOOK)
        if not self.many_roots:
            return self._root
        root = os.open(f"/proc/{tid}/root", _LOOK)
        if os.path.sameopenfile(root, self._root):
            os.close(root)
            return self._root
        return root

    def raw_stat(self, fd: int, number: int, size: int, mask: int = -1) -> memoryview:
        """The kernel's own struct of a file, until the next one is asked for; `mask` is statx's."""
        long, buffer = ctypes.c_long, self._buffer
        if mask >= 0:
            done = self._syscall(long(number), fd, b"", _EMPTY, long(mask), buffer)
        else:
            done = self._syscall(long(number), fd, b"", buffer, _EMPTY)
        if done < 0:
            raise OSError(ctypes.get_errno(), "stat")
        return self._told[:size]


def _status(tid: int, field: bytes) -> bytes:
    with open(f"/proc/{tid}/status", "rb") as f:
        for line in f:
            if line.startswith(field):
                return line[len(field) :]
    return b""
