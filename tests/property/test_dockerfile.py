"""Whatever the bytes, parsing ends in a tree or in our own error; words without `$` stay what they are."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from imagesmith.dockerfile.format import format_dockerfile
from imagesmith.dockerfile.nodes import Dockerfile, Span
from imagesmith.dockerfile.parse import parse
from imagesmith.dockerfile.words import Lexer
from imagesmith.errors import DockerfileError
from imagesmith.values import replace

_WORDS = ("RUN", "COPY", "ADD", "FROM", "ENV", "ARG", "ONBUILD", "HEALTHCHECK", "CMD", "EXPOSE", "VOLUME")
_MARKS = ("<<EOF", "EOF", "--mount=type=", "--", "# escape=`", '["a"]', "\u2003", "\x00", "\n", " ", "é")
_PIECES = st.sampled_from([*_WORDS, *_MARKS, *"\\`\"'$#[]{}=<-,:\t\r"])


@given(st.binary(max_size=300))
def test_any_bytes_parse_or_are_refused(data: bytes) -> None:
    with contextlib.suppress(DockerfileError):
        parse(b"FROM a\n" + data)


@given(st.lists(_PIECES, max_size=40).map("".join))
def test_any_text_of_pieces_of_the_language_parses_or_is_refused(text: str) -> None:
    for data in (text, "FROM a\n" + text):
        with contextlib.suppress(DockerfileError):
            parse(data.encode())


@given(st.text(alphabet=st.characters(exclude_characters="$\"'\\")))
def test_a_word_without_dollar_quote_or_escape_expands_to_itself(word: str) -> None:
    assert Lexer().expand(word, {}.get).text == word


@given(st.text(alphabet="ab${}:-+?#%/*'\"\\ ", max_size=30))
def test_expansion_ends_in_a_text_or_in_our_error(word: str) -> None:
    with contextlib.suppress(DockerfileError):
        Lexer().expand(word, {"a": "abab"}.get)


def _tree(dockerfile: Dockerfile) -> object:
    """What a Dockerfile says, without where it says it."""
    nowhere = Span(0, 0)
    lines = [*dockerfile.global_args, *(i for s in dockerfile.stages for i in (s.base, *s.instructions))]
    directives = [(d.name, d.value) for d in dockerfile.directives]
    return directives, [replace(i, span=nowhere) for i in lines]


@given(st.lists(_PIECES, max_size=40).map("".join))
def test_a_formatted_dockerfile_says_the_same(text: str) -> None:
    try:
        first = parse(text.encode())
    except DockerfileError:
        try:
            first = parse(b"FROM a\n" + text.encode())
        except DockerfileError:
            return
    assert _tree(parse(format_dockerfile(first))) == _tree(first)


_LINES = ("# c\n", "#\n", "\n", "run a \\\n", " b\n", "ENV a=1\n", "COPY <<A <<-B /\nx\nA\n\ty\n\tB\n")


@given(st.lists(st.sampled_from(_LINES)))
def test_formatting_keeps_comments_continuations_and_heredocs(lines: list[str]) -> None:
    try:
        first = parse(("# escape=\\\nFROM a\n" + "".join(lines)).encode())
    except DockerfileError:
        return
    assert _tree(parse(format_dockerfile(first))) == _tree(first)


def test_a_line_beyond_the_limit_is_wrapped() -> None:
    text = b"FROM a\n" + b"RUN " + b"\\\n".join([b"# \\ x" * 6000] * 5)
    first = parse(text)
    assert _tree(parse(format_dockerfile(first))) == _tree(first)
