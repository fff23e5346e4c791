"""Which device nodes a step may open: the kernel asks a program of ours, attached to the steps' cgroup.

    imagesmith-PID-devices    a cgroup below the builder's own, without limits; steps begin in it

Why: root may make device nodes, in a container too, and layers bring some along. Those of null, zero, full,
random, urandom and tty are wanted, by debootstrap and what else makes a chroot; that of the machine's disk
must not be opened whoever made it. `nodev` refuses them all. A container's device cgroup tells them apart at
each open: as Docker has it, every node may be made, and the harmless ones opened.
A step is cloned into the group, for to enter it later costs tens of milliseconds; it looks whether it is held
(initroot.py) before a mount is without nodev. Where there is no cgroup v2 to be written, all stays nodev.
Imports the standard library only: the helper uses it.
Trust: a step cannot leave its cgroup: cgroupfs is read-only to it, and it may not mount another.
Spec: bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE; clone(2), CLONE_INTO_CGROUP; admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
from pathlib import Path

from imagesmith.worker.sandbox import kernel as k

__all__ = ["DeviceGroup", "is_held", "why_no_devices"]

_PREFIX = "imagesmith"
#: Character devices, as runc allows them: the harmless six, and terminals of the step's own devpts.
_ALLOWED = ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (136, None))
#: A character device that no driver has: refused by us it is EPERM, found missing it is ENXIO.
_NOBODYS = os.makedev(4095, (1 << 20) - 1)

_PROG_LOAD, _PROG_ATTACH, _TYPE, _ATTACH_TYPE, _ALLOW_MULTI = 5, 8, 15, 6, 2
_MKNOD, _CHAR = 1, 2


def _program() -> bytes:
    """The program, as eBPF: what is asked for (1 mknod, 2 read, 4 write) and the type are two halves."""

    def op(code: int, to: int = 0, source: int = 0, skip: int = 0, number: int = 0) -> bytes:
        return struct.pack("=BBhi", code, to | source << 4, skip, number)

    load, copy, shift, mask, equal, differs, answer, end = 0x61, 0xBC, 0x74, 0x54, 0x15, 0x55, 0xB7, 0x95
    yes, no = [op(answer, 0, number=1), op(end)], [op(answer, 0, number=0), op(end)]
    code = [
        op(load, 2, 1, 0), op(copy, 3, 2), op(shift, 3, number=16), op(mask, 2, number=0xFFFF),
        op(load, 4, 1, 4), op(load, 5, 1, 8),
        op(differs, 3, skip=2, number=_MKNOD), *yes,
        op(equal, 2, skip=2, number=_CHAR), *no,
    ]  # fmt: skip
    for major, minor in _ALLOWED:
        if minor is None:
            code += [op(differs, 4, skip=2, number=major), *yes]
        else:
            code += [op(differs, 4, skip=3, number=major), op(differs, 5, skip=2, number=minor), *yes]
    return b"".join([*code, *no])


class DeviceGroup:
    """The cgroup of one helper's steps."""

    def __init__(self) -> None:
        """Make it.

        Raises:
            OSError: there is no cgroup v2 that can be written, or no such program may be attached.
        """
        above = _own_group()
        _sweep(above)
        self._folder = above / f"{_PREFIX}-{os.getpid()}-devices"
        self._program = self.fd = -1
        try:
            self._folder.mkdir(exist_ok=True)
            self.fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._program = k.bpf_load(_PROG_LOAD, _TYPE, _ATTACH_TYPE, _program())
            self._attach(self.fd)
        except OSError:
            self.remove()
            raise

    def _attach(self, fd: int) -> None:
        k.bpf(_PROG_ATTACH, struct.pack("=IIII", fd, self._program, _ATTACH_TYPE, _ALLOW_MULTI))

    def cover(self, doors: list[str]) -> None:
        """Hold the groups that a step enters by these files as well: in cgroup v2 it leaves this one then.

        Raises:
            OSError: it cannot be.
        """
        for folder in map(os.path.dirname, doors):
            if os.path.exists(f"{folder}/cgroup.controllers"):
                fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    self._attach(fd)
                finally:
                    os.close(fd)

    def remove(self) -> None:
        """Remove it; no step is in it any more."""
        for fd in (self.fd, self._program):
            if fd >= 0:
                os.close(fd)
        self._program = self.fd = -1
        with contextlib.suppress(OSError):
            self._folder.rmdir()


def why_no_devices() -> str:
    """'' if steps of root can open harmless device nodes that they make, else the reason."""
    try:
        DeviceGroup().remove()
    except OSError as e:
        return f"{e.filename or 'cgroup v2'}: {(e.strerror or '').lower()}"
    return ""


def is_held(folder: str) -> bool:
    """True if this process is refused what is not allowed; tried with a node in a folder without nodev."""
    path = f"{folder}/.held"
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, _NOBODYS)
    except OSError:
        return False
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except PermissionError as e:
        return e.errno == 1  # EPERM; nodev and modes are EACCES
    except OSError:
        pass
    finally:
        os.unlink(path)
    return False


def _own_group() -> Path:
    """The folder of the cgroup that this process is in."""
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as f:
        path = next((line.rstrip("\n")[3:] for line in f if line.startswith("0::")), "")
    if not path:
        raise OSError(2, "this machine has no cgroup v2")
    for mounted in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
        folder = Path(mounted + path)
        if (folder / "cgroup.procs").exists() and (Path(mounted) / "cgroup.controllers").exists():
            return folder
    raise OSError(2, "cgroup v2 is not mounted")


def _sweep(above: Path) -> None:
    """Remove the groups of helpers that were killed."""
    for folder in above.glob(f"{_PREFIX}-*-devices"):
        if not os.path.exists(f"/proc/{folder.name.split('-')[1]}"):
            with contextlib.suppress(OSError):
                folder.rmdir()
