"""JSON, CSV, base64, URLs, hashes and UUIDs, by cases of cty's own tests and by the standard library."""

from __future__ import annotations

import csv
import io
import json
import uuid
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.bake.functions.calling import CallError
from imagesmith.bake.functions.encodings import json_of
from imagesmith.bake.functions.table import FUNCTIONS
from tests.bake.functions.calls import call, refused, same, value_of

CASES: list[tuple[str, list[Any], Any]] = [
    ("jsonencode", [15], "15"),
    ("jsonencode", ["hello"], '"hello"'),
    ("jsonencode", ["<b> & \u2028\n\t\x01é"], '"\\u003cb\\u003e \\u0026 \\u2028\\n\\t\\u0001é"'),
    ("jsonencode", [True], "true"),
    ("jsonencode", [None], "null"),
    ("jsonencode", [[]], "[]"),
    ("jsonencode", [{"b": [1, 1.50], "a": None}], '{"a":null,"b":[1,1.5]}'),
    ("jsonencode", [{"y", "x"}], '["x","y"]'),
    ("jsonencode", [1e30], "1" + "0" * 30),
    ("jsondecode", ["15"], 15),
    ("jsondecode", ['"hello"'], "hello"),
    ("jsondecode", [" true "], True),
    ("jsondecode", ["null"], None),
    ("jsondecode", ['{"b":[1,2.50],"a":{}}'], {"a": {}, "b": [1, 2.5]}),
    ("jsondecode", ["0.1"], Decimal("0.1")),
    ("jsondecode", ['"\\ud83d\\ude00 \\ud800"'], "\U0001f600 \ufffd"),
    ("csvdecode", ["a,b\n1,2\n3,4\n"], [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]),
    ("csvdecode", ["b,a\r\n1,2"], [{"a": "2", "b": "1"}]),
    ("csvdecode", ['"a b",c\n"x ""y"",\nz",\n'], [{"a b": 'x "y",\nz', "c": ""}]),
    ("csvdecode", ["\n\na\n\n1\n\n"], [{"a": "1"}]),
    ("csvdecode", ["a,b\n"], []),
    ("csvdecode", ["a\n 1 "], [{"a": " 1 "}]),
    ("base64encode", ["this is a test"], "dGhpcyBpcyBhIHRlc3Q="),
    ("base64encode", ["é"], "w6k="),
    ("base64decode", ["YWJjMTIzIT8kKiYoKSctPUB+"], "abc123!?$*&()'-=@~"),
    ("base64decode", ["dGhp\ncw=="], "this"),
    ("base64decode", [""], ""),
    ("urlencode", ["foo:bar@localhost?foo=bar&bar=baz"], "foo%3Abar%40localhost%3Ffoo%3Dbar%26bar%3Dbaz"),
    (
        "urlencode",
        ["mailto:email?subject=this+is+my+subject"],
        "mailto%3Aemail%3Fsubject%3Dthis%2Bis%2Bmy%2Bsubject",
    ),
    ("urlencode", ["foo bar/~-_.é"], "foo+bar%2F~-_.%C3%A9"),
    ("md5", ["tada"], "ce47d07243bb6eaf5e1322c81baf9bbf"),
    ("sha1", ["test"], "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3"),
    ("sha256", ["test"], "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
    (
        "sha512",
        ["test"],
        "ee26b0dd4af7e749aa1a8ee3c10ae9923f618980772e473f8819a5d4940e0db2"
        "7ac185f8a0e1d5f84f88bc887fd67b143732c304cc5fa9ad8e6f57f50028a8ff",
    ),
    ("uuidv5", ["dns", "tada"], "faa898db-9b9d-5b75-86a9-149e7bb8e3b8"),
    ("uuidv5", ["url", "tada"], "2c1ff6b4-211f-577e-94de-d978b0caa16e"),
    ("uuidv5", ["oid", "tada"], "61eeea26-5176-5288-87fc-232d6ed30d2f"),
    ("uuidv5", ["x500", "tada"], "7e12415e-f7c9-57c3-9e43-52dc9950d264"),
    ("uuidv5", ["6ba7b810-9dad-11d1-80b4-00c04fd430c8", "tada"], "faa898db-9b9d-5b75-86a9-149e7bb8e3b8"),
]

REFUSED: list[tuple[str, list[Any], str]] = [
    ("jsondecode", [""], "str: no JSON: expecting value at line 1"),
    ("jsondecode", ["{\n'a'"], "str: no JSON: expecting property name enclosed in double quotes at line 2"),
    ("jsondecode", ["[1] 2"], "str: no JSON: extra data at line 1"),
    ("jsondecode", ["[Infinity]"], "str: no JSON: Infinity"),
    ("jsondecode", ["[" * 102 + "]" * 102], "str: nested more than 100 deep"),
    ("csvdecode", [""], "str: the line with the names of the columns is missing"),
    ("csvdecode", ["a,a\n1,2"], "str: two columns are called 'a'"),
    ("csvdecode", ["a,b\n1,2\n1"], "str: line 3 has 1 fields, not 2"),
    ("csvdecode", ['a,b\n1,x"y'], "str: a quote in line 2 that opens or closes no field"),
    ("csvdecode", ['a,b\n1,"x"y'], "str: a quote in line 2 that opens or closes no field"),
    ("csvdecode", ['a,b\n1,"x'], "str: a quote in line 2 that opens or closes no field"),
    ("base64decode", ["*"], "str: no base64"),
    ("base64decode", ["YWI"], "str: no base64"),
    ("base64decode", ["gICAgA=="], "str: what is encoded is no text in UTF-8"),
    ("uuidv5", ["nope", "tada"], "namespace: 'nope' is neither dns, url, oid, x500 nor a UUID"),
    ("md5", [[]], "str: a string is needed, not a list"),
]


@pytest.mark.parametrize(("name", "args", "want"), CASES)
def test_value(name: str, args: list[Any], want: Any) -> None:
    assert same(call(name, *args), want)


@pytest.mark.parametrize(("name", "args", "message"), REFUSED)
def test_refusal(name: str, args: list[Any], message: str) -> None:
    assert refused(name, *args) == (message, 0)


def test_json_that_is_too_deep_for_the_reader_is_refused() -> None:
    assert refused("jsondecode", "[" * 100_000) == ("too deeply nested", None)


def test_json_of_a_value_that_is_too_deep_is_refused() -> None:
    value: Any = ()
    for _ in range(5000):
        value = (value,)
    with pytest.raises(CallError, match=r"^jsonencode: too deeply nested$"):
        FUNCTIONS["jsonencode"]((value,))


def test_uuidv4_is_another_one_each_time() -> None:
    found = {call("uuidv4") for _ in range(20)}
    assert len(found) == 20
    assert {(uuid.UUID(text).version, uuid.UUID(text).variant) for text in found} == {(4, uuid.RFC_4122)}


@given(st.sampled_from(["dns", "url", "oid", "x500"]), st.text())
def test_uuidv5_is_the_standard_library_s(namespace: str, name: str) -> None:
    within = getattr(uuid, f"NAMESPACE_{namespace.upper()}")
    assert call("uuidv5", namespace, name) == str(uuid.uuid5(within, name))


numbers = st.integers(-(10**20), 10**20).map(Decimal) | st.decimals(-1000, 1000, places=3)
documents = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(documents)
def test_json_is_read_as_it_was_written(document: Any) -> None:
    text = call("jsonencode", document)
    assert same(call("jsondecode", text), value_of(document))
    assert json.loads(text, parse_float=Decimal, parse_int=Decimal) == listed(document)


@given(st.text())
def test_base64_is_read_as_it_was_written(text: str) -> None:
    assert call("base64decode", call("base64encode", text)) == text


fields = st.text(alphabet='ab ,"\n\u00e9', max_size=5)


@given(st.lists(st.tuples(fields, fields), max_size=5))
def test_csv_is_read_as_the_standard_library_writes_it(rows: list[tuple[str, str]]) -> None:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows([("x", "y"), *rows])
    assert call("csvdecode", out.getvalue()) == tuple({"x": x, "y": y} for x, y in rows)


@given(st.text(alphabet='a",\r\n ', max_size=12))
def test_csv_of_any_form_is_read_or_refused(text: str) -> None:
    try:
        rows = call("csvdecode", text)
    except CallError:
        return
    assert len({tuple(row) for row in rows}) <= 1


def test_json_of_a_lone_surrogate_is_written() -> None:
    assert json_of("\ud800") == '"\ud800"'


def listed(given: Any) -> Any:
    if isinstance(given, tuple):
        return list(map(listed, given))
    return {name: listed(given[name]) for name in given} if isinstance(given, dict) else given
