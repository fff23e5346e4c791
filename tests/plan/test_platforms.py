"""A Dockerfile for several platforms: what is the same is planned once, and everything has its own names."""

from __future__ import annotations

import json

import pytest

from imagesmith.errors import UsageError
from imagesmith.oci.names import Platform, host_platform
from imagesmith.ops.run import RunOp
from imagesmith.options import is_indexed, parse_platforms
from imagesmith.plan.plan import Plan
from imagesmith.solve.graph import all_steps
from tests.kitchen import Kitchen
from tests.plan.conftest import plan_of

AMD, ARM, ARM32 = (Platform.parse(f"linux/{name}") for name in ("amd64", "arm64", "arm/v7"))
CROSS = """\
FROM --platform=$BUILDPLATFORM scratch AS tools
COPY f /tool
FROM --platform=$BUILDPLATFORM tools AS build
RUN make tools
ARG TARGETARCH
RUN make for $TARGETARCH
FROM scratch
COPY --from=build /out /
"""


def cross(kitchen: Kitchen, *platforms: Platform) -> Plan:
    """The plan of a cross build."""
    kitchen.write({"f": "f"})
    return plan_of(kitchen, CROSS, platforms=platforms, indexed=len(platforms) > 1)


def test_steps_that_name_no_target_are_one_for_all_platforms(kitchen: Kitchen) -> None:
    names = [step.name for step in all_steps(cross(kitchen, AMD, ARM, ARM32).tips)]
    assert sum("make tools" in name for name in names) == 1
    assert sum("COPY f /tool" in name for name in names) == 1
    assert sum("make for" in name for name in names) == 3


def test_steps_are_called_by_the_platform_of_their_programs_and_that_of_what_they_make(
    kitchen: Kitchen,
) -> None:
    here = host_platform()
    names = [s.name for s in all_steps(cross(kitchen, AMD, ARM, ARM32).tips) if "RUN" in s.name]
    other = [f"->{p.architecture}" if p.architecture != here.architecture else "" for p in (AMD, ARM)]
    assert names == [
        f"[{here} build 1/2] RUN make tools",
        f"[{here}{other[0]} build 2/2] RUN make for $TARGETARCH",
        f"[{here}{other[1]} build 2/2] RUN make for $TARGETARCH",
        f"[{here}->arm/v7 build 2/2] RUN make for $TARGETARCH",
    ]
    assert not any(s.name.startswith("[linux") for s in all_steps(cross(kitchen, ARM).tips))


def test_program_of_the_build_platform_is_the_machine_s_whatever_the_image_is_for(kitchen: Kitchen) -> None:
    [image] = cross(kitchen, ARM32).images
    assert image.platform == ARM32
    runs = [step.op for step in all_steps([image.tip]) if isinstance(step.op, RunOp)]
    assert {op.platform for op in runs} == {host_platform()}


def test_plan_of_several_platforms_reads_back_equal(kitchen: Kitchen) -> None:
    plan = cross(kitchen, ARM, AMD, ARM32)
    assert [image.platform for image in plan.images] == [ARM, AMD, ARM32]
    assert Plan.parse(json.dumps(plan.to_json()).encode()) == plan


def test_platform_that_is_asked_for_twice_is_planned_once(kitchen: Kitchen) -> None:
    platforms = parse_platforms(["linux/arm,linux/amd64", "linux/armhf"])
    assert [str(i.platform) for i in cross(kitchen, *platforms).images] == ["linux/arm/v7", "linux/amd64"]


@pytest.mark.parametrize(
    ("platforms", "said", "indexed"),
    [("a", "", False), ("a,b", "", True), ("a", "1", True), ("a,b", "true", True), ("a", "false", False)],
)
def test_index_is_for_several_platforms_or_where_it_is_asked_for(
    platforms: str, said: str, indexed: bool
) -> None:
    names = {"a": "linux/amd64", "b": "linux/arm64"}
    asked = parse_platforms([",".join(names[p] for p in platforms.split(","))])
    assert is_indexed(asked, {"BUILDKIT_MULTI_PLATFORM": said}) == indexed


@pytest.mark.parametrize(("said", "told"), [("0", "conflicting config"), ("perhaps", "non-bool value")])
def test_index_that_is_refused_for_several_platforms_is_a_mistake(said: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        is_indexed((AMD, ARM), {"BUILDKIT_MULTI_PLATFORM": said})
