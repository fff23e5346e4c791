"""No test waits for ever: one that takes longer than `PATIENCE_S` shows every thread's stack and fails.

Why not a second's bound: a machine that is busy with other things may stall for minutes. What is waited for
in a test is a condition; this is for the fault that keeps it from ever coming true.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

__all__ = ["PATIENCE_S", "pytest_runtest_call", "pytest_runtest_setup", "pytest_runtest_teardown"]

#: A whole Debian is installed by some fixtures and tests.
PATIENCE_S = int(os.environ.get("IMAGESMITH_TEST_PATIENCE_S", "1200"))
#: What an alarm does not interrupt ends with the whole process so much later.
_GRACE_S = 30


@contextmanager
def _bounded(item: pytest.Item, what: str) -> Iterator[None]:
    def late(*_: object) -> None:
        faulthandler.dump_traceback(sys.__stderr__)
        pytest.fail(f"{what} of {item.nodeid} took longer than {PATIENCE_S} s; see the stacks on stderr")

    faulthandler.dump_traceback_later(PATIENCE_S + _GRACE_S, exit=True, file=sys.__stderr__)
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGALRM, late) if main else None
    if main:
        signal.alarm(PATIENCE_S)
    try:
        yield
    finally:
        if main:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Bound the fixtures."""
    with _bounded(item, "the set-up"):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Bound the test."""
    with _bounded(item, "the run"):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Bound what cleans up."""
    with _bounded(item, "the clean-up"):
        return (yield)
