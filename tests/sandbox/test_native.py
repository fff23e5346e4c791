"""The helper that starts steps serves many at once, and outlives whatever becomes of one."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagesmith.errors import Cancelled
from imagesmith.interfaces import Output, Place, RunSpec
from imagesmith.sandbox.native import NativeSandbox


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
    spec = RunSpec(argv=("/bin/sh", "-c", text), env=(("PATH", "/usr/bin:/bin"),), timeout_s=10)
    return sandbox.run(spec, Path("/"), output, cancelled)


def test_step_ends_though_one_that_began_later_goes_on(sandbox: NativeSandbox, tmp_path: Path) -> None:
    first, second, began = tmp_path / "first", tmp_path / "second", threading.Event()
    wait = "echo up; until test -e {}; do sleep 0.01; done"

    def run_first() -> None:
        run(sandbox, wait.format(first), lambda *_: began.set())
        second.touch()

    thread = threading.Thread(target=run_first)
    thread.start()
    assert began.wait(10)
    assert run(sandbox, wait.format(second), lambda *_: first.touch()) == 0
    thread.join()


def test_end_and_cancellation_at_once_leave_the_helper_alive(sandbox: NativeSandbox) -> None:
    def cancelled() -> bool:
        """Stops the helper until both are there to be seen by it."""
        assert sandbox._helper is not None
        helper = sandbox._helper.pid
        os.kill(helper, signal.SIGSTOP)
        (warden,) = Path(f"/proc/{helper}/task/{helper}/children").read_text().split()
        os.kill(int(warden), signal.SIGKILL)
        threading.Timer(0.1, os.kill, (helper, signal.SIGCONT)).start()
        return True

    with pytest.raises(Cancelled):
        run(sandbox, "sleep 5", cancelled=cancelled)
    assert run(sandbox, "exit 3") == 3


def test_output_that_nobody_takes_ends_the_step_with_its_own_error(sandbox: NativeSandbox) -> None:
    def output(_stream: int, _data: bytes) -> None:
        raise BrokenPipeError("nobody reads")

    began = time.monotonic()
    with pytest.raises(BrokenPipeError, match="nobody reads"):
        run(sandbox, "echo x; exec sleep 8", output)
    assert time.monotonic() - began < 5
    assert run(sandbox, "exit 3") == 3
