"""How much of a step's output is shown."""

from __future__ import annotations

import time

import pytest

from imagesmith.worker.loglimit import LogLimit


class Shown:
    """What came through, and a clock that only moves when it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.data = 0.5, {1: b"", 2: b""}
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        self.limit = LogLimit(self)
        self.now += 0.5

    def __call__(self, stream: int, data: bytes) -> None:
        self.data[stream] += data


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    monkeypatch.delenv("BUILDKIT_STEP_LOG_MAX_SIZE", raising=False)
    monkeypatch.delenv("BUILDKIT_STEP_LOG_MAX_SPEED", raising=False)
    return Shown(monkeypatch)


def test_no_more_than_the_speed_and_again_when_time_has_passed(shown: Shown) -> None:
    for _ in range(30):
        shown.limit(1, b"x" * 10_000)
    clipped = b"x" * (200 << 10) + b"\n[output clipped, log limit 200KiB/s reached]\n"
    assert shown.data[1] == clipped
    shown.now += 1
    shown.limit(1, b"y" * 10)
    assert shown.data[1] == clipped + b"y" * 10


def test_no_more_than_the_size_in_all_for_each_stream(shown: Shown) -> None:
    shown.now += 1000
    for _ in range(300):
        shown.limit(1, b"x" * 10_000)
    shown.limit(2, b"err")
    assert shown.data[1] == b"x" * (2 << 20) + b"\n[output clipped, log limit 2MiB reached]\n"
    assert shown.data[2] == b"err"


def test_environment_lifts_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILDKIT_STEP_LOG_MAX_SIZE", "-1")
    monkeypatch.setenv("BUILDKIT_STEP_LOG_MAX_SPEED", "-1")
    shown = Shown(monkeypatch)
    shown.limit(1, b"x" * (5 << 20))
    assert len(shown.data[1]) == 5 << 20
    monkeypatch.setenv("BUILDKIT_STEP_LOG_MAX_SIZE", "1500")
    shown = Shown(monkeypatch)
    shown.limit(1, b"x" * 2000)
    assert shown.data[1] == b"x" * 1500 + b"\n[output clipped, log limit 1.465KiB reached]\n"


def test_a_limit_that_is_no_number_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILDKIT_STEP_LOG_MAX_SIZE", "much")
    shown = Shown(monkeypatch)
    shown.limit(1, b"x" * 10)
    assert shown.data[1] == b"x" * 10
