"""Limits of RUN by flags of a build: they hold, they are told, and they do not count for the cache."""

from __future__ import annotations

import os

import pytest

from tests.ops.conftest import Build

pytestmark = [pytest.mark.slow, pytest.mark.everyone]

_HOLD = "x=$(head -c 60000000 /dev/zero | tr '\\0' x); sleep 2; echo held"


def test_a_step_that_needs_more_memory_fails_and_says_so(build: Build) -> None:
    built = build(f"RUN {_HOLD}\n", "--memory", "32m", "--memory-swap", "32m")
    assert built.status == 4
    told = "killed for want of memory: the limit of 32 MiB of the step was reached"
    assert f"exit code: 137: {told}" in built.said.splitlines()[-2]
    assert "hint: it needs a larger --memory" in built.said


def test_limits_do_not_count_for_the_cache(build: Build) -> None:
    text = "RUN echo once\n"
    assert "CACHED" not in build(text, "--memory=1g").said.split("echo once")[-1]
    built = build(text, "--resource", "memory=2g", "--cpus=1", "-m", "512m")
    assert built.said.count("CACHED") == 3
    assert "limits are held" not in built.said  # nothing ran


def test_processors_are_those_that_were_asked_for(build: Build) -> None:
    last = max(os.sched_getaffinity(0))
    built = build("RUN grep Cpus_allowed_list /proc/self/status > /out\n", f"--cpuset-cpus={last}")
    assert built.files["out"].decode().split()[1:] == [str(last)]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--memory", "1m"), "memory=1m: the least is 6m"),
        (("--resource", "cpu=1"), "--resource cpu=1: unknown key cpu (did you mean cpus?)"),
        (("--cpus", "1", "--cpu-quota", "5000"), "give one or the other"),
        (("--memory", "lots"), "memory: invalid size: 'lots'"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_built(
    build: Build, flags: tuple[str, ...], said: str
) -> None:
    built = build("RUN true\n", *flags)
    assert built.status == 2
    assert said in built.said.splitlines()[0]


def test_processors_that_are_not_there_are_told(build: Build) -> None:
    built = build("RUN echo never-cached-here\n", "--cpuset-cpus=900")
    assert built.status == 9
    assert "cpuset-cpus=900: this process may use the processors" in built.said
