"""JSON gives the tree that HCL gives, with the places of all that is wrong, templates in strings included."""

from __future__ import annotations

import contextlib
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.bake import hcl, hcljson
from imagesmith.bake.evaluate import evaluate
from imagesmith.bake.nodes import Body, Call, Literal
from imagesmith.bake.places import Source
from imagesmith.bake.values import Value
from imagesmith.errors import DefinitionError
from tests.bake.support import Names, marked, n

_HCL = """\
variable "TAG" {
  default = "latest"
  type = list(string)
  validation {
    condition = TAG != ""
    error_message = "no tag"
  }
  validation {
    condition = true
  }
}
function "twice" {
  params = ["x"]
  result = "${x}${x}"
}
group "default" {
  targets = ["app", "db"]
}
target "app" {
  tags = ["app:${TAG}", "\\u00e9"]
  args = { A = 1.5, B = null, "C${TAG}" = true }
}
target "db" {
}
"""

_JSON = r"""
{
  "//": "a comment",
  "variable": {
    "TAG": {
      "default": "latest", "type": "list(string)",
      "validation": [{"condition": "${TAG != \"\"}", "error_message": "no tag"}, {"condition": true}]
    }
  },
  "function": {"twice": {"params": ["x"], "result": "${x}${x}"}},
  "group": [{"default": {"targets": ["app", "db"]}}],
  "target": {
    "app": {
      "//": "another", "tags": ["app:${TAG}", "\u00e9"],
      "args": {"A": 1.5, "B": null, "C${TAG}": true}
    },
    "db": [{}]
  }
}
"""


def _parse(text: str) -> Body:
    return hcljson.parse(Source("docker-bake.json", text))


def _fault(text: str) -> tuple[str, str]:
    with pytest.raises(DefinitionError) as caught:
        _parse(text)
    return caught.value.message, marked(caught.value)


def _value(text: str, **values: Value) -> Value:
    return evaluate(_parse(text).attributes["x"].expr, Names(values))


def _shape(body: Body) -> object:
    """A body as plain lists, its attributes evaluated where that can be done without functions of files."""
    scope = Names({"TAG": "t", "x": "y"})
    attributes = {
        name: "type" if name == "type" else evaluate(attribute.expr, scope)
        for name, attribute in body.attributes.items()
    }
    blocks = [(b.type, [label.text for label in b.labels], _shape(b.body)) for b in body.blocks]
    return attributes, blocks


def test_json_gives_what_hcl_gives() -> None:
    assert _shape(_parse(_JSON)) == _shape(hcl.parse(Source("docker-bake.hcl", _HCL)))


def test_a_type_is_an_expression() -> None:
    found = _parse(_JSON).blocks[0].body.attributes["type"].expr
    assert isinstance(found, Call)
    assert (found.name, found.span.text, found.span.line) == ("list", "list(string)", 6)


def test_several_blocks_of_one_name_stand_in_lists_at_each_level() -> None:
    text = '[{"target": [{"a": [{"x": 1}, {"x": 2}]}, {"b": {}}]}, {"target": {"a": {}}, "group": null}]'
    with pytest.raises(DefinitionError, match="group with a name is an object"):
        _parse(text)
    body = _parse(text.replace(', "group": null', ""))
    assert [(b.type, b.labels[0].text, list(b.body.attributes)) for b in body.blocks] == [
        ("target", "a", ["x"]), ("target", "a", ["x"]), ("target", "b", []), ("target", "a", []),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'"a\"\\\/\b\f\n\r\t\u0041"', 'a"\\/\b\f\n\r\tA'), (r'"\ud83d\ude00"', "\U0001f600"),
        (r'"\ud83d"', "\ufffd"),
        (r'"\ude00\ud83d"', "\ufffd\ufffd"), ('"${v}"', ("p", "q")), ('"a${v[0]}b"', "apb"),
        (r'"${\"\\n\"}"', "\n"),
        (r'"\n"', "\n"), ('"$${v}"', "${v}"), ('"%{for a in v}<${a}>%{endfor}"', "<p><q>"),
        ("-1.5e2", n("-150")),
        ("[1, true, null, []]", (n(1), True, None, ())), ('{"${v[0]}": {"b": 1}}', {"p": {"b": n(1)}}),
        (r'"\ud83d\ude00${v[0]}"', "\U0001f600p"), ('"%%{if}"', "%{if}"),
        ('"a\\u0301"', "a\u0301"),
    ],
)  # fmt: skip
def test_values(text: str, value: Value) -> None:
    assert _value(f'{{"x": {text}}}', v=("p", "q")) == value


