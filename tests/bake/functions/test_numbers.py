"""Numbers and truth, by the cases of cty's own tests and documentation."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.bake.values import text_of
from tests.bake.functions.calls import call, refused, same

CASES: list[tuple[str, list[Any], Any]] = [
    ("absolute", [-15], 15),
    ("absolute", [15], 15),
    ("absolute", ["-1.5"], 1.5),
    ("negate", [15], -15),
    ("negate", [0], 0),
    ("add", [1, 2], 3),
    ("add", [0.1, 0.2], 0.3),
    ("add", ["1", 2], 3),
    ("subtract", [1, 2], -1),
    ("multiply", [5, 2], 10),
    ("divide", [5, 2], 2.5),
    ("modulo", [15, 10], 5),
    ("modulo", [-15, 10], -5),
    ("modulo", [5.5, 2], 1.5),
    ("min", [-12, 0, 2], -12),
    ("min", [12], 12),
    ("max", [-12, 0, 2], 2),
    ("int", [1.3], 1),
    ("int", [-1.7], -1),
    ("int", ["999999999999999999999999999999999999999999999999999999999999.7"],
     Decimal(999999999999999999999999999999999999999999999999999999999999)),
    ("ceil", [1.8], 2),
    ("ceil", [-1.8], -1),
    ("ceil", [-0.5], 0),
    ("floor", [1.8], 1),
    ("floor", [-1.8], -2),
    ("log", [1, 10], 0),
    ("log", [10, 10], 1),
    ("log", [8, 2], 3),
    ("log", [0.5, 2], -1),
    ("pow", [1, 0], 1),
    ("pow", [0, 0], 1),
    ("pow", [3, 2], 9),
    ("pow", [-3, 2], 9),
    ("pow", [2, -2], 0.25),
    ("pow", [4, 0.5], 2),
    ("pow", [2, 100], Decimal(1267650600228229401496703205376)),
    ("signum", [0], 0),
    ("signum", [12], 1),
    ("signum", [-29], -1),
    ("parseint", ["128", 10], 128),
    ("parseint", ["-128", 10], -128),
    ("parseint", ["00128", 10], 128),
    ("parseint", ["FF00", 16], 65280),
    ("parseint", ["ff00", 16], 65280),
    ("parseint", ["-FF00", 16], -65280),
    ("parseint", ["1011111011101111", 2], 48879),
    ("parseint", ["aA", 62], 656),
    ("parseint", ["Aa", 62], 2242),
    ("parseint", ["+7", 8], 7),
    ("greaterthan", [2, 1], True),
    ("greaterthan", [1, 1], False),
    ("greaterthanorequalto", [1, 1], True),
    ("lessthan", ["1", 2], True),
    ("lessthanorequalto", [2, 1], False),
    ("equal", [1, 1.0], True),
    ("equal", [1, "1"], False),
    ("equal", [1, True], False),
    ("equal", [None, None], True),
    ("equal", [None, ""], False),
    ("equal", [[1, ["a"]], [1, ["a"]]], True),
    ("equal", [[1], [True]], False),
    ("equal", [{"a": 1, "b": 2}, {"b": 2, "a": 1}], True),
    ("equal", [{1, 2}, {2, 1}], True),
    ("equal", [{1, 2}, [1, 2]], False),
    ("notequal", [1, 2], True),
    ("notequal", ["a", "a"], False),
    ("and", [True, False], False),
    ("and", ["true", True], True),
    ("or", [True, False], True),
    ("or", [False, False], False),
    ("not", [False], True),
    ("not", ["1"], False),
]  # fmt: skip

REFUSED: list[tuple[str, list[Any], str, int | None]] = [
    ("divide", [1, 0], "division by zero", 1),
    ("modulo", [1, 0], "division by zero", 1),
    ("pow", [0, -1], "division by zero", 1),
    ("pow", [-2, 0.5], "a root of a number below zero", 0),
    ("pow", [10, 100000], "the result is too large a number", None),
    ("pow", [1.5, 1e300], "the result is too large a number", None),
    ("pow", [10.5, 4000.5], "the result is too large a number", None),
    ("multiply", ["1e9000", "1e9000"], "the result is too large a number", None),
    ("log", [0, 10], "num: a number above zero is needed", 0),
    ("log", [10, 1], "base: a number above zero is needed that is not one", 1),
    ("log", [10, -2], "base: a number above zero is needed that is not one", 1),
    ("min", [], "at least one number is needed", None),
    ("max", [], "at least one number is needed", None),
    ("min", [1, None], "numbers is null", 1),
    ("signum", [1.5], "num: a whole number is needed", 0),
    ("add", ["x", 1], "a: a number is needed, not a string", 0),
    ("add", [1, True], "b: a number is needed, not a bool", 1),
    ("add", [1, []], "b: a number is needed, not a list", 1),
    ("add", [1], "takes 2 arguments (a, b), not 1", None),
    ("not", ["maybe"], "val: a bool is needed, not a string", 0),
    ("not", [1], "val: a bool is needed, not a number", 0),
    ("parseint", ["FF", 10], "number: 'FF' is no whole number of base 10", 0),
    ("parseint", ["1.2", 10], "number: '1.2' is no whole number of base 10", 0),
    ("parseint", ["", 10], "number: '' is no whole number of base 10", 0),
    ("parseint", ["-", 10], "number: '-' is no whole number of base 10", 0),
    ("parseint", ["1", 63], "base: a whole number from 2 to 62 is needed", 1),
    ("parseint", ["1", 1], "base: a whole number from 2 to 62 is needed", 1),
    ("parseint", ["1", 10.5], "base: a whole number is needed", 1),
    ("parseint", ["1", 1e20], "base: the number does not fit into 64 bits", 1),
    ("parseint", [[], 10], "number: a string is needed, not a list", 0),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "want"), CASES)
def test_value(name: str, args: list[Any], want: Any) -> None:
    assert same(call(name, *args), want)


@pytest.mark.parametrize(("name", "args", "message", "argument"), REFUSED)
def test_refusal(name: str, args: list[Any], message: str, argument: int | None) -> None:
    assert refused(name, *args) == (message, argument)


def test_result_is_not_rounded_to_python_s_own_precision() -> None:
    long = "1234567890123456789012345678901234567890.5"
    for name in ("absolute", "ceil", "floor", "int", "negate"):
        assert len(text_of(call(name, long)).lstrip("-")) >= 40


whole = st.integers(-(10**40), 10**40).map(Decimal)


@given(whole, whole)
def test_arithmetic_is_that_of_whole_numbers(a: Decimal, b: Decimal) -> None:
    x, y = int(a), int(b)
    assert call("add", a, b) == x + y
    assert call("subtract", a, b) == x - y
    assert call("multiply", a, b) == x * y
    assert call("lessthan", a, b) == (x < y)
    if y:
        rest = call("modulo", a, b)
        assert (x - int(rest)) % y == 0
        assert abs(rest) < abs(y)


@given(st.integers(0, 10**30), st.integers(2, 36))
def test_parseint_reads_what_is_written_in_a_base(number: int, base: int) -> None:
    digits, left = "", number
    while left or not digits:
        digits, left = "0123456789abcdefghijklmnopqrstuvwxyz"[left % base] + digits, left // base
    assert call("parseint", digits, base) == number
