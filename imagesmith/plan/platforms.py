"""One Dockerfile for several platforms: a plan for each, in which equal steps are one.

Why: variables decide what a stage is for a platform, so that each is worked out by itself. A stage that comes
out the same for all (`FROM --platform=$BUILDPLATFORM`, with no ARG that names the target) has the same steps,
and they are executed once.
Threads: one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from imagesmith.dockerfile.lint import Linter
from imagesmith.dockerfile.nodes import Dockerfile
from imagesmith.plan.lints import BuildLints
from imagesmith.plan.plan import Plan, PlannedImage
from imagesmith.plan.planner import Planner
from imagesmith.request import BuildRequest
from imagesmith.solve.step import Step
from imagesmith.values import replace

if TYPE_CHECKING:
    from imagesmith.plan.givers import ContextProvider, ImageResolver
    from imagesmith.plan.halting import Halts

__all__ = ["plan_build"]


def plan_build(
    dockerfile: Dockerfile,
    request: BuildRequest,
    images: ImageResolver,
    contexts: ContextProvider,
    linter: Linter,
    steps: dict[Step, Step] | None = None,
    links: Mapping[str, Plan] | None = None,
    halts: Halts | None = None,
) -> Plan:
    """Work a Dockerfile out for each platform of the request, or for the machine's.

    What the linter finds it finds for the first, as in BuildKit. `steps` and `links` are those of the other
    targets that are built along with it; see Planner. `halts` takes where the build may be looked into.

    Raises:
        DockerfileError: located at its instruction.
    """
    steps = {} if steps is None else steps
    planned: list[PlannedImage] = []
    for platform in {str(p or ""): p for p in request.platforms or (None,)}.values():
        one = replace(request, platforms=(platform,) if platform else ())
        lints = BuildLints(linter if not planned else Linter(linter.config, dockerfile, lambda _: None))
        words = dockerfile, one, images, contexts, lints, steps, links
        if halts is None:
            planned.append(Planner(*words).plan())
            continue
        from imagesmith.plan.halting import HaltingPlanner  # which few builds ask for

        planned.append(HaltingPlanner(halts, *words).plan())
    return Plan(tuple(planned))
