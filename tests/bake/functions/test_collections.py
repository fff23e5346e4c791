"""Lists, maps and sets, by the cases of cty's and buildx's own tests and documentation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.bake.functions.table import FUNCTIONS
from imagesmith.bake.values import Value
from tests.bake.functions.calls import call, refused, same

AB = {"a": 1, "b": 2}

CASES: list[tuple[str, list[Any], Any]] = [
    ("length", [[1, 2]], 2),
    ("length", [AB], 2),
    ("length", [{1, 2, 3}], 3),
    ("length", [[]], 0),
    ("hasindex", [["a"], 0], True),
    ("hasindex", [["a"], 1], False),
    ("hasindex", [["a"], -1], False),
    ("hasindex", [["a"], 0.5], False),
    ("hasindex", [["a"], "0"], False),
    ("hasindex", [AB, "a"], True),
    ("hasindex", [AB, "c"], False),
    ("hasindex", [AB, 1], False),
    ("index", [["a", "b"], 1], "b"),
    ("index", [AB, "b"], 2),
    ("indexof", [["one", 2, 3, "four"], "one"], 0),
    ("indexof", [["one", 2, 3, "four"], "four"], 3),
    ("indexof", [[None, 1], None], 0),
    ("contains", [["quick", "brown"], "quick"], True),
    ("contains", [["quick", "brown"], "slow"], False),
    ("contains", [[1, 2], "1"], False),
    ("contains", [[1], True], False),
    ("contains", [{"a"}, "a"], True),
    ("contains", [[], "a"], False),
    ("contains", [[["a"], ["b"]], ["b"]], True),
    ("element", [["a", "b"], 1], "b"),
    ("element", [["a", "b"], 2], "a"),
    ("element", [["a", "b"], -1], "b"),
    ("coalesce", [None, "a", "b"], "a"),
    ("coalesce", ["", "b"], ""),
    ("coalesce", [None, 1, "a"], "1"),
    ("coalescelist", [[], ["a"], ["b"]], ["a"]),
    ("compact", [["test", "", "test", ""]], ["test", "test"]),
    ("compact", [["a", None, 1]], ["a", "1"]),
    ("compact", [[""]], []),
    ("concat", [[1], ["a", True], []], [1, "a", True]),
    ("distinct", [["a", "b", "a", "c"]], ["a", "b", "c"]),
    ("distinct", [[1, "1", 2]], ["1", "2"]),
    ("distinct", [[[1], [1], [2]]], [[1], [2]]),
    ("distinct", [[]], []),
    ("chunklist", [["a", "b", "c"], 2], [["a", "b"], ["c"]]),
    ("chunklist", [["a", "b"], 0], [["a", "b"]]),
    ("chunklist", [["a", "b"], 9], [["a", "b"]]),
    ("chunklist", [[], 2], []),
    ("flatten", [[["a"], [], [["b"], "c"]]], ["a", "b", "c"]),
    ("flatten", [[{"x": ["y"]}]], [{"x": ["y"]}]),
    ("flatten", [[]], []),
    ("reverselist", [["a", 1]], [1, "a"]),
    ("reverselist", [{"b", "a"}], ["b", "a"]),
    ("sort", [["banana", "apple", "Cherry"]], ["Cherry", "apple", "banana"]),
    ("sort", [[10, 9]], ["10", "9"]),
    ("slice", [["a", "b", "c"], 1, 2], ["b"]),
    ("slice", [["a"], 0, 0], []),
    ("slice", [["a"], 1, 1], []),
    ("range", [5], [0, 1, 2, 3, 4]),
    ("range", [-3], [0, -1, -2]),
    ("range", [0], []),
    ("range", [2, 5], [2, 3, 4]),
    ("range", [5, 2], [5, 4, 3]),
    ("range", [0, 1, 0.25], [0, 0.25, 0.5, 0.75]),
    ("range", [4, 0, -2], [4, 2]),
    ("range", [2, 2, 1], []),
    ("keys", [{"b": 1, "a": 2}], ["a", "b"]),
    ("keys", [{}], []),
    ("values", [{"b": 1, "a": "x"}], ["x", 1]),
    ("lookup", [AB, "a", 9], 1),
    ("lookup", [AB, "c", 9], 9),
    ("lookup", [{"1": "x"}, 1, ""], "x"),
    ("lookup", [AB, "c", None], None),
    ("merge", [{"a": 1, "c": 2}, {"b": 3, "a": "z"}], {"a": "z", "b": 3, "c": 2}),
    ("merge", [{"a": 1}, None], {"a": 1}),
    ("merge", [None, None], None),
    ("merge", [], {}),
    ("zipmap", [["b", "a"], [1, [2]]], {"a": [2], "b": 1}),
    ("zipmap", [[], []], {}),
    ("setproduct", [["a", "b"], [1, 2]], [["a", 1], ["a", 2], ["b", 1], ["b", 2]]),
    ("setproduct", [["a"], [1, "x"]], [["a", "1"], ["a", "x"]]),
    ("setproduct", [["a"], []], []),
    ("setproduct", [["dev", "prod"], ["x"], [True]], [["dev", "x", True], ["prod", "x", True]]),
    ("sethaselement", [{"a"}, "a"], True),
    ("sethaselement", [["a"], "b"], False),
    ("setunion", [["a", "b"], ["b", "c"], ["d"]], {"a", "b", "c", "d"}),
    ("setunion", [["b", "a", "b"]], {"a", "b"}),
    ("setunion", [[1], ["a"]], {"1", "a"}),
    ("setunion", [[], []], set()),
    ("setintersection", [["a", "b"], ["b", "c"], ["b"]], {"b"}),
    ("setintersection", [[1, 2], ["2"]], {"2"}),
    ("setsubtract", [["a", "b", "c"], ["a", "c"]], {"b"}),
    ("setsymmetricdifference", [["a", "b"], ["b", "c"]], {"a", "c"}),
    ("setsymmetricdifference", [["a"], ["a"], ["a"]], {"a"}),
]

REFUSED: list[tuple[str, list[Any], str, int | None]] = [
    ("length", ["abc"], "collection: a list, set or map is needed, not a string", 0),
    ("length", [None], "collection is null", 0),
    ("hasindex", [{1}, 0], "collection: a list or map is needed, not a set", 0),
    ("index", [["a"], 1], "there is no element 1", 1),
    ("index", [["a"], "0"], "the key of a list is a number, not a string", 1),
    ("index", [AB, 0], "the key of a map is a string, not a number", 1),
    ("index", [AB, "c"], "there is no element c", 1),
    ("indexof", [["one", 2, 3], "3"], "the list has no such element", 1),
    ("indexof", [[], "3"], "an empty list is searched", 0),
    ("indexof", [AB, "3"], "list: a list is needed, not a map", 0),
    ("contains", ["abc", "b"], "list: a list is needed, not a string", 0),
    ("element", [[], 0], "the list is empty", 0),
    ("element", [["a"], 0.5], "index: a whole number is needed", 1),
    ("coalesce", [], "at least one argument is needed", None),
    ("coalesce", [None, None], "every argument is null", None),
    ("coalesce", [1, []], "elements of one kind are needed, not list and number", None),
    ("coalescelist", [[], []], "every list is empty", None),
    ("coalescelist", [[], "a"], "vals: a list is needed, not a string", 1),
    ("concat", [], "at least one argument is needed", None),
    ("concat", [["a"], "b"], "seqs: a list is needed, not a string", 1),
    ("distinct", [[1, True]], "elements of one kind are needed, not bool and number", None),
    ("chunklist", [["a"], -1], "size: a number below zero", 1),
    ("flatten", ["a"], "list: a list or set is needed, not a string", 0),
    ("sort", [["a", None]], "list: element 1: a string is needed, not a null", 0),
    ("sort", [[{}]], "list: element 0: a string is needed, not a map", 0),
    ("slice", [["a"], 0, 2], "end_index: 2 is not from 0 to 1, the length of the list", 2),
    ("slice", [["a"], -1, 1], "start_index: -1 is not from 0 to 1, the length of the list", 1),
    ("slice", [["a", "b"], 2, 1], "start_index: 2 is behind the end, 1", 1),
    ("slice", [{"a"}, 0, 1], "list: a list is needed, not a set", 0),
    ("range", [], "takes 1, 2 or 3 arguments (start, end, step), not 0", None),
    ("range", [1, 2, 3, 4], "takes 1, 2 or 3 arguments (start, end, step), not 4", None),
    ("range", [1025], "the result has more than 1024 elements", None),
    ("range", [0, 1, 1e-300], "the result has more than 1024 elements", None),
    ("range", [0, 5, 0], "step: it is zero", 2),
    ("range", [0, 5, -1], "end: the step leads away from it", 1),
    ("keys", [["a"]], "map: a map is needed, not a list", 0),
    ("merge", [{}, []], "maps: a map is needed, not a list", 1),
    ("zipmap", [["a"], [1, 2]], "1 keys, and 2 values", 1),
    ("setproduct", [["a"]], "at least two arguments are needed", None),
    ("setproduct", [["a"], "b"], "sets: a list or set is needed, not a string", 1),
    ("setproduct", [["a"] * 400, ["b"] * 400], "the result has 320000 elements, more than 100000", None),
    ("setunion", [], "takes 1 argument or more (first_set, other_sets...), not 0", None),
    ("setunion", [[1], [True]], "elements of one kind are needed, not bool and number", None),
    ("setunion", ["a"], "first_set: a list is needed, not a string", 0),
]


@pytest.mark.parametrize(("name", "args", "want"), CASES)
def test_value(name: str, args: list[Any], want: Any) -> None:
    assert same(call(name, *args), want)


@pytest.mark.parametrize(("name", "args", "message", "argument"), REFUSED)
def test_refusal(name: str, args: list[Any], message: str, argument: int | None) -> None:
    assert refused(name, *args) == (message, argument)


def test_product_of_a_set_is_a_set() -> None:
    found = call("setproduct", {"b", "a"}, ["x"])
    assert set(found) == {("a", "x"), ("b", "x")}
    assert call("length", found) == 2


class Lazy(Mapping[str, Value]):
    """A map that works out its values when they are asked for, and counts that."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getitem__(self, name: str) -> Value:
        if name not in ("a", "b"):
            raise KeyError(name)
        self.asked.append(name)
        return name.upper()

    def __iter__(self) -> Iterator[str]:
        return iter(("b", "a"))

    def __len__(self) -> int:
        return 2


