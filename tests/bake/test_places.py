"""An error for a place in a file: its line, its caret, and a message of one line whatever it quotes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.bake.places import Source, Span, fault
from tests.bake.support import refused

_TEXT = "a = 1\nbb = [\n  2,\n]\nc = 3"


@pytest.mark.parametrize(
    ("start", "end", "lines", "caret"),
    [
        (0, 1, (1, 1), (1, 0, 1)),
        (6, 8, (2, 2), (2, 0, 2)),
        (11, 19, (2, 4), (2, 5, 6)),
        (20, 25, (5, 5), (5, 0, 5)),
        (25, 25, (5, 5), (5, 5, 5)),
    ],
)
def test_the_caret_is_under_what_is_meant(
    start: int, end: int, lines: tuple[int, int], caret: tuple[int, int, int]
) -> None:
    error = fault(Span(Source("docker-bake.hcl", _TEXT), start, end), "wrong", hint="do it right")
    assert (error.file, error.first, error.last, error.source) == ("docker-bake.hcl", *lines, _TEXT)
    assert (error.line, error.column, error.end) == caret
    assert (error.message, error.hint, error.exit_code) == ("wrong", "do it right", 3)


def test_spans_are_joined_from_first_to_last() -> None:
    source = Source("f", _TEXT)
    joined = Span(source, 0, 1).to(Span(source, 6, 8))
    assert (joined.text, joined.line) == ("a = 1\nbb", 1)
    assert Span(source, 0, 8).to(Span(source, 2, 3)).text == "a = 1\nbb"


@given(st.text(max_size=400))
def test_a_message_is_one_line_of_bounded_length(quoted: str) -> None:
    error = fault(Span(Source("f", "a"), 0, 1), f"{quoted} is wrong", hint=quoted)
    assert error.message.isprintable()
    assert error.hint.isprintable()
    assert len(error.message) <= 303 * len(r"\U0010ffff")


def test_what_files_say_is_quoted_on_one_line() -> None:
    assert refused(r'{a = 1}["x\n\u001b[0m"]')[0] == r"there is no x\n\x1b[0m in this map"
