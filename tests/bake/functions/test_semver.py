"""Versions and constraints, by the cases of Masterminds/semver's own tests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bake.functions.calls import call, refused

#: A constraint, versions that meet it, versions that do not.
CASES = [
    ("=2.0.0", "2.0.0 v2.0.0 2 2.0 2.0.0+build", "1.2.3 2.0.1 2.0.0-a"),
    ("=2.0", "2.0.0 2.0.1", "1.2.3"),
    ("4.1", "4.1.0 4.1.3", "4.2.0 5.1.0"),
    ("!=4.1.0", "4.1.1", "4.1.0"),
    ("!=4.1", "5.1.0", "4.1.0 4.1.1 5.1.0-alpha.1"),
    ("!=4.1-alpha", "4.1.0", "4.1.0-alpha 4.1.1-alpha"),
    ("!=4.x", "5.1.0", "4.1.0"),
    ("!=4.1.x", "4.2.0", "4.1.3"),
    ("<11", "0.1.0", "11.1.0 11.0.0"),
    ("<1.1", "0.1.0", "1.1.0 1.1.1"),
    ("<1.x", "0.1.1", "1.1.1 2.0.0"),
    ("<1.1.x", "1.0.500", "1.2.1 1.1.500"),
    ("<=11", "1.2.3 11.2.3", "12.2.3"),
    ("<=1.1", "0.1.0 1.1.0 1.1.1", "1.2.3 0.1.0-alpha"),
    ("<=1.1-a", "0.1.0-alpha", "1.2.0"),
    ("=<1.1.0", "1.1.0", "1.1.1"),
    (">1.1", "4.1.0 1.2.0", "1.1.0 1.1.1"),
    (">0", "1", "0 0.0.1-alpha"),
    (">0-0", "", "0.0.1-alpha 0.0.0-alpha"),
    (">0.0.0-0", "0.0.0-alpha", "0.0.0-0"),
    (">1.2.3-alpha.1", "1.2.3-alpha.2 1.3.3-alpha.2 1.2.3", "1.2.3-alpha.1 1.2.3-alpha"),
    (">11.1", "11.2.1", "11.1.0 11.1.1"),
    (">=11", "11.1.2 11.0.0", "10.9.9"),
    (">=11.1", "11.1.2", "11.0.2"),
    (">=1.1", "4.1.0 1.1.0", "0.0.9 4.1.0-beta"),
    ("=>1.1", "1.1.0", "1.0.9"),
    (">=0-0", "0.0.1-alpha 0.0.0-alpha", ""),
    (">=0.0.0-0", "1.2.3 3.4.5-beta.1", ""),
    ("<0-z", "0.0.0-alpha", "0.0.0"),
    ("*", "1 4.5.6 1.2.3", "1.2.3-alpha.1"),
    ("*-0", "1.2.3-alpha.1", ""),
    ("2.*", "2.1.1", "1 3.4.5"),
    ("2.1.X", "2.1.1", "2.2.1"),
    ("2", "2.1.1", "1 3.4.5"),
    ("0.x.x", "0.1.2", "1.2.3"),
    ("0.0.0", "0.0.0", "1.2.3"),
    ("~1.2.3", "1.2.4 1.2.3", "1.3.4 1.2.2"),
    ("~1.2", "1.2.4 1.2.0", "1.3.4"),
    ("~1", "1.2.4 1.4", "2.3.4"),
    ("~>0.2.3", "0.2.5", "0.3.5"),
    ("~*", "2.1.1", ""),
    ("~0.0.0", "1.2.3", ""),
    ("~1.2.3-beta.2", "1.2.3-beta.4 1.2.4-beta.2 1.2.3", "1.3.4-beta.2 1.2.3-beta.1"),
    ("~1.1-alpha", "1.1.1-beta", ""),
    ("^1.2.3", "1.8.9 1.2.3", "2.8.9 1.2.1"),
    ("^1.2.0", "1.2.0", "2.2.1 1.2.1-alpha.1"),
    ("^1.2.0-alpha.0", "1.2.1-alpha.1 1.2.1-alpha.0", "1.1.0"),
    ("^1.2.0-alpha.2", "", "1.2.0-alpha.1"),
    ("^1.2", "1.8.9", "2.8.9 1.1.9"),
    ("^1", "1.8.9", "2.8.9"),
    ("^1.x", "1.1.1", "2.1.1 1.1.1-beta1"),
    ("^0.2.3", "0.2.5", "0.5.6"),
    ("^0.2", "0.2.5", "0.5.6"),
    ("^0.0.3", "0.0.3", "0.0.4"),
    ("^0.0.1", "0.0.1", "0.3.1"),
    ("^0.0", "0.0.3", "0.1.4 1.0.4"),
    ("^0", "0.2.3", "1.1.4"),
    (">1.1, <2", "1.2.1", "1.1.1 2.0.0"),
    (">=1.1    <2    !=1.2.3", "1.2.2", "1.2.3 2.0.0"),
    (">=1.1, <2, !=1.2.3 || > 3", "4.1.2 1.5.0", "3.1.2 3.0.0 1.2.3"),
    (">= 1.1 <2 != 1.2.3 || >= 3", "3.0.0", "2.5.0"),
    ("1.1 - 2", "1.1.1 2.5.0", "1.0.0 3.0.0"),
    ("1.5.0 - 4.5", "3.7.0 4.5.9", "4.6.0"),
    ("2 - 3, 2.5 - 3.1", "2.6.0", "2.4.0 3.2.0"),
    ("1.1-3", "", "4.3.2"),
    (">= 3.20", "3.22", "3.19"),
]


@pytest.mark.parametrize(("constraint", "met", "missed"), CASES)
def test_constraint(constraint: str, met: str, missed: str) -> None:
    assert [v for v in met.split() if call("semvercmp", v, constraint) is not True] == []
    assert [v for v in missed.split() if call("semvercmp", v, constraint) is not False] == []


@pytest.mark.parametrize("constraint", ["", "not-a-constraint", ">= bar", "BAR >= 1.2.3", "12.3.4.1234",
                                        "12.3.34~ 1.2.3", ">1,", ",>1", "1 ||", "|| 1", ">> 1"])  # fmt: skip
def test_what_is_no_constraint_is_refused(constraint: str) -> None:
    assert refused("semvercmp", "1.2.3", constraint) == (
        f"constraint: {constraint!r} is none such as >= 1.2.3",
        1,
    )


@pytest.mark.parametrize("version", ["", "not-a-version", "1.2.3.4", "1.2.3-", "v", "1..2", " 1.2.3"])
def test_what_is_no_version_is_refused(version: str) -> None:
    assert refused("semvercmp", version, ">= 1") == (f"version: {version!r} is no version such as 1.2.3", 0)


def test_long_constraint_is_refused() -> None:
    assert refused("semvercmp", "1.2.3", "1 " * 1000) == ("constraint: it is longer than 1024 characters", 1)
    assert refused("semvercmp", "1" * 2000, "1")[1] == 0


def test_order_of_pre_releases_is_semver_s() -> None:
    order = ["alpha", "alpha.1", "alpha.beta", "beta", "beta.2", "beta.11", "rc.1"]
    versions = [f"1.0.0-{pre}" for pre in order] + ["1.0.0"]
    for n, left in enumerate(versions):
        for m, right in enumerate(versions):
            assert call("semvercmp", left, f">={right}") is (n >= m), (left, right)


numbers = st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4))


@given(numbers, numbers)
def test_operators_agree(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    left, right = (".".join(map(str, v)) for v in (a, b))
    assert call("semvercmp", left, f"<{right}") is (a < b)
    assert call("semvercmp", left, f">={right}") is (a >= b)
    assert call("semvercmp", left, f"={right}") is (a == b)
    assert call("semvercmp", left, f"!={right}") is (a != b)
    assert call("semvercmp", left, f"<={right}, >={right} || >{right}") is (a >= b)
    assert call("semvercmp", left, f"~{right}") is ((a[:2] == b[:2] and a >= b) or b == (0, 0, 0))
