from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.context.git import GitRef, is_git_url
from imagesmith.errors import DockerfileError
from imagesmith.values import replace


@pytest.mark.parametrize(
    ("text", "is_git"),
    [
        ("https://h/x.git", True),
        ("https://h/x.git#main:sub", True),
        ("https://h/x.git?ref=v1", True),
        ("http://h/x", False),
        ("https://h/x.git/y", False),
        ("git://h/x", True),
        ("ssh://u@h/x", True),
        ("git@h:x/y", True),
        ("u@h:22/x", False),
        ("github.com/x/y", False),
        ("./x.git", False),
        ("HTTPS://h/x.git", True),
        ("file:///x.git", False),
        ("ext::sh -c x", False),
    ],
)
def test_addresses_of_repositories_are_told_apart(text: str, is_git: bool) -> None:
    assert is_git_url(text) is is_git


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("https://h/x.git", {}),
        ("https://h/x.git#main", {"ref": "main"}),
        ("https://h/x.git#:sub", {"subdir": "sub"}),
        ("https://h/x.git#v1:/a/../b", {"ref": "v1", "subdir": "b"}),
        ("https://h/x.git?branch=b&subdir=s", {"ref": "refs/heads/b", "subdir": "s"}),
        ("https://h/x.git?tag=t&commit=abc1234", {"ref": "refs/tags/t", "checksum": "abc1234"}),
        ("https://h/x.git?keep-git-dir&submodules=false", {"keep_git_dir": True, "submodules": False}),
        ("https://h/x.git?mtime=commit", {"commit_times": True}),
        ("git@h:x?ref=y", {"remote": "git@h:x?ref=y"}),
        ("https://h/x.git?tag=refs/tags/t", {"ref": "refs/tags/t"}),
        ("https://h/x.git?ref=a&commit=abc", {"ref": "a", "checksum": "abc"}),
        ("https://h/x.git?checksum=abc", {"ref": "abc", "checksum": "abc"}),
        ("https://h/x.git#a%20b:c%2fd", {"ref": "a b", "subdir": "c/d"}),
        ("https://h/x.git#:../..", {"subdir": ""}),
        ("https://h/x.git?fetch-depth=3", {"depth": 3}),
        ("https://h/x.git?fetch-depth=0", {"depth": 0, "tags": True}),
        ("https://h/x.git?fetch-depth=0&fetch-tags=0", {"depth": 0}),
        ("https://h/x.git?fetch-tags", {"tags": True}),
        (
            f"https://h/x.git?ref=a&checksum={'a' * 40}&fetch-by-commit",
            {"ref": "a", "checksum": "a" * 40, "fetch_by_commit": True},
        ),
        ("https://u:p%40q@h/x.git", {"login": "u:p@q"}),
        ("https://token@h/x.git", {"login": "token:"}),
        ("ssh://git:secret@h/x", {"remote": "ssh://git@h/x"}),
        ("git@h:x/y", {"remote": "git@h:x/y"}),
    ],
)
def test_address_is_taken_apart(text: str, fields: dict[str, object]) -> None:
    plain = GitRef(remote="https://h/x.git")
    assert GitRef.parse(text) == replace(plain, **fields)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("ref=", 'query "ref" has no value'),
        ("ref=a&ref=b", 'query "ref" has multiple values'),
        ("x=y", 'unexpected query "x"'),
        ("ref=a#b", 'ref conflicts: "b" vs "a"'),
        ("tag=a&branch=b", "branch conflicts with tag"),
        ("subdir=a#:b", 'subdir conflicts: "b" vs "a"'),
        ("submodules=perhaps", 'invalid submodules value: "perhaps"'),
        ("submodules=tRUE", 'invalid submodules value: "tRUE"'),
        ("mtime=now", 'invalid mtime value: "now"'),
        ("fetch-depth=-1", 'invalid fetch-depth value: "-1"'),
        ("fetch-depth=", 'query "fetch-depth" has no value'),
        ("fetch-by-commit&checksum=abc", "fetch-by-commit requires checksum to be a whole commit hash"),
        ("checksum=a&commit=b", 'checksum conflicts: "a" vs "b"'),
        ("ref=a%0ab", "no control characters"),
    ],
)
def test_bad_query_is_told_in_buildkits_words(query: str, message: str) -> None:
    with pytest.raises(DockerfileError, match=message):
        GitRef.parse(f"https://h/x.git?{query}")


@pytest.mark.parametrize(
    "text",
    [
        "ssh://-oProxyCommand=x/y",
        "ssh://-x@h/y",
        "-x@h:y",
        "u@-h:y",
        "https:///x.git",
        "https://h/x\n.git",
        "https://h/x.git#a%00b",
    ],
)
def test_what_programs_would_take_for_something_else_is_refused(text: str) -> None:
    with pytest.raises(DockerfileError, match=r"not a repository address|no control characters"):
        GitRef.parse(text)


def test_host_is_without_login_and_with_port() -> None:
    assert GitRef.parse("https://u:p@h:8/x.git").host == "h:8"
    assert GitRef.parse("git@h:x").host == ""


@given(
    st.sampled_from(["https://h/r.git", "ssh://git@h/r", "git://h:9/a/b", "http://h.example/x.git"]),
    st.sampled_from(["", "main", "refs/heads/a%20b", "v1.0", "ab" * 20]),
    st.sampled_from(["", "sub", "a/b c"]),
    st.dictionaries(
        st.sampled_from(["mtime", "submodules", "keep-git-dir", "fetch-depth", "fetch-tags"]), st.booleans()
    ),
)  # fmt: skip
def test_address_has_all_that_decides_the_files(
    remote: str, ref: str, subdir: str, query: dict[str, bool]
) -> None:
    values = {"mtime": ("checkout", "commit"), "fetch-depth": ("1", "0")}
    words = "&".join(f"{key}={values.get(key, ('false', 'true'))[on]}" for key, on in query.items())
    fragment = f"{ref.replace('%', '%25')}{f':{subdir}' if subdir else ''}"
    found = GitRef.parse(f"{remote}?{words}#{fragment}" if words else f"{remote}#{fragment}")
    again = GitRef.parse(found.address)
    assert again.address == found.address
    for field in ("remote", "ref", "subdir", "commit_times", "submodules", "pin"):
        assert getattr(again, field) == getattr(found, field)
    assert bool(again.keep_git_dir) == bool(found.keep_git_dir)
    if found.keep_git_dir:
        assert (again.depth, again.tags) == (found.depth, found.tags)


def test_address_shows_no_login_and_leaves_other_forms_as_they_are() -> None:
    assert GitRef.parse("https://u:pw@h.example/r.git#main").address == "https://h.example/r.git#main"
    assert GitRef.parse("git@h.example:a/b.git#x%20y:sub").address == "git@h.example:a/b.git#x%20y:sub"
    assert GitRef.parse("https://h.example/r.git").address == "https://h.example/r.git"
