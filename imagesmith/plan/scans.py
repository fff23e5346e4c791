"""ARGs that ask an SBOM to look at more than the result: at a stage, or at the build context.

Why: what a compiler's stage held is in the program and in no package of the image. Only an ARG of the
Dockerfile counts, before the first FROM for all stages, or in one; a build argument sets its value.
Spec: BuildKit's dockerfile2llb (isEnabledForStage), docs/attestations/sbom.md.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from imagesmith.dockerfile.nodes import Arg
from imagesmith.dockerfile.values import parse_bool
from imagesmith.plan.stages import PlannedStage

__all__ = ["asks_for_scan"]


def asks_for_scan(name: str, stage: PlannedStage, scope: Mapping[str, str], given: Mapping[str, str]) -> bool:
    """True if an ARG that counts for a stage is true, or a list in which the stage is.

    Args:
        name: of the ARG.
        stage: whose instructions may have it.
        scope: the global ARGs.
        given: the build arguments.
    """
    value = scope.get(name, "")
    for i in stage.stage.instructions:
        for pair in i.pairs if isinstance(i, Arg) else ():
            if pair.key == name:
                value = given.get(name, scope.get(name, "") if pair.value is None else pair.value)
    with contextlib.suppress(ValueError):
        return parse_bool(value)
    return stage.shown in value.split(",")
