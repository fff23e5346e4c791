"""System calls that Python has no name for: namespaces, mounts, capabilities, filters.

Why: nothing but libc is needed to keep a step apart, so no helper binary has to be installed. ctypes is
imported by the first call, for a build that finds all in its cache needs none of it.
Imports the standard library only: the step's process uses it under `python -I -S`.
Spec: namespaces(7), mount(2), pivot_root(2), capabilities(7), seccomp(2), landlock(7).
Trust: arguments are the callers' to judge; the kernel's answers become OSError.
"""

from __future__ import annotations

import errno
import os
import struct
from functools import cache
from typing import Any

__all__ = [
    "attach",
    "bpf",
    "bpf_load",
    "capset",
    "clone",
    "close_from",
    "confine",
    "drop_bounding",
    "install_filter",
    "make_readonly",
    "mount",
    "mount_points",
    "number_of",
    "open_tree",
    "permitted",
    "pivot_root",
    "prctl",
    "set_flags",
    "set_host_name",
    "signal_fd",
    "umount",
    "unshare",
]

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
CLONE_NEWCGROUP = 0x02000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 1, 2, 4, 8, 0x20, 0x1000
MS_MOVE, MS_REC, MS_PRIVATE, MS_RELATIME = 0x2000, 0x4000, 1 << 18, 1 << 21
MNT_DETACH = 2
#: How many descriptors one message on a Unix socket carries.
SCM_MAX_FD = 253

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP = 1, 4, 24
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_SET_TIMERSLACK = 36, 38, 29
#: How late the kernel lets a sleep end, if nobody says otherwise.
USUAL_SLACK_NS = 50_000

#: Numbers that differ by machine; all calls above 423 have the same number everywhere.
_NUMBERS = {
    "x86_64": {"clone": 56, "capset": 126, "pivot_root": 155, "seccomp": 317, "bpf": 321},
    "aarch64": {"clone": 220, "capset": 91, "pivot_root": 41, "seccomp": 277, "bpf": 280},
    "riscv64": {"clone": 220, "capset": 91, "pivot_root": 41, "seccomp": 277, "bpf": 280},
    "ppc64le": {"clone": 120, "capset": 184, "pivot_root": 203, "seccomp": 358, "bpf": 361},
    "armv7l": {"clone": 120, "capset": 185, "pivot_root": 218, "seccomp": 383, "bpf": 386},
    "i686": {"clone": 120, "capset": 185, "pivot_root": 217, "seccomp": 354, "bpf": 357},
}
_CLONE3, _CLOSE_RANGE, _MOUNT_SETATTR = 435, 436, 442
_OPEN_TREE, _MOVE_MOUNT = 428, 429
_LANDLOCK_CREATE, _LANDLOCK_RESTRICT = 444, 446
_SCOPE_SOCKETS, _SCOPE_SIGNALS = 1, 2
_CLONE_INTO_CGROUP = 0x200000000
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_OPEN_TREE_CLONE, _MOVE_MOUNT_EMPTY_PATHS = 1, 0x04 | 0x40


@cache
def _libc() -> Any:  # noqa: ANN401 - a ctypes library
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        import ctypes

        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else os.fsencode(text)


def _syscall(number: int, *args: int | bytes | None) -> int:
    """A raw call; every number goes as a long, for a bare int would be cut to 32 bits."""
    import ctypes

    full = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    return int(_libc().syscall(ctypes.c_long(number), *full))


@cache
def number_of(name: str) -> int:
    """The number of a call that has another one on each machine; worked out once, it is not asked for again.

    Raises:
        OSError: the machine is not known.
    """
    machine = os.uname().machine
    try:
        return _NUMBERS[machine][name]
    except KeyError:
        raise OSError(errno.ENOSYS, f"{name} is not known on {machine}") from None


def unshare(flags: int) -> None:
    """Leave the namespaces that the flags name; see unshare(2)."""
    _check(_libc().unshare(flags), "unshare")


