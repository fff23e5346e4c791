"""Attributes: what values they take, how one comes over another, and how a target is printed."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagesmith.bake.places import Source, Span
from imagesmith.bake.target import (
    ATTRIBUTES,
    Attributes,
    Setting,
    Target,
    attribute,
    completed,
    merged,
    printed,
    settled,
)
from imagesmith.bake.values import SetValue, Value
from imagesmith.errors import DefinitionError

_SPAN = Span(Source("docker-bake.hcl", "target app {\n  tags = 1\n}\n"), 15, 19)


@pytest.mark.parametrize(
    ("name", "value", "setting"),
    [
        ("context", "dir", "dir"),
        ("shm-size", Decimal(64), "64"),
        ("pull", "true", True),
        ("no-cache", False, False),
        ("tags", ("a", None, Decimal(1)), ("a", "1")),
        ("platforms", SetValue(("linux/amd64",)), ("linux/amd64",)),
        ("args", {"A": Decimal("1.50"), "B": None, "C": True}, {"A": "1.5", "C": "true"}),
        ("output", ("type=docker", {"type": "image"}, "", None), ({"type": "docker"}, {"type": "image"})),
        ("resources", {"memory": "1g", "cpu-shares": "5", "cpu-quota": None},
         {"memory": "1g", "cpu-shares": "5"}),
        ("description", None, None),
    ],
)  # fmt: skip
def test_what_an_attribute_takes(name: str, value: Value, setting: Setting | None) -> None:
    assert attribute(name, value, _SPAN) == setting


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("tags", "a", "tags: a list is needed, not a string"),
        ("args", ("a",), "args: a map is needed, not a list"),
        ("args", {"A": ("b",)}, "args: A: a string is needed, not a list"),
        ("pull", "perhaps", "pull: a bool is needed, not a string"),
        ("context", {}, "context: a string is needed, not a map"),
        ("output", ("push=true,name=n",), "output: type is required"),
        ("output", (True,), "output: an entry is a string or an object, not a bool"),
        ("resources", {"memroy": "1g"}, "resources: unknown resources key memroy (did you mean memory?)"),
        ("resources", {"cpu-quota": Decimal("1.5")}, "a whole number is needed, not 1.5"),
        ("context", "a\0b", "context: no text here may hold the character \\u0000"),
        ("args", {"A\0": "1"}, "no text here may hold"),
        ("secret", ({"id": "s", "src": "\0"},), "no text here may hold"),
        ("tags", ("a", "b\0"), "no text here may hold"),
        ("dockerfil", "x", 'unsupported argument: a target has no "dockerfil" (did you mean dockerfile?)'),
    ],
)
def test_what_it_does_not_take(name: str, value: Value, said: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        attribute(name, value, _SPAN)
    assert said in caught.value.message
    assert (caught.value.file, caught.value.line, caught.value.column) == ("docker-bake.hcl", 2, 2)


def test_how_blocks_merge() -> None:
    older: Attributes = {
        "context": "a", "args": {"A": "1", "B": "1"}, "tags": ("x",), "cache-from": ({"type": "gha"},),
        "output": ({"type": "docker"},), "ulimits": ("nofile=1",), "attest": ({"type": "sbom"},),
        "description": "first", "annotations": ("k=v",), "resources": {"memory": "1g"}, "pull": True,
    }  # fmt: skip
    newer: Attributes = {
        "context": "b", "args": {"B": "2"}, "tags": (), "cache-from": ({"type": "local", "src": "d"},),
        "output": ({"type": "image"},), "ulimits": ("nofile=1", "nproc=2"),
        "attest": ({"type": "sbom", "disabled": "true"},), "description": "", "annotations": ("k=w",),
        "resources": {"cpu-quota": "5"}, "pull": False,
    }  # fmt: skip
    assert merged(older, newer) == {
        "context": "b", "args": {"A": "1", "B": "2"}, "tags": (),
        "cache-from": ({"type": "gha"}, {"type": "local", "src": "d"}), "output": ({"type": "image"},),
        "ulimits": ("nofile=1", "nproc=2"), "attest": ({"type": "sbom", "disabled": "true"},),
        "description": "first", "annotations": ("k=v", "k=w"),
        "resources": {"memory": "1g", "cpu-quota": "5"}, "pull": False,
    }  # fmt: skip


def test_what_is_settled() -> None:
    given_: Attributes = {
        "tags": ("a", "", "b", "a"), "contexts": {"x": "", "y": "target:y"}, "output": (), "platforms": (),
        "network": "host", "entitlements": ("security.insecure",),
    }  # fmt: skip
    assert settled(given_) == {
        "tags": ("a", "b"), "contexts": {"y": "target:y"}, "platforms": (), "network": "host",
        "entitlements": ("security.insecure", "network.host"),
    }  # fmt: skip
    assert settled({"contexts": {"x": ""}}) == {}


def test_a_target_has_a_context_and_a_dockerfile() -> None:
    assert completed({}) == {"context": ".", "dockerfile": "Dockerfile"}
    assert completed({"context": "", "dockerfile": ""}) == {"context": "", "dockerfile": "Dockerfile"}


def test_every_attribute_as_it_is_printed() -> None:
    everything: Attributes = {
        "policy": ({"filename": "p.rego"},), "extra-hosts": {"h": "${x}"}, "entitlements": ("network.host",),
        "call": "check", "resources": {"cpu-quota": "5", "memory": "1g"}, "ulimits": ("nofile=1:2",),
        "shm-size": "64m", "no-cache-filter": ("a",), "network": "host", "no-cache": False, "pull": True,
        "output": ({"type": "image", "push": "true"},), "platforms": ("linux/amd64",),
        "ssh": ({"id": "default"},), "secret": ({"id": "s", "src": "f"},), "target": "t",
        "cache-to": ({"type": "inline"},), "cache-from": ({"type": "registry", "ref": "r"},),
        "tags": ("${not escaped}",), "labels": {"b": "%{if}", "a": "x"}, "args": {"V": "${V}"},
        "dockerfile-inline": "RUN echo ${x}", "dockerfile": "D", "contexts": {"n": "target:o"},
        "context": ".", "attest": ({"type": "sbom", "disabled": "true"},), "annotations": ("k=${v}",),
        "description": "all",
    }  # fmt: skip
    assert list(everything) == list(ATTRIBUTES)[::-1]
    shown = printed(Target(name="app", attributes=everything))
    assert list(shown) == list(ATTRIBUTES)
    assert json.loads(json.dumps(shown)) == {
        "description": "all", "annotations": ["k=$${v}"], "attest": [{"disabled": True, "type": "sbom"}],
        "context": ".", "contexts": {"n": "target:o"}, "dockerfile": "D",
        "dockerfile-inline": "RUN echo $${x}", "args": {"V": "$${V}"}, "labels": {"a": "x", "b": "%%{if}"},
        "tags": ["${not escaped}"], "cache-from": [{"ref": "r", "type": "registry"}],
        "cache-to": [{"type": "inline"}], "target": "t", "secret": [{"id": "s", "src": "f"}],
        "ssh": [{"id": "default"}], "platforms": ["linux/amd64"],
        "output": [{"push": "true", "type": "image"}], "pull": True, "no-cache": False, "network": "host",
        "no-cache-filter": ["a"], "shm-size": "64m", "ulimits": ["nofile=1:2"],
        "resources": {"memory": "1g", "cpu-quota": 5}, "call": "check", "entitlements": ["network.host"],
        "extra-hosts": {"h": "$${x}"}, "policy": [{"filename": "p.rego"}],
    }  # fmt: skip
    assert list(cast("dict[str, str]", shown["labels"])) == ["a", "b"]


def test_what_is_empty_is_not_printed() -> None:
    empty: Attributes = {"description": "", "tags": (), "args": {}, "target": "", "pull": False}
    assert printed(Target(name="app", attributes=empty)) == {"target": "", "pull": False}


_BLOCKS = st.fixed_dictionaries(
    {},
    optional={
        "tags": st.lists(st.sampled_from("ab")).map(tuple),
        "ulimits": st.lists(st.sampled_from(["a", "b", ""])).map(tuple),
        "args": st.dictionaries(st.sampled_from("AB"), st.sampled_from("12")),
        "secret": st.lists(st.sampled_from([{"id": "a"}, {"id": "b"}])).map(tuple),
        "network": st.sampled_from(["host", "none"]),
    },
)


@given(_BLOCKS)
def test_what_is_settled_stays(block: Attributes) -> None:
    once = settled(block)
    assert settled(once) == once
    assert merged({}, once) == once == merged(once, {})
