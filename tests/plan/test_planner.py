"""A Dockerfile is worked out before anything runs: which stages, from what, told where a mistake stands."""

from __future__ import annotations

import json
from typing import Any

import pytest

from imagesmith.context.origins import ContextFiles, Fetched, GitFiles
from imagesmith.dockerfile.parse import parse
from imagesmith.errors import DockerfileError, NotFound
from imagesmith.oci import mediatype as mt
from imagesmith.oci.config import ImageConfig
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.oci.names import Platform
from imagesmith.ops.copy import CopyOp
from imagesmith.ops.image import ImageOp
from imagesmith.ops.root import RootOp
from imagesmith.plan.lints import BuildLints
from imagesmith.plan.plan import PlannedImage
from imagesmith.plan.planner import Planner
from imagesmith.plan.reading import linter_of
from imagesmith.request import BuildRequest
from imagesmith.solve.graph import all_steps, chain
from imagesmith.transports.bases import ResolvedImage
from tests.kitchen import Kitchen

ARM = Platform("linux", "arm64")
CONTEXT = ContextFiles("context", "/somewhere")


def image(name: str, config: dict[str, Any] | None = None, layers: int = 1) -> ResolvedImage:
    """An image whose layers nobody has."""
    empty = Descriptor(media_type=mt.OCI_CONFIG, digest=digest_bytes(name.encode()), size=1)
    manifest = Manifest.build(empty, [])
    diff_ids = [str(digest_bytes(bytes([n]))) for n in range(layers)]
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": config or {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    return ResolvedImage(
        name=name,
        descriptor=manifest.descriptor(),
        manifest=manifest,
        config=ImageConfig.parse(json.dumps(document).encode()),
        place=name,
    )  # fmt: skip


class World:
    """Images and contexts that are looked up here; whatever is asked for is written down."""

    def __init__(self, images: dict[str, ResolvedImage], named: dict[str, Any]) -> None:
        self.found, self.by_name = images, named
        self.asked: list[tuple[str, Platform | None]] = []

    def resolve(self, name: str, platform: Platform | None) -> ResolvedImage:
        """See ImageResolver."""
        self.asked.append((name, platform))
        if name not in self.found:
            raise NotFound(f"{name}: not found", status=404)
        return self.found[name]

    def named(self, name: str, platform: Platform | None) -> Any:
        """See ContextProvider."""
        del platform
        return self.by_name.get(name)

    def main(self) -> ContextFiles | GitFiles | Fetched:
        """See ContextProvider."""
        return CONTEXT

    def tree_of(self, origin: ContextFiles) -> None:
        """See ContextProvider; no lint is at hand that looks into it."""

    def never(self, *what: object) -> Any:
        """For what no plan here may ask for."""
        raise AssertionError(what)

    files = time_of = commit_time = fetch_url = never


def planner(
    text: str,
    images: dict[str, ResolvedImage] | None = None,
    named: dict[str, Any] | None = None,
    **words: Any,
) -> tuple[Planner, World]:
    """A planner in a world of its own, and that world."""
    contexts = dict.fromkeys(named or {}, "given")
    request = BuildRequest(context=".", contexts=contexts, **words)
    world: Any = World(images or {}, named or {})
    dockerfile = parse(text.encode())
    lints = BuildLints(linter_of(dockerfile, request, lambda _: None))
    return Planner(dockerfile, request, world, world, lints), world


def plan(text: str, *given: Any, **words: Any) -> PlannedImage:
    """The plan of a Dockerfile."""
    return planner(text, *given, **words)[0].plan()


def names(made: PlannedImage) -> list[str]:
    """What the steps of the result are called, the first one first."""
    return [s.name for s in chain(made.tip)][::-1]


# --- which stages --------------------------------------------------------------------------------


def test_stage_that_the_target_does_not_need_is_not_looked_at() -> None:
    text = (
        "FROM nowhere AS a\nRUN --mount=type=bad x\nFROM scratch AS b\nLABEL b=1\nFROM scratch\nEXPOSE bad\n"
    )
    made, world = planner(text, target="b")
    assert made.plan().runtime.labels == {"b": "1"}
    assert world.asked == []


def test_all_stages_are_worked_out_where_all_are_asked_for() -> None:
    text = "FROM scratch AS a\nEXPOSE bad\nFROM scratch\n"
    plan(text)
    with pytest.raises(DockerfileError, match="bad") as caught:
        planner(text)[0].plan_all()
    assert caught.value.first == 2


def test_mistake_of_the_last_line_is_told_at_its_line() -> None:
    with pytest.raises(DockerfileError) as caught:
        plan("FROM scratch\nRUN sleep 100\nEXPOSE bad\n")
    assert (caught.value.first, caught.value.word) == (3, "bad")


