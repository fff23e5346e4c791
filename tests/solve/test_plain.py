"""Values as JSON and back: every field is written, and only known kinds are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from imagesmith.errors import InvalidDocument
from imagesmith.solve.plain import kind_of, plain, restored
from imagesmith.solve.step import Op, Step
from imagesmith.values import field, frozen


@frozen
class Point:
    """A value whose class says what it is."""

    x: int
    y: object = None


@frozen
class Named(Point):
    """One that is called otherwise."""

    kind = "named"


@frozen
class Below(Named):
    """One that has its name from nobody."""


@frozen
class Holds:
    """Holds others."""

    parts: tuple[object, ...] = ()
    table: Mapping[str, object] = field(default_factory=dict)
    step: Step | None = None


@frozen
class Nothing(Op):
    """An op without fields."""


KINDS = {kind_of(k): k for k in (Point, Named, Below, Holds)}


def never(digest: str) -> object:
    """For values without steps."""
    raise AssertionError(digest)


def back(data: object) -> Any:
    """What is read of JSON that went over the wire."""
    return restored(json.loads(json.dumps(data)), KINDS, never)


def test_kind_is_that_of_the_class_itself() -> None:
    assert [kind_of(k) for k in (Point, Named, Below)] == ["Point", "named", "Below"]


@pytest.mark.parametrize(
    "value",
    [
        None, True, 0, 1.5, "", "é\udcff", b"", b"\x00\xff", (), (1, ("a", (None,))), {}, {"a": (b"x",)},
        {1: "number", ("a", 2): "tuple"}, Point(1), Point(1, Point(2, b"x")), Named(3), Below(4),
        Holds((Point(1), Named(1)), {"kind": Point(2), "b": {}}),
    ],
    ids=repr,
)  # fmt: skip
def test_value_reads_back_equal_and_of_its_class(value: object) -> None:
    again = back(plain(value))
    assert again == value
    assert type(again) is type(value)


def test_all_fields_are_written_also_those_that_are_as_usual() -> None:
    assert plain(Point(1)) == {"kind": "Point", "x": 1, "y": None}
    assert plain(Holds()) == {
        "kind": "Holds",
        "parts": [],
        "table": {"kind": "map", "entries": []},
        "step": None,
    }


def test_maps_keep_their_order_and_lists_become_tuples() -> None:
    assert list(back(plain({"b": 1, "a": 2}))) == ["b", "a"]
    assert back(plain([1, [2]])) == (1, (2,))


def test_values_of_other_classes_with_the_same_fields_are_written_apart() -> None:
    written = [json.dumps(plain(v)) for v in (Point(1), Named(1), Below(1), (1, None), {"x": 1, "y": None})]
    assert len(set(written)) == len(written)


def test_bytes_are_no_text() -> None:
    assert plain(b"eA==") != plain("eA==") != plain(b"x")


def test_step_is_its_digest_and_is_asked_for_by_it() -> None:
    step = Step.of(Nothing(), None, "name")
    written = plain(Holds(step=step))
    assert written["step"] == {"kind": "step", "digest": str(step.step_digest)}
    assert restored(written, KINDS, {str(step.step_digest): step}.__getitem__) == Holds(step=step)


@pytest.mark.parametrize(
    "data",
    [
        {"kind": "Path", "x": 1},
        {"x": 1},
        {"kind": None},
        {"kind": ["Point"]},
        {"kind": "Point"},
        {"kind": "Point", "x": 1, "z": 2},
        {"kind": "step"},
        {"kind": "step", "digest": "unknown"},
        {"kind": "map"},
        {"kind": "map", "entries": [["a"]]},
        {"kind": "map", "entries": 5},
        {"kind": "map", "entries": [[{"kind": "map", "entries": []}, 1]]},
        {"kind": "bytes"},
        {"kind": "bytes", "base64": "a"},
        {"kind": "bytes", "base64": "e A=="},
        {"kind": "bytes", "base64": 5},
        [{"kind": "Holds", "parts": [{"kind": "os.system"}]}],
    ],
    ids=str,
)
def test_what_is_no_value_is_refused(data: object) -> None:
    with pytest.raises(InvalidDocument, match="unknown value"):
        restored(data, KINDS, dict[str, object]().__getitem__)


def test_kind_in_a_message_is_short() -> None:
    with pytest.raises(InvalidDocument) as caught:
        restored({"kind": "x" * 500}, KINDS, never)
    assert len(caught.value.message) < 100