@pytest.mark.parametrize(
    ("text", "message", "under"),
    [
        ("", "a value is needed", ""),
        ("x", "x is no JSON value", "x"),
        ("1", "a body is an object", "1"),
        ("[1]", "a body is an object, and a list of them holds nothing else", "1"),
        ("{} {}", "the file goes on behind its value", "{"),
        ('{"a": 1', "this { is not closed: its } is missing", "{"),
        ('{"a": [1', "this [ is not closed: its ] is missing", "["),
        ('{"a": "b}\n', 'this string is not closed: its " is missing', '"'),
        ('{"a": "b\n"}', 'this string is not closed: its " is missing', '"'),
        ('{"a" 1}', "a colon is needed behind the key", "1"),
        ('{"a": 1 "b": 2}', "a comma or } is needed", '"'),
        ('{"a": [1 2]}', "a comma or ] is needed", "2"),
        ('{"a": 1,}', "JSON has no comma before }", "}"),
        ('{"a": [1,]}', "JSON has no comma before ]", "]"),
        ("{a: 1}", "a key in quotes is needed", "a"),
        ('{"a": NaN}', "NaN is no JSON value", "NaN"),
        ('{"a": 01}', "a value is needed", "0"),
        ('{"a": +1}', "a value is needed", "+"),
        ('{"a": 1e99999}', "this number is too large", "1e99999"),
        (r'{"a": "\q"}', r"\q is no escape sequence", r"\q"),
        (r'{"a": "\u12"}', r"\u is no escape sequence", r"\u"),
        ('{"a": 1, "a": 2}', "a is set already, in line 1", '"a"'),
        ('{"target": 1}', "target with a name is an object", "1"),
        ('{"target": {"a": 1}}', "a body is an object", "1"),
        ('{"x": "${v w}"}', "w stands where } is needed", "w"),
        (r'{"x": "\n\"${v w}"}', "w stands where } is needed", "w"),
        (r'{"x": "a${\"b\" \"c\"}"}', "a string stands where } is needed", r"\""),
        ('{"x": "${v"}', "this ${ is not closed: its } is missing", "${"),
        ('{"variable": {"a": {"type": "list("}}}', "this ( is not closed: its ) is missing", "("),
        ('{"variable": {"a": {"type": ""}}}', "the end of the file stands where a value is needed", ""),
    ],
)
def test_what_is_wrong_is_said_and_shown(text: str, message: str, under: str) -> None:
    found = _fault(text)
    assert found == (message, under)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, '{"a": "${' + "[" * 1000 + '"}'])
def test_depth_is_limited(text: str) -> None:
    with pytest.raises(DefinitionError, match="nested deeper than 100 levels"):
        _parse(text)


def test_size_is_limited() -> None:
    with pytest.raises(DefinitionError, match=r"^docker-bake.json is too large"):
        _parse(" " * (2 << 20))


_JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


def _as_json(value: Value) -> object:
    if isinstance(value, tuple):
        return [_as_json(item) for item in value]
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in value.items()}
    return value


@given(_JSON_VALUES, st.booleans())
def test_what_is_written_as_json_is_read(value: object, ascii_only: bool) -> None:
    text = json.dumps({"x": value}, ensure_ascii=ascii_only)
    if "${" not in text and "%{" not in text:
        assert {"x": _as_json(_value(text))} == json.loads(text)


@given(st.text(st.sampled_from('{}[]":,\\un0a1e-.$%{} \n\ud83dtrue'), max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    for whole in (text, f'{{"x": {text}}}', f'{{"target": {{"a": {{"x": "{text}"}}}}}}'):
        with contextlib.suppress(DefinitionError):
            _parse(whole)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_places_are_those_of_the_file_whatever_is_escaped(text: str) -> None:
    whole = json.dumps({"x": text.replace("$", "").replace("%", "") + "${v w}"})
    message, under = _fault(whole)
    assert (message, under) == ("w stands where } is needed", "w")


def test_texts_are_as_they_are_written() -> None:
    found = _parse('{"x": "a\\u0301"}').attributes["x"].expr
    assert isinstance(found, Literal)
    assert found.value != unicodedata.normalize("NFC", "a\u0301")
