"""When two values of bake's language are equal, and in which order a set shows its elements.

Spec: cty: values of different kinds are never equal, "1" is not 1; sets show numbers by size, strings by
their code points, false before true. Python has True == 1, so `==` itself will not do.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from decimal import Decimal

from imagesmith.bake.values import SetValue, Unsuitable, Value, kind_of, text_of

__all__ = ["contained", "distinct", "equal", "set_of", "unified"]

_RANKS = {bool: 0, Decimal: 1, str: 2}


def equal(left: Value, right: Value) -> bool:
    """Whether two values are the same."""
    return left is right or _key(left) == _key(right)


def distinct(items: Iterable[Value]) -> tuple[Value, ...]:
    """Each value once, where it came first."""
    found: dict[Hashable, Value] = {}
    for item in items:
        found.setdefault(_key(item), item)
    return tuple(found.values())


def set_of(items: Iterable[Value]) -> SetValue:
    """A set of some values, in the order of sets; lists and maps stay as they came, behind the rest."""
    return SetValue(tuple(sorted(distinct(items), key=_place)))


def contained(items: Iterable[Value], within: Iterable[Value], *, wanted: bool) -> tuple[Value, ...]:
    """Those of some values that are, or are not, among others."""
    others = set(map(_key, within))
    return tuple(item for item in items if (_key(item) in others) is wanted)


def unified(items: Iterable[Value]) -> tuple[Value, ...]:
    """Values that are elements of one list or set: among strings, numbers and bools become strings.

    Raises:
        Unsuitable: they have no kind in common.
    """
    given = tuple(items)
    kinds = {"list" if isinstance(item, SetValue) else kind_of(item) for item in given} - {"null"}
    if len(kinds) < 2:
        return given
    if "string" not in kinds or kinds - {"string", "number", "bool"}:
        raise Unsuitable(f"elements of one kind are needed, not {' and '.join(sorted(kinds))}")
    return tuple(None if item is None else text_of(item) for item in given)


def _key(value: Value) -> Hashable:
    """What equal values, and no others, have in common."""
    if isinstance(value, tuple):
        return ("list", *map(_key, value))
    if isinstance(value, SetValue):
        return ("set", frozenset(map(_key, value)))
    if isinstance(value, Mapping):
        return ("map", frozenset((name, _key(value[name])) for name in value))
    return (type(value), value)


def _place(value: Value) -> tuple[int, object]:
    rank = _RANKS.get(type(value), 3)
    return (rank, value if rank < 3 else 0)
