"""The streams of a running step: pipes, or a terminal, and the loop that hands on what comes out of them.

Why a pty for a terminal: the process gets a session and a controlling terminal of its own, so Ctrl-C reaches
it and not the builder, while the caller's terminal is in raw mode.
Why a build's step never has standard input: BuildKit gives it one that is at its end.
Trust: what a step prints is any bytes, and is handed on as such; how much is kept is worker/loglimit.py's,
what a terminal sees cli/progress.py's to decide.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import selectors
import signal
import socket
import termios
import time
import tty
from collections.abc import Callable, Iterator

from imagesmith.errors import Cancelled, SandboxError
from imagesmith.interfaces import Output, RunSpec

__all__ = ["Streams", "TookTooLong", "follow"]

#: How often (seconds) a running step looks whether it has been cancelled.
_PATIENCE_S = 0.1
_CHUNK = 1 << 16
#: How long (seconds) what runs on a terminal that is gone may take to end.
_GRACE_S = 1.0
#: What is not handed on: what no process can catch, what this one's own doing or its shell's sends it.
_OURS = {
    signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGPIPE, signal.SIGURG, signal.SIGTSTP,
    signal.SIGTTIN, signal.SIGTTOU, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL,
    signal.SIGTRAP, signal.SIGSYS, signal.SIGABRT,
}  # fmt: skip
#: So many of SIGINT and SIGTERM kill it: a pid 1 that does not ask for them is deaf to them.
_ENDS = 3


class TookTooLong(SandboxError):
    """The step reached its time limit; all that it had started is dead."""


class Streams:
    """What a step reads and writes.

    theirs   descriptors for the step: output and error, or input, output and error
    reads    our ends, with the number of the stream
    typed    where the caller's standard input is to be written, or -1
    """

    def __init__(self, spec: RunSpec) -> None:
        self.typed = -1
        self.reads: dict[int, int] = {}
        self._close: list[int] = []
        self._size, self._is_terminals = b"", False
        if spec.tty:
            ours, slave = pty.openpty()
            self.reads[ours], self.theirs, self._close = 1, [slave] * 3, [slave]
            self.typed = ours if spec.interactive else -1
            self._is_terminals = spec.interactive and os.isatty(0)
            self.follow_size()
            return
        pipes = [os.pipe(), os.pipe()]
        self.theirs = self._close = [write for _, write in pipes]
        self.reads = {read: n for n, (read, _) in enumerate(pipes, 1)}
        if spec.interactive:
            self.theirs = [0, *self.theirs]

    def sent(self) -> None:
        """The step has its ends: close them here."""
        for fd in self._close:
            os.close(fd)
        self._close = []

    def close(self) -> None:
        """Close all."""
        self.sent()
        for fd in self.reads:
            os.close(fd)

    def hang_up(self) -> None:
        """The caller's input has ended: a terminal is gone then, and so is the step's, which hears of it."""
        if not self._is_terminals:
            return
        for fd in self.reads:
            os.close(fd)
        self.reads, self.typed = {}, -1

    def follow_size(self) -> None:
        """Give a terminal the size of the caller's, if that has changed."""
        for fd in self.reads if self.typed >= 0 else ():
            with contextlib.suppress(OSError):
                size = fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8)
                if size != self._size:
                    fcntl.ioctl(fd, termios.TIOCSWINSZ, size)
                    self._size = size


