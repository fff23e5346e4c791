from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.registry.challenge import parse_challenges, split_scope

BEARER = 'Bearer realm="https://auth/token",service="s",scope="repository:x:pull,push"'


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (
            [BEARER],
            [("bearer", {"realm": "https://auth/token", "service": "s", "scope": "repository:x:pull,push"})],
        ),
        (['Basic realm="a"'], [("basic", {"realm": "a"})]),
        (
            ['Basic realm="a", Bearer realm="b",service="c"'],
            [("basic", {"realm": "a"}), ("bearer", {"realm": "b", "service": "c"})],
        ),
        (['Basic realm="a"', 'Bearer realm="b"'], [("basic", {"realm": "a"}), ("bearer", {"realm": "b"})]),
        (
            ["Bearer realm=http://h:5/token,service=s"],
            [("bearer", {"realm": "http://h:5/token", "service": "s"})],
        ),
        (
            ['bearer Realm="…?x=1", Service="a b" , scope=""'],
            [("bearer", {"realm": "…?x=1", "service": "a b", "scope": ""})],
        ),
        (["Negotiate", "Basic"], [("negotiate", {}), ("basic", {})]),
        ([r'Basic realm="a \"b\" \\ c"'], [("basic", {"realm": r'a "b" \ c'})]),
        (
            ['Bearer realm = "a" , error="invalid_token"'],
            [("bearer", {"realm": "a", "error": "invalid_token"})],
        ),
        (['Bearer realm="never ends'], [("bearer", {"realm": "never ends"})]),
        (['realm="nobody asked"'], []),
        (["", " , ,, "], []),
        (['Bearer realm="a", realm="b"'], [("bearer", {"realm": "a"})]),
    ],
)
def test_challenges_are_read_whatever_their_form(headers: list[str], expected: list[object]) -> None:
    assert [(c.scheme, dict(c.params)) for c in parse_challenges(headers)] == expected


TOKEN = st.text(string.ascii_letters + string.digits + "-_.", min_size=1, max_size=8)


@given(
    st.lists(
        st.tuples(TOKEN, st.dictionaries(TOKEN.map(str.lower), st.text(max_size=12), max_size=4)), max_size=3
    )
)
def test_what_is_written_well_is_read_back(challenges: list[tuple[str, dict[str, str]]]) -> None:
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    header = ", ".join(
        f"{scheme} " + ", ".join(f"{k}={quoted(v)}" for k, v in params.items())
        for scheme, params in challenges
    )
    found = [(c.scheme, dict(c.params)) for c in parse_challenges([header])]
    assert found == [(scheme.lower(), params) for scheme, params in challenges]


@given(st.lists(st.text(max_size=60), max_size=3))
def test_no_header_makes_it_fail(headers: list[str]) -> None:
    for challenge in parse_challenges(headers):
        assert challenge.scheme == challenge.scheme.lower()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("repository:a/b:pull,push", ("repository", "a/b", {"pull", "push"})),
        ("repository:host:5000/a:pull", ("repository", "host:5000/a", {"pull"})),
        ("registry:catalog:*", ("registry", "catalog", {"*"})),
    ],
)
def test_scope_is_cut_at_its_first_and_last_colon(text: str, expected: tuple[str, str, set[str]]) -> None:
    assert split_scope(text) == expected
