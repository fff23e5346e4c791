"""Programs of another architecture that a step starts: each of its execve calls becomes one of an emulator.

Why: the kernel starts them by itself only where an emulator is registered in binfmt_misc, which root of the
machine may do, or who has a user namespace of its own (worker/binfmt.py). Elsewhere what a step starts is
looked at by whoever answers its calls: the emulator's descriptor is put into the process, and the call is
made again as execveat of that descriptor, with the emulator's arguments before the program's own.
So nothing is added to the step's root, and there is no path by which a step could put another file in the
emulator's place. What runs has the step's ids, filter and limits, for it is the step's own process.

    1  a call comes; the program, through its `#!` lines, is opened and looked at
    2  one of this machine, or none: the kernel goes on, and says what is wrong
    3  the process is stopped, its call answered; memory for the arguments is made in it, and written
    4  it makes the new call, which comes here too and is let through

Cost: 0.5 to 0.7 ms for a program that is started, of the 20 that a busybox takes under qemu.
Imports the standard library and its neighbours only: what answers a step's calls uses it.
Spec: seccomp_unotify(2), execveat(2), ptrace(2).
Trust: the call's arguments are the step's, hostile, and may change while they are looked at: whatever it has
then is executed by itself, in its own sandbox. Sizes are bounded.
Threads: one.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from imagesmith.worker.sandbox.foreign import Command, Kind, command_of, head_of
from imagesmith.worker.sandbox.notify import Call, Listener, signed
from imagesmith.worker.sandbox.tracing import EXECVEAT, MMAP, PRCTL, Traced, Tracee
from imagesmith.worker.sandbox.unotify_task import AT_EMPTY_PATH, AT_FDCWD, AT_NOFOLLOW, Tasks

__all__ = ["Execs", "Starts", "is_exec"]

_X86_64, _EXECVE = 0xC000003E, 59
_WORD, _PAGE = 8, 4096
#: How many arguments a program is started with at most; the kernel's own limit is of bytes.
_MOST_WORDS = 1 << 20
_MOST_EXPECTED = 1024
_READ_WRITE, _PRIVATE = 3, 0x22
_SET_DUMPABLE = 4
_CLOEXEC = os.O_CLOEXEC

#: For a thread: to have its rights to files as long as the context lasts.
Acting = Callable[[int], AbstractContextManager[None]]


def is_exec(arch: int, number: int) -> bool:
    """Whether a call, by how it is made and its number, starts a program, and can be changed here."""
    return arch == _X86_64 and number in (_EXECVE, EXECVEAT)


class Execs:
    """Answers the calls of one step that start programs.

    emulators  the descriptor of an emulator for each kind of program
    tasks      the step's threads
    acting     how to have a thread's rights, if it takes that to look at what it names
    traced     the step's processes, where they are traced from the beginning
    """

    def __init__(
        self,
        emulators: Mapping[Kind, int],
        tasks: Tasks,
        acting: Acting | None = None,
        traced: Traced | None = None,
    ) -> None:
        self._emulators, self._tasks, self._traced = emulators, tasks, traced
        self._acting: Acting = acting or (lambda _: nullcontext())
        self._expected: dict[int, tuple[int, ...]] = {}
        self._uncovered = -1

    def answer(self, listener: Listener, number: int, tid: int, nr: int, args: Sequence[int]) -> None:
        """Answer one call."""
        if self._expected.pop(tid, None) == (nr, *args):
            self._tasks.forget(tid)
            listener.let(number)
            return
        hidden, command = False, None
        uncovered, self._uncovered = self._uncovered == tid, -1
        try:
            command = self._command(tid, nr, args)
        except PermissionError:
            hidden = self._traced is not None and not uncovered
        except (OSError, ValueError):
            pass  # the kernel says what is wrong
        try:
            if command is not None:
                self._change(listener, number, tid, nr, args, command)
            elif hidden:
                self._uncover(listener, number, tid, nr, args)
            else:
                self._tasks.forget(tid)
                listener.let(number)
        except ProcessLookupError:
            self._tasks.forget(tid)  # killed meanwhile
        except OSError:
            listener.let(number)  # if it still waits

    # --- what is to be started -----------------------------------------------------------------

    def _command(self, tid: int, nr: int, args: Sequence[int]) -> Command | None:
        """The emulator's command; None where the kernel shall go on by itself."""
        at, address, flags = AT_FDCWD, args[0], 0
        if nr == EXECVEAT:
            at, address, flags = signed(args[0]), args[1], args[4]
        given = self._tasks.path(tid, address)
        with self._acting(tid):
            return self._command_of(tid, at, given, flags)

    def _command_of(self, tid: int, at: int, given: bytes, flags: int) -> Command | None:
        path = given
        if at != AT_FDCWD and not given.startswith(b"/"):
            path = _by_descriptor(tid, at, given, empty=bool(flags & AT_EMPTY_PATH))

        def look(name: bytes) -> bytes:
            if name == path != given:
                fd = self._tasks.open(tid, at, given, follow=True) if given else self._tasks.open_fd(tid, at)
            else:
                follow = name != path or not flags & AT_NOFOLLOW
                fd = self._tasks.open(tid, AT_FDCWD, name, follow=follow)
            try:
                self._check(tid, fd)
                return head_of(fd, bare=True)
            finally:
                os.close(fd)

        return command_of(path, look, self._emulators)

    def _check(self, tid: int, fd: int) -> None:
        """Raise unless the mode of a file lets a thread execute it."""
        st = os.fstat(fd)
        with open(f"/proc/{tid}/status", "rb") as f:
            fields = dict(line.split(b":", 1) for line in f if b":" in line)
        uid, gid = int(fields[b"Uid"].split()[3]), int(fields[b"Gid"].split()[3])
        if uid == 0:
            bits = 0o111
        elif uid == st.st_uid:
            bits = 0o100
        elif st.st_gid in (gid, *map(int, fields[b"Groups"].split())):
            bits = 0o010
        else:
            bits = 0o001
        if not st.st_mode & bits:
            raise OSError(errno.ENOEXEC, "not executable")

    # --- the change ----------------------------------------------------------------------------

    def _change(
        self, listener: Listener, number: int, tid: int, nr: int, args: Sequence[int], command: Command
    ) -> None:
        """Make it the emulator's call."""
        place, environment = (args[1], args[2]) if nr == _EXECVE else (args[2], args[3])
        given = self._pointers(tid, place)
        tracee = Tracee(tid, self._traced)
        fd = listener.add(number, self._emulators[command.kind], _CLOEXEC)
        if fd < 0:
            listener.answer(number, error=-fd)
            return
        tracee.stop()  # before Linux 5.19 its call ends by that
        listener.answer(number, error=errno.ENOSYS)
        tracee.begin()
        try:
            strings, pointers = _laid(command, given)
            size = -(-(len(strings) + _WORD * len(pointers)) // _PAGE) * _PAGE
            base = tracee.call(MMAP, 0, size, _READ_WRITE, _PRIVATE, (1 << 64) - 1, 0)
            words = [base + offset if ours else offset for ours, offset in pointers]
            self._write(tid, base, strings + struct.pack(f"={len(words)}Q", *words))
            new = (fd, base + len(strings) - 1, base + len(strings), environment, AT_EMPTY_PATH, 0)
            self._expect(tid, (EXECVEAT, *new))
            tracee.end(EXECVEAT, *new)
        except ProcessLookupError:
            raise
        except OSError as e:
            tracee.give_up(e.errno or errno.EIO)

    def _uncover(self, listener: Listener, number: int, tid: int, nr: int, args: Sequence[int]) -> None:
        """Let a process be looked at that may not be, for it has changed its ids; its call then comes again.

        It would be so as soon as it has executed what it is about to.
        """
        tracee = Tracee(tid, self._traced)
        tracee.stop()
        listener.answer(number, error=errno.ENOSYS)
        tracee.begin()
        tracee.call(PRCTL, _SET_DUMPABLE, 1, 0, 0)
        self._tasks.forget(tid)
        self._uncovered = tid
        tracee.end(nr, *args)

    def _expect(self, tid: int, call: tuple[int, ...]) -> None:
        if len(self._expected) >= _MOST_EXPECTED:
            self._expected.clear()
        self._expected[tid] = call

    def _pointers(self, tid: int, place: int) -> list[int]:
        """The addresses of the arguments that a call has."""
        found: list[int] = []
        while place and len(found) < _MOST_WORDS:
            size = min(_PAGE, _PAGE - place % _PAGE) // _WORD * _WORD or _WORD
            words = struct.unpack(f"={size // _WORD}Q", self._tasks.read(tid, place, size))
            if 0 in words:
                return [*found, *words[: words.index(0)]]
            found += words
            place += size
        if place:
            raise OSError(errno.E2BIG, "too many arguments")
        return found

    def _write(self, tid: int, address: int, data: bytes) -> None:
        fd = self._tasks.memory(tid)
        left = memoryview(data)
        while left:
            done = os.pwrite(fd, left, address)
            if not done:
                raise OSError(errno.EFAULT, "bad address")
            left, address = left[done:], address + done


class Starts:
    """The same for who traces one call at a time, and has the right to.

    emulators: of the request, with their descriptors, of which copies are kept.
    """

    def __init__(self, emulators: Sequence[Mapping[str, Any]]) -> None:
        self._tasks = Tasks()
        self._emulators = {Kind(*e["kind"]): os.dup(e["fd"]) for e in emulators}
        self._execs = Execs(self._emulators, self._tasks)

    def answer(self, listener: Listener, call: Call) -> bool:
        """Answer a call if it starts a program."""
        number, tid, arch, nr, args = call
        if not is_exec(arch, nr):
            return False
        try:
            self._execs.answer(listener, number, tid, nr, args)
        finally:
            self._tasks.close()  # its root must not be held when it has ended
        return True

    def close(self) -> None:
        """Close the copies."""
        for fd in self._emulators.values():
            os.close(fd)


def _laid(command: Command, given: list[int]) -> tuple[bytes, list[tuple[bool, int]]]:
    """The strings that are to be written, and the arguments: of ours the place in those, else the address.

    The last string is empty; their end is where the arguments begin, so it is a whole number of words.
    """
    strings = bytearray()

    def ours(text: bytes) -> tuple[bool, int]:
        strings.extend(text + b"\0")
        return True, len(strings) - len(text) - 1

    pointers = [ours(b"emulator"), ours(b"-0")]
    pointers.append(ours(command.program) if command.script or not given else (False, given[0]))
    pointers.append(ours(command.program))
    pointers += [ours(word) for word in command.words]
    pointers += [(False, address) for address in given[1:]]
    strings.extend(bytes(-len(strings) % _WORD or _WORD))
    return bytes(strings), [*pointers, (False, 0)]


def _by_descriptor(tid: int, at: int, given: bytes, *, empty: bool) -> bytes:
    """A path below a descriptor, as a program finds it that is started with it.

    Raises:
        OSError: it will be closed by then.
    """
    if not given and not empty:
        raise FileNotFoundError(errno.ENOENT, "empty path")
    with open(f"/proc/{tid}/fdinfo/{at}", "rb") as f:
        flags = next(line for line in f if line.startswith(b"flags:"))
    if int(flags.split()[1], 8) & _CLOEXEC:
        raise FileNotFoundError(errno.ENOENT, "closed when it is needed")
    return b"/dev/fd/%d" % at + (b"/" + given if given else b"")
