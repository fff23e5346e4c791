"""Work in a process of its own, for programs: their ids, namespaces, signals and threads stay as they are.

Why: what runs steps moves into namespaces, which the kernel allows to a process with one thread, and for
good; it is the better neighbour in a child. The child is a new interpreter, for the caller may have threads.

    parent                      child
    job                --->
                       <---     events as they happen, then the result or the error
    shuts the stream   --->     stops, takes away what it made, and ends

The stream is a pair of sockets: once shut it ends, also where a process that the caller forked has a copy
of it. For such copies' sake the child watches the parent itself, too, which may be killed. Signals that the
caller blocks or ignores are its own affair; the child hears them. What is sent are values and errors of ours,
pickled; both ends are this program, and the stream has no name by which another process could open it.
Trust: the child handles what is hostile, as the command does; what it sends is made of our own classes.
Threads: any number of calls at a time; events are given to the caller on the thread that called.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import BinaryIO, NoReturn, Protocol, TypeVar, cast

from imagesmith.errors import Cancelled, ImagesmithError, reason_of
from imagesmith.events import Event, EventSink
from imagesmith.image.result import BuildResult
from imagesmith.interfaces import Place
from imagesmith.request import BuildRequest
from imagesmith.session import run_build
from imagesmith.settings import Settings
from imagesmith.values import frozen, replace
from imagesmith.worker.sandbox.world import World, enter

__all__ = ["Job", "abroad", "build_in_child", "end_child", "in_child", "main"]

T = TypeVar("T", covariant=True)

_PROGRAM = "import sys; sys.path[:] = sys.argv[2:]; from imagesmith.child import main; main()"
#: The streams of the children that threads of this process wait for.
_STREAMS: dict[int, socket.socket] = {}
_LOCK = threading.Lock()
#: How long (seconds) a child that was told to stop may take, before it is killed.
_PATIENCE_S = 20.0


class Job(Protocol[T]):
    """What a child is asked to do: a value of ours, which is pickled. Its relative paths are the caller's."""

    def prepare(self) -> None:
        """Do what is to find the machine as it is, before the child moves into namespaces."""

    def perform(self, settings: Settings, here: World, events: EventSink) -> T:
        """Do it; what it returns is pickled, too."""


@frozen
class _BuildJob:
    """Build what is asked."""

    request: BuildRequest

    def prepare(self) -> None:
        """See Job."""
        if any(output.loads for output in self.request.outputs):
            from imagesmith.export.loading import prepare

            prepare(self.request.outputs)

    def perform(self, settings: Settings, here: World, events: EventSink) -> BuildResult:
        """See Job."""
        return abroad(run_build(self.request, settings, here, events))


def build_in_child(request: BuildRequest, root: str, isolation: str, events: EventSink) -> BuildResult:
    """Build in a child; a result from there has no stored layers, only what its documents say."""
    return in_child(_BuildJob(request), root, isolation, events)


def abroad(built: BuildResult) -> BuildResult:
    """A result without what only the process that built can open."""
    images = {platform: replace(image, layers=()) for platform, image in built.images.items()}
    return replace(built, images=images)


def in_child(job: Job[T], root: str, isolation: str, events: EventSink) -> T:
    """Do a job in a child, and return what came of it.

    Args:
        job: what is to be done.
        root: the store's folder, or empty for the usual one.
        isolation: of RUN, as the command takes it; `none` executes no RUN.
        events: is told what happens, on this thread.

    Raises:
        ImagesmithError: of the job, or where the child was killed.
    """
    ours, theirs = socket.socketpair()
    with ours, _known(ours), ours.makefile("rb") as answers:
        with theirs:
            child = _start(theirs)
        try:
            with contextlib.suppress(ConnectionError):  # _listen tells why
                ours.sendall(pickle.dumps((os.getpid(), job, root, isolation)), socket.MSG_NOSIGNAL)
            return cast(T, _listen(child, answers, events))
        finally:
            with contextlib.suppress(OSError):  # it has ended
                ours.shutdown(socket.SHUT_RDWR)  # a child that still tells what happens waits for no reader
            _await(child)


@contextlib.contextmanager
def _known(stream: socket.socket) -> Iterator[None]:
    """While the `with` lasts, end_child finds the stream of the thread that calls."""
    me = threading.get_ident()
    with _LOCK:
        _STREAMS[me] = stream
    try:
        yield
    finally:
        with _LOCK:
            del _STREAMS[me]


