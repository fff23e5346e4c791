"""How a function is called: counts, kinds, null, what a body raises, and how large a result may be."""

from __future__ import annotations

import decimal
from decimal import Decimal
from typing import Any

import pytest

from imagesmith.bake.functions import calling
from imagesmith.bake.functions.calling import CallError, Function, Parameter
from imagesmith.bake.values import SetValue, Unsuitable, Value


def error(function: Function, *args: Value) -> CallError:
    with pytest.raises(CallError) as e:
        function(args)
    return e.value


def test_arguments_are_converted_by_their_parameters() -> None:
    seen: list[Any] = []
    f = Function(
        "f",
        lambda *args: seen.extend(args) or "done",
        (Parameter("text", calling.string), Parameter("number", calling.number)),
        Parameter("more", calling.boolean),
    )
    assert f((Decimal("1.50"), "2", "true", False)) == "done"
    assert seen == ["1.5", Decimal(2), True, False]


@pytest.mark.parametrize(
    ("parameters", "rest", "count", "message"),
    [
        ((), None, 1, "f: takes 0 arguments, not 1"),
        (("a",), None, 0, "f: takes 1 argument (a), not 0"),
        (("a", "b"), None, 3, "f: takes 2 arguments (a, b), not 3"),
        (("a",), "more", 0, "f: takes 1 argument or more (a, more...), not 0"),
    ],
)
def test_count_is_told(parameters: tuple[str, ...], rest: str | None, count: int, message: str) -> None:
    given = tuple(Parameter(name, calling.anything) for name in parameters)
    f = Function("f", lambda *_: None, given, Parameter(rest, calling.anything) if rest else None)
    e = error(f, *("x",) * count)
    assert e.message == message
    assert e.argument == (len(parameters) if count > len(parameters) else None)


def test_null_is_for_parameters_that_take_it() -> None:
    f = Function(
        "f", lambda a, b: a, (Parameter("a", calling.string, null=True), Parameter("b", calling.string))
    )
    assert f((None, "b")) is None
    e = error(f, "a", None)
    assert (e.message, e.argument) == ("f: b is null", 1)


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (calling.string, (), "a string is needed, not a list"),
        (calling.number, "x", "a number is needed, not a string"),
        (calling.number, True, "a number is needed, not a bool"),
        (calling.integer, "1.5", "a whole number is needed"),
        (calling.integer, Decimal(2**63), "the number does not fit into 64 bits"),
        (calling.integer, Decimal("-1e9999"), "the number does not fit into 64 bits"),
        (calling.boolean, Decimal(1), "a bool is needed, not a number"),
        (calling.sequence, {}, "a list is needed, not a map"),
        (calling.strings, ("a", ()), "element 1: a string is needed, not a list"),
        (calling.strings, SetValue((None,)), "element 0: a string is needed, not a null"),
        (calling.mapping, SetValue(()), "a map is needed, not a set"),
        (calling.items, True, "a list, set or map is needed, not a bool"),
    ],
)
def test_kind_refuses(kind: calling.Kind, value: Value, message: str) -> None:
    with pytest.raises(Unsuitable) as raised:
        kind(value)
    assert str(raised.value) == message
    e = error(Function("f", lambda a: a, (Parameter("a", kind),)), value)
    assert (e.message, e.argument) == (f"f: a: {message}", 0)


@pytest.mark.parametrize(
    ("kind", "value", "want"),
    [
        (calling.integer, "-9223372036854775808", Decimal(-(2**63))),
        (calling.integer, Decimal("1E+3"), Decimal(1000)),
        (calling.sequence, SetValue(("a",)), ("a",)),
        (calling.strings, (Decimal(1), True, "x"), ("1", "true", "x")),
    ],
)
def test_kind_converts(kind: calling.Kind, value: Value, want: Value) -> None:
    assert kind(value) == want


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (CallError("no", 1), "f: no"),
        (Unsuitable("no"), "f: no"),
        (decimal.DivisionByZero(), "f: division by zero"),
        (decimal.Overflow(), "f: the result is too large a number"),
        (decimal.InvalidOperation(), "f: this has no result"),
        (RecursionError(), "f: too deeply nested"),
    ],
)
def test_what_a_body_raises_is_an_error_of_the_call(raised: Exception, message: str) -> None:
    def body() -> Value:
        raise raised

    assert error(Function("f", body)).message == message


def test_result_is_bounded() -> None:
    most = calling.MOST_CHARACTERS
    assert len(str(Function("f", lambda: "x" * most)(()))) == most
    assert "characters, more than" in error(Function("f", lambda: "x" * (most + 1))).message
    assert "elements, more than" in error(Function("f", lambda: ("",) * (calling.MOST_ITEMS + 1))).message
    assert (
        "elements, more than"
        in error(Function("f", lambda: SetValue(("",) * (calling.MOST_ITEMS + 1)))).message
    )
