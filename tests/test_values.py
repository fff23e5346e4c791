"""Values behave as frozen dataclasses do."""

from __future__ import annotations

from typing import Any

import pytest

from imagesmith.values import field, field_names, frozen, replace


@frozen
class Point:
    """A place."""

    x: int
    y: int = 2

    @property
    def both(self) -> tuple[int, int]:
        return self.x, self.y


@frozen(kw_only=True)
class Named(Point):
    """A place with a name, which says nothing of what it hides."""

    name: str
    notes: dict[str, int] = field(default_factory=dict)
    hidden: str = field(default="", shown=False)


@frozen(eq=False)
class Thing:
    """Told by identity."""

    n: int


@frozen
class Nothing:
    """No field at all."""


def test_fields_are_given_in_order_by_name_or_by_default() -> None:
    assert Point(1).both == Point(y=2, x=1).both == (1, 2)
    named = Named(name="n", x=5)
    assert (named.x, named.y, named.name, named.notes, named.both) == (5, 2, "n", {}, (5, 2))
    assert Named(name="a", x=1).notes is not Named(name="a", x=1).notes
    assert field_names(named) == ("x", "y", "name", "notes", "hidden")


@pytest.mark.parametrize(
    ("kind", "given", "named", "told"),
    [
        (Point, (), {}, "Point: x is missing"),
        (Point, (1, 2, 3), {}, "Point: 3 fields given without their names"),
        (Point, (1,), {"x": 1}, "Point: x is given twice"),
        (Point, (1,), {"z": 3}, "Point has no field z"),
        (Named, (1, 2, "n"), {}, "Named: 3 fields given without their names"),
    ],
)
def test_wrong_fields_are_refused(
    kind: Any, given: tuple[Any, ...], named: dict[str, Any], told: str
) -> None:
    with pytest.raises(TypeError, match=told):
        kind(*given, **named)


def test_equal_fields_make_equal_values_of_one_class_only() -> None:
    assert Point(1, 2) == Point(1) != Point(2)
    assert hash(Point(1, 2)) == hash(Point(1))
    assert len({Point(1), Point(1), Point(2)}) == 2
    assert Point(1) != (1, 2)
    assert Nothing() == Nothing()
    assert hash(Nothing()) == hash(Nothing())
    assert Thing(1) != Thing(1)
    assert len({Thing(1), Thing(1)}) == 2


def test_nothing_can_be_changed_or_added() -> None:
    point = Point(1)
    with pytest.raises(AttributeError, match="Point is frozen: x cannot be changed"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        point.z = 2  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        del point.x  # type: ignore[misc]
    assert not hasattr(point, "__dict__")


def test_replace_makes_another_and_refuses_unknown_names() -> None:
    named = Named(x=1, name="n", notes={"a": 1}, hidden="h")
    changed = replace(named, name="m")
    assert (changed.name, changed.x, changed.notes, changed.hidden) == ("m", 1, {"a": 1}, "h")
    assert named.name == "n"
    with pytest.raises(TypeError, match="other"):
        replace(named, other=1)


def test_what_is_shown_leaves_out_what_is_hidden() -> None:
    assert repr(Named(x=1, name="n", hidden="secret")) == "Named(x=1, y=2, name='n', notes={})"
    assert repr(Nothing()) == "Nothing()"


def test_values_are_taken_apart_by_match() -> None:
    match Point(3, 4):
        case Point(x, y):
            assert (x, y) == (3, 4)