def test_map_that_is_lazy_is_asked_for_what_is_needed() -> None:
    lazy = Lazy()
    assert FUNCTIONS["keys"]((lazy,)) == ("a", "b")
    assert FUNCTIONS["length"]((lazy,)) == 2
    assert lazy.asked == []
    assert FUNCTIONS["lookup"]((lazy, "a", "")) == "A"
    assert FUNCTIONS["lookup"]((lazy, "c", "-")) == "-"
    assert set(lazy.asked) == {"a"}
    assert FUNCTIONS["values"]((lazy,)) == ("A", "B")


words = st.lists(st.sampled_from("abcde"), max_size=6)


@given(words, words, words)
def test_sets_obey_their_laws(a: list[str], b: list[str], c: list[str]) -> None:
    assert set(call("setunion", a, b)) == set(a) | set(b)
    assert set(call("setintersection", a, b, c)) == set(a) & set(b) & set(c)
    assert set(call("setsubtract", a, b)) == set(a) - set(b)
    assert set(call("setsymmetricdifference", a, b, c)) == set(a) ^ set(b) ^ set(c)
    assert call("setunion", a, b) == call("setunion", b, a)
    assert all(call("sethaselement", call("setunion", a, b), x) for x in a + b)


@given(words, st.integers(1, 8))
def test_chunks_flattened_are_the_list(words: list[str], size: int) -> None:
    chunks = call("chunklist", words, size)
    assert call("flatten", chunks) == tuple(words)
    assert all(len(chunk) == size for chunk in chunks[:-1])


@given(st.lists(st.text(max_size=3), max_size=8))
def test_sort_and_distinct(words: list[str]) -> None:
    found = call("sort", words)
    assert found == tuple(sorted(words, key=lambda w: w.encode(errors="surrogatepass")))
    assert call("sort", call("reverselist", words)) == found
    once = call("distinct", words)
    assert once == tuple(dict.fromkeys(words))
    assert call("distinct", once) == once


@given(
    st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=5),
    st.dictionaries(st.text(max_size=2), st.text()),
)
def test_maps_are_made_of_their_keys_and_values(a: dict[str, int], b: dict[str, str]) -> None:
    assert call("zipmap", call("keys", a), call("values", a)) == {k: Decimal(v) for k, v in a.items()}
    assert call("merge", a, b) == {**{k: Decimal(v) for k, v in a.items()}, **b}
    assert call("merge", a, a) == call("merge", a)
