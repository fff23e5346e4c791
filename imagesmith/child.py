"""A build in a process of its own, for programs: their ids, namespaces, signals and threads stay as they are.

Why: a builder moves into namespaces, which the kernel allows to a process with one thread, and for good; it
is the better neighbour in a child. The child is a new interpreter, for the caller may have threads.

    parent                          child
    request        --- pipe --->
                   <--- pipe ---    events as they happen, then the result or the error
    closes its end --- pipe --->    stops, takes away what it made, and ends

The child sees the end of its pipe also where the parent was killed. What is sent are values and errors of
ours, pickled; both ends are this program, and the pipes are held by these two processes only.
Trust: the child handles what is hostile, as the command does; what it sends is made of our own classes.
Threads: any number of calls at a time; events are given to the caller on the thread that called.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from typing import BinaryIO

from imagesmith.errors import Cancelled, ImagesmithError
from imagesmith.events import Event, EventSink
from imagesmith.image.result import BuildResult
from imagesmith.interfaces import Place
from imagesmith.request import BuildRequest
from imagesmith.session import run_build
from imagesmith.settings import Settings
from imagesmith.values import replace
from imagesmith.worker.sandbox.world import World, enter

__all__ = ["build_in_child", "main"]

_PROGRAM = "import sys; sys.path[:] = sys.argv[3:]; from imagesmith.child import main; main()"
#: How long (seconds) a child that was told to stop may take, before it is killed.
_PATIENCE_S = 20.0


def build_in_child(request: BuildRequest, root: str, isolation: str, events: EventSink) -> BuildResult:
    """Build in a child; a result from there has no stored layers, only what its documents say.

    Args:
        request: the build. Its relative paths are those of the caller's working directory.
        root: the store's folder, or empty for the usual one.
        isolation: of RUN, as the command takes it; `none` executes no RUN.
        events: is told what happens, on this thread.

    Raises:
        ImagesmithError: of the build, or where the child was killed.
    """
    requests, to_child = os.pipe()
    from_child, answers = os.pipe()
    with open(to_child, "wb") as sending, open(from_child, "rb") as answering:
        try:
            child = subprocess.Popen(
                [sys.executable, "-P", "-c", _PROGRAM, str(requests), str(answers), *sys.path],
                pass_fds=(requests, answers),
                start_new_session=True,  # Ctrl-C is the caller's to hear
            )
        finally:
            os.close(requests)
            os.close(answers)
        try:
            with contextlib.suppress(BrokenPipeError):
                pickle.dump((request, root, isolation), sending)
                sending.flush()
            return _listen(child, answering, events)
        finally:
            with contextlib.suppress(BrokenPipeError):
                sending.close()
            answering.close()  # a child that still tells what happens shall not wait for a reader
            _await(child)


def _listen(child: subprocess.Popen[bytes], answering: BinaryIO, events: EventSink) -> BuildResult:
    while True:
        try:
            kind, what = pickle.load(answering)  # noqa: S301 - of our own child, and nobody else's
        except (EOFError, pickle.UnpicklingError):
            status = child.wait()
            how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
            raise ImagesmithError(f"the process that builds {how}") from None
        if kind == "event":
            events(what)
        elif kind == "result":
            assert isinstance(what, BuildResult)
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


def main() -> None:
    """Build what the parent asks, and end at once."""
    requests, answers = open(int(sys.argv[1]), "rb"), open(int(sys.argv[2]), "wb")
    os.set_inheritable(requests.fileno(), False)
    os.set_inheritable(answers.fileno(), False)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    request, root, isolation = pickle.load(requests)  # noqa: S301 - from our parent
    lock = threading.Lock()

    def send(kind: str, what: object) -> None:
        with lock, contextlib.suppress(BrokenPipeError):  # a parent that is gone has ended its pipe, too
            pickle.dump((kind, what), answers)
            answers.flush()

    def tell(event: Event, /) -> None:
        send("event", event)

    try:
        answer = _answer(request, root, isolation, requests, tell)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its pipe when it has the answer
    except KeyboardInterrupt:
        answer = "error", Cancelled("stopped")
    send(*answer)
    os._exit(0)


def _answer(
    request: BuildRequest, root: str, isolation: str, requests: BinaryIO, events: EventSink
) -> tuple[str, object]:
    """The kind of what came of the build, and that."""
    try:
        return "result", _abroad(_build(request, root, isolation, requests, events))
    except ImagesmithError as e:
        return "error", e
    except Exception as e:  # a mistake of ours
        return "error", ImagesmithError(f"internal error: {type(e).__name__}: {e}")


def _build(
    request: BuildRequest, root: str, isolation: str, requests: BinaryIO, events: EventSink
) -> BuildResult:
    if isolation == "none":
        refused = (("none", "the caller asked for no isolation"),)
        world = World(Place(ids="own", mounts=False), "none", refused)
    else:
        world = enter(isolation)  # before there is a second thread
    threading.Thread(target=_watch, args=(requests,), name="parent", daemon=True).start()
    return run_build(request, Settings.load(root), world, events)


def _watch(requests: BinaryIO) -> None:
    """Interrupt the build when the parent ends its pipe."""
    requests.read()
    os.kill(os.getpid(), signal.SIGINT)


def _abroad(built: BuildResult) -> BuildResult:
    """A result without what only this process can open."""
    images = {platform: replace(image, layers=()) for platform, image in built.images.items()}
    return replace(built, images=images)
