"""Types: those that files spell, what values become by them, and what several have in common."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.bake.types import ANY, BOOL, NUMBER, STRING, Type, convert, parse_type, type_of, unified
from imagesmith.bake.values import SetValue, Unsuitable, Value, set_of
from imagesmith.errors import DefinitionError
from tests.bake.support import expr_of, marked, n


def _type(text: str) -> Type:
    return parse_type(expr_of(text))


_TEXTS = (
    "string", "number", "bool", "any", "list(string)", "set(number)", "map(bool)", "list(list(any))",
    "tuple([])", "tuple([string, number])", "object({})", "object({a=string, b=optional(list(number))})",
)  # fmt: skip


@pytest.mark.parametrize("text", _TEXTS)
def test_a_type_is_shown_as_it_is_written(text: str) -> None:
    assert _type(text).text == text


def test_fields_may_be_optional() -> None:
    fields = (
        'a = string, b = optional(number), "c": optional(list(string), ["x", 1]), d = optional(number, -1)'
    )
    found = _type(f"object({{{fields}}})")
    assert found.fields == {"a": STRING, "b": NUMBER, "c": Type("list", of=STRING), "d": NUMBER}
    assert found.optional == {"b": None, "c": ("x", "1"), "d": n(-1)}


@pytest.mark.parametrize(
    ("text", "message", "under"),
    [
        ("str", "str is no type", "str"),
        ('"string"', '"string" is no type', '"string"'),
        ("list", "list needs the type of its elements: list(string)", "list"),
        ("list(str)", "str is no type", "str"),
        ("list(string, string)", "list takes one argument, not 2", "list(string, string)"),
        ("tuple(string)", "tuple takes its types in brackets: tuple([string, number])", "string"),
        ("object(string)", "object takes its fields in braces: object({name = string})", "string"),
        ("object({a = string, a = number})", "the field a is there already", "a"),
        ("object({1 = string})", "a field's name is a name or a string", "1"),
        ("optional(string)", "only a field of an object can be optional", "optional(string)"),
        ("object({a = optional()})", "optional takes a type, and perhaps a default", "optional()"),
        ("object({a = optional(number, x)})", "the default of an optional field is a constant", "x"),
        ('object({a = optional(number, "x")})',
        "the default is not of its type: a number is needed, not a string", '"x"'),
        ("strings(string)", "strings(string) is no type", "strings(string)"),
        ("list([string]...)", "list([string]...) is no type", "list([string]...)"),
    ],
)  # fmt: skip
def test_what_is_no_type_is_refused(text: str, message: str, under: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        _type(text)
    assert (caught.value.message, marked(caught.value)) == (message, under)


@pytest.mark.parametrize(
    ("value", "wanted", "result"),
    [
        (n(1), "string", "1"), (True, "string", "true"), ("1.50", "number", n("1.5")), ("true", "bool", True),
        ("0", "bool", False), (None, "string", None), (None, "list(string)", None),
        (("a", n(1)), "list(string)", ("a", "1")),
        (("a", n(1)), "list(any)", ("a", "1")), (("a", n(1)), "any", ("a", n(1))),
        (("b", "a", "b"), "set(string)", SetValue(("a", "b"))), (SetValue(("a",)), "list(string)", ("a",)),
        ((n(2), "10"), "set(number)", SetValue((n(2), n(10)))),
        ({"b": n(1), "a": "x"}, "map(string)", {"a": "x", "b": "1"}),
        ({"a": n(1), "b": "x"}, "map(any)", {"a": "1", "b": "x"}),
        (("a", "1"), "tuple([string, number])", ("a", n(1))),
        ({"a": n(1), "z": n(2)}, "object({a=string})", {"a": "1"}),
        ({"a": "x"}, "object({a=string, b=optional(number), c=optional(number, 5)})", {"a": "x",
        "b": None, "c": n(5)}),
        ({"a": None}, "object({a=optional(string, \"d\")})", {"a": "d"}), ((), "list(any)", ()),
    ],
)  # fmt: skip
def test_values_become_what_is_wanted(value: Value, wanted: str, result: Value) -> None:
    found = convert(value, _type(wanted))
    assert (found, type(found)) == (result, type(result))


@pytest.mark.parametrize(
    ("value", "wanted", "message"),
    [
        ("x", "number", "a number is needed, not a string"),
        ("yes", "bool", "a bool is needed, not a string"),
        (n(1), "bool", "a bool is needed, not a number"),
        (("a",), "string", "a string is needed, not a list"),
        ("a", "list(string)", "a list is needed, not a string"),
        ({}, "set(string)", "a set is needed, not a map"),
        (("a", ("b",)), "list(string)", "[1]: a string is needed, not a list"),
        (({"a": ("x",)},), "list(object({a=list(number)}))", "[0].a[0]: a number is needed, not a string"),
        ({"a": {"b": "x"}}, "map(map(number))", "a.b: a number is needed, not a string"),
        (("a", True, ()), "list(any)", "the elements of a list have one type"),
        (("a",), "tuple([string, string])", "2 elements are needed, not 1"),
        (((),), "list(tuple([string]))", "[0]: 1 elements are needed, not 0"),
        ("a", "object({})", "an object is needed, not a string"),
        ((), "map(string)", "a map is needed, not a list"),
        ({}, "object({a=string})", "the field a is missing"),
        ({"x": {}}, "map(object({a=string}))", "x: the field a is missing"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_where(value: Value, wanted: str, message: str) -> None:
    with pytest.raises(Unsuitable) as caught:
        convert(value, _type(wanted))
    assert str(caught.value) == message


_STRINGS = Type("list", of=STRING)


@pytest.mark.parametrize(
    ("types", "common"),
    [
        ([], ANY), ([ANY, NUMBER], NUMBER), ([NUMBER, STRING], STRING), ([BOOL, STRING, NUMBER], STRING),
        ([BOOL, NUMBER], None), ([STRING, _STRINGS], None),
        ([_STRINGS, Type("tuple", items=(NUMBER,))], _STRINGS),
        ([Type("tuple", items=(NUMBER, BOOL)), Type("tuple", items=(STRING, BOOL))], Type("tuple",
        items=(STRING, BOOL))),
        ([Type("tuple", items=(NUMBER, BOOL)), Type("tuple", items=(BOOL, NUMBER))], None),
        ([Type("tuple"), _STRINGS], _STRINGS),
        ([Type("set", of=NUMBER), Type("set", of=STRING)], Type("set", of=STRING)),
        ([Type("set", of=STRING), _STRINGS], _STRINGS),
        ([Type("object", fields={"a": NUMBER}), Type("object", fields={"a": STRING})], Type("object",
        fields={"a": STRING})),
        ([Type("object", fields={"a": NUMBER}), Type("object", fields={"b": STRING})], Type("map",
        of=STRING)),
        ([Type("object", fields={"a": NUMBER}), Type("map", of=STRING)], Type("map", of=STRING)),
        ([Type("object", fields={"a": NUMBER}), Type("map", of=BOOL)], None),
        ([Type("object"), Type("tuple")], None),
    ],
)  # fmt: skip
def test_types_have_something_in_common_or_not(types: list[Type], common: Type | None) -> None:
    assert unified(types) == common


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from([n(0), n(1), n("1.5")])
    | st.sampled_from(["", "a", "1", "true"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple),
        st.lists(st.sampled_from(["a", "b", "1"]), max_size=3).map(set_of),
        st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    ),
    max_leaves=8,
)


@given(_VALUES, _VALUES)
def test_both_values_become_their_common_type(left: Value, right: Value) -> None:
    common = unified([type_of(left), type_of(right)])
    assert (unified([type_of(right), type_of(left)]) is None) == (common is None)
    if common is not None:
        for value in (left, right):
            made = convert(value, common)
            assert convert(made, common) == made


@given(_VALUES, st.sampled_from(_TEXTS))
def test_any_value_is_converted_or_refused(value: Value, wanted: str) -> None:
    kind = _type(wanted)
    with contextlib.suppress(Unsuitable):
        made = convert(value, kind)
        assert convert(made, kind) == made
