"""Which targets names, patterns, groups and links lead to."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from imagesmith.bake.overrides import Overrides, overridden, overrides_of
from imagesmith.bake.places import Source, Span
from imagesmith.bake.selection import Selection, linked_by, local_path, prepared, select
from imagesmith.bake.target import Attributes, Group, Target
from imagesmith.errors import DefinitionError, UsageError

_SPAN = Span(Source("docker-bake.hcl", "targets"), 0, 7)


class Plain:
    """A definition whose targets inherit nothing."""

    def __init__(self, targets: Mapping[str, Attributes], **groups: tuple[str, ...]) -> None:
        self.targets = targets
        self.groups = {k: Group(name=k, targets=v, span=_SPAN) for k, v in groups.items()}

    def resolve(self, name: str, overrides: Overrides) -> Target:
        attributes = overridden(self.targets[name], overrides.get(name, ()))
        return Target(name=name, attributes=attributes, span=_SPAN)


def chosen(given: Plain, *names: str, sets: tuple[str, ...] = ()) -> Selection:
    return select(given, names, overrides_of(sets, given.targets, {}))


_THREE = Plain({"app": {}, "web": {}, "db": {}}, default=("app", "back"), back=("db", "app"), empty=())


def test_without_names_the_default_is_built() -> None:
    found = chosen(_THREE)
    assert list(found.targets) == ["app", "db"]
    assert {name: group.targets for name, group in found.groups.items()} == {
        "default": ("app", "back"), "back": ("db", "app"),
    }  # fmt: skip
    assert list(chosen(Plain({"default": {}})).targets) == ["default"]
    assert chosen(Plain({"default": {}})).groups["default"].targets == ("default",)
    with pytest.raises(UsageError, match="failed to find target default"):
        chosen(Plain({"app": {}}))


def test_names_and_patterns() -> None:
    assert list(chosen(_THREE, "web", "db", "web").targets) == ["web", "db"]
    assert chosen(_THREE, "web", "db").groups["default"].targets == ("db", "web")
    assert list(chosen(_THREE, "*b").targets) == ["web", "db"]
    assert list(chosen(_THREE, "b*").targets) == ["db", "app"]
    assert set(chosen(_THREE, "default", "web").groups["default"].targets) == {"app", "back", "web"}
    assert list(chosen(Plain({"a_b": {}}), "a.b").targets) == ["a_b"]
    assert chosen(_THREE, "empty").targets == {}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("wbe", "failed to find target wbe (did you mean web?)"),
        ("x*", 'could not find any target matching "x*"'),
        ("[", "syntax error in pattern"),
    ],
)
def test_names_of_nothing(name: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        chosen(_THREE, name)
    assert said in caught.value.message


def test_groups_of_groups() -> None:
    own = Plain({"app": {}, "web": {}}, app=("app", "web"))
    assert list(chosen(own, "app").targets) == ["app", "web"]
    with pytest.raises(DefinitionError, match="group b: infinite loop, a has it as a member"):
        chosen(Plain({"x": {}}, a=("b",), b=("x", "a")), "a")
    with pytest.raises(DefinitionError, match="failed to find target y") as caught:
        chosen(Plain({"x": {}}, a=("y",)), "a")
    assert caught.value.line == 1
    deep = {f"g{i}": (f"g{i + 1}", f"g{i + 1}") for i in range(3000)}
    assert list(chosen(Plain({"x": {}}, **deep, g3000=("x",)), "g0").targets) == ["x"]


def test_targets_have_a_context_and_what_is_set() -> None:
    found = chosen(_THREE, "app", sets=("*.tags=a:1",)).targets["app"].attributes
    assert found == {"tags": ("a:1",), "context": ".", "dockerfile": "Dockerfile"}


def link(*names: str) -> Attributes:
    return {"contexts": {f"c{name}": f"target:{name}" for name in names}}


def test_what_is_linked_is_built_without_output() -> None:
    given = Plain(
        {
            "app": link("base", "mid"),
            "mid": {**link("base"), "output": ({"type": "image"},)},
            "base": {"entitlements": ("network.host",), "tags": ("b",)},
        }
    )
    found = chosen(given, "app")
    assert list(found.targets) == ["app", "base", "mid"]
    assert found.linked == {"base", "mid"}
    assert found.targets["mid"].attributes["output"] == ({"type": "cacheonly"},)
    for name in ("app", "mid"):
        assert found.targets[name].attributes["entitlements"] == ("network.host",)
    both = chosen(given, "app", "mid")
    assert both.linked == {"base"}
    assert both.targets["mid"].attributes["output"] == ({"type": "image"},)
    assert linked_by(found.targets["app"]) == ["base", "mid"]


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ({"a": link("a")}, "target a cannot link to itself"),
        ({"a": link("b"), "b": link("c"), "c": link("b")}, "infinite loop from c to b"),
        ({"a": link("bc"), "bb": {}}, "failed to find target bc (did you mean bb?)"),
        (
            {"a": {**link("b"), "platforms": ("x", "z")}, "b": {"platforms": ("x", "y")}},
            "target b can't be used by a because its platforms [x z] are not a subset of [x y]",
        ),
        ({f"a{i or ''}": link(f"a{i + 1}") for i in range(999)} | {"a999": {}}, "deeper than 200"),
    ],
)
def test_links_that_cannot_be(targets: Mapping[str, Attributes], said: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        chosen(Plain(targets), "a")
    assert said in caught.value.message
    assert caught.value.file == "docker-bake.hcl"


def test_many_ways_to_one_target_are_one() -> None:
    layers = {f"t{i}": link(f"t{i + 1}", f"u{i + 1}") for i in range(60)}
    layers |= {f"u{i}": link(f"t{i + 1}", f"u{i + 1}") for i in range(60)}
    assert len(chosen(Plain({**layers, "t60": {}, "u60": {}}), "t0").targets) == 121


def test_platforms_of_one_may_differ() -> None:
    given = Plain({"a": {**link("b"), "platforms": ("x",)}, "b": {"platforms": ("y", "z")}})
    assert len(chosen(given, "a").targets) == 2


@pytest.mark.parametrize(
    ("place", "path"),
    [
        (".", "."), ("./a/../b/", "b"), ("", "."), ("//x", "/x"), ("cwd://", "."), ("cwd://a/./b", "a/b"),
        ("https://x.example/r.git#main", None), ("git@x.example:o/r", None), ("target:a", None),
        ("docker-image://alpine", None), ("oci-layout://d", None), ("https://x.example/f.tar", None),
    ],
)  # fmt: skip
def test_what_is_a_path(place: str, path: str | None) -> None:
    assert local_path(place) == path


def test_the_epoch_is_an_argument_unless_one_is_named() -> None:
    given = Plain({"a": {"args": {"X": "1"}}, "b": {"args": {"SOURCE_DATE_EPOCH": "5"}}, "c": {}})
    found = prepared(chosen(given, "a", "b", "c"), {"SOURCE_DATE_EPOCH": "7"})
    args = {name: target.attributes.get("args") for name, target in found.targets.items()}
    assert args == {
        "a": {"X": "1", "SOURCE_DATE_EPOCH": "7"}, "b": {"SOURCE_DATE_EPOCH": "5"},
        "c": {"SOURCE_DATE_EPOCH": "7"},
    }  # fmt: skip
    assert "args" not in prepared(chosen(given, "c"), {}).targets["c"].attributes


def test_contexts_are_cleaned_and_stdin_is_none() -> None:
    given = Plain({"a": {"context": "./x/"}, "b": {"context": "-"}, "c": {"dockerfile": "-"}})
    assert prepared(chosen(given, "a"), {}).targets["a"].attributes["context"] == "x"
    with pytest.raises(DefinitionError, match="target b: context from stdin not allowed in bake"):
        prepared(chosen(given, "b"), {})
    with pytest.raises(DefinitionError, match="target c: dockerfile from stdin not allowed in bake"):
        prepared(chosen(given, "c"), {})


@pytest.mark.parametrize("name", [".", "..", "./app", "/srv/app"])
def test_a_folder_is_no_target(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        chosen(_THREE, name)
    assert caught.value.message == f"failed to find target {name}"
    assert "--set '*.context=DIR'" in caught.value.hint
