"""Values: what is equal, what is before what, and how kinds become one another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.bake.values import (
    SetValue,
    Unsuitable,
    Value,
    equal,
    flag_of,
    key_of,
    kind_of,
    number_of,
    set_of,
    text_of,
)
from tests.bake.support import n

_SOME: tuple[Value, ...] = (
    None,
    False,
    True,
    n(0),
    n(1),
    n("1.0"),
    "",
    "1",
    "a",
    (),
    ("a",),
    SetValue(()),
    {},
    {"a": None},
)


def test_equal_values_are_of_one_kind() -> None:
    same = {(kind_of(a), text) for a in _SOME for b in _SOME if equal(a, b) for text in (repr((a, b)),)}
    assert len(same) == len(_SOME) + 2  # each with itself, and 1 with 1.0 both ways
    assert not equal(True, n(1))
    assert equal({"a": (n(1),), "b": None}, {"b": None, "a": (n("1.00"),)})


def test_a_set_has_each_value_once_in_order() -> None:
    assert set_of(["b", n(10), "a", n(2), "b", True, None, n("2.0")]).items == (
        None,
        True,
        n(2),
        n(10),
        "a",
        "b",
    )
    assert set_of([("b",), ("a",), ("b",)]).items == (("a",), ("b",))
    assert equal(SetValue(("a", "b")), SetValue(("b", "a")))


@given(st.lists(st.sampled_from(_SOME), max_size=8))
def test_a_set_does_not_depend_on_the_order_it_is_given_in(values: list[Value]) -> None:
    assert [key_of(v) for v in set_of(values)] == [key_of(v) for v in set_of(reversed(values))]
    assert all(any(equal(v, w) for w in set_of(values)) for v in values)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (n(1), "1"),
        (n("1.50"), "1.5"),
        (n("1E+3"), "1000"),
        (n("-0"), "0"),
        (True, "true"),
        (False, "false"),
        ("a", "a"),
    ],
)
def test_texts(value: Value, text: str) -> None:
    assert text_of(value) == text


@pytest.mark.parametrize("value", ["", " 1", "1_0", "x", "nan", "inf", "\u0661", None, True, ()])
def test_what_spells_no_number(value: Value) -> None:
    with pytest.raises(Unsuitable):
        number_of(value)


@pytest.mark.parametrize("value", ["", "yes", "TRUE", n(1), None, ()])
def test_what_spells_no_bool(value: Value) -> None:
    with pytest.raises(Unsuitable):
        flag_of(value)


@given(st.integers() | st.decimals(allow_nan=False, allow_infinity=False, places=5))
def test_a_number_is_the_one_that_its_text_spells(number: object) -> None:
    assert number_of(text_of(n(str(number)))) == n(str(number))
