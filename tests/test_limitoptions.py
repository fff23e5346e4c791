"""Limits of steps, as words."""

from __future__ import annotations

import math

import pytest

from imagesmith.errors import UsageError
from imagesmith.limitoptions import parse_limits
from imagesmith.quotas import Limits


def test_each_key() -> None:
    words = ["memory=1g", "memory-swap=1.5g", "cpu-quota=5000", "cpu-period=10000", "cpu-shares=2",
             "cpuset-cpus=0-1,3", "cpuset-mems=0"]  # fmt: skip
    assert parse_limits(words) == Limits(
        memory_bytes=1 << 30, swap_bytes=3 << 29, quota_us=5000, period_us=10000, shares=2, cpus="0-1,3",
        nodes="0",
    )  # fmt: skip


def test_the_last_one_counts_and_an_empty_one_is_none() -> None:
    assert parse_limits(["memory=1g", "memory=2g"]).memory_bytes == 2 << 30
    assert not parse_limits(["memory=1g", "memory=", "cpu-quota=-1", "memory-swap=-1"])
    assert parse_limits([]) == Limits()


def test_what_they_come_to() -> None:
    found = parse_limits(["cpus=1.5", "memory=8m"])
    assert (found.processors, found.swap_most_bytes) == (1.5, 16 << 20)
    assert found.controllers == {"cpu", "memory"}
    assert Limits().processors == math.inf == parse_limits(["memory=8m", "memory-swap=-1"]).swap_most_bytes


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("memory", "expected KEY=VALUE"), ("memroy=1g", r"unknown key memroy \(did you mean memory\?\)"),
        ("memory=x", "memory: invalid size: 'x'"), ("memory=5m", "memory=5m: the least is 6m"),
        ("memory-swap=1g", "memory is to be limited as well"),
        ("memory=1g memory-swap=1m", "less than memory"), ("cpus=x", "a number of processors"),
        ("cpus=nan", "a number of processors"), ("cpus=0.001", "a number of processors"),
        ("cpus=1 cpu-quota=5000", "one or the other"), ("cpu-quota=5", "the least is 1000"),
        ("cpu-shares=1", "between 2 and 262144"), ("cpu-period=1", "between 1000 and 1000000"),
        ("cpu-quota=x", "a whole number"), ("cpuset-cpus=3-1", "expected numbers as 0-3 or 0,1"),
        ("cpuset-cpus=a", "expected numbers"), ("cpuset-mems=1,", "expected numbers"),
        (f"cpu-quota={'9' * 30}", "a whole number"),
    ],
)  # fmt: skip
def test_what_cannot_be(words: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_limits(words.split())
