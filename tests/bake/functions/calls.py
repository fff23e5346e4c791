"""Functions called with Python's numbers and lists, for tests."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from imagesmith.bake.functions.calling import CallError
from imagesmith.bake.functions.table import FUNCTIONS
from imagesmith.bake.values import SetValue, set_of


def value_of(given: Any) -> Any:
    """Bake's value for Python's: numbers, lists, sets and dicts."""
    if isinstance(given, bool) or given is None or isinstance(given, str | Decimal | SetValue):
        return given
    if isinstance(given, int | float):
        return Decimal(str(given))
    if isinstance(given, list | tuple):
        return tuple(map(value_of, given))
    if isinstance(given, set | frozenset):
        return set_of(map(value_of, given))
    return {name: value_of(given[name]) for name in sorted(given)}


def call(name: str, *args: Any) -> Any:
    return FUNCTIONS[name](tuple(map(value_of, args)))


def refused(name: str, *args: Any) -> tuple[str, int | None]:
    """What a call says that is refused, and about which argument."""
    with pytest.raises(CallError) as e:
        FUNCTIONS[name](tuple(map(value_of, args)))
    assert e.value.message.startswith(f"{name}: ")
    assert "\n" not in e.value.message
    assert not e.value.message.endswith(".")
    assert len(e.value.message) < 300
    return e.value.message.removeprefix(f"{name}: "), e.value.argument


def same(got: Any, want: Any) -> bool:
    """Whether two values are the same, kinds included: Python has True == 1."""
    return repr(normal(got)) == repr(normal(value_of(want)))


def normal(given: Any) -> Any:
    if isinstance(given, Decimal):
        return given.normalize()
    if isinstance(given, tuple):
        return tuple(map(normal, given))
    if isinstance(given, SetValue):
        return ("set", *map(normal, given))
    if isinstance(given, dict):
        return {name: normal(given[name]) for name in given}
    return given
