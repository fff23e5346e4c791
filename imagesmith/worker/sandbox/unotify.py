"""A user namespace of few ids, made to look like one of all ids: the filter and its supervisor.

Why: where there is but one id, the kernel refuses a process nearly all that package managers do with owners,
ids and devices. A seccomp filter hands these calls to a supervisor, which records what was wanted and answers
as root's kernel would; layers then have the owners of a build by root. Nothing has to be installed or set up
for the user, and static programs are served as well.

    the step's process   install_filter(faked_filter(), LISTENER_FLAGS) -> listener
                         send the listener over a socket (SCM_RIGHTS), wait for one byte, go on
    the supervisor       forked before the step, serve(socket, root): receives the listener, sends the
                         byte, answers calls until the last process under the filter is gone (POLLHUP)
                         or, if none ever comes, the socket ends

In a namespace of lent ids only devices are refused, and ids above those. Most steps know no such id: their
filter (`held`) hands over devices, and changes of owner to such an id. Steps that do (largeids.py) are served
as if there was one id only, but files are given on the disk what it can hold.
The listener must be sent before anything else is called that the filter hands over, for nobody answers yet.
If the supervisor dies, each of its calls fails with ENOSYS; who started it sees that and ends the step.

What this cannot hold, in order of how often it matters (world.py has it for `doctor` and warnings):

    permissions    a process that is not root may read everything and enter every folder; what it may
                   change, and what it is told, is checked (unotify_rights.py), if by our rules and not by the
                   kernel's
    set-id bits    are cleared when root writes to such a file, as for everybody else; set-gid without the
                   right to execute stays where its owner, outside of the group, writes
    who makes      32-bit programs see all owners as root's
    access lists   with users or groups in them are refused, as by a file system that has none
    devices        are empty files in the step, and become devices in the layer
    credentials    sent over sockets (SCM_CREDENTIALS), and in /proc, are those of root

Cost: 10 to 40 us for each call of that kind; nothing for the others. What is asked of /proc for each call is
kept open, and folders that all may search are remembered until a mode or a name changes.
Imports the standard library and its neighbours only: it runs beside the step, forked by the helper.
Spec: seccomp_unotify(2), seccomp(2).
Trust: calls and their arguments are the step's, hostile; see unotify_task.py. The supervisor has no rights
that the step's own root does not have.
Threads: one; a process of its own.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagesmith.worker.sandbox import seccomp
from imagesmith.worker.sandbox.notify import Listener, listener_of
from imagesmith.worker.sandbox.seccomp import ALLOW, ARCHES, NOTIFY
from imagesmith.worker.sandbox.syscalls import Machine, numbers
from imagesmith.worker.sandbox.unotify_files import Args, FileCalls
from imagesmith.worker.sandbox.unotify_ids import IdTable, change
from imagesmith.worker.sandbox.unotify_make import MakeCalls, Opened
from imagesmith.worker.sandbox.unotify_paths import Elsewhere, Paths
from imagesmith.worker.sandbox.unotify_peers import SO_PEERCRED, Peers
from imagesmith.worker.sandbox.unotify_rights import Rights
from imagesmith.worker.sandbox.unotify_task import Tasks
from imagesmith.worker.snapshot.ownership import Owners, table_of

if TYPE_CHECKING:
    from imagesmith.worker.sandbox.execs import Starts

__all__ = ["LISTENER_FLAGS", "Supervisor", "faked_filter", "serve"]

#: A listener; and once a call is being answered, only death interrupts it, or it would be made twice.
LISTENER_FLAGS = 8 | 32

_PR_SET_KEEPCAPS = 8
#: What opens a file to change it, or makes it.
_O_CHANGES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | 0o20000000

_MAKES = ("mkdir", "mkdirat", "symlink", "symlinkat", "mknod", "mknodat", "creat", "openat2", "bind")
_FILES = ("fchownat", "statx", "execve", "execveat", "chroot", "setxattr", "lsetxattr", "fsetxattr",
          "removexattr", "lremovexattr", "fremovexattr", "listxattr", "llistxattr",
          "flistxattr")  # fmt: skip
_RIGHTS = ("access", "faccessat", "faccessat2", "unlink", "unlinkat", "rmdir", "rename", "renameat",
           "renameat2", "link", "linkat", "chmod", "fchmod", "fchmodat", "fchmodat2", "utime", "utimes",
           "futimesat", "utimensat", "utimensat_time64", "truncate", "truncate64")  # fmt: skip
#: Calls with the arguments of another one, so far as a handler looks at them.
_ALIKE = {
    "utimes": "utime",
    "utimensat_time64": "utimensat",
    "truncate64": "truncate",
}
_EXECS = ("execve", "execveat")
_STATS = ("stat", "lstat", "fstat", "newfstatat")
_CHOWNS = ("chown", "lchown", "fchown")
#: The argument that is an id which stands for none.
_NONE = 0xFFFFFFFF
_SETS = ("setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid")
_GETS = {"getuid": (0, 0), "geteuid": (0, 1), "getgid": (1, 0), "getegid": (1, 1)}
_OTHERS = ("getresuid", "getresgid", "setgroups", "getgroups")
#: What has 16 bits for an id on i386, unless its name ends in 32.
_SHORT = {*_CHOWNS, *_SETS, *_GETS, *_OTHERS}
_UNCONDITIONAL = (*_MAKES, *_FILES, *_RIGHTS, *_STATS, *_CHOWNS, *_SETS, *_GETS, *_OTHERS)


def faked_filter(machine: str = "", *, held: tuple[int, int] | None = None, execs: bool = False) -> bytes:
    """The filter for a machine, by uname's name; empty bytes if it is not known.

    Args:
        machine: this one if empty.
        held: the kernel gives files the ids below this user and this group, and processes have theirs; only
            devices and changes of owner to other ids are handed over.
        execs: and what starts programs, for those that an emulator runs (execs.py).
    """
    found = seccomp.machines(machine)
    if not found or found[0] == "i386":
        return b""
    return seccomp.assemble(
        ((m, _section(m) if held is None else _few(m, held, execs=execs)) for m in found), ALLOW
    )


def _few(machine: Machine, held: tuple[int, int], *, execs: bool) -> seccomp.Code:
    known = numbers(machine)
    code: seccomp.Code = []
    for name in _EXECS if execs else ():
        code += seccomp.equal(known[name], seccomp.result(NOTIFY))
    keep = seccomp.equal(_NONE, seccomp.result(ALLOW))
    for name in (*_CHOWNS, "fchownat"):
        number = known.get(f"{name}32" if machine == "i386" and name in _SHORT else name)
        if number is None:
            continue
        first = 2 if name == "fchownat" else 1
        group = (
            seccomp.load(24 + 8 * first)
            + seccomp.at_least(held[1], [*keep, *seccomp.result(NOTIFY)])
            + seccomp.result(ALLOW)
        )
        user = seccomp.at_least(held[0], seccomp.equal(_NONE, group) + seccomp.result(NOTIFY))
        code += seccomp.equal(number, seccomp.load(16 + 8 * first) + user + group)
    for name, argument in (("mknod", 1), ("mknodat", 2)):
        if name in known:
            kinds = [seccomp.equal(kind, seccomp.result(NOTIFY)) for kind in (stat.S_IFCHR, stat.S_IFBLK)]
            test = seccomp.load(16 + 8 * argument) + seccomp.masked(0o170000)
            code += seccomp.equal(known[name], [*test, *kinds[0], *kinds[1], *seccomp.result(ALLOW)])
    return code + seccomp.result(ALLOW)


def _section(machine: Machine) -> seccomp.Code:
    known = numbers(machine)
    code: seccomp.Code = []
    for name, argument in (("open", 1), ("openat", 2)):
        if name in known:
            code += seccomp.equal(
                known[name], _when_not(0, seccomp.load(16 + 8 * argument) + seccomp.masked(_O_CHANGES))
            )
    keep = seccomp.equal(_PR_SET_KEEPCAPS, seccomp.result(NOTIFY)) + seccomp.result(ALLOW)
    code += seccomp.equal(known["prctl"], seccomp.load(16) + keep)
    peer = seccomp.equal(SO_PEERCRED, seccomp.result(NOTIFY)) + seccomp.result(ALLOW)
    code += seccomp.equal(known["getsockopt"], seccomp.load(32) + peer)
    return code + seccomp.switch(dict.fromkeys(_handed_over(machine).values(), NOTIFY), ALLOW)


def _when_not(value: int, loaded: seccomp.Code) -> seccomp.Code:
    """Hand the call over, unless what was loaded is a value."""
    return loaded + seccomp.equal(value, seccomp.result(ALLOW)) + seccomp.result(NOTIFY)


def _handed_over(machine: Machine) -> dict[str, int]:
    """The calls that are handed over whatever their arguments are."""
    known = numbers(machine)
    found = {}
    for name in _UNCONDITIONAL:
        if machine == "i386" and name in _STATS:
            continue
        real = f"{name}32" if machine == "i386" and name in _SHORT else name
        if real in known:
            found[name] = known[real]
    return found


def serve(
    sock: socket.socket,
    root: Path,
    mounts: Sequence[tuple[str, str, str]] = (),
    *,
    real: bool = False,
    few: bool = False,
    emulators: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Be the supervisor of one step, whose root directory that is.

    Args:
        sock: where the listener comes from.
        root: what Sandbox.run was given.
        mounts: see snapshot.ownership.Owners.
        real: ids are lent; what is below the last of them is on the disk.
        few: the filter is that of a step whose processes have their ids, see `faked_filter`.
        emulators: of the request, with their descriptors.
    """
    listener = listener_of(sock)
    if listener is not None:
        supervisor = Supervisor(listener, Owners(table_of(root), real=real, mounts=mounts), few=few)
        if emulators:
            from imagesmith.worker.sandbox.execs import Starts

            supervisor.starts = Starts(emulators)
        supervisor.run()


