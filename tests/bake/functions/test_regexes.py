"""Regular expressions: by cty's cases, by Go's syntax, against Python's `re`, and hostile ones."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from imagesmith.bake.functions.calling import CallError
from imagesmith.bake.functions.re2 import Pattern
from tests.bake.functions.calls import call, refused, same

URI = (
    r"^(?:(?P<scheme>[^:/?#]+):)?(?://(?P<authority>[^/?#]*))?"
    r"(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?"
)
RELATED = "http://www.ics.uci.edu/pub/ietf/uri/#Related"
PARTS = {
    "scheme": "http", "authority": "www.ics.uci.edu", "path": "/pub/ietf/uri/", "query": None,
    "fragment": "Related",
}  # fmt: skip

CASES: list[tuple[str, list[Any], Any]] = [
    ("regex", ["[a-z]+", "135abc456def789"], "abc"),
    ("regex", ["([0-9]*)([a-z]*)", "135abc456def"], ["135", "abc"]),
    ("regex", [URI, RELATED], PARTS),
    ("regex", ["(a)|(b)", "b"], [None, "b"]),
    ("regex", ["(?<x>a)", "ba"], {"x": "a"}),
    ("regex", ["", "abc"], ""),
    ("regexall", ["[a-z]+", "135abc456def789"], ["abc", "def"]),
    ("regexall", ["([0-9]*)([a-z]*)", "135abc456def"], [["135", "abc"], ["456", "def"]]),
    ("regexall", [URI, RELATED], [PARTS]),
    ("regexall", ["x", "abc"], []),
    ("regexall", ["(?:)", ""], [""]),
    ("regex_replace", ["-ab-axxb-", "a(x*)b", "T"], "-T-T-"),
    ("regex_replace", ["-ab-axxb-", "a(x*)b", "${1}W"], "-W-xxW-"),
    ("regex_replace", ["-ab-axxb-", "a(x*)b", "$1W"], "---"),
    ("regex_replace", ["-ab-axxb-", "a(x*)b", "$1-$0-$9"], "--ab--xx-axxb--"),
    ("regex_replace", ["price", "price", "$$1 $ ${"], "$1 $ ${"),
    ("regex_replace", ["v1.2.3", r"(?P<major>\d+)\.(?P<minor>\d+).*", "${minor}_$major"], "v2_1"),
    ("regex_replace", ["baaac", "a*", "-"], "-b-c-"),
    ("regex_replace", ["abc", "", "-"], "-a-b-c-"),
    ("regex_replace", ["refs/heads/Feature_X", "[^a-zA-Z0-9-]", "-"], "refs-heads-Feature-X"),
]

#: A pattern, a text, and the first match, as Go has them.
SYNTAX = [
    (r"a.c", "a\nc abc", "abc"),
    (r"(?s)a.c", "a\nc", "a\nc"), (r"^b", "a\nb", None), (r"(?m)^b", "a\nb", "b"),
    (r"a$", "a\n", None), (r"(?m)a$", "a\n", "a"), (r"\Ab", "ab", None), (r"b\z", "ab", "b"),
    (r"\bb\b", "ab b", "b"), (r"\Bb", "b ab", "b"), (r"\bé", "é", None), (r"\d+", "٣5", "5"),
    (r"\w+", "éab_1é", "ab_1"), (r"\s", "\x0b\u00a0 ", " "), (r"\D\W", "1a-", "a-"),
    (r"[[:alpha:]]+", "12ab", "ab"), (r"[[:^alpha:]]+", "ab12", "12"), (r"[^[:space:]]+", " ab", "ab"),
    (r"\pL+", "1éa2", "éa"), (r"\p{Lu}", "aÉ", "É"), (r"\PL", "a1", "1"), (r"\p{^L}", "a1", "1"),
    (r"[\pN\-x]+", "a1-x", "1-x"), (r"\p{Any}", "a", "a"), (r"[]a]+", "b]a", "]a"), (r"[^]a]", "]ab", "b"),
    (r"[a-]+", "b-a", "-a"), (r"[\d-]+", "a1-2", "1-2"), (r"[\x41-\x{43}]+", "xABCD", "ABC"),
    (r"\x41\x{1F600}", "A\U0001f600", "A\U0001f600"), (r"\101\07?", "A", "A"),
    (r"\Qa.b*\E+", "a.b**", "a.b**"),
    (r"\Qa.b", "a.b", "a.b"), (r"\a\f\t\n\r\v", "\a\f\t\n\r\v", "\a\f\t\n\r\v"),
    (r"\.\[\-\/", ".[-/", ".[-/"),
    (r"(?i)abcß", "xABCẞ", "ABCẞ"), (r"(?i)k", "\u212a", "\u212a"), (r"(?i)[a-z]+", "ABC", "ABC"),
    (r"(?i)[^a]", "Ab", "b"), (r"(?i)\p{Lu}", "a", "a"),
    (r"a(?i)b|c", "aB", "aB"), (r"a(?i)b|c", "C", "C"),
    (r"(?i:a)b", "Ab", "Ab"), (r"(?i:a)b", "AB", None), (r"(?-s:.)(?s-i:.)", "a\n", "a\n"),
    (r"a*?b", "aab", "aab"), (r"a+?", "aa", "a"), (r"a??b", "ab", "ab"), (r"(?U)a+", "aa", "a"),
    (r"(?U)a+?", "aa", "aa"),
    (r"a{2}", "aaa", "aa"), (r"a{2,}", "aaaa", "aaaa"), (r"a{1,2}?", "aaa", "a"),
    (r"a{,2}", "a{,2}", "a{,2}"),
    (r"a{0}b", "ab", "b"), (r"x{", "x{", "x{"), (r"a|ab", "ab", "a"), (r"(?:a|ab)c", "abc", "abc"),
    (r"|a", "a", ""),
    (r"(a|b)*?c", "abc", "abc"), (r"^*a", "a", "a"), (r"(?:)", "x", ""), (r"(?m)^$", "a\n\nb", ""),
]  # fmt: skip

WRONG = [
    (r"(", "a ( that is not closed"),
    (r")", "a ) that closes nothing"),
    (r"a)", "a ) that closes nothing"),
    (r"[a", "a [ that is not closed"),
    (r"[", "a [ that is not closed"),
    (r"*a", "nothing stands before *"),
    (r"a|+", "nothing stands before +"),
    (r"a**", "a repetition of a repetition needs a group"),
    (r"a+*", "a repetition of a repetition needs a group"),
    (r"a{2}{3}", "a repetition of a repetition needs a group"),
    (r"a{1001}", "{1001} is no repetition of at most 1000 times"),
    (r"a{3,2}", "{3,2} is no repetition of at most 1000 times"),
    (r"(?:a{100}){11}", "repetitions within repetitions of more than 1000 times"),
    ("\\", "a backslash at the end"),
    (r"\1", r"\1 is not of RE2's syntax"),
    (r"(a)\1", r"\1 is not of RE2's syntax"),
    (r"\Z", r"\Z is not of RE2's syntax"),
    (r"\é", r"\é is not of RE2's syntax"),
    (r"[\A]", r"\A is not of RE2's syntax"),
    (r"(?=a)", "(?= is not of RE2's syntax"),
    (r"(?!a)", "(?! is not of RE2's syntax"),
    (r"(?<=a)", "(?< is not of RE2's syntax"),
    (r"(?<!a)", "(?< is not of RE2's syntax"),
    (r"(?>a)", "(?> is not of RE2's syntax"),
    (r"(?P=x)", "(?P is not of RE2's syntax"),
    (r"(?x)a", "(?x is not of RE2's syntax"),
    (r"(?i", "the pattern ends too soon"),
    (r"(?P<1-x>a)", "'1-x' is no name of a group"),
    (r"(?P<>a)", "'' is no name of a group"),
    (r"(?P<x", "'' is no name of a group"),
    (r"(?P<x>a)(?P<x>b)", "two groups are called 'x'"),
    (r"[b-a]", "the range b-a has its end before its beginning"),
    (r"[[:foo:]]", "[:foo:] is no class that is known"),
    (r"\p{Greek}", r"\p{Greek} is no general category; scripts are not known here"),
    (r"\pX", r"\p{X} is no general category; scripts are not known here"),
    (r"\p{L", r"\p{} is no general category; scripts are not known here"),
    (r"\x{110000}", r"\x{110000} is no character"),
    (r"\xg1", r"\xg1 is no character"),
]


@pytest.mark.parametrize(("name", "args", "want"), CASES)
def test_value(name: str, args: list[Any], want: Any) -> None:
    assert same(call(name, *args), want)


@pytest.mark.parametrize(("pattern", "text", "want"), SYNTAX)
def test_syntax_of_go(pattern: str, text: str, want: str | None) -> None:
    assert first(pattern, text) == want


@pytest.mark.parametrize(("pattern", "message"), WRONG)
def test_what_go_refuses_is_refused(pattern: str, message: str) -> None:
    assert refused("regex", pattern, "a") == (f"pattern: {message}", 0)
    assert refused("regexall", pattern, "a") == (f"pattern: {message}", 0)
    assert refused("regex_replace", "a", pattern, "b") == (f"pattern: {message}", 1)


def test_no_match_is_refused_by_regex() -> None:
    assert refused("regex", "[0-9]+", "abc") == ("the pattern matches no part of the string", 1)


def test_groups_with_names_and_without_do_not_mix() -> None:
    assert refused("regex", "(a)(?P<x>b)", "ab") == ("pattern: either all groups have names, or none has", 0)
    assert call("regex_replace", "ab", "(a)(?P<x>b)", "$x$1") == "ba"


def test_replacement_that_would_be_huge_is_refused() -> None:
    assert refused("regex_replace", "a" * 5000, "a", "b" * 5000)[0].endswith("characters, more than 4194304")


HOSTILE = [
    ("(a+)+$", "a" * 20_000 + "b"), ("(a|a)*b", "a" * 20_000), ("(a|aa)+$", "a" * 20_000 + "b"),
    ("((a*)*)*b", "a" * 20_000), ("(.*)(.*)(.*)(.*)(.*)x", "a" * 20_000), ("(x+x+)+y", "x" * 20_000),
    ("(?:a?){500}a{500}", "a" * 500), ("([a-z]*)*[0-9]", "a" * 20_000), (".*.*=.*", "x" * 20_000),
    ("a{1000}b", "a" * 20_000), ("(?:(?:a{10}){10}){10}b", "a" * 5000), ("(a?){1000}" * 9, "a" * 100),
    ("(" * 90 + "a" + ")*" * 90, "a" * 1000 + "b"), ("|" * 9000, "a"), ("[a-z]" * 1900, "a" * 5000),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "text"), HOSTILE, ids=lambda s: s[:12])
@pytest.mark.parametrize("name", ["regex", "regexall"])
def test_hostile_pattern_ends_soon(name: str, pattern: str, text: str) -> None:
    """Its work is counted, so that it ends on a busy machine as well; the time is for what is not counted."""
    start = time.process_time()
    try:
        said = str(call(name, pattern, text))
    except CallError as e:
        said = e.message
    assert re.search(r"takes too long|matches no part|too large|within repetitions|^a+$|^$|^\(", said)
    assert time.process_time() - start < 20


@pytest.mark.parametrize("pattern", ["(" * 200 + ")" * 200, "a" * 20_000, "(a{1000})" * 30])
def test_pattern_that_is_too_large_is_refused(pattern: str) -> None:
    assert re.search("nested more|longer than|too large", refused("regex", pattern, "a")[0])


@st.composite
def patterns(draw: st.DrawFn, depth: int = 3) -> str:
    """Patterns that mean the same in Python's `re`; no loop is of what may be empty, for that differs."""
    kind = draw(st.sampled_from(["char", "char", "class", "seq", "alt", "group", "loop", "some", "edge"]))
    if depth == 0 or kind == "char":
        return draw(st.sampled_from(["a", "b", "c", ".", r"\d", r"\w", "-", "\n"]))
    if kind == "class":
        return draw(st.sampled_from(["[ab]", "[^a]", "[a-c1]", r"[^\d]", r"[\w-]"]))
    if kind == "edge":
        return draw(st.sampled_from(["^", r"\b", r"\B", r"\A"]))
    inner = patterns(depth - 1)
    if kind == "seq":
        return draw(inner) + draw(inner)
    if kind == "alt":
        return f"(?:{draw(inner)}|{draw(inner)})"
    if kind == "group":
        return f"({draw(inner)})"
    if kind == "some":
        return f"(?:{draw(inner)}){draw(st.sampled_from(['?', '??', '{2}', '{1,3}', '{0,2}?']))}"
    looped = draw(st.sampled_from(["a", "[ab]", "(b|c)", "(?:ab|a)", ".", "(a)(b?)"]))
    return f"(?:{looped}){draw(st.sampled_from(['*', '+', '*?', '+?', '{2,}']))}"


