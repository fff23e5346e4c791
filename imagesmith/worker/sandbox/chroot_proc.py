"""What a step behind a chroot finds in /proc and /dev/fd: calls with such names, answered by its warden.

Why so: nothing can be mounted, and files that lie there cannot know who reads `self`. So a filter hands the
warden what names files, and for names in /proc it does what was asked for itself, in its own /proc. All else
the kernel goes on with, in the chroot.
Why no descriptor of /proc is handed over: `..` of a folder leads to the machine, and by a file of it settings
could be opened anew for writing. What is read is a copy, a list is made in the step's own folder
(initproc.py), and of files only those that a process may write about itself are the real ones.

    /proc/self, thread-self, PID    of processes of the step, and of no other
    .../fd/N, exe, cwd, root        what is in the step's root, or has no name
    /proc/cpuinfo and its like      the machine's, as a container without chroot sees them, to be read
    mounts, mountinfo, cgroup       what a container of its own would say
    /dev/ptmx, pts/N                terminals that the step makes (chroot_ptys.py)
    /dev/null and its like          the container's, where the step cannot have nodes of its own

What cannot be had: nothing is executed by such a name, and links of the image that end here, but /etc/mtab,
lead to nothing, or to /dev/null.
Cost: 8 to 15 us for each call that is handed over and goes on.
Imports the standard library and its neighbours only: the warden uses it.
Spec: proc(5), seccomp_unotify(2).
Trust: paths are the step's, hostile; each is read once, and matched whole. What is opened is a process's
folder first, and only while that is open the process is asked for: its number cannot become another's
meanwhile.
Threads: one, the warden's.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import NamedTuple

from imagesmith.worker.sandbox.chroot_caller import Callers, Ids
from imagesmith.worker.sandbox.signals import Family

__all__ = ["DEV", "DEVICES", "MACHINE", "PREFIXES", "PUBLIC", "SELF", "WRITABLE", "Found", "Names"]

#: What each process may read of another, and of what a list of it consists.
PUBLIC = ("stat", "statm", "status", "cmdline", "comm", "cgroup", "limits", "oom_score", "oom_score_adj",
           "sessionid", "loginuid", "schedstat", "wchan", "mounts", "mountinfo")  # fmt: skip
#: What only who may trace it reads.
_PRIVATE = ("maps", "smaps", "smaps_rollup", "numa_maps", "environ", "auxv", "io", "personality",
            "coredump_filter", "sched", "uid_map", "gid_map", "projid_map", "setgroups")  # fmt: skip
WRITABLE = ("oom_score_adj", "oom_adj", "comm", "coredump_filter", "loginuid")
#: Those of the machine, for everybody to read.
MACHINE = ("cpuinfo", "meminfo", "filesystems", "version", "stat", "uptime", "loadavg", "swaps", "devices",
            "partitions", "diskstats", "vmstat", "cgroups", "cmdline", "crypto", "misc", "interrupts",
            "softirqs", "locks", "zoneinfo", "buddyinfo", "modules")  # fmt: skip
_LISTS = ("", "fd", "task")
_LINKS = ("exe", "cwd", "root")
_FILES = frozenset((*PUBLIC, *_PRIVATE, *WRITABLE))
DEV = {
    b"/dev/stdin": b"/proc/self/fd/0",
    b"/dev/stdout": b"/proc/self/fd/1",
    b"/dev/stderr": b"/proc/self/fd/2",
}
#: What is asked for only where a step's own nodes cannot be made, or opened.
DEVICES = {b"/dev/null": (1, 3), b"/dev/zero": (1, 5), b"/dev/full": (1, 7), b"/dev/random": (1, 8),
           b"/dev/urandom": (1, 9)}  # fmt: skip
#: How paths begin that may be names of /proc.
PREFIXES = (b"/proc", b"/dev/fd", b"/dev/std", b"/dev/pt", b"/etc/mtab")
#: What /etc/mtab says where it is a link, as on most systems.
_MTAB = ("/proc/mounts", "/proc/self/mounts", "../proc/mounts", "../proc/self/mounts")
#: File systems as a step is told them, in front of those that are mounted for it: device, place, kind.
_MOUNTS = (("overlay", "/", "overlay"), ("proc", "/proc", "proc"), ("tmpfs", "/dev", "tmpfs"))
SELF = (b"/proc/self", b"/proc/thread-self")
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Found(NamedTuple):
    """What a name of /proc stands for.

    folder   a descriptor of the machine's folder that it is in, to be closed
    name     its name there
    kind     "link", "file", "list", "text", "pty" or "device"
    ids      the caller's
    process  the number of the process that it is of; 0 for none
    """

    folder: int
    name: str
    kind: str
    ids: Ids
    process: int = 0
    text: bytes = b""


class Names:
    """Finds what names stand for, for the processes of one step."""

    def __init__(self, callers: Callers, family: Family, root: str, host_name: str) -> None:
        self._callers, self._family = callers, family
        self._root, self._host_name = root, host_name

    def find(self, tid: int, path: bytes) -> Found | None:
        """What a path stands for; None if it is the kernel's matter.

        Raises:
            OSError: it is a process's that is not of the step, or that the caller may not look at.
        """
        path = os.path.normpath(path)
        path = DEV.get(path, path)
        if path == b"/dev/fd" or path.startswith(b"/dev/fd/"):
            path = b"/proc/self/fd" + path[7:]
        if path.startswith(b"/proc/net/"):
            path = b"/proc/self" + path[5:]
        if path == b"/proc/mounts" or (path == b"/etc/mtab" and self._is_link()):
            path = b"/proc/self/mounts"
        if path == b"/proc/sys/kernel/hostname":
            return self._of_machine(tid, "sys/kernel/hostname", f"{self._host_name}\n".encode())
        if path.startswith(b"/dev/"):
            name = os.fsdecode(path[5:])
            if path in DEVICES:
                return Found(os.open("/dev", _FOLDER), name, "device", self._callers.ids(tid))
            if name != "ptmx" and not (name.startswith("pts/") and _is_number(name[4:])):
                return None
            return Found(os.open("/dev", _FOLDER), name, "pty", self._callers.ids(tid))
        if not path.startswith(b"/proc/"):
            return None
        name = os.fsdecode(path[6:])
        settings = name.startswith("sys/") and not name.startswith("sys/fs/binfmt_misc")
        if name in MACHINE or settings:
            return self._of_machine(tid, name)
        who, _, rest = name.partition("/")
        thread = ""
        if rest.startswith("task/"):
            thread, _, rest = rest[5:].partition("/")
        if who not in ("self", "thread-self") and not _is_number(who):
            return None
        if thread and not _is_number(thread):
            return None
        return self._of_process(tid, who, int(thread or 0), rest)

    def _of_machine(self, tid: int, name: str, text: bytes = b"") -> Found:
        return Found(
            os.open("/proc", _FOLDER), name, "text" if text else "file", self._callers.ids(tid), 0, text
        )

    def _of_process(self, tid: int, who: str, thread: int, rest: str) -> Found | None:
        kind = _kind(rest)
        if not kind:
            return None
        ids = self._callers.ids(tid)
        pid = int(who) if who.isdigit() else ids.process
        folder = self._folder(pid, ids, tid if who == "thread-self" else thread)
        try:
            if pid != ids.process and rest and rest not in PUBLIC:
                self._may_trace(pid, ids)
        except OSError:
            os.close(folder)
            raise
        text = b""
        if rest == "cgroup":
            text = b"0::/\n"
        elif rest in ("mounts", "mountinfo"):
            text = self._mounts(folder, full=rest == "mountinfo")
        return Found(folder, rest or ".", "text" if text else kind, ids, pid, text)

    def _is_link(self) -> bool:
        try:
            return os.readlink(f"{self._root}/etc/mtab") in _MTAB
        except OSError:
            return False

    def _mounts(self, folder: int, *, full: bool) -> bytes:
        """What a container would have mounted, and what is mounted in the root besides."""
        device = os.stat(self._root).st_dev
        own = f"{os.major(device)}:{os.minor(device)}"
        rows = [
            (own if place == "/" else f"0:{n}", place, kind, source)
            for n, (source, place, kind) in enumerate(_MOUNTS, 90)
        ]
        with open("mountinfo", encoding="utf-8", errors="replace", opener=_opener(folder)) as f:
            for line in f:
                words, _, rest = line.partition(" - ")
                kind, source, *_ = rest.split()
                rows.append((words.split()[2], words.split()[4], kind, source))
        if full:
            lines = [f"{n} {89 if n == 90 else 90} {dev} / {place} rw,relatime - {kind} {source} rw\n"
                     for n, (dev, place, kind, source) in enumerate(rows, 90)]  # fmt: skip
        else:
            lines = [f"{source} {place} {kind} rw,relatime 0 0\n" for _, place, kind, source in rows]
        return "".join(lines).encode()

    def _folder(self, pid: int, ids: Ids, thread: int) -> int:
        """The folder of a process of the step in the machine's /proc."""
        try:
            fd = os.open(f"/proc/{pid}" + (f"/task/{thread}" if thread else ""), _FOLDER)
        except FileNotFoundError:
            raise FileNotFoundError(errno.ENOENT, "no such process") from None
        try:
            if pid == ids.process:
                self._callers.confirm()
            elif not (
                self._family.has(pid) and self._family.has(pid)
            ):  # again, when its parent may have died
                raise FileNotFoundError(errno.ENOENT, "not the step's")
            return fd
        except BaseException as e:
            os.close(fd)
            if isinstance(e, ProcessLookupError):
                raise FileNotFoundError(errno.ENOENT, "no such process") from None
            raise

    def _may_trace(self, pid: int, ids: Ids) -> None:
        """Raise EACCES unless the caller's user is root, or the only one of the process."""
        other = self._callers.ids(pid)
        if ids.uid and ({*other.uids} != {ids.uid} or {*other.gids} != {ids.gids[3]}):
            raise PermissionError(errno.EACCES, "not the caller's")


def _opener(folder: int) -> Callable[[str, int], int]:
    """For open(): a name in a folder."""
    return lambda name, flags: os.open(name, flags | os.O_CLOEXEC, dir_fd=folder)


def _is_number(text: str) -> bool:
    """True if it is a number as the kernel writes those of processes and descriptors."""
    return text.isascii() and text.isdigit() and len(text) <= 10 and (text == "0" or text[0] != "0")


def _kind(name: str) -> str:
    """Of what kind a name in the folder of a process is; '' for what is none of a step's."""
    if name in _LISTS:
        return "list"
    folder, _, last = name.partition("/")
    if name in _LINKS or (folder == "fd" and _is_number(last)):
        return "link"
    simple = last.isascii() and last.replace("_", "").isalnum()
    if name in _FILES or (folder == "net" and simple) or (folder == "fdinfo" and _is_number(last)):
        return "file"
    return ""
