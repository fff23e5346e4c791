"""Functions of numbers and of truth.

Spec: cty's stdlib: number.go, bool.go, general.go; numbers are decimal fractions, see bake/values.py;
logarithms and roots are doubles there and here.
"""

from __future__ import annotations

import decimal
import math
from decimal import Decimal

from imagesmith.bake.functions.calling import (
    CallError,
    Function,
    Parameter,
    anything,
    boolean,
    integer,
    number,
    string,
)
from imagesmith.bake.values import ARITHMETIC, Value, equal

__all__ = ["FUNCTIONS", "modulo"]

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def modulo(left: Decimal, right: Decimal) -> Decimal:
    """What is left of a division, with the sign of the first number.

    Raises:
        decimal.DecimalException: by zero.
    """
    if not right:
        raise decimal.DivisionByZero
    return ARITHMETIC.plus(ARITHMETIC.remainder(left, right))


def _divide(left: Decimal, right: Decimal) -> Value:
    if not right:
        raise decimal.DivisionByZero
    return ARITHMETIC.divide(left, right)


def _whole(rounding: str, value: Decimal) -> Decimal:
    return ARITHMETIC.plus(value.to_integral_value(rounding=rounding))


def _signum(value: Decimal) -> Value:
    return Decimal((value > 0) - (value < 0))


def _min(*values: Decimal) -> Value:
    if not values:
        raise CallError("at least one number is needed")
    return min(values)


def _max(*values: Decimal) -> Value:
    if not values:
        raise CallError("at least one number is needed")
    return max(values)


def _log(value: Decimal, base: Decimal) -> Value:
    if value <= 0:
        raise CallError("num: a number above zero is needed", 0)
    if base <= 0 or base == 1:
        raise CallError("base: a number above zero is needed that is not one", 1)
    return Decimal(repr(math.log(value) / math.log(base)))


def _pow(value: Decimal, power: Decimal) -> Value:
    if not value and power < 0:
        raise decimal.DivisionByZero
    if power >= 0 and power == power.to_integral_value():
        return ARITHMETIC.power(value, power) if power else Decimal(1)
    if value < 0 and power != power.to_integral_value():
        raise CallError("a root of a number below zero", 0)
    try:
        return Decimal(repr(math.pow(value, power)))
    except OverflowError:
        raise decimal.Overflow from None


def _parseint(text: str, base: Decimal) -> Value:
    if not 2 <= base <= 62:
        raise CallError("base: a whole number from 2 to 62 is needed", 1)
    digits = text[1:] if text[:1] in ("-", "+") else text
    digits = digits.lower() if base <= 36 else digits
    allowed = _DIGITS[: int(base)]
    if not digits or len(digits) > 512 or set(digits) - set(allowed):
        raise CallError(f"number: {text[:40]!r} is no whole number of base {base}", 0)
    total = 0
    for digit in digits:
        total = total * int(base) + allowed.index(digit)
    return ARITHMETIC.create_decimal(-total if text[0] == "-" else total)


_NUM = (Parameter("num", number),)
_PAIR = (Parameter("a", number), Parameter("b", number))
_ANY = (Parameter("a", anything, null=True), Parameter("b", anything, null=True))
_TRUTHS = (Parameter("a", boolean), Parameter("b", boolean))

FUNCTIONS = (
    Function("absolute", Decimal.copy_abs, _NUM),
    Function("negate", ARITHMETIC.minus, _NUM),
    Function("signum", _signum, (Parameter("num", integer),)),
    Function("int", lambda n: _whole(decimal.ROUND_DOWN, n), _NUM),
    Function("ceil", lambda n: _whole(decimal.ROUND_CEILING, n), _NUM),
    Function("floor", lambda n: _whole(decimal.ROUND_FLOOR, n), _NUM),
    Function("add", ARITHMETIC.add, _PAIR),
    Function("subtract", ARITHMETIC.subtract, _PAIR),
    Function("multiply", ARITHMETIC.multiply, _PAIR),
    Function("divide", _divide, _PAIR),
    Function("modulo", modulo, _PAIR),
    Function("min", _min, rest=Parameter("numbers", number)),
    Function("max", _max, rest=Parameter("numbers", number)),
    Function("log", _log, (*_NUM, Parameter("base", number))),
    Function("pow", _pow, (*_NUM, Parameter("power", number))),
    Function("parseint", _parseint, (Parameter("number", string), Parameter("base", integer))),
    Function("greaterthan", lambda a, b: a > b, _PAIR),
    Function("greaterthanorequalto", lambda a, b: a >= b, _PAIR),
    Function("lessthan", lambda a, b: a < b, _PAIR),
    Function("lessthanorequalto", lambda a, b: a <= b, _PAIR),
    Function("equal", equal, _ANY),
    Function("notequal", lambda a, b: not equal(a, b), _ANY),
    Function("and", lambda a, b: a and b, _TRUTHS),
    Function("or", lambda a, b: a or b, _TRUTHS),
    Function("not", lambda a: not a, (Parameter("val", boolean),)),
)
