"""The values of bake's language, and how one kind becomes another.

    string  str          number  Decimal, never an int or a float      bool  bool      null  None
    list and tuple  tuple          set  SetValue          map and object  dict, keys sorted

Spec: HCL's and cty's conversions: numbers and bools become strings and back, nothing else does by itself.
Why Decimal: numbers there are decimal fractions of 512 bits; 0.1 + 0.2 is 0.3, and 1 is written `1`.
"""

from __future__ import annotations

import decimal
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

from imagesmith.values import frozen

__all__ = [
    "ARITHMETIC", "SetValue", "Unsuitable", "Value", "equal", "flag_of", "key_of", "kind_of", "number_of",
    "set_of", "text_of",
]  # fmt: skip

#: How numbers are reckoned: 512 bits are 155 digits; what is larger than any use is refused.
ARITHMETIC = decimal.Context(
    prec=155, Emax=9999, Emin=-9999, rounding=decimal.ROUND_HALF_EVEN,
    traps=[decimal.Overflow, decimal.InvalidOperation, decimal.DivisionByZero],
)  # fmt: skip


class Unsuitable(Exception):
    """A value that is not of the wanted kind; the text says why, for whoever knows the place."""


@frozen
class SetValue:
    """A set: its elements, each once, in the order that they are shown in."""

    items: tuple[Value, ...]

    def __iter__(self) -> Iterator[Value]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


Value = str | bool | Decimal | None | tuple["Value", ...] | SetValue | Mapping[str, "Value"]


def kind_of(value: Value) -> str:
    """What a message calls it: string, number, bool, null, list, set or map."""
    match value:
        case None:
            return "null"
        case bool():
            return "bool"
        case str():
            return "string"
        case Decimal():
            return "number"
        case tuple():
            return "list"
        case SetValue():
            return "set"
    return "map"


def text_of(value: Value) -> str:
    """A string, number or bool as text.

    Raises:
        Unsuitable: it is of another kind.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        text = format(value, "f")
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return "0" if text == "-0" else text
    raise Unsuitable(f"a string is needed, not a {kind_of(value)}" if value is not None else "it is null")


def number_of(value: Value) -> Decimal:
    """A number, or the number that a string spells.

    Raises:
        Unsuitable: it is of another kind, or no number.
    """
    if isinstance(value, Decimal):
        return value
    if isinstance(value, str):
        try:
            number = ARITHMETIC.create_decimal(value) if value.isascii() and "_" not in value else None
        except decimal.DecimalException:
            number = None
        if number is not None and number.is_finite() and value.strip() == value:
            return number
    raise Unsuitable(f"a number is needed, not a {kind_of(value)}" if value is not None else "it is null")


def flag_of(value: Value) -> bool:
    """A bool, or what a string spells: true or false, 1 or 0.

    Raises:
        Unsuitable: it is of another kind, or neither.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value in ("true", "1"):
        return True
    if isinstance(value, str) and value in ("false", "0"):
        return False
    raise Unsuitable(f"a bool is needed, not a {kind_of(value)}" if value is not None else "it is null")


def key_of(value: Value) -> tuple[object, ...]:
    """A key that equal values share, and that sorts them: by kind, then numbers by size, text by letters."""
    match value:
        case None:
            return (0,)
        case bool():
            return (1, value)
        case Decimal():
            return (2, value)
        case str():
            return (3, value)
        case tuple():
            return (4, tuple(key_of(item) for item in value))
        case SetValue():
            return (5, tuple(sorted(key_of(item) for item in value)))
    return (6, tuple((key, key_of(value[key])) for key in sorted(value)))


def equal(left: Value, right: Value) -> bool:
    """Whether two values are the same: of one kind, and alike in all they hold; 1 is not "1"."""
    return kind_of(left) == kind_of(right) and key_of(left) == key_of(right)


def set_of(items: Iterable[Value]) -> SetValue:
    """The set of some values: each once, in the order of `key_of`."""
    found = {key_of(item): item for item in items}
    return SetValue(tuple(found[key] for key in sorted(found)))