def clone(flags: int, group: int = -1) -> int:
    """Fork into new namespaces; returns 0 in the child. The process must have one thread only.

    Python's own hooks for forks do not run: in the child use os functions, then exec or os._exit. With the
    descriptor of a cgroup v2 folder the child is in that (Linux 5.7).
    """
    if group >= 0:
        import ctypes

        fields = (flags | _CLONE_INTO_CGROUP, 0, 0, 0, 17, 0, 0, 0, 0, 0, group)
        how = ctypes.create_string_buffer(struct.pack("=11Q", *fields), 88)
        return _check(_syscall(_CLONE3, ctypes.addressof(how), 88), "clone3")
    return _check(_syscall(number_of("clone"), flags | 17, 0, 0, 0, 0), "clone")


def mount(source: str | None, target: str, kind: str | None = None, flags: int = 0, data: str = "") -> None:
    """mount(2); the error names the target."""
    import ctypes

    result = _libc().mount(
        _bytes(source), _bytes(target), _bytes(kind), ctypes.c_ulong(flags), _bytes(data or None)
    )
    _check(result, target)


def make_readonly(target: str, flags: int = 0) -> None:
    """Make a mount and all below it read-only (Linux 5.12); `flags` adds nosuid, nodev, noexec."""
    _set_attributes(_AT_FDCWD, target, _AT_RECURSIVE, MS_RDONLY | flags)


def open_tree(fd: int) -> int:
    """Mount what a descriptor stands for, with the mounts below it, nowhere yet; a descriptor of the mount.

    Whatever the path leads to by now: nothing is looked up. It can be sent to another mount namespace.
    """
    flags = _AT_EMPTY_PATH | _AT_RECURSIVE | _OPEN_TREE_CLONE | os.O_CLOEXEC
    return _check(_syscall(_OPEN_TREE, fd, b"", flags), "open_tree")


def attach(tree: int, at: int, name: str) -> None:
    """Put what `open_tree` made over the file or folder of another descriptor; errors call that by `name`."""
    _check(_syscall(_MOVE_MOUNT, tree, b"", at, b"", _MOVE_MOUNT_EMPTY_PATHS), name)


def set_flags(tree: int, flags: int) -> bool:
    """Add read-only, nosuid, nodev, noexec to a mount; False where the kernel cannot (before Linux 5.12)."""
    try:
        _set_attributes(tree, "", _AT_EMPTY_PATH, flags)
    except OSError as e:
        if e.errno not in (errno.ENOSYS, errno.EPERM):
            raise
        return False
    return True


def _set_attributes(fd: int, path: str, how: int, flags: int) -> None:
    """mount_setattr(2); the four flags have mount(2)'s values."""
    import ctypes

    attributes = struct.pack("QQQQ", flags, 0, 0, 0)
    buffer = ctypes.create_string_buffer(attributes)
    result = _syscall(_MOUNT_SETATTR, fd, os.fsencode(path), how, ctypes.addressof(buffer), len(attributes))
    _check(result, path)


def mount_points(mountinfo: str = "/proc/self/mountinfo") -> list[str]:
    """Where something is mounted, in the order of proc(5)'s mountinfo, whose blanks are blanks again."""
    with open(mountinfo, encoding="utf-8", errors="surrogateescape") as f:
        points = [line.split(" ", 5)[4] for line in f]
    for mark, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        points = [point.replace(mark, char) for point in points]
    return points


