"""Entries: what texts and objects say, what a double is, and that the text of one says the same."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.bake.entries import entries_of, entry_of, flag_text, shown, without_doubles
from imagesmith.bake.values import Unsuitable, Value


@pytest.mark.parametrize(
    ("name", "text", "entries"),
    [
        ("cache-from", "r.example/c", [{"type": "registry", "ref": "r.example/c"}]),
        ("cache-from", "a,b:1", [{"type": "registry", "ref": "a"}, {"type": "registry", "ref": "b:1"}]),
        ("cache-to", "Type=local,Dest=out,mode=max", [{"type": "local", "dest": "out", "mode": "max"}]),
        ("output", "out/folder", [{"type": "local", "dest": "out/folder"}]),
        ("output", "-", [{"type": "tar", "dest": "-"}]),
        ("output", "type=image,push=true", [{"type": "image", "push": "true"}]),
        ("output", 'type=image,"name=a,b"', [{"type": "image", "name": "a,b"}]),
        ("output", "dest=x,type=tar", [{"type": "tar", "dest": "x"}]),
        ("attest", "type=sbom,disabled=0", [{"type": "sbom"}]),
        ("attest", "type=provenance,disabled=1", [{"type": "provenance", "disabled": "true"}]),
        ("secret", "id=a,source=f", [{"id": "a", "src": "f"}]),
        ("secret", "type=env,id=a,src=V", [{"id": "a", "env": "V"}]),
        ("secret", "type=env,id=a", [{"id": "a", "type": "env"}]),
        ("ssh", "default", [{"id": "default"}]),
        ("ssh", "k=a.pem,b.pem", [{"id": "k", "paths": "a.pem,b.pem"}]),
        ("policy", "filename=p.rego,strict=1", [{"filename": "p.rego", "strict": "true"}]),
        ("secret", "", []),
    ],
)
def test_what_a_text_says(name: str, text: str, entries: list[dict[str, str]]) -> None:
    assert list(entries_of(name, text)) == entries


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("cache-to", "ref=x", 'type required for "ref=x"'),
        ("attest", "mode=max", "attestation type not specified"),
        ("output", "type=,dest=x", "type is required"),
        ("output", "type=image,push", "invalid value push"),
        ("secret", "id", "must be a key=value pair"),
        ("secret", "id=a,sorce=f", "did you mean"),
        ("secret", "id=a,type=fil", 'unsupported secret type "fil"'),
        ("policy", "filname=p", "did you mean filename"),
        ("policy", "strict=perhaps", "non-bool"),
        ("policy", "log-level=loud", "log-level"),
        ("output", 'type=image,"name=a', "invalid output"),
    ],
)
def test_what_no_text_is(name: str, text: str, said: str) -> None:
    with pytest.raises(Unsuitable, match=said.replace("(", r"\(")):
        entries_of(name, text)


@pytest.mark.parametrize(
    ("name", "given_", "entry"),
    [
        ("output", {"type": "image", "push": True, "dest": None}, {"type": "image", "push": "true"}),
        ("output", {"dest": "", "type": "docker"}, {"type": "docker"}),
        ("cache-to", {"type": "local", "dest": "d", "level": Decimal(3)},
         {"type": "local", "dest": "d", "level": "3"}),
        ("attest", {"type": "sbom", "disabled": True}, {"type": "sbom", "disabled": "true"}),
        ("secret", {"id": "a", "src": "f", "env": ""}, {"id": "a", "src": "f"}),
        ("ssh", {"id": "k", "paths": ("a", "b")}, {"id": "k", "paths": "a,b"}),
        ("ssh", {"id": "default", "paths": ()}, {"id": "default"}),
        ("policy", {"filename": "p", "reset": False}, {"filename": "p", "reset": "false"}),
    ],
)  # fmt: skip
def test_what_an_object_says(name: str, given_: dict[str, Value], entry: dict[str, str]) -> None:
    assert entry_of(name, given_) == entry


@pytest.mark.parametrize(
    ("name", "given_", "said"),
    [
        ("output", {"type": ("image",)}, "type: a string is needed, not a list"),
        ("output", {"push": "true"}, "type is required"),
        ("ssh", {"id": "k", "paths": "a"}, "paths: a list is needed, not a string"),
        ("ssh", {"ID": "k"}, "unexpected key 'ID'"),
        ("secret", {"id": {"a": "b"}}, "id: a string is needed, not a map"),
    ],
)
def test_what_no_object_is(name: str, given_: dict[str, Value], said: str) -> None:
    with pytest.raises(Unsuitable, match=said):
        entry_of(name, given_)


def test_the_last_attest_of_a_type_counts_where_the_first_stood() -> None:
    asked = [{"type": "sbom"}, {"type": "provenance", "mode": "min"}, {"type": "sbom", "disabled": "true"}]
    assert without_doubles("attest", asked) == (asked[2], asked[1])


def test_the_last_takes_a_doubles_place() -> None:
    a, b, c = ({"type": "registry", "ref": ref} for ref in "abc")
    assert without_doubles("cache-from", [a, b, a, c]) == (a, b, c)
    assert without_doubles("cache-from", [a, a, b, c]) == (a, c, b)
    assert without_doubles("secret", [{"id": "x", "type": "env"}, {"id": "x"}]) == (
        {"id": "x", "type": "env"},
    )


def test_how_entries_are_shown() -> None:
    assert list(shown("output", {"type": "image", "push": "true", "name": "n"})) == ["name", "push", "type"]
    assert shown("attest", {"type": "sbom", "disabled": "true"}) == {"disabled": True, "type": "sbom"}
    assert shown("ssh", {"id": "k", "paths": "a,b"}) == {"id": "k", "paths": ["a", "b"]}
    assert shown("secret", {"id": "k", "type": "env"}) == {"id": "k"}


_TEXTS = st.text("ab,=\" '\n\\", max_size=6)
_KEYS = st.text("abc-", min_size=1, max_size=4)


@given(kind=st.text("abc", min_size=1), options=st.dictionaries(_KEYS, _TEXTS))
def test_the_text_of_an_entry_says_the_same(kind: str, options: dict[str, str]) -> None:
    entry = {"type": kind, **options}
    assert entries_of("output", flag_text("output", entry)) == (entry,)


@given(st.lists(st.sampled_from("abcdef")))
def test_each_is_there_once(names: list[str]) -> None:
    left = without_doubles("cache-to", [{"type": "local", "dest": name} for name in names])
    assert sorted(entry["dest"] for entry in left) == sorted(set(names))


@given(st.lists(st.sampled_from("abcd"), max_size=8))
def test_doubles_go_in_buildx_order(names: list[str]) -> None:
    s = list(names)
    for i in range(len(s) - 2, -1, -1):  # the words of buildx's own routine
        for j in range(i + 1, len(s)):
            if s[i] == s[j]:
                s[j] = s[-1]
                s.pop()
                break
    left = without_doubles("cache-to", [{"type": "local", "dest": name} for name in names])
    assert [entry["dest"] for entry in left] == s
