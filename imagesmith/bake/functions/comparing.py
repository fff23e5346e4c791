"""Values among others of a list or set: each once, those that another one has, all of one kind.

Spec: cty: elements of one list or set are of one kind; numbers and bools become strings among strings.
"""

from __future__ import annotations

from collections.abc import Iterable

from imagesmith.bake.values import SetValue, Unsuitable, Value, key_of, kind_of, text_of

__all__ = ["contained", "distinct", "unified"]


def distinct(items: Iterable[Value]) -> tuple[Value, ...]:
    """Each value once, where it came first."""
    found: dict[object, Value] = {}
    for item in items:
        found.setdefault(key_of(item), item)
    return tuple(found.values())


def contained(items: Iterable[Value], within: Iterable[Value], *, wanted: bool) -> tuple[Value, ...]:
    """Those of some values that are, or are not, among others."""
    others = set(map(key_of, within))
    return tuple(item for item in items if (key_of(item) in others) is wanted)


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
