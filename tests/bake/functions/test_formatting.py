"""`format` and `formatlist`, by the cases of cty's own tests and by C's printf, which Go's follows."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.bake.functions.calling import MOST_CHARACTERS
from tests.bake.functions.calls import call, refused

DANCER = "\U0001f483\U0001f3ff"

CASES: list[tuple[str, list[Any], str]] = [
    ("", [], ""),
    ("hello", [], "hello"),
    ("100%% successful", [], "100% successful"),
    ("100%%", [], "100%"),
    ("%%%v", [False], "%false"),
    ("string %v", ["hello"], "string hello"),
    ("string %[2]v", [True, "hello"], "string hello"),
    ("%[2]v %[1]v", ["a", "b"], "b a"),
    ("%[2]v %v", ["a", "b", "c"], "b c"),
    ("%[1]5v", ["a"], "    a"),
    ("%5[1]v", ["a"], "    a"),
    ("string %#v", ["hello"], 'string "hello"'),
    ("number %v", [2], "number 2"),
    ("number %v", [100000], "number 100000"),
    ("number %v", [1000000], "number 1e+06"),
    ("number %v", [123456789], "number 1.23456789e+08"),
    ("number %v", [0.00012], "number 0.00012"),
    ("number %v", [0.000012], "number 1.2e-05"),
    ("number %v", [-1.50], "number -1.5"),
    ("number %v", [0], "number 0"),
    ("number %#v", [1000000], "number 1000000"),
    ("bool %v", [True], "bool true"),
    ("object %v", [{}], "object {}"),
    ("object %v", [{"b": [1, "x"], "a": None}], 'object {"a":null,"b":[1,"x"]}'),
    ("tuple %v", [[]], "tuple []"),
    ("%v", [None], "null"),
    ("%#v", [None], "null"),
    ("%-6v|", [True], "true  |"),
    ("Hello, %s!", ["Ermintrude"], "Hello, Ermintrude!"),
    ("%s", [1000000], "1000000"),
    ("This statement is %s", [False], "This statement is false"),
    ("This statement is %q", [False], 'This statement is "false"'),
    ("%10s", ["hello"], "     hello"),
    ("%-10s", ["hello"], "hello     "),
    ("%010s", ["hello"], "00000hello"),
    ("%4s", [DANCER], f"   {DANCER}"),
    ("%-4s", [DANCER], f"{DANCER}   "),
    ("%6q", [DANCER], f'   "{DANCER}"'),
    ("%.2s", ["hello"], "he"),
    ("%.2q", ["hello"], '"he"'),
    ("%.5s", ["日本語日本語"], "日本語日本"),
    ("%.10s", ["hello"], "hello"),
    ("%4.2s", ["hello"], "  he"),
    ("%-4.2s|", ["hello"], "he  |"),
    ("%q", ["Hello\nWorld"], '"Hello\\nWorld"'),
    ("%t", ["false"], "false"),
    ("%t", [True], "true"),
    ("%d green bottles", [10], "10 green bottles"),
    ("%+d", [10], "+10"),
    ("% d", [10], " 10"),
    ("%5d", [10], "   10"),
    ("%-5d|", [10], "10   |"),
    ("%05d", [-10], "-0010"),
    ("%.5d", [-10], "-00010"),
    ("%8.5d", [10], "   00010"),
    ("%d", ["12"], "12"),
    ("%d", [Decimal(100000000000000000000000000000000000001)], "100000000000000000000000000000000000001"),
    ("%.d", [0], ""),
    ("%b", [5], "101"),
    ("%#b", [5], "0b101"),
    ("%o", [9], "11"),
    ("%x", [254], "fe"),
    ("%X", [254], "FE"),
    ("%#x %#X", [254, -254], "0xfe -0XFE"),
    ("%f things", [10], "10.000000 things"),
    ("%+f", [10], "+10.000000"),
    ("% f", [-10], "-10.000000"),
    ("%f", ["100000000000000000000000000000000000001"], "100000000000000000000000000000000000001.000000"),
    ("%.4f", ["1.00000000000000000000000000000000000001"], "1.0000"),
    ("%.1f", ["1.06"], "1.1"),
    ("%.0f", [2.5], "2"),
    ("%8.2f|%-8.2f|%08.2f", [-1.005, 1.5, -1.5], "   -1.00|1.50    |-0001.50"),
    ("%e", [1000], "1.000000e+03"),
    ("%E", [1000], "1.000000E+03"),
    ("%.2e", [0], "0.00e+00"),
    ("%.0e", [15], "2e+01"),
    ("%.1e", ["9.96e-100"], "1.0e-99"),
    ("%g", [1000], "1000"),
    ("%g", ["0.00000000000000000000001"], "1e-23"),
    ("%G", ["0.00000000000000000000001"], "1E-23"),
    ("%.3g", [1234.5], "1.23e+03"),
    ("%.3g", [0.00012345], "0.000123"),
    ("%.10g", [100], "100"),
    ("%g", [1234567], "1.234567e+06"),
]

REFUSED: list[tuple[str, list[Any], str, int | None]] = [
    ("%s is not there", [], "%s needs value 1, and there are 0", 0),
    ("%[3]s", [True, True], "%[3]s needs value 3, and there are 2", 0),
    ("%v %v %v", [True, True], "%v needs value 3, and there are 2", 0),
    ("%[0]s", [True], "format: '%[0]s' is no verb", 0),
    ("%", [], "format: '%' is no verb", 0),
    ("%☠ none", [10], "format: '%☠ none' is no verb", 0),
    ("%*d", [1, 2], "format: '%*d' is no verb", 0),
    ("%z", [10], "format: %z has no verb that is known; one of v t b d o x X e E f g G s q", 0),
    ("none", [10], "1 values are given, and the format uses 0", 1),
    ("%d", [10, 11], "2 values are given, and the format uses 1", 2),
    ("%s", [None], "%s cannot show null", 1),
    ("%d", [True], "%d: a number is needed, not a bool", 1),
    ("%s%d", ["", 1.5], "%d: a whole number is needed", 2),
    ("%s", [[1]], "%s: a string is needed, not a list", 1),
    ("%t", [2], "%t: a bool is needed, not a number", 1),
    ("%999999999d", [1], "format: a number in %999999999d is larger than 100000", 0),
    ("%.999999999f", [1], "format: a number in %.999999999f is larger than 100000", 0),
    ("%[999999999]d", [1], "format: a number in %[999999999]d is larger than 100000", 0),
]


@pytest.mark.parametrize(("spec", "args", "want"), CASES)
def test_format(spec: str, args: list[Any], want: str) -> None:
    assert call("format", spec, *args) == want
    if not any(isinstance(arg, list) for arg in args):
        assert call("formatlist", spec, *args) == (want,)


@pytest.mark.parametrize(("spec", "args", "message", "argument"), REFUSED)
def test_refusal(spec: str, args: list[Any], message: str, argument: int | None) -> None:
    assert refused("format", spec, *args) == (message, argument)


@pytest.mark.parametrize(
    ("args", "want"),
    [
        (["%s", ["hello", "world"]], ["hello", "world"]),
        (["%s %s", ["hello", "goodbye"], ["world", "universe"]], ["hello world", "goodbye universe"]),
        (["%s %s", ["hello", "goodbye"], "world"], ["hello world", "goodbye world"]),
        (["%s %s", "hello", {"world", "all"}], ["hello all", "hello world"]),
        (["%v", []], []),
        (["%v", None], ["null"]),
        (["%s:%s", ["a", "b"], 1], ["a:1", "b:1"]),
        (["%v", [[1], {"a": 2}]], ["[1]", '{"a":2}']),
    ],
)
def test_formatlist(args: list[Any], want: list[str]) -> None:
    assert call("formatlist", *args) == tuple(want)


def test_lists_of_several_lengths_are_refused() -> None:
    assert refused("formatlist", "%s %s", ["a", "b"], ["c"]) == ("a list of 1 elements beside one of 2", 2)
    assert refused("formatlist", "%s", {}) == ("%s: a string is needed, not a map", 1)
    assert refused("formatlist", "%d", ["1", "x"]) == ("%d: a number is needed, not a string", 1)


def test_many_wide_values_are_refused_while_they_are_made() -> None:
    message, _ = refused("format", "%100000d" * 100, *range(100))
    assert message.endswith(f"characters, more than {MOST_CHARACTERS}")
    message, _ = refused("formatlist", "%100000d", list(range(1000)))
    assert message.endswith(f"characters, more than {MOST_CHARACTERS}")


flags = st.sampled_from(["", "-", "+", " ", "0", "+0", "-+"])
widths = st.sampled_from(["", "1", "5", "12"])
precisions = st.sampled_from(["", ".0", ".1", ".3", ".8"])


@given(flags, widths, precisions, st.sampled_from("fe"), st.integers(-(10**9), 10**9), st.integers(0, 9))
def test_decimals_are_as_c_has_them(f: str, w: str, p: str, verb: str, number: int, places: int) -> None:
    value = number / 2**places  # what a double holds exactly
    spec = f"%{f}{w}{p}{verb}"
    assert call("format", spec, Decimal(value)) == spec % value


@given(flags, widths, st.sampled_from("dx"), st.integers(-(10**30), 10**30))
def test_whole_numbers_are_as_c_has_them(f: str, w: str, verb: str, number: int) -> None:
    spec = f"%{f}{w}{verb}"
    assert call("format", spec, number) == spec % number


@given(st.integers(-(10**15), 10**15), st.integers(-30, 30))
def test_plain_number_is_read_as_it_was_written(digits: int, exponent: int) -> None:
    number = Decimal(digits).scaleb(exponent)
    assert Decimal(call("format", "%v", number)) == number
    assert Decimal(call("format", "%g", number)) == number


@given(st.text())
def test_text_passes(text: str) -> None:
    assert call("format", "%s", text) == text
    assert call("format", text.replace("%", "%%")) == text
