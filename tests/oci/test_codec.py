from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.errors import InvalidDocument
from imagesmith.oci.codec import Object, dumps, parse_object

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=4))
def test_written_object_is_read_back(value: dict[str, object]) -> None:
    assert parse_object(dumps(value), "x").data == value


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with contextlib.suppress(InvalidDocument):
        assert isinstance(parse_object(raw, "x").data, dict)


def test_go_escapes_are_written() -> None:
    assert dumps({"a": "<&>\u2028é"}) == '{"a":"\\u003c\\u0026\\u003e\\u2028é"}'.encode()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"[]", "must be a JSON object"),
        (b"{" * 5, "not valid JSON"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"\xff\xfe", "not valid JSON"),
        (b'{"a":' * 201 + b"1" + b"}" * 201, "nested too deeply"),
        (b'{"a":' + b"[" * 201 + b"]" * 201 + b"}", "nested too deeply"),
        ('{"a":1}'.encode("utf-16"), "not valid JSON"),
        (b'{"a":NaN}', "the number NaN is out of range"),
        (b'{"a":[-Infinity]}', "the number -Infinity is out of range"),
        (b'{"a":1e999}', "the number 1e999 is out of range"),
    ],
)
def test_hostile_documents_are_refused(raw: bytes, message: str) -> None:
    with pytest.raises(InvalidDocument, match=message):
        parse_object(raw, "x")


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'{"a":1,"a":2}', {"a": 2}),
        (
            b'{"a":{"x":1,"y":{"z":1}},"b":0,"a":{"y":{"w":2},"x":3}}',
            {"a": {"x": 3, "y": {"z": 1, "w": 2}}, "b": 0},
        ),
        (b'{"a":[1,2],"a":[3]}', {"a": [3]}),
        (b'{"a":{"x":1},"a":"text"}', {"a": "text"}),
        (b'{"a":"text","a":null}', {"a": "text"}),
        (b'{"a":{"x":1},"a":null}', {"a": None}),
        (b'{"a":null,"a":null,"a":[]}', {"a": []}),
        (b'{"\\ud800":1,"\\udfff":2}', {"\ufffd": 2}),
    ],
)
def test_key_that_stands_twice_is_read_as_go_reads_it(raw: bytes, value: object) -> None:
    """As encoding/json fills a struct that has maps, structs and slices."""
    assert parse_object(raw, "x").data == value


def test_null_among_strings_is_the_empty_one() -> None:
    o = Object({"m": {"k": None, "l": "x"}, "l": ["x", None]}, "doc")
    assert (o.text_map("m"), o.texts("l")) == ({"k": "", "l": "x"}, ("x", ""))


@pytest.mark.parametrize("value", [1 << 63, -(1 << 63) - 1, 10**30])
def test_whole_numbers_have_64_bits(value: int) -> None:
    with pytest.raises(InvalidDocument, match="a is too large"):
        Object({"a": value}, "x").integer("a")


@pytest.mark.parametrize(
    ("getter", "value"),
    [
        ("text", 1),
        ("integer", "1"),
        ("integer", True),
        ("integer", 1 << 63),
        ("integer", -(1 << 63) - 1),
        ("boolean", "true"),
        ("obj", []),
        ("objects", {}),
        ("objects", [1]),
        ("texts", "a"),
        ("texts", [1]),
        ("text_map", {"k": 1}),
        ("key_set", []),
        ("need_text", ""),
        ("need_obj", None),
    ],
)
def test_wrong_types_name_their_place(getter: str, value: object) -> None:
    with pytest.raises(InvalidDocument, match="doc: k"):
        getattr(Object({"k": value}, "doc"), getter)("k")


def test_null_counts_as_absent() -> None:
    o = Object(json.loads('{"k": null}'), "doc")
    assert (o.text("k", "d"), o.integer("k", 5), o.boolean("k"), o.obj("k"), o.objects("k")) == (
        "d",
        5,
        False,
        None,
        [],
    )
    assert (o.texts("k"), o.text_map("k"), o.key_set("k")) == (None, {}, ())


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (rb'["\ud800x", {"\udfff": "\ud83d\ude00"}]', '["\ufffdx", {"\ufffd": "\U0001f600"}]'),
        (rb'["\\ud800"]', r'["\\ud800"]'),
        (b'["a\xffb"]', '["a\ufffdb"]'),
    ],
)
def test_what_is_no_character_is_read_as_go_reads_it(raw: bytes, text: str) -> None:
    read = parse_object(b'{"a":' + raw + b"}", "x").data
    assert read == json.loads(f'{{"a":{text}}}')
    assert parse_object(dumps(read), "x").data == read


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'{"a":1,"a":1}', "x: not valid JSON: 'a' stands twice"),
        (b'{"b":[{"a":{},"a":{}}]}', "x: not valid JSON: 'a' stands twice"),
        (b'{"a":"\xff"}', "x: not valid JSON: 'utf-8' codec"),
    ],
)
def test_what_readers_take_for_different_things_is_refused_exactly(raw: bytes, message: str) -> None:
    parse_object(raw, "x")
    with pytest.raises(InvalidDocument, match=message):
        parse_object(raw, "x", exact=True)


def test_base64_is_read_in_both_alphabets_and_nothing_else() -> None:
    o = parse_object(b'{"a":"+/8=","b":"-_8=","c":"+/8","d":"+ /8="}', "x")
    assert (o.data_of("a"), o.data_of("b"), o.data_of("none")) == (b"\xfb\xff", b"\xfb\xff", b"")
    for key in "cd":
        with pytest.raises(InvalidDocument, match=f"x: {key} is no base64"):
            o.data_of(key)


def test_keys_beyond_the_known_are_refused() -> None:
    o = parse_object(b'{"a":1,"b":2}', "x")
    o.only("a", "b", "c")
    with pytest.raises(InvalidDocument, match="x: unknown key 'b'"):
        o.only("a")
