"""Functions of lists and maps.

Spec: cty's stdlib: collection.go, sequence.go; buildx's indexof. A list and a tuple are one here, and so are
a map and an object; where cty makes one list of several kinds, numbers and bools become strings.
Trust: what multiplies is bounded before it is made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal

from imagesmith.bake.functions.calling import (
    CallError,
    Function,
    Parameter,
    anything,
    bounded,
    integer,
    items,
    mapping,
    number,
    sequence,
    string,
    strings,
)
from imagesmith.bake.functions.comparing import distinct, unified
from imagesmith.bake.values import ARITHMETIC, SetValue, Unsuitable, Value, equal, kind_of, set_of

__all__ = ["FUNCTIONS"]

_MOST_RANGE = 1024
_List = tuple[Value, ...]


def _only_list(value: Value) -> Value:
    """A list, and no set, whose elements have no places."""
    if isinstance(value, tuple):
        return value
    raise Unsuitable(f"a list is needed, not a {kind_of(value)}")


def _list_or_map(value: Value) -> Value:
    if isinstance(value, tuple | Mapping):
        return value
    raise Unsuitable(f"a list or map is needed, not a {kind_of(value)}")


def _compactable(value: Value) -> Value:
    found = sequence(value)
    assert isinstance(found, tuple)
    return strings(tuple(item for item in found if item is not None))


def _hasindex(within: _List | Mapping[str, Value], key: Value) -> Value:
    if isinstance(within, Mapping):
        return isinstance(key, str) and key in within
    return isinstance(key, Decimal) and key == key.to_integral_value() and 0 <= key < len(within)


def _index(within: _List | Mapping[str, Value], key: Value) -> Value:
    wanted: type = str if isinstance(within, Mapping) else Decimal
    if not isinstance(key, wanted):
        of, needed = ("map", "string") if wanted is str else ("list", "number")
        raise CallError(f"the key of a {of} is a {needed}, not a {kind_of(key)}", 1)
    if not _hasindex(within, key):
        raise CallError(f"there is no element {key!s:.80}", 1)
    return within[key] if isinstance(within, Mapping) else within[int(key)]  # type: ignore[index,arg-type]


def _indexof(within: _List, value: Value) -> Value:
    if not within:
        raise CallError("an empty list is searched", 0)
    for n, item in enumerate(within):
        if equal(item, value):
            return Decimal(n)
    raise CallError("the list has no such element", 1)


def _element(within: _List, index: Decimal) -> Value:
    if not within:
        raise CallError("the list is empty", 0)
    return within[int(index) % len(within)]


def _coalesce(*values: Value) -> Value:
    if not values:
        raise CallError("at least one argument is needed")
    found = next((v for v in unified(values) if v is not None), None)
    if found is None:
        raise CallError("every argument is null")
    return found


def _coalescelist(*lists: _List) -> Value:
    if not lists:
        raise CallError("at least one argument is needed")
    found = next((some for some in lists if some), None)
    if found is None:
        raise CallError("every list is empty")
    return found


def _concat(*lists: _List) -> Value:
    if not lists:
        raise CallError("at least one argument is needed")
    bounded(items=sum(map(len, lists)))
    return tuple(item for some in lists for item in some)


def _chunklist(within: _List, size: Decimal) -> Value:
    if size < 0:
        raise CallError("size: a number below zero", 1)
    step = int(size)
    if not step:
        return (within,) if within else ()
    return tuple(within[n : n + step] for n in range(0, len(within), step))


def _flatten(within: Value) -> Value:
    out: list[Value] = []
    _flattened(within, out)
    return tuple(out)


def _flattened(within: Value, out: list[Value]) -> None:
    assert isinstance(within, tuple | SetValue)
    for item in within:
        if isinstance(item, tuple | SetValue):
            _flattened(item, out)
        else:
            out.append(item)
    bounded(items=len(out))


def _slice(within: _List, start: Decimal, end: Decimal) -> Value:
    for n, (name, found) in enumerate((("start_index", start), ("end_index", end)), 1):
        if not 0 <= found <= len(within):
            raise CallError(f"{name}: {found} is not from 0 to {len(within)}, the length of the list", n)
    if start > end:
        raise CallError(f"start_index: {start} is behind the end, {end}", 1)
    return within[int(start) : int(end)]


def _range(*given: Decimal) -> Value:
    if not 1 <= len(given) <= 3:
        raise CallError(f"takes 1, 2 or 3 arguments (start, end, step), not {len(given)}")
    start, end = (Decimal(0), given[0]) if len(given) == 1 else given[:2]
    step = given[2] if len(given) == 3 else Decimal(-1 if end < start else 1)
    if not step:
        raise CallError("step: it is zero", 2)
    if (end - start) * step < 0:
        raise CallError("end: the step leads away from it", 1)
    if ARITHMETIC.divide(ARITHMETIC.subtract(end, start), step) > _MOST_RANGE:
        raise CallError(f"the result has more than {_MOST_RANGE} elements")
    out: list[Value] = []
    while (start < end) if step > 0 else (start > end):
        out.append(start)
        start = ARITHMETIC.add(start, step)
    return tuple(out)


def _lookup(within: Mapping[str, Value], key: str, default: Value) -> Value:
    return within.get(key, default)


def _merge(*maps: Mapping[str, Value] | None) -> Value:
    if maps and all(some is None for some in maps):
        return None
    merged = {name: some[name] for some in maps if some is not None for name in some}
    return {name: merged[name] for name in sorted(merged)}


def _zipmap(names: tuple[str, ...], values: _List) -> Value:
    if len(names) != len(values):
        raise CallError(f"{len(names)} keys, and {len(values)} values", 1)
    found = dict(zip(names, values, strict=True))
    return {name: found[name] for name in sorted(found)}


def _setproduct(*given: _List | SetValue) -> Value:
    if len(given) < 2:
        raise CallError("at least two arguments are needed")
    total = math.prod(map(len, given))
    bounded(items=total * len(given))
    rows: list[_List] = [()]
    for some in given if total else ():
        each = unified(some)
        rows = [(*row, item) for row in rows for item in each]
    found = tuple(rows) if total else ()
    return found if all(isinstance(some, tuple) for some in given) else set_of(found)


def _list_or_set(value: Value) -> Value:
    if isinstance(value, tuple | SetValue):
        return value
    raise Unsuitable(f"a list or set is needed, not a {kind_of(value)}")


_LIST = Parameter("list", sequence)
_VALUE = Parameter("value", anything, null=True)
_MAP = Parameter("map", mapping)
_KEYED = (Parameter("collection", _list_or_map), Parameter("key", anything))

FUNCTIONS = (
    Function("length", lambda some: Decimal(len(some)), (Parameter("collection", items),)),
    Function("hasindex", _hasindex, _KEYED),
    Function("index", _index, _KEYED),
    Function("indexof", _indexof, (Parameter("list", _only_list), _VALUE)),
    Function("contains", lambda some, v: any(equal(item, v) for item in some), (_LIST, _VALUE)),
    Function("element", _element, (Parameter("list", _only_list), Parameter("index", integer))),
    Function("coalesce", _coalesce, rest=Parameter("vals", anything, null=True)),
    Function("coalescelist", _coalescelist, rest=Parameter("vals", _only_list)),
    Function("compact", lambda some: tuple(filter(None, some)), (Parameter("list", _compactable),)),
    Function("concat", _concat, rest=Parameter("seqs", _only_list)),
    Function("distinct", lambda some: distinct(unified(some)), (_LIST,)),
    Function("chunklist", _chunklist, (_LIST, Parameter("size", integer))),
    Function("flatten", _flatten, (Parameter("list", _list_or_set),)),
    Function("reverselist", lambda some: some[::-1], (_LIST,)),
    Function("sort", lambda some: tuple(sorted(some)), (Parameter("list", strings),)),
    Function(
        "slice",
        _slice,
        (
            Parameter("list", _only_list),
            Parameter("start_index", integer),
            Parameter("end_index", integer),
        ),
    ),
    Function("range", _range, rest=Parameter("params", number)),
    Function("keys", lambda some: tuple(sorted(some)), (_MAP,)),
    Function("values", lambda some: tuple(some[name] for name in sorted(some)), (_MAP,)),
    Function("lookup", _lookup, (_MAP, Parameter("key", string), Parameter("default", anything, null=True))),
    Function("merge", _merge, rest=Parameter("maps", mapping, null=True)),
    Function("zipmap", _zipmap, (Parameter("keys", strings), Parameter("values", _only_list))),
    Function("setproduct", _setproduct, rest=Parameter("sets", _list_or_set)),
)
