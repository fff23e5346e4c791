"""Waves: each unit comes once, after all that it needs, and no later than it must."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.errors import InvalidDocument
from imagesmith.fleet.units import Unit
from imagesmith.fleet.waves import held_up, waves_of
from imagesmith.values import replace
from tests.fleet.support import DIGEST, unit


@st.composite
def bakes(draw: st.DrawFn) -> list[Unit]:
    """Units that need any of those before them, in any order."""
    made: list[Unit] = []
    for n in range(draw(st.integers(0, 12))):
        needs = draw(st.lists(st.sampled_from(made), max_size=3, unique_by=lambda u: u.id)) if made else []
        made.append(unit(f"t{n}", "linux/amd64", *needs))
    return draw(st.permutations(made))


@given(bakes())
def test_each_unit_runs_once_and_as_early_as_its_needs_allow(units: list[Unit]) -> None:
    waves = waves_of(units)
    at = {str(u.id): n for n, wave in enumerate(waves) for u in wave}
    assert sorted(at) == sorted(str(u.id) for u in units)
    assert sum(map(len, waves)) == len(units)
    for u in units:
        assert at[str(u.id)] == 1 + max((at[need] for need in u.needs), default=-1)


@given(bakes(), st.data())
def test_what_is_done_is_in_no_wave_and_holds_nobody_up(units: list[Unit], data: st.DataObject) -> None:
    done = {str(u.id) for u in data.draw(st.lists(st.sampled_from(units)) if units else st.just([]))}
    waves = waves_of(units, done)
    left = [str(u.id) for wave in waves for u in wave]
    assert sorted(left) == sorted({str(u.id) for u in units} - done)
    assert not waves or all(set(u.needs) <= done for u in waves[0])


@given(bakes(), st.data())
def test_what_a_failed_unit_holds_up_is_all_that_comes_by_it(units: list[Unit], data: st.DataObject) -> None:
    failed = {str(u.id) for u in data.draw(st.lists(st.sampled_from(units)) if units else st.just([]))}
    stuck = {str(u.id) for u in held_up(units, failed)}
    for u in units:
        assert (str(u.id) in stuck) == bool(set(u.needs) & (failed | stuck))


def test_equal_units_are_one() -> None:
    assert waves_of([unit(), unit()]) == [[unit()]]


def test_a_need_that_is_no_unit_is_refused() -> None:
    with pytest.raises(InvalidDocument, match="unit app linux/amd64: it needs sha256:"):
        waves_of([replace(unit(), needs=(DIGEST,))])
