"""Readers of others' bytes end in an answer or in their own error: what went wrong once, and a short run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.attack import fuzz as engine
from tests.attack.fuzz import FIXTURES, check, fixtures, fuzz
from tests.attack.targets import TARGETS, Target

_KEPT = [(name, path) for name in TARGETS for path in fixtures(name)]


@pytest.mark.parametrize(("name", "path"), _KEPT, ids=[f"{name}-{path.name}" for name, path in _KEPT])
def test_what_went_wrong_once_does_not_again(name: str, path: Path) -> None:
    found = check(TARGETS[name], path.read_bytes())
    assert found is None, found


def test_every_folder_of_fixtures_has_its_target() -> None:
    assert {p.name for p in FIXTURES.iterdir()} <= set(TARGETS)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_a_short_run_finds_nothing(target: Target) -> None:
    _, found = fuzz(target, 1, target.inputs)
    assert found == []


def _planted(data: bytes) -> None:
    if data[:1] != b"F":
        return
    if data[1:2] != b"U":
        return
    if data[2:3] != b"Z":
        return
    if data[3:4] == b"Z":
        raise KeyError("planted")


def test_the_engine_is_led_by_the_lines_that_inputs_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them it would have to guess four words at once."""
    monkeypatch.setattr(engine, "_PACKAGE", __file__)
    planted = Target("planted", _planted, (b"....",), (b"F", b"U", b"Z"))
    _, found = fuzz(planted, 1, 20_000)
    assert [f.said for f in found] == ["KeyError: 'planted'"]
    assert check(planted, found[0].data) is not None


@pytest.mark.parametrize(("what", "said"), [("memory", "took 1"), ("time", "took 0")])
def test_too_much_memory_and_too_much_time_are_findings(what: str, said: str) -> None:
    def run(data: bytes) -> None:
        if what == "memory":
            bytearray(b"x" * (160 << 20))
        else:
            sum(range(4_000_000))

    found = check(
        Target(
            "greedy", run, (), mib=8 if what == "memory" else 1 << 20, cpu_s=0.02 if what == "time" else 60
        ),
        b"",
    )
    assert found is not None
    assert found.where == what
