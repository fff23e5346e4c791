"""The helper that starts steps serves many at once, and outlives whatever becomes of one."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from imagesmith.errors import Cancelled
from imagesmith.interfaces import Output, Place, RunSpec
from imagesmith.worker.sandbox import native
from imagesmith.worker.sandbox.native import NativeSandbox
from imagesmith.worker.sandbox.streams import follow

pytestmark = pytest.mark.everyone


@pytest.fixture
def sandbox() -> Iterator[NativeSandbox]:
    """A helper whose steps are ordinary processes, so that no right is needed."""
    sandbox = NativeSandbox(Place(ids="own", mounts=False), way="plain")
    yield sandbox
    sandbox.close()


def run(
    sandbox: NativeSandbox,
    text: str,
    output: Output = lambda *_: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> int:
    spec = RunSpec(argv=("/bin/sh", "-c", text), env=(("PATH", "/usr/bin:/bin"),), timeout_s=300)
    return sandbox.run(spec, Path("/"), output, cancelled)


def test_step_ends_though_one_that_began_later_goes_on(sandbox: NativeSandbox, tmp_path: Path) -> None:
    first, second, began = tmp_path / "first", tmp_path / "second", threading.Event()
    wait = "echo up; until test -e {}; do sleep 0.01; done"

    def run_first() -> None:
        run(sandbox, wait.format(first), lambda *_: began.set())
        second.touch()

    thread = threading.Thread(target=run_first)
    thread.start()
    assert began.wait(300)
    assert run(sandbox, wait.format(second), lambda *_: first.touch()) == 0
    thread.join()


def test_end_and_cancellation_at_once_leave_the_helper_alive(
    sandbox: NativeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The helper is stopped until both are there to be seen by it."""
    began = threading.Event()

    def cancelled() -> bool:
        if not began.is_set():
            return False
        assert sandbox._helper is not None
        helper = sandbox._helper.pid
        os.kill(helper, signal.SIGSTOP)
        (warden,) = Path(f"/proc/{helper}/task/{helper}/children").read_text().split()
        os.kill(int(warden), signal.SIGKILL)
        return True

    class Told:
        """Our end of the step's socket: the helper goes on when the cancellation is in it."""

        def __init__(self, sock: socket.socket) -> None:
            self.fileno, self.recv, self.close, self._sock = sock.fileno, sock.recv, sock.close, sock

        def sendall(self, data: bytes) -> None:
            assert sandbox._helper is not None
            try:
                self._sock.sendall(data)
            finally:
                os.kill(sandbox._helper.pid, signal.SIGCONT)

    def follow_told(sock: socket.socket, *rest: Any) -> bytes:
        return follow(Told(sock), *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(native, "follow", follow_told)
    with pytest.raises(Cancelled):
        run(sandbox, "echo up; sleep 600", lambda *_: began.set(), cancelled)
    monkeypatch.undo()
    assert run(sandbox, "exit 3") == 3


def test_output_that_nobody_takes_ends_the_step_with_its_own_error(sandbox: NativeSandbox) -> None:
    def output(_stream: int, _data: bytes) -> None:
        raise BrokenPipeError("nobody reads")

    with pytest.raises(BrokenPipeError, match="nobody reads"):
        run(sandbox, "echo x; exec sleep 600", output)
    assert run(sandbox, "exit 3") == 3


_LATE = """\
import sys, time; sys.path.insert(0, sys.argv[1])
from imagesmith.worker.sandbox import initchild
class Late(initchild.Warden):
    def run(self):
        time.sleep({warden})
        super().run()
initchild.Warden = Late
time.sleep({helper})
initchild.main()
"""


@pytest.mark.parametrize(("helper", "warden"), [(1, 0), (0, 1)])
def test_step_that_is_ended_before_anybody_listens_ends(
    sandbox: NativeSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, helper: int, warden: int
) -> None:
    """A busy machine may take longer to start the helper, or the warden, than the step has time."""
    monkeypatch.setattr(native, "_PROGRAM", _LATE.format(helper=helper, warden=warden))
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Timer(60, lambda: os.close(os.open(fifo, os.O_WRONLY)))  # or this test would not end
    writer.daemon = True
    writer.start()
    try:
        with pytest.raises(Cancelled):
            run(sandbox, f"read line < {fifo}", cancelled=lambda: True)
        assert writer.is_alive()
    finally:
        writer.cancel()
