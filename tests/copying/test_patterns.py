"""Which tags patterns take, and which patterns are none."""

from __future__ import annotations

import time

import pytest

from imagesmith.copying.lists import below, read_list, split_pattern
from imagesmith.copying.patterns import Tags, is_pattern
from imagesmith.copying.tagging import Wanted
from imagesmith.errors import UsageError
from imagesmith.oci.names import ImageRef

TAGS = ["1.0", "1.1", "1.1-rc1", "2.0", "latest", "V1"]


@pytest.mark.parametrize(
    ("include", "exclude", "chosen"),
    [
        (("*",), (), TAGS),
        (("1.*",), ("*-rc*",), ["1.0", "1.1"]),
        (("[12].0", "latest"), (), ["1.0", "2.0", "latest"]),
        (("?.?",), ("2.*",), ["1.0", "1.1"]),
        (("v*",), (), []),
        ((r"regex:\d\.\d",), (), ["1.0", "1.1", "2.0"]),
        (("regex:(?i)v1",), (), ["V1"]),
        ((r"regex:(?:\d[*+?(|.])*\d",), (), ["1.0", "1.1", "2.0"]),
        ((r"regex:\d\.\d(?:-(?:rc1|beta))?|V1",), (), ["1.0", "1.1", "1.1-rc1", "2.0", "V1"]),
        (("*",), ("regex:.*",), []),
    ],
)
def test_patterns_are_for_whole_tags(
    include: tuple[str, ...], exclude: tuple[str, ...], chosen: list[str]
) -> None:
    assert Tags(include, exclude).chosen(TAGS) == chosen


@pytest.mark.parametrize(
    "text",
    [
        "", "x" * 2000, "regex:(", "regex:(a+)+", "regex:((a*)b)*", "regex:(a{2})+", "regex:*",
        "regex:(a|a)*b", "regex:(?P<n>a|a)*b", "regex:(?:aa?)+b", "regex:((?:a|aa))*b",
    ],
)  # fmt: skip
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Tags((text,)).checked()


def test_a_pattern_of_stars_takes_no_time() -> None:
    began = time.process_time()
    assert Tags(("*a" * 60 + "b",)).chosen(["a" * 128]) == []
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("text", "name", "pattern"),
    [
        ("host:5000/a/b:v*", "host:5000/a/b", "v*"),
        ("docker://host:5000/a:regex:v(?:1|2)", "docker://host:5000/a", "regex:v(?:1|2)"),
        ("app:1.?", "app", "1.?"),
        ("oci:some/layout:v*", "oci:some/layout", "v*"),
        ("oci:layout:v*", "oci:layout", "v*"),
        ("store:app:*", "store:app", "*"),
        ("host:5000/a/b:v1", "host:5000/a/b:v1", ""),
        ("host:5000/a", "host:5000/a", ""),
        ("oci:layout:v1", "oci:layout:v1", ""),
    ],
)
def test_a_pattern_stands_in_the_place_of_the_tag(text: str, name: str, pattern: str) -> None:
    found, tags = split_pattern(text)
    assert (found, str(tags or "")) == (name, pattern)
    assert not pattern or is_pattern(pattern)


def test_lines_say_where_to() -> None:
    lines = "# list\nhost:1/a/b:1\nhost:1/a@sha256:" + "0" * 64 + "\n\nhost:1/a:v* store:x # all\n"
    found = list(read_list(lines, "list", "to:2/p"))
    names = [
        "to:2/p/a/b:1",
        f"to:2/p/a:{'0' * 32}",
        "store:docker.io/library/x:latest",
    ]
    assert [str(w.target) for w in found] == names
    assert [w.tags for w in found] == [None, None, Tags(("v*",))]
    assert isinstance(found[0], Wanted)
    assert str(below("to:2", ImageRef.parse("host:1/a:x"), scoped=True)) == "to:2/host-1/a:x"
    for text in ("a b c", "a", "a:v* host:1/b:1", "a:regex:( b", "A B"):
        with pytest.raises(UsageError, match=r"^list:1: "):
            list(read_list(text, "list"))
    with pytest.raises(UsageError, match="more than 100000 lines"):
        list(read_list("\n" * 100_001, "list"))
