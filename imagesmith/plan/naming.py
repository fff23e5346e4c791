"""How steps are called on the screen: `[stage 2/5] RUN make`, as BuildKit calls them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imagesmith.plan.stages import PlannedStage
    from imagesmith.plan.state import StageState
    from imagesmith.transports.bases import ResolvedImage

__all__ = ["base", "step"]


def _prefix(state: StageState, number: int) -> str:
    total = str(state.total)
    stage = f"{state.stage} " if state.stage else ""
    return f"[{stage}{number:>{len(total)}}/{total}]"


def base(stage: PlannedStage, image: ResolvedImage) -> str:
    """The name of the vertex that brings the base image."""
    name = f"{stage.stage.base.name} " if stage.stage.base.name else ""
    return f"[{name}1] FROM {image.name}@{image.descriptor.digest}"


def step(state: StageState, text: str, *, triggered: bool) -> str:
    """The name of the next vertex of a stage; counts it."""
    state.done += 1
    return f"{_prefix(state, state.done)} {'ONBUILD ' if triggered else ''}{text}"