class Supervisor:
    """Answers the calls of one step."""

    def __init__(self, listener: Listener, owners: Owners, *, few: bool = False) -> None:
        os.umask(0)
        self._listener = listener
        #: Starts programs of other architectures.
        self.starts: Starts | None = None
        self._tasks, self._ids = Tasks(), IdTable()
        self._tasks.pending = self._is_pending
        self._number = 0
        paths = Paths(self._tasks, owners)
        self._peers = Peers(self._tasks, self._ids)
        self._rights = Rights(self._tasks, self._ids, owners, paths)
        self._files = FileCalls(self._tasks, self._ids, owners, paths, few=few)
        self._makes = MakeCalls(self._tasks, self._ids, owners, paths, few=few)
        self._handlers: dict[tuple[int, int], Callable[[int, Args], int | Opened | None]] = {}
        for machine in seccomp.machines():
            known = numbers(machine)
            names = _handed_over(machine)
            names |= {
                name: known[name] for name in ("open", "openat", "prctl", "getsockopt") if name in known
            }
            for name, number in names.items():
                self._handlers[ARCHES[machine], number] = self._handler(name)

    def run(self) -> None:
        """Until no process is left under the filter."""
        called = self._tasks.changing.called
        for number, tid, arch, nr, args in self._listener.calls():
            self._number = number
            called(tid, nr)
            try:
                found = self._handlers[arch, nr](tid, args)
            except Elsewhere:
                found = None
            except OSError as e:
                self._listener.answer(number, error=e.errno or errno.EIO)
                continue
            if found is None:
                if self.starts is None or not self.starts.answer(
                    self._listener, (number, tid, arch, nr, args)
                ):
                    self._listener.let(number)
            elif isinstance(found, Opened):
                self._hand(number, found)
            else:
                self._listener.answer(number, found)

    def _is_pending(self) -> bool:
        return self._listener.pending(self._number)

    def _hand(self, number: int, opened: Opened) -> None:
        """Answer with a descriptor."""
        try:
            self._listener.hand(number, opened.fd, os.O_CLOEXEC if opened.cloexec else 0)
        finally:
            os.close(opened.fd)

    # --- ids -----------------------------------------------------------------------------------

    def _handler(self, name: str) -> Callable[[int, Args], int | Opened | None]:
        if name in _SETS:
            return lambda tid, a: self._set(tid, name, a)
        if name in _GETS:
            kind, place = _GETS[name]
            return lambda tid, _: self._get(tid, kind, place)
        if name in ("getresuid", "getresgid"):
            return lambda tid, a: self._get_three(tid, name, a)
        own = {
            "getsockopt": self._peers.getsockopt,
            "setgroups": self._set_groups,
            "getgroups": self._get_groups,
            "prctl": self._keep,
        }
        makes = name in _MAKES or name in ("open", "openat")
        handlers = self._makes if makes else self._rights if name in _RIGHTS else self._files
        found: Callable[[int, Args], int | Opened | None]
        found = own.get(name) or getattr(handlers, _ALIKE.get(name, name))
        return found

    def _set(self, tid: int, name: str, a: Args) -> int:
        ids = self._ids.get(tid)
        new = change(ids, name, tuple(value & 0xFFFFFFFF for value in a[:3]))
        if new != ids:
            self._ids.set(tid, new)
        if "fs" in name:
            return (ids.uids if name == "setfsuid" else ids.gids)[3]
        return 0

    def _get(self, tid: int, kind: int, place: int) -> int:
        ids = self._ids.get(tid)
        return (ids.gids if kind else ids.uids)[place]

    def _get_three(self, tid: int, name: str, a: Args) -> int:
        ids = self._ids.get(tid)
        for address, value in zip(a, (ids.gids if name == "getresgid" else ids.uids)[:3], strict=False):
            self._tasks.write(tid, address, struct.pack("=I", value))
        return 0

    def _set_groups(self, tid: int, a: Args) -> int:
        ids, size = self._ids.get(tid), a[0] & 0xFFFFFFFF
        if not ids.privileged:
            raise PermissionError(errno.EPERM, "not allowed")
        if size > 65536:
            raise OSError(errno.EINVAL, "too many groups")
        groups = struct.unpack(f"={size}I", self._tasks.read(tid, a[1], 4 * size)) if size else ()
        self._ids.set(tid, replace(ids, groups=tuple(sorted(groups))))
        return 0

    def _get_groups(self, tid: int, a: Args) -> int:
        groups, size = self._ids.get(tid).groups, a[0] & 0xFFFFFFFF
        if size and size < len(groups):
            raise OSError(errno.EINVAL, "too few places")
        if size and groups:
            self._tasks.write(tid, a[1], struct.pack(f"={len(groups)}I", *groups))
        return len(groups)

    def _keep(self, tid: int, a: Args) -> None:
        ids = self._ids.get(tid)
        new = replace(ids, keeps=bool(a[1]) and ids.privileged)
        if new != ids:
            self._ids.set(tid, new)
