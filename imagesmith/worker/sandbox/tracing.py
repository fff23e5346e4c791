"""Changing a call of a stopped thread: its registers, and calls made in its place.

    tracee = Tracee(tid); tracee.stop(); …answer the call it waits for…; tracee.begin()
    tracee.call(MMAP, …)            a call made by the thread, with its rights and in its memory
    tracee.end(EXECVEAT, …)         let it go on with another call in place of the one that it made

Why: a seccomp listener can answer a call but not change it. ptrace can; here it is held for as long as one
call takes, or, by a warden, which has not the right to begin with every process of its step, as long as a
process lives (`Traced`). Signals are held back meanwhile, so that no handler of the step runs between.
Imports the standard library only: what answers a step's calls uses it.
Spec: ptrace(2); for x86-64 only, whose registers are named here.
Trust: the thread's memory and registers are the step's, hostile; it may be killed at any moment, which is a
ProcessLookupError.
Threads: one, for the kernel knows tracers by thread.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
from functools import cache

__all__ = ["EXECVEAT", "MMAP", "PRCTL", "Traced", "Tracee"]

MMAP, PRCTL, EXECVEAT = 9, 157, 322

_GETREGS, _SETREGS, _CONT, _DETACH, _SYSCALL = 12, 13, 7, 17, 24
_SEIZE, _INTERRUPT, _LISTEN, _GETSIGMASK, _SETSIGMASK = 0x4206, 0x4207, 0x4208, 0x420A, 0x420B
#: Tell stops of calls from those of signals; and trace what it forks, which ends when the tracer does.
_SYSGOOD, _FAMILY = 1, 2 | 4 | 8 | 0x100000
_ALL_KINDS = 0x40000000  # __WALL
_EVENT_STOP, _AT_CALL = 128, signal.SIGTRAP | 0x80
_STOPS = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
#: Places in struct user_regs_struct.
_R10, _R9, _R8, _RAX, _RDX, _RSI, _RDI, _ORIG_RAX, _RIP = 7, 8, 9, 10, 12, 13, 14, 15, 16
_REGISTERS = 27
_ARGUMENTS = (_RDI, _RSI, _RDX, _R10, _R8, _R9)
#: The length of the instruction that makes a call.
_INSTRUCTION = 2

Registers = ctypes.Array[ctypes.c_ulong]


@cache
def _ptrace() -> ctypes._NamedFuncPointer:
    found = ctypes.CDLL(None, use_errno=True).ptrace
    found.restype = ctypes.c_long
    found.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    return found


def _request(request: int, tid: int, address: int = 0, data: int = 0) -> None:
    if _ptrace()(request, tid, address, data) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "ptrace")


class Traced:
    """All processes of a step, traced from the beginning: those that its first one forks, and theirs."""

    def __init__(self, pid: int) -> None:
        self.pid, self.status = pid, -1
        _request(_SEIZE, pid, 0, _SYSGOOD | _FAMILY)

    def turn(self, *, wait: bool = False) -> None:
        """Let those that have stopped go on, bury those that have ended; with `wait` one of them at least."""
        options = _ALL_KINDS | (0 if wait else os.WNOHANG)
        while True:
            try:
                tid, status = os.waitpid(-1, options)
            except ChildProcessError:
                return
            if not tid:
                return
            self.told(tid, status)
            options |= os.WNOHANG

    def told(self, tid: int, status: int) -> None:
        """A thread has stopped or ended."""
        if not os.WIFSTOPPED(status):
            if tid == self.pid:
                self.status = status
            return
        number, event = os.WSTOPSIG(status), status >> 16
        try:
            if event == _EVENT_STOP and number in _STOPS:
                _request(_LISTEN, tid)
            else:
                _request(_CONT, tid, 0, 0 if event or number == _AT_CALL else number)
        except ProcessLookupError:
            pass  # killed meanwhile


class Tracee:
    """A thread that waits for the answer of a call. `traced`: it is traced already."""

    def __init__(self, tid: int, traced: Traced | None = None) -> None:
        self.tid, self._traced = tid, traced
        self._registers = (ctypes.c_ulong * _REGISTERS)()
        self._mask = ctypes.c_ulong()
        #: The call that it made, for `again`.
        self._made: tuple[int, tuple[int, ...]] = (0, ())

    def stop(self) -> None:
        """Stop it as soon as its call is answered.

        Raises:
            OSError: EPERM: it may not be traced by this process.
        """
        if self._traced is None:
            _request(_SEIZE, self.tid, 0, _SYSGOOD)
        _request(_INTERRUPT, self.tid)

    def begin(self) -> None:
        """Wait until it has stopped, and hold its signals back."""
        self._wait()
        _request(_GETREGS, self.tid, 0, ctypes.addressof(self._registers))
        _request(_GETSIGMASK, self.tid, 8, ctypes.addressof(self._mask))
        every = ctypes.c_ulong(0xFFFFFFFFFFFFFFFF)
        _request(_SETSIGMASK, self.tid, 8, ctypes.addressof(every))

    def call(self, number: int, *args: int) -> int:
        """Have it make a call that nothing answers but the kernel; returns what that returns.

        Raises:
            OSError: the call failed.
        """
        self._set(number, args)
        for _ in range(2):  # it begins, and ends
            _request(_SYSCALL, self.tid)
            while self._wait() != _AT_CALL:
                _request(_SYSCALL, self.tid)
        registers = (ctypes.c_ulong * _REGISTERS)()
        _request(_GETREGS, self.tid, 0, ctypes.addressof(registers))
        found = int(registers[_RAX])
        if found > (1 << 64) - 4096:
            raise OSError((1 << 64) - found, "injected call")
        return found

    def end(self, number: int, *args: int) -> None:
        """Let it go on, with this call in place of its own."""
        self._set(number, args)
        self._go()

    def give_up(self, error: int) -> None:
        """Let it go on as if its own call had failed."""
        registers = self._copy()
        registers[_RAX] = (1 << 64) - error
        registers[_ORIG_RAX] = (1 << 64) - 1
        _request(_SETREGS, self.tid, 0, ctypes.addressof(registers))
        self._go()

    def _go(self) -> None:
        _request(_SETSIGMASK, self.tid, 8, ctypes.addressof(self._mask))
        _request(_CONT if self._traced is not None else _DETACH, self.tid)

    def _copy(self) -> Registers:
        return (ctypes.c_ulong * _REGISTERS)(*self._registers)

    def _set(self, number: int, args: tuple[int, ...]) -> None:
        registers = self._copy()
        registers[_RAX] = number
        registers[_ORIG_RAX] = (1 << 64) - 1  # no call is under way that would have to be restarted
        registers[_RIP] -= _INSTRUCTION
        for place, value in zip(_ARGUMENTS, (*args, *(0,) * (6 - len(args))), strict=True):
            registers[place] = value
        _request(_SETREGS, self.tid, 0, ctypes.addressof(registers))

    def _wait(self) -> int:
        """Wait for its next stop; returns the signal that stands for it.

        Raises:
            ProcessLookupError: it has ended.
        """
        try:
            found = os.waitid(os.P_PID, self.tid, os.WEXITED | os.WSTOPPED | os.WNOWAIT | _ALL_KINDS)
            if found is not None and found.si_code in (os.CLD_EXITED, os.CLD_KILLED, os.CLD_DUMPED):
                if self._traced is not None:
                    self._traced.told(*os.waitpid(self.tid, _ALL_KINDS))
                elif not _is_child(self.tid):  # that one is its parent's to bury
                    os.waitpid(self.tid, _ALL_KINDS)
                raise ProcessLookupError(errno.ESRCH, "it has ended")
            status = os.waitpid(self.tid, _ALL_KINDS)[1]
        except ChildProcessError as e:
            raise ProcessLookupError(errno.ESRCH, "it has ended") from e
        if not os.WIFSTOPPED(status):  # it was killed between the two
            if self._traced is not None:
                self._traced.told(self.tid, status)
            raise ProcessLookupError(errno.ESRCH, "it has ended")
        return os.WSTOPSIG(status)


def _is_child(tid: int) -> bool:
    try:
        with open(f"/proc/{tid}/stat", encoding="latin-1") as f:
            return int(f.read().rpartition(")")[2].split()[1]) == os.getpid()
    except (OSError, IndexError, ValueError):
        return False
