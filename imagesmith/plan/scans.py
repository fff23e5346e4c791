"""ARGs that ask an SBOM to look at more than the result: at a stage, or at the build context.

Why: what a compiler's stage held is in the program and in no package of the image. Only an ARG of the
Dockerfile counts, before the first FROM for all stages, or in one; a build argument sets its value.
Spec: BuildKit's dockerfile2llb (isEnabledForStage), docs/attestations/sbom.md.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping

from imagesmith.context.origins import ContextFiles, Fetched, GitFiles
from imagesmith.dockerfile.nodes import Arg
from imagesmith.dockerfile.values import parse_bool
from imagesmith.plan.plan import Scan
from imagesmith.plan.scope import CONTEXT_SCAN, STAGE_SCAN
from imagesmith.plan.stages import PlannedStage, StageGraph
from imagesmith.solve.step import Step

__all__ = ["scans_of"]


def scans_of(
    graph: StageGraph,
    scope: Mapping[str, str],
    given: Mapping[str, str],
    context: Callable[[], ContextFiles | GitFiles | Fetched],
    tip_of: Callable[[PlannedStage], Step | None],
) -> tuple[Scan, ...]:
    """What an SBOM looks at besides the result: the context first, then stages that the target needs.

    Args:
        graph: the stages.
        scope: the global ARGs.
        given: the build arguments.
        context: gives the build context.
        tip_of: gives a stage's last step.
    """
    found: list[Scan] = []
    if _asks(CONTEXT_SCAN, graph.target, scope, given):
        found.append(("context", context()))
    found += [
        (stage.shown, tip_of(stage))
        for stage in graph.reachable()
        if stage is not graph.target and not stage.context and _asks(STAGE_SCAN, stage, scope, given)
    ]
    return tuple(found)


def _asks(name: str, stage: PlannedStage, scope: Mapping[str, str], given: Mapping[str, str]) -> bool:
    """True if the ARG of that name that counts for a stage is true, or a list in which the stage is."""
    value = scope.get(name, "")
    for i in stage.stage.instructions:
        for pair in i.pairs if isinstance(i, Arg) else ():
            if pair.key == name:
                value = given.get(name, scope.get(name, "") if pair.value is None else pair.value)
    with contextlib.suppress(ValueError):
        return parse_bool(value)
    return stage.shown in value.split(",")
