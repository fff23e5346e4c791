"""What operators, indexes and templates make of values; what does not fit is shown where it stands.

Spec: cty's operators: operands are converted, so that "5" + 1 is 6; null is none.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable, Mapping
from decimal import Decimal
from itertools import islice
from typing import TypeVar

from imagesmith.bake import nodes
from imagesmith.bake.places import Span, fault
from imagesmith.bake.values import (
    ARITHMETIC,
    SetValue,
    Unsuitable,
    Value,
    flag_of,
    kind_of,
    number_of,
    text_of,
)
from imagesmith.dockerfile.suggest import suggest

__all__ = ["attribute", "calculated", "element", "fitting", "unary"]

_T = TypeVar("_T")

_COMPARISONS: dict[str, Callable[[Decimal, Decimal], bool]] = {
    "<": Decimal.__lt__, "<=": Decimal.__le__, ">": Decimal.__gt__, ">=": Decimal.__ge__,
}  # fmt: skip
_ARITHMETIC: dict[str, Callable[[Decimal, Decimal], Decimal]] = {
    "+": ARITHMETIC.add, "-": ARITHMETIC.subtract, "*": ARITHMETIC.multiply, "/": ARITHMETIC.divide,
    "%": ARITHMETIC.remainder,
}  # fmt: skip


def fitting(convert: Callable[[Value], _T], value: Value, span: Span, unless: str) -> _T:
    """A converted value; `unless` begins the message where it is unsuitable.

    Raises:
        DefinitionError: at the span.
    """
    try:
        return convert(value)
    except Unsuitable as e:
        raise fault(span, f"{unless}: {e}") from None


def unary(expr: nodes.Unary, value: Value) -> Value:
    """`!` and `-`.

    Raises:
        DefinitionError: the value is unsuitable.
    """
    if expr.op == "!":
        return not fitting(flag_of, value, expr.of.span, "unsuitable for !")
    return ARITHMETIC.minus(fitting(number_of, value, expr.of.span, "unsuitable for -"))


def calculated(expr: nodes.Binary, left: Value, right: Value) -> Value:
    """`+ - * / %` and `< <= > >=`.

    Raises:
        DefinitionError: a value is unsuitable, the divisor is zero, or the result too large.
    """
    op = expr.op
    a = fitting(number_of, left, expr.left.span, f"unsuitable for {op}")
    b = fitting(number_of, right, expr.right.span, f"unsuitable for {op}")
    if op in _COMPARISONS:
        return _COMPARISONS[op](a, b)
    if op in "/%" and not b:
        raise fault(expr.right.span, "division by zero")
    try:
        return _ARITHMETIC[op](a, b)
    except decimal.DecimalException:
        raise fault(expr.span, "the result is too large a number") from None


def attribute(of: Value, name: str, span: Span) -> Value:
    """`of.name`.

    Raises:
        DefinitionError: it is no map, or has no such key.
    """
    if isinstance(of, Mapping):
        if name not in of:
            near = suggest(name, islice(of, 1000))
            raise fault(span, f"there is no {name or 'empty name'} in this map{near}")
        return of[name]
    hint = f"for that of each element write [*].{name}" if isinstance(of, tuple | SetValue) else ""
    raise fault(span, f"a {kind_of(of)} has no attribute {name}", hint=hint)


def element(expr: nodes.Index, of: Value, key: Value) -> Value:
    """`of[key]`.

    Raises:
        DefinitionError: it has no indexes, or not this one.
    """
    at = expr.key.span
    if key is None:
        raise fault(at, "null is no index")
    if isinstance(of, Mapping):
        return attribute(of, fitting(text_of, key, at, "unsuitable as a key"), expr.span)
    if not isinstance(of, tuple):
        raise fault(expr.span, f"a {kind_of(of)} has no indexes")
    index = fitting(number_of, key, at, "unsuitable as an index")
    if index != index.to_integral_value() or index < 0:
        raise fault(at, f"an index is a whole number from 0, not {text_of(index)[:40]}")
    if index >= len(of):
        many = f"{len(of)} element{'' if len(of) == 1 else 's'}"
        raise fault(at, f"there is no element {text_of(index)[:40]}: the list has {many}")
    return of[int(index)]