def test_chain_of_stages_that_is_longer_than_one_of_calls_is_worked_out() -> None:
    text = "FROM scratch AS s0\nCOPY f /0\n"
    text += "".join(f"FROM s{n - 1} AS s{n}\nCOPY f /{n}\n" for n in range(1, 1500))
    assert len(all_steps([plan(text).tip])) == 1500


def test_stage_is_worked_out_once_however_often_it_is_named() -> None:
    text = "FROM base AS a\nRUN a\nFROM a AS b\nFROM a\n"
    text += "".join(f"COPY --from={who} x /{who}\n" for who in ("a", "b", "0"))
    made, world = planner(text, {"base": image("base")})
    assert len(all_steps([made.plan().tip])) == 5
    assert [name for name, _ in world.asked] == ["base"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "FROM scratch AS a\nRUN --mount=from=b,target=/x y\nFROM scratch AS b",
            'cannot mount from stage "b" to "/x", stage needs to be defined before current command',
        ),
        (
            "FROM scratch AS a\nARG t=x\nRUN --mount=from=B,type=cache,target=/$t/ y\nFROM scratch AS b",
            'cannot mount from stage "B" to "/x/", stage needs to be defined before current command',
        ),
        (
            "FROM scratch\nRUN --mount=from=b,type=ssh y\nFROM scratch AS b",
            'cannot mount from stage "b" to "", stage needs to be defined before current command',
        ),
        ("FROM scratch AS a\nRUN --mount=from=a,target=/x y", "circular dependency detected on stage: a"),
        (
            "FROM scratch\nCOPY --from=b x y\nFROM scratch AS b",
            'cannot copy from stage "b", it needs to be defined before current stage "stage-0"',
        ),
        ("FROM scratch\nCOPY --from=0 x y", "circular dependency detected on stage: stage-0"),
    ],
)
def test_a_stage_takes_from_earlier_ones_only(kitchen: Kitchen, text: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        kitchen.build(f"{text}\nFROM scratch\nCOPY --from=0 / /\n")
    assert caught.value.message == message


def test_a_context_in_place_of_a_later_stage_is_there_from_the_beginning(kitchen: Kitchen) -> None:
    kitchen.write({"other/f": "1\n"})
    text = "FROM scratch AS a\nCOPY --from=b f /g\nFROM scratch AS b\nFROM a\n"
    built = kitchen.build(text, contexts={"b": str(kitchen.context / "other")})
    assert kitchen.names(built) == ["g"]


# --- what a stage starts from --------------------------------------------------------------------


def test_scratch_starts_at_the_root_with_no_step() -> None:
    made = plan("FROM scratch\n")
    assert (made.tip, made.runtime.working_dir, made.base_history) == (None, "/", ())


@pytest.mark.parametrize(("given", "then"), [("/w", "/w"), ("w/x", "/w/x"), ("", "")])
def test_working_directory_of_a_base_begins_at_the_root(given: str, then: str) -> None:
    assert plan("FROM b\n", {"b": image("b", {"WorkingDir": given})}).runtime.working_dir == then


def test_base_is_a_step_if_it_has_layers() -> None:
    base = image("b", {"Env": ["A=1"]})
    made = plan("FROM b\n", {"b": base})
    assert names(made) == [f"[1] FROM b@{base.descriptor.digest}"]
    assert made.tip is not None
    assert isinstance(made.tip.op, ImageOp)
    assert "A=1" in made.runtime.env
    assert plan("FROM b\n", {"b": image("b", layers=0)}).tip is None


def test_stage_on_another_has_all_of_it_and_leaves_it_as_it_was() -> None:
    text = "FROM scratch AS a\nENV A=1\nLABEL l=1\nFROM a\nENV A=2 B=$A\nLABEL l=2\nFROM a\nENV C=$A$B\n"
    runtime = plan(text).runtime
    assert [e for e in runtime.env if not e.startswith("PATH=")] == ["A=1", "C=1"]
    assert runtime.labels == {"l": "1"}


def test_named_context_in_place_of_a_base_is_a_root_of_files() -> None:
    named = ContextFiles("b", "/b")
    made, world = planner("FROM b\nRUN x\n", {"b": image("b")}, {"b": named})
    tip = made.plan().tip
    assert tip is not None
    assert tip.parent is not None
    assert (tip.parent.op, tip.parent.name) == (RootOp(named), "[context b]")
    assert world.asked == []


def test_named_image_in_place_of_a_base_is_a_base() -> None:
    made, world = planner("FROM b\n", {}, {"b": image("other", {"Env": ["A=1"]})})
    assert "A=1" in made.plan().runtime.env
    assert world.asked == []


def test_base_is_asked_for_in_the_platform_of_its_line_or_of_the_build() -> None:
    images = {"b": image("b")}
    for text, platform, asked in (
        ("FROM b\n", None, None),
        ("FROM b\n", ARM, ARM),
        ("FROM --platform=linux/s390x b\n", ARM, Platform("linux", "s390x")),
        ("FROM scratch\nCOPY --from=b x y\n", ARM, ARM),
    ):
        made, world = planner(text, images, platforms=(platform,) if platform else ())
        made.plan()
        assert world.asked == [("b", asked)]


def test_image_is_of_the_build_s_platform_else_of_the_base_s() -> None:
    images = {"b": image("b")}
    assert plan("FROM b\n", images, platforms=(ARM,)).platform == ARM
    assert plan("FROM b\n", images).platform == Platform("linux", "amd64")
    assert plan("FROM scratch\n", platforms=(ARM,)).platform == ARM


def test_base_that_cannot_be_found_is_told_at_its_line_with_the_stage_that_may_be_meant() -> None:
    with pytest.raises(NotFound) as caught:
        plan("FROM scratch AS builder\nFROM bulder\n")
    assert (caught.value.first, caught.value.word) == (2, "bulder")
    assert "builder" in caught.value.hint + caught.value.message
    with pytest.raises(NotFound) as caught:
        plan("FROM scratch AS builder\nFROM scratch\nCOPY --from=bilder x y\n")
    assert (caught.value.first, caught.value.word) == (3, "--from=bilder")


# --- triggers ------------------------------------------------------------------------------------


def test_triggers_of_a_base_come_first_and_are_told_as_such() -> None:
    made = plan("FROM b\nCOPY own /\n", {"b": image("b", {"OnBuild": ["ENV A=1", "COPY f$A /"]})})
    assert names(made)[1:] == ["[2/3] ONBUILD COPY f1 /", "[3/3] COPY own /"]
    tip = made.tip
    assert tip is not None
    assert tip.parent is not None
    assert isinstance(tip.parent.op, CopyOp)
    assert tip.parent.op.sources[0].path == "f1"
    assert tip.parent.span.first == 1


def test_triggers_of_a_stage_are_for_the_next_one_and_for_no_other() -> None:
    text = "FROM scratch AS a\nONBUILD LABEL from=a\nFROM a AS b\nLABEL b=1\nFROM b\nLABEL c=1\n"
    assert plan(text, target="a").runtime.labels == {}
    assert plan(text, target="b").runtime.labels == {"from": "a", "b": "1"}
    assert plan(text).runtime.labels == {"from": "a", "b": "1", "c": "1"}


@pytest.mark.parametrize("trigger", ["EXPOSE bad", "NOTHING x", "COPY --bad a b"])
def test_mistake_of_a_trigger_is_told_at_the_base(trigger: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        plan("FROM scratch\nFROM b\nLABEL a=b\n", {"b": image("b", {"OnBuild": [trigger]})})
    assert (caught.value.first, caught.value.word) == (2, "b")


# --- names, sources, the cache -------------------------------------------------------------------


def test_steps_are_counted_by_stage() -> None:
    text = "FROM scratch AS a\nCOPY x /\nENV a=b\nWORKDIR /w\nFROM b\nRUN x\nCOPY --from=a /x /\n"
    made = plan(text, {"b": image("b")})
    assert names(made)[1:] == ["[stage-1 2/3] RUN x", "[stage-1 3/3] COPY --from=a /x /"]
    assert names(plan(text, target="a")) == ["[a 1/2] COPY x /", "[a 2/2] WORKDIR /w"]


def test_source_from_outside_is_looked_for_once() -> None:
    text = "FROM scratch\nCOPY --from=b x y\nCOPY --from=b z /\nRUN --mount=from=b,target=/m x\n"
    made, world = planner(text, {"b": image("b")})
    steps = all_steps([made.plan().tip])
    assert [name for name, _ in world.asked] == ["b"]
    assert [s.name for s in steps if isinstance(s.op, ImageOp)] == ["FROM b"]


def test_files_of_the_context_are_named_and_not_looked_at() -> None:
    tip = plan("FROM scratch\nCOPY f /\n").tip
    assert tip is not None
    assert [r.origin for r in tip.op.reads()] == [CONTEXT]


@pytest.mark.parametrize(
    ("wanted", "anew"),
    [(None, []), ((), ["a", "b"]), (("A",), ["a"]), (("b", "other"), ["b"]), (("other",), [])],
)
def test_cache_is_left_out_for_the_stages_that_are_named(
    wanted: tuple[str, ...] | None, anew: list[str]
) -> None:
    text = "FROM scratch AS A\nCOPY a /\nFROM scratch AS b\nCOPY --from=A / /\n"
    steps = all_steps([plan(text, no_cache=wanted).tip])
    assert [s.stage for s in steps if s.no_cache] == anew
