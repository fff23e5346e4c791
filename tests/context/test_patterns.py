from __future__ import annotations

import contextlib
import posixpath
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagesmith.context.patterns import Matcher, has_wildcards, match_name
from imagesmith.errors import ContextError


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        # moby/patternmatcher's own table, in part
        ("**", "file", True),
        ("**/", "file", True),
        ("**/", "dir/file", True),
        ("**/**", "dir/file", True),
        ("dir/**", "dir/file", True),
        ("dir/**", "dir", False),
        ("dir/**", "dir/dir2/file", True),
        ("**/dir", "dir/file", True),
        ("**/dir2/*", "dir/dir2/file", True),
        ("**/dir2/*", "dir/dir2/dir2/file", True),
        ("**file", "file", True),
        ("**file", "dir/file", True),
        ("**/file", "dir/file", True),
        ("**file", "dir/dir/file", True),
        ("**/file*", "dir/dir/file.txt", True),
        ("**/file*txt", "dir/dir/file.txt", True),
        ("**/**/*.txt", "dir/dir/file.txt", True),
        ("**/**/*.txt2", "dir/dir/file.txt", False),
        ("a*b", "a/b", False),
        ("?", "a", True),
        ("?", "/", False),
        ("[a-c]x", "bx", True),
        ("[^a]x", "bx", True),
        ("[^a]x", "ax", False),
        (r"a\*", "a*", True),
        (r"a\*", "ab", False),
        ("a.b", "axb", False),
        ("a(b)+", "a(b)+", True),
        ("a", "a/b/c", True),
        ("a/../b", "b", True),
        (".*", ".hidden", True),
        ("abc", "xabc", False),
        ("x\n", "x", True),
    ],
)
def test_pattern_matches_as_mobys_does(pattern: str, path: str, matches: bool) -> None:
    assert Matcher([pattern]).matches(path) is matches


def test_last_match_decides() -> None:
    matcher = Matcher(["*.md", "!README.md", "README*"])
    assert [matcher.matches(p) for p in ("a.md", "README.md", "x")] == [True, True, False]
    assert Matcher(["README*", "*.md", "!README.md"]).matches("README.md") is False


def test_exception_reaches_below_a_folder_that_is_left_out() -> None:
    matcher = Matcher(["docs", "!docs/keep"])
    assert [matcher.matches(p) for p in ("docs", "docs/x", "docs/keep", "docs/keep/y")] == [
        True, True, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize("pattern", ["[", "a[b", "[]", "[a-"])
def test_bad_brackets_are_refused(pattern: str) -> None:
    with pytest.raises(ContextError, match="syntax error in pattern"):
        Matcher([pattern])


def test_exclamation_mark_alone_is_refused() -> None:
    with pytest.raises(ContextError, match='illegal exclusion pattern: "!"'):
        Matcher(["!"])


@given(st.text(alphabet="ab*?[]^-\\/!.", max_size=12), st.text(alphabet="ab/.", max_size=12))
def test_any_text_is_a_pattern_or_a_clear_error(pattern: str, path: str) -> None:
    with contextlib.suppress(ContextError):
        assert Matcher([pattern]).matches(path) in (True, False)
    with contextlib.suppress(ContextError):
        assert match_name(pattern, path) in (True, False)


def by_the_book(pattern: str) -> re.Pattern[str]:
    """A pattern of `*`, `**`, `?` and letters, as patternmatcher translates it."""
    words = {"**/": "(.*/)?", "**": "(.*/)?", "*": "[^/]*", "?": "[^/]"}
    out = ""
    for word in re.findall(r"\*\*/?|.", pattern):
        out += words.get(word, word)
    return re.compile(re.sub(r"\(\.\*/\)\?$", ".*", out) + r"\Z")


@settings(max_examples=1000)
@given(
    st.lists(st.sampled_from(["a", "b", "*", "?", "/", "**/", "a/", "*b"]), max_size=9).map("".join),
    st.lists(st.sampled_from(["a", "b", "ab", "/"]), max_size=9).map("".join),
)
def test_no_fit_is_missed(pattern: str, path: str) -> None:
    pattern, path = posixpath.normpath(f"x{pattern}"), posixpath.normpath(f"x{path}")
    expected = by_the_book(pattern)
    parents = [path[:n] for n, c in enumerate(path) if c == "/"]
    assert Matcher([pattern]).matches(path) == any(map(expected.match, [*parents, path]))


@pytest.mark.parametrize(
    "pattern",
    [
        "*a" * 60 + "b",
        "**/a/" * 60 + "b",
        "**/*a" * 60 + "b",
        "a**" * 60 + "b",
        "*[^b]" * 60 + "c",
        "*/" * 60 + "b",
        "***" * 60 + "b",
        "*a?" * 60 + "*b",
    ],
)
def test_no_pattern_takes_long(pattern: str) -> None:
    long = "a" * 1000
    for path in (long, "/".join(["a"] * 500), "/".join(["aaa"] * 250), "a/a" * 300):
        assert not Matcher([pattern]).matches(path)
        assert not match_name(pattern, path)


def test_many_patterns_cost_a_look_up_a_path() -> None:
    matcher = Matcher([*(f"folder{n}/file" for n in range(20_000)), "!folder7/file"])
    hits = sum(matcher.matches(f"folder{n}/file") for n in range(20_000))
    assert hits == 19_999


def test_a_deep_folder_is_no_recursion() -> None:
    assert not Matcher(["x", "!y"]).matches("/".join("a" * 5_000))


@pytest.mark.parametrize(
    ("text", "has"), [("a*", True), ("a?", True), ("[a]", True), (r"\*", False), ("a", False)]
)
def test_wildcards_are_seen_unless_escaped(text: str, has: bool) -> None:
    assert has_wildcards(text) is has