def umount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    _check(_libc().umount2(_bytes(target), flags), target)


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2), for which libc has no function."""
    _check(_syscall(number_of("pivot_root"), _bytes(new), _bytes(old)), "pivot_root")


def prctl(option: int, value: int, third: int = 0) -> int:
    """prctl(2) with numbers only."""
    import ctypes

    long = ctypes.c_ulong
    return _check(_libc().prctl(option, long(value), long(third), long(0), long(0)), f"prctl {option}")


def set_host_name(name: str) -> None:
    """sethostname(2)."""
    raw = os.fsencode(name)
    _check(_libc().sethostname(raw, len(raw)), "sethostname")


def drop_bounding(keep: int) -> None:
    """Take every capability that is not in the mask `keep` from the bounding set."""
    for number in range(64):
        if keep >> number & 1:
            continue
        try:
            prctl(PR_CAPBSET_DROP, number)
        except OSError as e:
            if e.errno == errno.EINVAL:  # beyond the last one that this kernel knows
                return
            raise


def permitted() -> int:
    """The permitted capabilities of this process, a bit each."""
    import ctypes

    header = ctypes.create_string_buffer(struct.pack("=II", 0x20080522, 0))
    data = ctypes.create_string_buffer(24)
    number = number_of("capset") - 1  # capget, on every machine
    _check(_syscall(number, ctypes.addressof(header), ctypes.addressof(data)), "capget")
    _, low, _, _, high, _ = struct.unpack("=6I", data.raw)
    return int(low) | int(high) << 32


def capset(mask: int) -> None:
    """Make `mask` the effective and permitted capabilities, and the inheritable ones empty."""
    import ctypes

    header = ctypes.create_string_buffer(struct.pack("=II", 0x20080522, 0))
    low, high = mask & 0xFFFFFFFF, mask >> 32
    data = ctypes.create_string_buffer(struct.pack("=6I", low, low, 0, high, high, 0))
    _check(
        _syscall(number_of("capset"), ctypes.addressof(header), ctypes.addressof(data)),
        "capset",
    )


def install_filter(program: bytes, flags: int = 0) -> int:
    """Install a seccomp filter; `program` is an array of struct sock_filter.

    Returns a descriptor of the listener where `flags` has SECCOMP_FILTER_FLAG_NEW_LISTENER (8), else 0.
    """
    import ctypes

    code = ctypes.create_string_buffer(program, len(program))
    head = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(code)))
    return _check(_syscall(number_of("seccomp"), 1, flags, ctypes.addressof(head)), "seccomp")


def confine() -> None:
    """Let this process and its children reach by signals, ptrace and abstract sockets each other only.

    Raises:
        OSError: the kernel is older than Linux 6.12, has no Landlock, or a filter refuses it.
    """
    import ctypes

    rules = ctypes.create_string_buffer(struct.pack("=QQQ", 0, 0, _SCOPE_SOCKETS | _SCOPE_SIGNALS), 24)
    fd = _check(_syscall(_LANDLOCK_CREATE, ctypes.addressof(rules), 24, 0), "landlock_create_ruleset")
    try:
        if _syscall(_LANDLOCK_RESTRICT, fd, 0) < 0:  # who may not administer has to give up set-id programs
            prctl(PR_SET_NO_NEW_PRIVS, 1)
            _check(_syscall(_LANDLOCK_RESTRICT, fd, 0), "landlock_restrict_self")
    finally:
        os.close(fd)


def bpf(command: int, attributes: bytes) -> int:
    """bpf(2) with the union's bytes."""
    import ctypes

    union = ctypes.create_string_buffer(attributes, 128)
    return _check(_syscall(number_of("bpf"), command, ctypes.addressof(union), 128), "bpf")


def bpf_load(command: int, kind: int, attach: int, program: bytes) -> int:
    """Load an eBPF program; returns its descriptor."""
    import ctypes

    code = ctypes.create_string_buffer(program, len(program))
    licence = ctypes.create_string_buffer(b"Apache-2.0")
    where = len(program) // 8, ctypes.addressof(code), ctypes.addressof(licence)
    return bpf(command, struct.pack("=IIQQIIQII16sII", kind, *where, 0, 0, 0, 0, 0, b"", 0, attach))


def signal_fd(number: int) -> int:
    """A descriptor that is readable when a signal has come that is blocked; reading it takes the signal."""
    import ctypes

    mask = ctypes.create_string_buffer(struct.pack("=Q", 1 << (number - 1)), 128)
    return _check(_libc().signalfd(-1, mask, os.O_NONBLOCK | os.O_CLOEXEC), "signalfd")


def close_from(first: int) -> None:
    """Close every descriptor from `first` on."""
    if _syscall(_CLOSE_RANGE, first, 0xFFFFFFFF, 0) < 0:
        os.closerange(first, os.sysconf("SC_OPEN_MAX"))
