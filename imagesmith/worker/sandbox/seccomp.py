"""Seccomp filters: a small assembler, and Docker's default profile written with it.

    program = docker_filter()             for kernel.install_filter, in the step's process

Why our own: the profile is one page, and libseccomp would be a library to install. Why the list names what
is refused: syscalls.py knows all calls of a machine, so both lists say the same, and the refused ones are
those worth reading. What syscalls.py does not know is answered as if the kernel did not have it, so that a
newer libc falls back to what it did before.
x32, the third way to call an x86-64 kernel, is answered like that too: few kernels have it, and no image.
Spec: seccomp(2), bpf(4) of BSD as in the kernel's networking/filter.rst; moby's profiles/seccomp/default.json
for a process with Docker's fourteen capabilities.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence

from imagesmith.worker.sandbox.syscalls import Machine, numbers

__all__ = [
    "ALLOW",
    "ARCHES",
    "FAMILIES",
    "NAMESPACES",
    "NOTIFY",
    "PERSONALITIES",
    "Code",
    "assemble",
    "at_least",
    "docker_filter",
    "equal",
    "load",
    "machines",
    "masked",
    "refuse",
    "refused_names",
    "result",
    "switch",
    "unequal",
]

ALLOW, NOTIFY = 0x7FFF0000, 0x7FC00000
_ERRNO = 0x00050000

#: The kernel's names for how a call was made (audit.h).
ARCHES: dict[Machine, int] = {"x86_64": 0xC000003E, "i386": 0x40000003, "aarch64": 0xC00000B7}

_X32 = 0x40000000
_NUMBER, _ARCH = 0, 4

#: What moby's profile leaves out, or gives to capabilities only that a step does not have.
_REFUSED = """
    acct add_key bpf fanotify_init keyctl lookup_dcookie open_by_handle_at perf_event_open quotactl
    quotactl_fd request_key sysfs syslog uselib userfaultfd ustat vhangup io_uring_enter
    io_uring_register io_uring_setup kcmp pidfd_getfd process_madvise fsconfig fsmount fsopen fspick
    listmount mount mount_setattr move_mount open_tree pivot_root statmount umount umount2 setns unshare
    setdomainname sethostname get_mempolicy mbind migrate_pages move_pages set_mempolicy
    set_mempolicy_home_node clock_settime clock_settime64 settimeofday stime reboot swapoff swapon
    kexec_file_load kexec_load create_module delete_module finit_module get_kernel_syms init_module
    query_module ioperm iopl vm86 vm86old _sysctl lsm_get_self_attr lsm_list_modules lsm_set_self_attr
    afs_syscall bdflush break ftime getpmsg gtty idle lock mpx nfsservctl nice oldfstat oldlstat
    oldolduname oldstat olduname prof profil putpmsg readdir security sgetmask sigaction signal
    sigpending sigsuspend ssetmask stty tuxcall ulimit vserver
"""
#: clone's flags that make namespaces.
NAMESPACES = 0x7E020000
PERSONALITIES = (0, 8, 0x20000, 0x20008, 0xFFFFFFFF)
#: Kinds of sockets that there are none of: AF_ALG and AF_VSOCK.
FAMILIES = (38, 40)

#: One instruction: code, jump if true, jump if false, operand.
Instruction = tuple[int, int, int, int]
Code = list[Instruction]


# --- the assembler -----------------------------------------------------------------------------


def load(offset: int) -> Code:
    """Load a word of struct seccomp_data: 16 + 8 * i is the low half of argument i."""
    return [(0x20, 0, 0, offset)]


def masked(mask: int) -> Code:
    """Keep these bits of what was loaded."""
    return [(0x54, 0, 0, mask)]


def result(action: int) -> Code:
    """End with an action."""
    return [(0x06, 0, 0, action)]


def refuse(number: int) -> int:
    """The action that answers a call with an errno; 0 says that it succeeded."""
    return _ERRNO | number


def equal(value: int, then: Code) -> Code:
    """`then` if what was loaded is `value`; otherwise it is passed over."""
    if len(then) < 256:
        return [(0x15, 0, len(then), value), *then]
    return [(0x15, 0, 1, value), (0x05, 0, 0, 1), (0x05, 0, 0, len(then)), *then]  # longer than a jump can be


def unequal(value: int, then: Code) -> Code:
    """`then`, which is short, unless what was loaded is `value`."""
    return [(0x15, len(then), 0, value), *then]


def at_least(value: int, then: Code) -> Code:
    """`then` if what was loaded is a value or above it; otherwise it is passed over."""
    return [(0x35, 0, len(then), value), *then]


def switch(actions: Mapping[int, int], default: int) -> Code:
    """Ends with the action of the call's number, which is loaded; one comparison for each run of equals."""
    code: Code = []
    action = actions.get(0, default)
    for number in sorted({n for known in actions for n in (known, known + 1)} - {0}):
        found = actions.get(number, default)
        if found != action:
            code += [(0x35, 1, 0, number), *result(action)]
            action = found
    return code + result(action)


def assemble(sections: Iterable[tuple[Machine, Code]], otherwise: int) -> bytes:
    """A program of one section for each way to make a call; the call's number is loaded for it.

    Raises:
        ValueError: it is longer than the kernel takes.
    """
    code = load(_ARCH)
    for machine, section in sections:
        code += equal(ARCHES[machine], load(_NUMBER) + section)
    code += result(otherwise)
    if len(code) > 4096:
        raise ValueError(f"a filter of {len(code)} instructions")
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


# --- Docker's profile --------------------------------------------------------------------------


def machines(name: str = "") -> Sequence[Machine]:
    """Which calls a kernel of that machine (uname's name; this one's if empty) takes; none if not known."""
    by_name: dict[str, Sequence[Machine]] = {
        "x86_64": ("x86_64", "i386"), "i686": ("i386",), "aarch64": ("aarch64",),
    }  # fmt: skip
    return by_name.get(name or os.uname().machine, ())


def docker_filter(machine: str = "", *, more: Callable[[Machine], Code] = lambda _: []) -> bytes:
    """Docker's default profile for a machine, by uname's name; empty bytes if it is not known.

    `more` is what goes before it for each way to make a call; the call's number is loaded, and is afterwards.
    """
    found = machines(machine)
    if not found:
        return b""
    return assemble(((m, more(m) + _profile(m)) for m in found), refuse(errno.EPERM))


def refused_names() -> list[str]:
    """What the profile refuses whatever the arguments are, for a runtime that makes its own filter."""
    return sorted(_REFUSED.split())


def _profile(machine: Machine) -> Code:
    known, refused = numbers(machine), set(_REFUSED.split())
    code: Code = []
    if machine == "x86_64":
        code += [(0x35, 0, 1, _X32), *result(refuse(errno.ENOSYS))]
    code += equal(known["clone3"], result(refuse(errno.ENOSYS)))  # its flags are in memory; libc takes clone
    code += equal(known["clone"], load(16) + masked(NAMESPACES) + _only((0,)))
    code += equal(known["personality"], load(16) + _only(PERSONALITIES))
    code += equal(known["socket"], load(16) + _never(FAMILIES))
    actions = {n: refuse(errno.EPERM) if name in refused else ALLOW for name, n in known.items()}
    return code + switch(actions, refuse(errno.ENOSYS))


def _only(values: Iterable[int]) -> Code:
    code: Code = []
    for value in values:
        code += equal(value, result(ALLOW))
    return code + result(refuse(errno.EPERM))


def _never(values: Iterable[int]) -> Code:
    code: Code = []
    for value in values:
        code += equal(value, result(refuse(errno.EPERM)))
    return code + result(ALLOW)
