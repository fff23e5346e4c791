"""YAML with places: what scalars are, anchors and merges, and hostile texts."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.bake.places import Source
from imagesmith.bake.yamltree import Map, Node, Scalar, Sequence, read_documents, text_of_scalar
from imagesmith.errors import DefinitionError


def _plain(node: Node) -> object:
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Map):
        return {key: _plain(value) for key, value in node.items.items()}
    return [_plain(item) for item in node.items]


def _read(text: str) -> object:
    (node,) = read_documents(Source("c.yaml", text))
    return _plain(node)


@pytest.mark.parametrize(
    ("text", "value", "shown"),
    [
        ("on", "on", "on"),
        ("yes", "yes", "yes"),
        ("No", "No", "No"),
        ("True", True, "true"),
        ("false", False, "false"),
        ("017", 15, "15"),
        ("0o17", 15, "15"),
        ("08", 8.0, "8"),
        ("0x1F", 31, "31"),
        ("0b101", 5, "5"),
        ("1_000", 1000, "1000"),
        ("-12", -12, "-12"),
        ("3.10", 3.1, "3.1"),
        ("1e3", 1000.0, "1000"),
        ("1e21", 1e21, "1e+21"),
        ("123456789012345678901", 123456789012345678901.0, "123456789012345680000"),
        (".5", 0.5, "0.5"),
        ("0.00001", 1e-05, "1e-05"),
        ("-.inf", float("-inf"), "-Inf"),
        ("1e999", "1e999", "1e999"),
        ("~", None, ""),
        ("null", None, ""),
        ("2001-01-01", "2001-01-01", "2001-01-01"),
        ("12:30:00", "12:30:00", "12:30:00"),
        ("1.2.3", "1.2.3", "1.2.3"),
        ("0x", "0x", "0x"),
        ("'1'", "1", "1"),
        ('"true"', "true", "true"),
        ("!!str 1", "1", "1"),
        ("!!float 1", 1.0, "1"),
        ("! 1", "1", "1"),
    ],
)
def test_plain_scalar_is_what_compose_takes_it_for(text: str, value: object, shown: str) -> None:
    (node,) = read_documents(Source("c.yaml", f"k: {text}"))
    assert isinstance(node, Map)
    found = node.items["k"]
    assert isinstance(found, Scalar)
    assert (found.value, type(found.value)) == (value, type(value))
    assert text_of_scalar(found.value) == shown


def test_anchors_and_merges_are_settled() -> None:
    text = """
a: &a {x: 1, y: 2}
b: &b {y: 3, z: 4}
one: {<<: *a, x: 5}
two: {z: 0, <<: [*a, *b]}
quoted: {"<<": 1}
again: *a
"""
    found = _read(text)
    assert isinstance(found, dict)
    assert found["one"] == {"x": 5, "y": 2}
    assert found["two"] == {"z": 0, "x": 1, "y": 2}
    assert found["quoted"] == {"<<": 1}
    assert found["again"] == found["a"] == {"x": 1, "y": 2}


def test_nodes_and_keys_know_their_places() -> None:
    source = Source("c.yaml", "é: {ü: [a, 'b c']}\n😀:\n  - |\n    x\n  - &y z\n")
    (node,) = read_documents(source)
    assert isinstance(node, Map)
    assert [span.text for span in node.keys.values()] == ["é", "😀"]
    inner = node.items["é"]
    assert isinstance(inner, Map)
    assert inner.span.text == "{ü: [a, 'b c']}"
    items = inner.items["ü"]
    assert isinstance(items, Sequence)
    assert [item.span.text for item in items.items] == ["a", "'b c'"]
    assert node.items["😀"].span.line == 3


def test_documents_that_are_empty_are_left_out() -> None:
    assert [_plain(d) for d in read_documents(Source("c", "---\na: 1\n---\n---\nb: 2\n"))] == [
        {"a": 1},
        {"b": 2},
    ]
    assert read_documents(Source("c", "# nothing\n")) == []


@pytest.mark.parametrize(
    ("text", "said", "place"),
    [
        ("a: b: c", "not YAML: mapping values are not allowed", (1, 4)),
        ("a:\n  - ]", "not YAML: ", (2, 4)),
        ("a: 1\nb: 2\na: 3", "key 'a' stands there already, in line 1", (3, 0)),
        ("1: x", "a key must be a string", (1, 0)),
        ("[a]: x", "a key must be a string", (1, 0)),
        ("a: *b", "alias \\*b names nothing before it", (1, 3)),
        ("a: &a [1, *a]", "alias \\*a stands within what it names", (1, 10)),
        ("a: {<<: 1}", "<< merges a mapping", (1, 4)),
        ("a: !!int x", "'x' is no int", (1, 3)),
        (
            "a: !!python/object/apply:os.system [ls]",
            "tag !!python/object/apply:os.system is not known",
            (1, 3),
        ),
        ("a: !!python/name:os.system ''", "tag !!python/name:os.system is not known", (1, 3)),
        ("a: !mine {}", "tag !mine is not known", (1, 3)),
        ("a: !!binary aGk=", "tag !!binary is not known", (1, 3)),
        ("a: \x01", "not YAML: a control character", (1, 3)),
    ],
)
def test_text_that_is_wrong_is_refused_at_its_place(text: str, said: str, place: tuple[int, int]) -> None:
    with pytest.raises(DefinitionError, match=f"^{said}") as e:
        read_documents(Source("c.yaml", text))
    assert (e.value.file, e.value.line, e.value.column) == ("c.yaml", *place)


def _laughs() -> str:
    rows = [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return "\n".join(["a0: &a0 [x, x]", *rows])


def _merges() -> str:
    rows = [f"b{n}: {{<<: *a}}" for n in range(100)]
    return "\n".join(["a: &a {" + ", ".join(f"k{n}: 1" for n in range(3000)) + "}", *rows])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (_laughs(), "more than 100,000 nodes"),
        (_merges(), "more than 100,000 nodes"),
        ("[" * 150 + "]" * 150, "100 deep"),
        ("[" * 500_000, "deep|not YAML"),
        ("- " * 500_000, "deep|not YAML"),
        ("{a: " * 90 + "1" + "}" * 90 + "\n" + "[x," * 9, "not YAML"),
        ("[" + "x," * 120_000, "more than 100,000 nodes"),
        ("\ud800: 1", "not YAML"),
    ],
    ids=["laughs", "merges", "deep", "deeper", "dashes", "open", "many", "surrogate"],
)
def test_hostile_text_is_refused_soon(text: str, said: str) -> None:
    before = time.process_time()
    with pytest.raises(DefinitionError, match=said):
        read_documents(Source("c.yaml", text))
    assert time.process_time() - before < 20


#: What a string of YAML may hold as it is.
_LETTERS = st.characters(exclude_categories=("Cc", "Cf", "Cn", "Cs", "Zl", "Zp"))
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.text(_LETTERS, max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc<", max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(_JSON)
def test_json_is_read_as_json(value: object) -> None:
    assert _read(f"x: {json.dumps(value, ensure_ascii=False)}") == {"x": value}


@given(st.text(alphabet="ab:-,[]{}&*!|>'\"#%@ \n\t<1", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    said = ""
    try:
        for node in read_documents(Source("c", text)):
            _plain(node)
    except DefinitionError as e:
        said = e.message
    assert "\n" not in said
