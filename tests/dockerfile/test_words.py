"""Words: every modifier, quotes and escapes, and input that is out to hang the lexer."""

from __future__ import annotations

import pytest

from imagesmith.dockerfile.words import Lexer
from imagesmith.errors import DockerfileError

SCOPE = {"U": "abcabc", "E": "", "P": "a/b/c.tar.gz", "X": "$0", "B": "x y"}


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("${U:-w}", "abcabc"), ("${E:-w}", "w"), ("${E-w}", ""), ("${N-w}", "w"),
        ("${N:-$U}", "abcabc"), ("${U:+w}", "w"),
        ("${E:+w}", ""),
        ("${E+w}", "w"), ("${N+w}", ""),
        ("${U?no}", "abcabc"),
        ("${P#*/}", "b/c.tar.gz"), ("${P##*/}", "c.tar.gz"), ("${P%.*}", "a/b/c.tar"), ("${P%%.*}", "a/b/c"),
        ("${U#?}", "bcabc"), ("${U%c?}", "abcabc"), ("${U#x}", "abcabc"), ("${N#x}", ""),
        ("${U/b/z}", "azcabc"), ("${U//b/z}", "azcazc"), ("${U//b/}", "acac"),
        ("${P//\\//_}", "a_b_c.tar.gz"),
        ("${U//*/x}", "x"), ("${U/$N/z}", "zabcabc"), ("${U//b/$X}", "abcabc"), ("${U/b/$X}", "a$0cabc"),
        ("'$U'", "$U"), ('"$U"', "abcabc"), ("\\$U", "$U"), ('"\\n\\$"', "\\n$"), ("a\\", "a"), ("$", "$"),
        ("a$-b", "ab"), ("$é", ""), ("$1x", "x"), ("a b", "a b"), ("\"a 'b'\"", "a 'b'"),
    ],
)  # fmt: skip
def test_a_word_expands(word: str, text: str) -> None:
    assert Lexer().expand(word, SCOPE.get).text == text


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("${}", "bad substitution"),
        ("${:-x}", "bad substitution"),
        ("${U", "missing '}'"),
        ("${U:-x", "missing '}'"),
        ("${U:=x}", "unsupported modifier (:=) in substitution"),
        ("${U/b}", "missing '/' in ${}"),
        ("${E:?}", "E: is not allowed to be empty"),
        ("${N?}", "N: is not allowed to be unset"),
        ("${N?say why}", "N: say why"),
        ('"a', "looking for matching double-quote"),
        ("'a", "looking for matching single-quote"),
        ("${U#\\x}", "invalid escape '\\x'"),
    ],
)
def test_a_mistake_is_told_with_the_word(word: str, message: str) -> None:
    with pytest.raises(DockerfileError, match="failed to process") as caught:
        Lexer().expand(word, SCOPE.get)
    assert message in caught.value.message


def test_every_name_that_is_used_and_not_set_is_noted() -> None:
    assert Lexer().expand("$A${B1:-x}${C:+y}${D#z}$U", SCOPE.get).unmatched == {"A", "B1", "C", "D"}


def test_the_backtick_escapes_where_it_is_chosen() -> None:
    assert Lexer("`").expand("`$U\\$U", SCOPE.get).text == "$U\\abcabc"


def test_the_result_is_split_outside_quotes() -> None:
    assert Lexer().expand_words("$B '$B' \"$B\" $E", SCOPE.get) == ["x", "y", "$B", "x y"]


def test_a_heredoc_keeps_quotes_and_loses_escapes() -> None:
    assert Lexer().expand_heredoc("'$U' \\n \\$U", SCOPE.get).text == "'abcabc' n $U"


@pytest.mark.parametrize(
    "word", ["${" * 20000, "${a:-" * 20000, "${a:-" * 20000 + "}" * 20000, '"${a#' * 20000]
)
def test_nesting_without_end_is_refused_and_not_recursed_into(word: str) -> None:
    with pytest.raises(DockerfileError):
        Lexer().expand(word, SCOPE.get)


@pytest.mark.parametrize(
    "word", ["${T%%*b*c*d}", "${T#*a*a*a*a*a*b}", "${T//*a*a*a*a*b/x}", "${T/?*?*?*b/x}"]
)
def test_patterns_that_make_others_backtrack_end_at_once(word: str) -> None:
    text = "a" * 20000
    assert Lexer().expand(word, lambda _: text).text == text
