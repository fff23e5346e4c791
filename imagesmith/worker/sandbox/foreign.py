"""Programs of another architecture: how they are recognised, and the command that an emulator runs them by.

    kind_of     what a program is for, from its first bytes
    command_of  for a path and who looks at files: the emulator's command, through every `#!` line

Why scripts: the kernel starts a script's interpreter itself, and one of another architecture it cannot start.
Imports the standard library only: the step's process uses it, and who answers its calls.
Spec: System V ABI, "ELF header"; execve(2), "Interpreter scripts"; qemu-user's `-0`.
Trust: what is looked at is the step's, hostile; only the first bytes of a file are.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import sys
from collections.abc import Callable, Collection
from typing import NamedTuple

__all__ = ["Command", "Kind", "can_start", "command_of", "head_of", "kind_of"]

#: How much of a file the kernel looks at (BINPRM_BUF_SIZE), and how many scripts it starts one by another.
_HEAD, _DEPTH = 256, 5
_NOEXEC = 8
#: What may be executed: ET_EXEC and ET_DYN.
_EXECUTABLE = (2, 3)


class Kind(NamedTuple):
    """What a program is for: class (1: 32 bits, 2: 64), order of bytes (1: little) and machine of ELF."""

    size: int
    order: int
    machine: int


class Command(NamedTuple):
    """What an emulator has to run.

    kind     of the program
    program  its path
    words    arguments between the program's name and those that were given, none unless a script was started
    script   True where a script was started: then the name that was given, argv[0], is left out
    """

    kind: Kind
    program: bytes
    words: tuple[bytes, ...] = ()
    script: bool = False

    def argv(self, given: list[bytes]) -> list[bytes]:
        """The emulator's arguments for those that were given."""
        name = self.program if self.script else (given or [b""])[0]
        return [b"emulator", b"-0", name, self.program, *self.words, *given[1:]]


def kind_of(head: bytes) -> Kind | None:
    """What a program that begins so is for; None if it is none that the kernel would start."""
    if len(head) < 20 or head[:4] != b"\x7fELF" or head[5] not in (1, 2):
        return None
    kind, machine = struct.unpack_from("<HH" if head[5] == 1 else ">HH", head, 16)
    return Kind(head[4], head[5], machine) if kind in _EXECUTABLE else None


def head_of(fd: int, *, bare: bool) -> bytes:
    """The first bytes of the program that a descriptor stands for.

    Args:
        fd: the descriptor.
        bare: it is a reference only (O_PATH).

    Raises:
        OSError: it is no file, nobody may execute it, or it cannot be read.
    """
    st = os.fstat(fd)
    if not stat.S_ISREG(st.st_mode) or not st.st_mode & 0o111 or os.fstatvfs(fd).f_flag & _NOEXEC:
        raise OSError(errno.ENOEXEC, "no program")
    if not bare:
        return os.pread(fd, _HEAD, 0)
    opened = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(opened, _HEAD, 0)
    finally:
        os.close(opened)


def can_start() -> bool:
    """Whether who answers a step's calls can start an emulator here: this machine's registers are known."""
    return os.uname().machine == "x86_64" and sys.maxsize > 1 << 32


def command_of(path: bytes, look: Callable[[bytes], bytes], kinds: Collection[Kind]) -> Command | None:
    """How an emulator runs what a path names; None if that is nothing for one.

    Args:
        path: of the program or script, as it was given.
        look: returns the first bytes of the program that a path names.
        kinds: those that there are emulators for.

    Raises:
        OSError: of `look`.
    """
    words: tuple[bytes, ...] = ()
    program = path
    for _ in range(_DEPTH):
        head = look(program)
        kind = kind_of(head)
        if kind is not None:
            return Command(kind, program, words, script=bool(words)) if kind in kinds else None
        line = _interpreter(head)
        if line is None:
            return None
        words = (*line[1:], program, *words)
        program = line[0]
    return None


def _interpreter(head: bytes) -> list[bytes] | None:
    """The interpreter of a script, and its argument if it has one."""
    if not head.startswith(b"#!"):
        return None
    line, end, _ = head[2:].partition(b"\n")
    words = line.strip(b" \t").split(None, 1) if b"\0" not in line else []
    if not words or (not end and len(head) == _HEAD and len(words) == 1):  # cut in the interpreter's name
        return None
    return words
