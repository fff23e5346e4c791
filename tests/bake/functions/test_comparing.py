"""Equality, sets and elements of one kind."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.bake.functions.comparing import contained, distinct, unified
from imagesmith.bake.values import SetValue, Unsuitable, Value, equal, set_of

plain = st.none() | st.booleans() | st.integers(0, 2).map(Decimal) | st.sampled_from(["", "0", "1", "true"])
values: st.SearchStrategy[Value] = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple)
        | st.lists(inner, max_size=3).map(set_of)
        | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=5,
)


@given(values, values)
def test_equal_values_are_written_alike(a: Value, b: Value) -> None:
    assert equal(a, a)
    assert equal(a, b) == equal(b, a)
    assert equal(a, b) == (written(a) == written(b))


@given(st.lists(values, max_size=6))
def test_set_has_each_once_and_in_no_order_of_its_making(items: list[Value]) -> None:
    found = set_of(items)
    assert len(found) == len({written(item) for item in items})
    assert equal(found, set_of(reversed(items)))
    assert distinct(found) == found.items
    assert contained(items, found, wanted=False) == ()
    assert contained(items, (), wanted=False) == tuple(items)


def test_set_shows_bools_numbers_and_strings_in_order() -> None:
    items = ("b", Decimal(10), True, "B", Decimal(9), False, "é", "a")
    assert set_of(items) == SetValue((False, True, Decimal(9), Decimal(10), "B", "a", "b", "é"))


def test_elements_become_strings_among_strings() -> None:
    assert unified((Decimal("1.50"), "a", True, None)) == ("1.5", "a", "true", None)
    assert unified((Decimal(1), None)) == (Decimal(1), None)
    assert unified((("a",), SetValue(("b",)))) == (("a",), SetValue(("b",)))
    for wrong in ((True, Decimal(1)), ("a", ()), ({}, ()), (None, "a", {})):
        with pytest.raises(Unsuitable, match="elements of one kind are needed, not "):
            unified(wrong)


def written(value: Value) -> str:
    """What tells values apart, found in another way than the one that is tested."""
    if isinstance(value, Decimal):
        return f"n{int(value)}"
    if isinstance(value, tuple):
        return f"[{','.join(map(written, value))}]"
    if isinstance(value, SetValue):
        return f"s[{','.join(sorted(map(written, value)))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{k}:{written(value[k])}' for k in sorted(value))}}}"
    return repr(value)