def end_child(thread: int) -> bool:
    """End the child that a thread of this process waits for, which raises there; False if there is none.

    Args:
        thread: its `ident`.
    """
    with _LOCK, contextlib.suppress(OSError):
        if thread in _STREAMS:
            _STREAMS[thread].shutdown(socket.SHUT_RDWR)
        return thread in _STREAMS
    return True


def _start(stream: socket.socket) -> subprocess.Popen[bytes]:
    """A child that has the stream and, but for the usual three, no other descriptor of ours."""
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, str(stream.fileno()), *sys.path],
            pass_fds=(stream.fileno(),),
            start_new_session=True,  # Ctrl-C is the caller's to hear
        )
    except OSError as e:
        text = f"the child process cannot be started: {sys.executable}: {reason_of(e)}"
        raise ImagesmithError(text) from e


def _listen(child: subprocess.Popen[bytes], answers: BinaryIO, events: EventSink) -> object:
    while True:
        try:
            kind, what = pickle.load(answers)  # noqa: S301 - of our own child, and nobody else's
        except (EOFError, ConnectionError, pickle.UnpicklingError):
            _await(child)
            status = child.returncode
            how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
            raise ImagesmithError(f"the child process {how}") from None
        if kind == "event":
            events(what)
        elif kind == "result":
            return what
        else:
            raise what


def _await(child: subprocess.Popen[bytes]) -> None:
    """Wait until the child has taken away what it made; a second interrupt, or much time, kills it."""
    try:
        child.wait(_PATIENCE_S)
    except BaseException as e:
        child.kill()
        child.wait()
        if not isinstance(e, subprocess.TimeoutExpired):
            raise


# --- in the child ------------------------------------------------------------------------------


def main() -> NoReturn:
    """Do what the parent asks, and end at once."""
    _hear()
    stream = socket.socket(fileno=int(sys.argv[1]))
    stream.set_inheritable(False)
    lock = threading.Lock()

    def send(kind: str, what: object) -> None:
        said = pickle.dumps((kind, what))
        with lock, contextlib.suppress(ConnectionError):  # of a parent that listens no more; see _watch
            stream.sendall(said)

    def tell(event: Event, /) -> None:
        send("event", event)

    try:
        answer = _answer(stream, tell)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent shuts the stream when it has the answer
    except KeyboardInterrupt:
        answer = ("error", Cancelled("stopped"))
    send(*answer)
    os._exit(0)


def _answer(stream: socket.socket, events: EventSink) -> tuple[str, object]:
    """The kind of what came of the job, and that."""
    try:
        return "result", _done(stream, events)
    except ImagesmithError as e:
        return "error", e
    except EOFError:
        return "error", Cancelled("stopped before it began")
    except Exception as e:  # a mistake of ours
        return "error", ImagesmithError(f"internal error: {type(e).__name__}: {e}")


def _hear() -> None:
    """Undo what was handed down of signals: SIGCHLD for who waits for processes, the rest to be stopped."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _done(stream: socket.socket, events: EventSink) -> object:
    """Do what the parent asks.

    Raises:
        EOFError: the parent ended before it had asked.
    """
    with stream.makefile("rb") as requests:
        try:
            parent, job, root, isolation = pickle.load(requests)  # noqa: S301 - from our parent
        except (ConnectionError, pickle.UnpicklingError):
            raise EOFError from None
    watched = [stream.fileno(), *_process(parent)]
    job.prepare()
    if isolation == "none":
        refused = (("none", "the caller asked for no isolation"),)
        world = World(Place(ids="own", mounts=False), "none", refused)
    else:
        world = enter(isolation)  # before there is a second thread
    threading.Thread(target=_watch, args=(watched,), name="parent", daemon=True).start()
    return job.perform(Settings.load(root), world, events)


def _process(pid: int) -> list[int]:
    """A descriptor that can be read when our parent has ended; none before Linux 5.3.

    Raises:
        EOFError: it has ended.
    """
    try:
        found = os.pidfd_open(pid)
    except ProcessLookupError:
        raise EOFError from None
    except OSError:
        return []
    if os.getppid() != pid:  # it has ended, and this is another one
        raise EOFError
    return [found]


def _watch(descriptors: list[int]) -> None:
    """Interrupt the work when the parent shuts the stream or ends."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    poll.poll()
    os.kill(os.getpid(), signal.SIGINT)
