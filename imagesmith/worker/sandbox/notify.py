"""A seccomp listener, by which one process answers calls of others in the kernel's stead.

    listener_of    receives the listener that a step sends (initprocess.py), and lets the step go on
    Listener       its calls, one after the other, and the answers

Imports the standard library only: supervisors use it.
Spec: seccomp_unotify(2).
Trust: calls and arguments are the step's, hostile. A caller may be gone before it is answered.
Threads: one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import struct
from collections.abc import Iterator

__all__ = ["Call", "Listener", "listener_of", "signed"]

_RECEIVE, _SEND, _ADD_FD, _SET_FLAGS = 0xC0502100, 0xC0182101, 0x40182103, 0x40082104
_ID_VALID = 0x40082102
_CONTINUE, _ADD_AND_SEND, _SYNC_WAKE_UP = 1, 2, 1
_BLANK, _CALL, _ANSWER = bytes(80), struct.Struct("=QIIiIQ6Q"), struct.Struct("=QqiI")

#: A call: its own number, the thread that makes it, how it was made (audit.h), the call's, its arguments.
Call = tuple[int, int, int, int, tuple[int, ...]]


#: The first Linux whose wait for a call ends when nobody is left to make one.
_WOKEN = (6, 11)


def _ends_waiting(release: str) -> bool:
    """True if no poll is needed to hear of the end of all processes."""
    major, _, rest = release.partition(".")
    minor = rest.partition(".")[0].partition("-")[0]
    if not (major.isdigit() and minor.isdigit()):
        return False
    return (int(major), int(minor)) >= _WOKEN


_ENDS_WAITING = _ends_waiting(os.uname().release)


def signed(value: int) -> int:
    """A register's low half as an int."""
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def listener_of(sock: socket.socket) -> Listener | None:
    """The listener that a step sends, which may then go on; None if its end of the socket was closed."""
    _, fds, _, _ = socket.recv_fds(sock, 1, 1)
    if not fds:
        return None
    sock.sendall(b"x")
    sock.close()
    return Listener(fds[0])


class Listener:
    """The listener of one step."""

    def __init__(self, fd: int) -> None:
        self._fd, self._call = fd, bytearray(_BLANK)
        try:
            fcntl.ioctl(fd, _SET_FLAGS, _SYNC_WAKE_UP)
        except OSError:
            pass  # before Linux 6.6

    def calls(self) -> Iterator[Call]:
        """Each call that waits for an answer, until no process is left under the filter."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        wait, receive = poll.poll, self.receive
        while True:
            while _ENDS_WAITING:
                call = receive()
                if call is None:  # its caller has been killed, or there is nobody left
                    break
                yield call
            events = wait()[0][1]
            if events & select.POLLIN:
                call = receive()
                if call is not None:
                    yield call
            elif events:
                return

    def fileno(self) -> int:
        """The descriptor that is readable while a call waits, and hung up when nobody can make one."""
        return self._fd

    def receive(self) -> Call | None:
        """A call that waits; None if its caller has been killed."""
        call = self._call
        call[:] = _BLANK
        try:
            fcntl.ioctl(self._fd, _RECEIVE, call)
        except OSError as e:
            if e.errno in (errno.ENOENT, errno.EINTR):
                return None
            raise
        found = _CALL.unpack(call)
        return found[0], found[1], found[4], found[3], found[6:]

    def pending(self, number: int) -> bool:
        """True while the caller waits."""
        try:
            fcntl.ioctl(self._fd, _ID_VALID, struct.pack("=Q", number))
        except OSError:
            return False
        return True

    def answer(self, number: int, value: int = 0, error: int = 0) -> None:
        """Answer with a value, or with an errno."""
        self._tell(_SEND, _ANSWER.pack(number, value, -error, 0))

    def let(self, number: int) -> None:
        """Let the kernel make the call."""
        self._tell(_SEND, _ANSWER.pack(number, 0, 0, _CONTINUE))

    def hand(self, number: int, fd: int, flags: int) -> None:
        """Answer with a descriptor, a copy of `fd`."""
        try:
            self._tell(_ADD_FD, struct.pack("=QIIII", number, _ADD_AND_SEND, fd, 0, flags))
        except OSError as e:  # the caller has too many already
            self.answer(number, error=e.errno or errno.EMFILE)

    def add(self, number: int, fd: int, flags: int) -> int:
        """Put a copy of `fd` into the caller, whose call is still to be answered.

        Returns its number there, or less than 0: an errno.
        """
        try:
            data = bytearray(struct.pack("=QIIII", number, 0, fd, 0, flags))
            return int(fcntl.ioctl(self._fd, _ADD_FD, data))
        except OSError as e:  # the caller has too many already, or is gone
            return -(e.errno or errno.EMFILE)

    def _tell(self, request: int, data: bytes) -> None:
        try:
            fcntl.ioctl(self._fd, request, data)
        except FileNotFoundError:
            pass  # the caller has been killed
