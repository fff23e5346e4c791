"""Strings, by the cases of cty's and buildx's own tests and documentation."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.bake.functions.calling import MOST_CHARACTERS
from imagesmith.bake.functions.graphemes import clusters
from tests.bake.functions.calls import call, refused, same

#: e with a dieresis, and with two acute accents, as several code points.
NOEL = "noe\u0308l"
ACUTES = "we\u0301\u0301e\u0301\u0301e\u0301\u0301!"
ACUTE = "e\u0301\u0301"
DANCER = "\U0001f483\U0001f3ff"
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
FLAGS = "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7"

CASES: list[tuple[str, list[Any], Any]] = [
    ("upper", ["hello"], "HELLO"),
    ("upper", ["жж"], "ЖЖ"),
    ("upper", ["noël"], "NOËL"),
    ("upper", ["ba\ufb04e"], "BA\ufb04E"),  # Go has no upper case of this ligature
    ("upper", ["stra\xdfe"], "STRA\xdfE"),
    ("upper", [True], "TRUE"),
    ("lower", ["HELLO"], "hello"),
    ("lower", ["ЖЖ"], "жж"),
    ("lower", ["ΟΔΟΣ"], "οδοσ"),  # each by itself: no final sigma
    ("title", ["hello world"], "Hello World"),
    ("title", ["a-b_c d's 1x"], "A-B_c D'S 1x"),
    ("strlen", ["hello"], 5),
    ("strlen", [""], 0),
    ("strlen", ["Живой Журнал"], 12),
    ("strlen", [NOEL], 4),
    ("strlen", [ACUTES], 5),
    ("strlen", ["ba\ufb04e"], 4),
    ("strlen", ["\U0001f638\U0001f63e"], 2),
    ("strlen", [DANCER], 1),
    ("strlen", [FAMILY], 1),
    ("strlen", [FLAGS], 2),
    ("strlen", ["a\r\nb"], 3),
    ("strlen", [12.50], 4),
    ("reverse", ["hello"], "olleh"),
    ("reverse", ["Живой Журнал"], "ланруЖ йовиЖ"),
    ("reverse", [NOEL], "le\u0308on"),
    ("reverse", [ACUTES], f"!{ACUTE}{ACUTE}{ACUTE}w"),
    ("reverse", ["\U0001f638\U0001f63e"], "\U0001f63e\U0001f638"),
    ("substr", ["hello", 0, 2], "he"),
    ("substr", ["hello", 1, 3], "ell"),
    ("substr", ["hello", 1, -1], "ello"),
    ("substr", ["hello", 1, -10], "ello"),
    ("substr", ["hello", 1, 10], "ello"),
    ("substr", ["hello", -3, -1], "llo"),
    ("substr", ["hello", -3, 2], "ll"),
    ("substr", ["hello", -30, 2], "he"),
    ("substr", ["hello", 10, 10], ""),
    ("substr", ["hello", 0, 0], ""),
    ("substr", ["hello", "1", "1"], "e"),
    ("substr", [NOEL, 0, 3], "noe\u0308"),
    ("substr", [NOEL, 3, -1], "l"),
    ("substr", [ACUTES, 2, 2], ACUTE * 2),
    ("substr", [ACUTES, -2, -1], f"{ACUTE}!"),
    ("substr", ["\U0001f638\U0001f63e", 1, 1], "\U0001f63e"),
    ("byteslen", ["äb"], 3),
    ("bytesslice", ["äbc", 2, 1], "b"),
    ("bytesslice", ["äbc", 0, 0], ""),
    ("join", ["-", ["a", "b"], ["c"]], "a-b-c"),
    ("join", [", ", []], ""),
    ("join", [" ", [1, 2.5, True]], "1 2.5 true"),
    ("join", [",", {"b", "a"}], "a,b"),
    ("split", [",", "a,b,,c"], ["a", "b", "", "c"]),
    ("split", [",", ""], [""]),
    ("split", ["", "äb"], ["ä", "b"]),
    ("split", ["", ""], []),
    ("replace", ["hello", "l", ""], "heo"),
    ("replace", ["1 + 2 + 3", "+", "-"], "1 - 2 - 3"),
    ("replace", ["a/b/c", "/b/", "."], "a.c"),  # slashes make no regular expression of it
    ("replace", ["ab", "", "-"], "-a-b-"),
    ("replace", ["feature/x", "/", "-"], "feature-x"),
    ("chomp", ["hello\n"], "hello"),
    ("chomp", ["hello\r\n\n\r"], "hello"),
    ("chomp", ["hello\n\nworld"], "hello\n\nworld"),
    ("indent", [4, "a\nb\n\nc"], "a\n    b\n    \n    c"),
    ("indent", [4, ""], ""),
    ("trim", ["?!hello?!", "!?"], "hello"),
    ("trim", [" hello ", ""], " hello "),
    ("trimspace", ["\u3000  hello\n\n"], "hello"),
    ("trimspace", ["\x1chello\x1f"], "\x1chello\x1f"),
    ("trimprefix", ["helloworld", "hello"], "world"),
    ("trimprefix", ["helloworld", "cat"], "helloworld"),
    ("trimprefix", ["v1.2", "v"], "1.2"),
    ("trimsuffix", ["helloworld", "world"], "hello"),
    ("trimsuffix", ["helloworld", ""], "helloworld"),
    ("sanitize", [""], ""),
    ("sanitize", ["foo/bar.."], "foo_bar__"),
    ("sanitize", ["foo/\U0001f355bar"], "foo__bar"),
    ("sanitize", ["foo/bar!@(ba+z)"], "foo_bar___ba_z_"),
    ("sanitize", ["a-B_9"], "a-B_9"),
    ("basename", [""], "."),
    ("basename", ["/"], "/"),
    ("basename", ["/foo/bar"], "bar"),
    ("basename", ["foo/bar"], "bar"),
    ("basename", ["/foo/bar.."], "bar.."),
    ("basename", ["/foo/bar//"], "bar"),
    ("dirname", [""], "."),
    ("dirname", ["/"], "/"),
    ("dirname", ["//a"], "/"),
    ("dirname", ["/foo/bar"], "/foo"),
    ("dirname", ["foo/bar"], "foo"),
    ("dirname", ["/foo/bar.."], "/foo"),
    ("dirname", ["foo//./x/../bar"], "foo"),
]

REFUSED: list[tuple[str, list[Any], str, int | None]] = [
    ("upper", [["a"]], "str: a string is needed, not a list", 0),
    ("upper", [None], "str is null", 0),
    ("substr", ["a", 0.5, 1], "offset: a whole number is needed", 1),
    ("substr", ["a", 0, "x"], "length: a number is needed, not a string", 2),
    ("join", ["-"], "at least one list is needed", None),
    ("join", ["-", "a"], "lists: a list is needed, not a string", 1),
    ("join", ["-", ["a", None]], "lists: element 1: a string is needed, not a null", 1),
    ("join", ["-", ["a"], [["b"]]], "lists: element 0: a string is needed, not a list", 2),
    ("indent", [-1, "a\nb"], "spaces: a number below zero", 0),
    ("bytesslice", ["abc", 2, 2], "offset 2 and length 2 reach beyond 3 bytes", 1),
    ("bytesslice", ["abc", 0, -1], "offset and length may not be below zero", 2),
    ("bytesslice", ["äbc", 1, 1], "the bytes cut a character in two", 1),
    ("replace", ["a", "b"], "takes 3 arguments (str, substr, replace), not 2", None),
]


@pytest.mark.parametrize(("name", "args", "want"), CASES)
def test_value(name: str, args: list[Any], want: Any) -> None:
    assert same(call(name, *args), want)


@pytest.mark.parametrize(("name", "args", "message", "argument"), REFUSED)
def test_refusal(name: str, args: list[Any], message: str, argument: int | None) -> None:
    assert refused(name, *args) == (message, argument)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("indent", [10**9, "a\nb"]),
        ("replace", ["a" * 10_000, "a", "b" * 10_000]),
        ("replace", ["a" * 3000, "", "b" * 3000]),
        ("join", ["x" * 100_000, ["a"] * 100]),
    ],
)
def test_what_would_be_huge_is_refused_before_it_is_made(name: str, args: list[Any]) -> None:
    message, _ = refused(name, *args)
    assert message.endswith(f"characters, more than {MOST_CHARACTERS}")


@given(st.text())
def test_clusters_are_the_text(text: str) -> None:
    assert "".join(clusters(text)) == text
    assert "" not in clusters(text)


@given(
    st.text(
        alphabet=st.sampled_from("a\r\n\u0301\u200d\U0001f468\U0001f1e9\uac00\u11a8\u1100\u0903"), max_size=8
    )
)
def test_no_cluster_begins_with_what_extends_one(text: str) -> None:
    for before, cluster in zip(clusters(text), clusters(text)[1:], strict=False):
        assert cluster[0] not in "\u0301\u200d\u0903" or before in ("\r", "\n", "\r\n")


@given(st.text(), st.integers(-9, 9), st.integers(0, 9))
def test_substr_is_of_the_clusters(text: str, offset: int, length: int) -> None:
    start = max(offset + len(clusters(text)), 0) if offset < 0 else offset
    assert clusters(call("substr", text, offset, length)) == clusters(
        "".join(clusters(text)[start : start + length])
    )


@given(st.text(alphabet="ab,;", max_size=20), st.sampled_from([",", ";", ",;", "ab"]))
def test_what_is_split_is_joined_again(text: str, separator: str) -> None:
    assert call("join", separator, call("split", separator, text)) == text


@given(st.text())
def test_case_changes_no_length(text: str) -> None:
    for name in ("upper", "lower", "title"):
        assert len(call(name, text)) == len(text)
        assert call(name, call(name, text)) == call(name, text)
