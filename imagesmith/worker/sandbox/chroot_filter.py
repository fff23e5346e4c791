"""Which calls of a step behind a chroot its warden answers (chroot_calls.py): the filter that hands them on.

Why not fewer: a filter sees the address of a path and not the path. Relative ones to a folder that is open,
and what makes a file that must not exist yet, or be no link, are never of /proc, and are left out. So is the
way in which Node looks at links, which it does 14,000 times in a small `npm ci`: of the 24,000 calls that
would be handed over there, 6,000 are.
Why a module of its own: the builder makes the filter, and needs nothing of what answers.
Imports the standard library and its neighbours only: the warden uses it.
Spec: seccomp(2), seccomp_unotify(2).
"""

from __future__ import annotations

import os
from functools import cache

from imagesmith.worker.sandbox import seccomp
from imagesmith.worker.sandbox.seccomp import ALLOW, ARCHES, NOTIFY, Code
from imagesmith.worker.sandbox.signals import signal_calls, signals_handed_over
from imagesmith.worker.sandbox.syscalls import Machine, numbers

__all__ = ["OTHERS", "call_table", "calls_filter"]

#: The argument that is the path, of calls that have no folder, and of those that begin at one.
_PATHS = {"open": 0, "readlink": 0, "stat": 0, "lstat": 0, "access": 0, "statfs": 0, "chmod": 0, "chown": 0,
          "setxattr": 0, "removexattr": 0, "getxattr": 0, "listxattr": 0, "lgetxattr": 0,
          "llistxattr": 0}  # fmt: skip
_PATHS_AT = {"openat": 1, "readlinkat": 1, "newfstatat": 1, "statx": 1, "faccessat": 1, "faccessat2": 1,
             "fchmodat": 1, "fchmodat2": 1, "fchownat": 1, "utimensat": 1}  # fmt: skip
#: Those whose arguments are other ones for 32-bit programs.
_WIDE = ("stat", "lstat", "newfstatat", "statfs", "utimensat", "chown")
#: Those that are not about a name of /proc.
OTHERS = ("uname", "chroot", "execve", "execveat")
_FLAGS = {"open": 1, "openat": 2}
_AT_FDCWD, _NOFOLLOW, _STATX_ALL = 0xFFFFFF9C, 0x100, 0xFFF


def calls_filter(*, scoped: bool, only_execs: bool = False) -> bytes:
    """The filter that hands calls over to the warden; empty if the machine is not known.

    scoped: Landlock holds signals.
    only_execs: nothing but what starts programs, for those that an emulator runs (execs.py).
    """
    found = seccomp.machines()
    if not found or found[0] == "i386":
        return b""
    if only_execs:
        return seccomp.assemble(((m, _execs(m)) for m in found), ALLOW)
    return seccomp.assemble(((m, _handed_over(m, scoped=scoped)) for m in found), ALLOW)


def _execs(machine: Machine) -> Code:
    known = numbers(machine)
    return seccomp.switch({known[name]: NOTIFY for name in ("execve", "execveat")}, ALLOW)


def _calls(machine: Machine) -> dict[str, int]:
    known = numbers(machine)
    names = [n for n in (*_PATHS, *_PATHS_AT) if machine != "i386" or n not in _WIDE]
    return {name: known[name] for name in (*names, *OTHERS) if name in known}


def _handed_over(machine: Machine, *, scoped: bool) -> Code:
    code: Code = [] if scoped else signals_handed_over(machine)
    always = {}
    for name, number in _calls(machine).items():
        test: Code = []
        if name in _FLAGS:
            for flags in (os.O_EXCL, os.O_CREAT | os.O_NOFOLLOW):
                test += seccomp.load(16 + 8 * _FLAGS[name]) + seccomp.masked(flags)
                test += seccomp.equal(flags, seccomp.result(ALLOW))
        if name == "statx":
            whole = seccomp.load(40) + seccomp.equal(_STATX_ALL, seccomp.result(ALLOW))
            test += seccomp.load(32) + seccomp.masked(_NOFOLLOW) + seccomp.equal(_NOFOLLOW, whole)
        if name in _PATHS_AT:
            test += [*seccomp.load(16), *seccomp.unequal(_AT_FDCWD, seccomp.result(ALLOW))]
        if test:
            code += seccomp.equal(number, test + seccomp.result(NOTIFY))
        else:
            always[number] = NOTIFY
    return code + seccomp.switch(always, ALLOW)


@cache
def call_table() -> dict[tuple[int, int], tuple[int, str]]:
    """Each call by how it is made and its number: the argument that is a path (-1 for none), and its name."""
    return {
        (ARCHES[machine], number): (_PATHS.get(name, _PATHS_AT.get(name, -1)), name)
        for machine in seccomp.machines()
        for name, number in (_calls(machine) | signal_calls(machine)).items()
    }
