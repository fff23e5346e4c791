"""Functions of sets; a list in the place of a set is taken as one.

Spec: cty's stdlib: set.go; sets of strings and of numbers meet as strings.
"""

from __future__ import annotations

from collections.abc import Iterable

from imagesmith.bake.functions.calling import Function, Parameter, anything, bounded, sequence
from imagesmith.bake.functions.comparing import contained, unified
from imagesmith.bake.values import Value, equal, set_of

__all__ = ["FUNCTIONS"]

_Items = tuple[Value, ...]


def _alike(sets: Iterable[_Items]) -> list[_Items]:
    """The sets, their elements made one kind."""
    given = list(sets)
    bounded(items=sum(map(len, given)))
    found = iter(unified(item for some in given for item in some))
    return [tuple(next(found) for _ in some) for some in given]


def _union(*sets: _Items) -> Value:
    return set_of(item for some in _alike(sets) for item in some)


def _intersection(*sets: _Items) -> Value:
    first, *others = _alike(sets)
    for some in others:
        first = contained(first, some, wanted=True)
    return set_of(first)


def _subtract(left: _Items, right: _Items) -> Value:
    left, right = _alike((left, right))
    return set_of(contained(left, right, wanted=False))


def _difference(*sets: _Items) -> Value:
    first, *others = _alike(sets)
    for some in others:
        first = contained(first, some, wanted=False) + contained(some, first, wanted=False)
    return set_of(first)


_FIRST = (Parameter("first_set", sequence),)
_OTHERS = Parameter("other_sets", sequence)

FUNCTIONS = (
    Function(
        "sethaselement",
        lambda some, value: any(equal(item, value) for item in some),
        (Parameter("set", sequence), Parameter("elem", anything)),
    ),
    Function("setunion", _union, _FIRST, _OTHERS),
    Function("setintersection", _intersection, _FIRST, _OTHERS),
    Function("setsubtract", _subtract, (Parameter("a", sequence), Parameter("b", sequence))),
    Function("setsymmetricdifference", _difference, _FIRST, _OTHERS),
)
