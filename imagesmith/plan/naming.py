"""How steps are called on the screen: `[stage 2/5] RUN make`, as BuildKit calls them.

Of several platforms each step has its own before that, and one that makes something for another tells that,
too: `[linux/amd64->arm64 build 2/5]`.
Spec: BuildKit's dockerfile2llb (prefixCommand, formatTargetPlatform).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from imagesmith.errors import InvalidReference
from imagesmith.oci.names import Platform

if TYPE_CHECKING:
    from imagesmith.plan.stages import PlannedStage
    from imagesmith.plan.state import StageState
    from imagesmith.transports.bases import ResolvedImage

__all__ = ["base", "step"]


def _prefix(state: StageState, number: int, *, indexed: bool) -> str:
    total = str(state.total)
    stage = f"{state.stage} " if state.stage else ""
    platform = f"{state.platform}{_made_for(state.env, state.platform)} " if indexed else ""
    return f"[{platform}{stage}{number:>{len(total)}}/{total}]"


def _made_for(env: Mapping[str, str], here: Platform) -> str:
    """An arrow to the platform that a stage has declared as its target, if that is another one."""
    said = env.get("TARGETPLATFORM", "")
    parts = env.get("TARGETOS", ""), env.get("TARGETARCH", ""), env.get("TARGETVARIANT", "")
    try:
        if said:
            target = Platform.parse(said)
        elif any(parts):
            target = Platform.of(parts[0] or here.os, parts[1] or here.architecture, parts[2])
        else:
            return ""
    except InvalidReference:
        return ""
    if (target.os, target.architecture) == (here.os, here.architecture):
        return f"->{target.variant}" if target.variant != here.variant else ""
    return f"->{str(target).removeprefix(f'{here.os}/')}"


def base(stage: PlannedStage, image: ResolvedImage, platform: Platform, *, indexed: bool) -> str:
    """The name of the vertex that brings the base image."""
    name = f"{stage.stage.base.name} " if stage.stage.base.name else ""
    return f"[{f'{platform} ' if indexed else ''}{name}1] FROM {image.name}@{image.descriptor.digest}"


def step(state: StageState, text: str, *, triggered: bool, indexed: bool) -> str:
    """The name of the next vertex of a stage; counts it."""
    state.done += 1
    return f"{_prefix(state, state.done, indexed=indexed)} {'ONBUILD ' if triggered else ''}{text}"