@settings(max_examples=150, deadline=None)
@given(patterns(), st.text(alphabet="abc1-\n", max_size=10))
def test_matches_are_those_of_python(pattern: str, text: str) -> None:
    assume(text)  # before 3.14 Python has it that \B is not in the empty text
    theirs = re.compile(pattern, re.ASCII)
    found = theirs.search(text)
    ours = next(Pattern(pattern, 0).matches(text), None)
    if found is None:
        assert ours is None
    else:
        assert ours is not None
        assert ours[0] == found.span()
        assert [span or (-1, -1) for span in ours] == list(found.regs)


@settings(max_examples=100, deadline=None)
@given(patterns(), st.text(alphabet="abc1-\n", max_size=10))
def test_all_matches_are_those_of_python_by_the_steps_of_go(pattern: str, text: str) -> None:
    assume(text)
    theirs: list[tuple[int, int]] = []
    at, behind = 0, -1
    while at <= len(text) and (found := re.compile(pattern, re.ASCII).search(text, at)):
        start, end = found.span()
        if end > start or start != behind:
            theirs.append((start, end))
        at, behind = (end if end > start else end + 1), end
    assert [match[0] for match in Pattern(pattern, 0).matches(text)] == theirs


@given(
    st.text(alphabet=st.sampled_from("ab(|)*+?[]{}^$\\.-1,:PidQE<>"), max_size=12), st.text("ab1", max_size=5)
)
def test_any_pattern_is_run_or_refused(pattern: str, text: str) -> None:
    try:
        found = call("regexall", pattern, text)
    except CallError as e:
        found = e
    assert isinstance(found, tuple) or found.argument == 0


@given(st.text(max_size=8), st.text(max_size=8))
def test_quoted_text_is_found_as_it_is(before: str, text: str) -> None:
    assume("\\E" not in text)
    spans = list(Pattern(f"\\Q{text}", 0).matches(before + text))
    assert spans[0][0] == ((before + text).find(text), (before + text).find(text) + len(text))


def first(pattern: str, text: str) -> str | None:
    found = next(Pattern(pattern, 0).matches(text), None)
    if found is None:
        return None
    assert found[0] is not None
    return text[slice(*found[0])]