@contextlib.contextmanager
def _raw(streams: Streams) -> Iterator[None]:
    """Hand every key on as it is, while the step has the caller's terminal."""
    if streams.typed < 0 or not os.isatty(0):
        yield
        return
    before = termios.tcgetattr(0)
    try:
        tty.setraw(0)
        yield
    finally:
        with contextlib.suppress(termios.error):  # it is gone
            termios.tcsetattr(0, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _forwarding(sock: socket.socket) -> Iterator[None]:
    """Hand signals on to the step, as `docker run` does: an image's STOPSIGNAL is for `docker stop` only."""
    ends = 0

    def forward(number: int, _frame: object) -> None:
        nonlocal ends
        ends += number in (signal.SIGINT, signal.SIGTERM)
        if ends == _ENDS:
            number = signal.SIGKILL
        with contextlib.suppress(OSError):
            sock.send(bytes([number]), socket.MSG_DONTWAIT)

    before = {n: signal.getsignal(n) for n in signal.valid_signals() - _OURS}
    caught = [n for n, how in before.items() if how not in (signal.SIG_IGN, None)]
    try:
        for n in caught:
            signal.signal(n, forward)
        yield
    finally:
        for n in caught:
            signal.signal(n, before[n])


def follow(
    sock: socket.socket, streams: Streams, spec: RunSpec, output: Output, cancelled: Callable[[], bool]
) -> bytes:
    """Hand the output on until the helper, behind `sock`, answers; nothing of the step is alive then.

    Returns the answer.

    Raises:
        Cancelled: `cancelled` became true.
        TookTooLong: the step reached its time limit.
    """
    loop = _Loop(sock, streams)
    deadline = time.monotonic() + spec.timeout_s if spec.timeout_s else float("inf")
    reason: BaseException | None = None
    with loop.selector, _raw(streams), _forwarding(sock) if spec.forwards else contextlib.nullcontext():
        while loop.goes_on():
            try:
                loop.turn(output if reason is None else _ignore)
                if reason is not None:
                    continue
                if cancelled():
                    reason = Cancelled("stopped")
                elif time.monotonic() > deadline:
                    reason = TookTooLong(f"the step took longer than {spec.timeout_s:g} s and was stopped")
                else:
                    continue
            except BaseException as e:  # raised again when the step is dead
                reason = reason or e
            with contextlib.suppress(ConnectionError):  # it has just answered, or is dead itself
                sock.sendall(bytes([signal.SIGKILL]))
    if reason is not None:
        raise reason
    return loop.answer


def _ignore(_stream: int, _data: bytes) -> None:
    """An output that nobody wants any more."""


class _Loop:
    """What is read from where."""

    def __init__(self, sock: socket.socket, streams: Streams) -> None:
        self.selector = selectors.DefaultSelector()
        self._sock, self._streams = sock, streams
        self._open = {sock.fileno(), *streams.reads}
        for fd in self._open:
            self.selector.register(fd, selectors.EVENT_READ)
        if streams.typed >= 0:
            with contextlib.suppress(PermissionError):  # a file, which is always ready
                self.selector.register(0, selectors.EVENT_READ)
        self.answer = b""
        self._killed_at = float("inf")

    def goes_on(self) -> bool:
        """True until the helper has answered and all output is read."""
        return bool(self._open)

    def turn(self, output: Output) -> None:
        """Wait a little and hand on what is there."""
        self._streams.follow_size()
        if time.monotonic() > self._killed_at:
            self._killed_at = float("inf")
            with contextlib.suppress(ConnectionError):
                self._sock.sendall(bytes([signal.SIGKILL]))
        for key, _ in self.selector.select(_PATIENCE_S):
            if key.fd and key.fd not in self._open:  # closed meanwhile
                continue
            data = self._read(key.fd)
            if not data:
                self._end(key.fd)
                if key.fd == 0:
                    self._hang_up()
            elif key.fd == self._sock.fileno():
                self.answer += data
            elif key.fd in self._streams.reads:
                output(self._streams.reads[key.fd], data)
            else:
                os.write(self._streams.typed, data)

    def _end(self, fd: int) -> None:
        self.selector.unregister(fd)
        self._open.discard(fd)

    def _hang_up(self) -> None:
        """Hang up; what does not end of that, as a shell that is its namespace's first process, is killed."""
        before = [fd for fd in self._streams.reads if fd in self._open]
        self._streams.hang_up()
        if not self._streams.reads:
            self._killed_at = time.monotonic() + _GRACE_S
            for fd in before:
                self._end(fd)

    def _read(self, fd: int) -> bytes:
        try:
            return self._sock.recv(_CHUNK) if fd == self._sock.fileno() else os.read(fd, _CHUNK)
        except OSError:  # a helper that is dead, or a terminal whose other end is closed
            return b""
