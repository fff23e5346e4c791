"""The build checks that need the scope of the build: unset variables, ignored files, platforms of bases.

Why: the rules and their words are in dockerfile/lint.py; here they are held against what the planner knows
at each instruction, so that the same rule fires in a build and under `--call check`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from imagesmith.dockerfile import lint
from imagesmith.dockerfile import nodes as n
from imagesmith.oci.names import Platform

if TYPE_CHECKING:
    from imagesmith.build.stages import PlannedStage, StageGraph
    from imagesmith.build.state import StageState

__all__ = ["BuildLints"]


class BuildLints:
    """Feeds a Linter from the planner."""

    def __init__(self, linter: lint.Linter) -> None:
        self.linter = linter
        self._ignore: Matcher | None = None

    def before_stages(self, graph: StageGraph, scope: Mapping[str, str]) -> None:
        """The rules about FROM lines and the global scope."""

    def enter_stage(self, stage: PlannedStage, state: StageState) -> None:
        """A stage begins."""

    def instruction(self, state: StageState, i: n.Instruction) -> None:
        """An instruction is about to be applied."""

    def unset(self, state: StageState, i: n.Instruction, names: Iterable[str]) -> None:
        """An expansion used names that are not set."""

    def workdir(self, state: StageState, i: n.Workdir, path: str) -> None:
        """A WORKDIR with its expanded path."""

    def ignored(self, state: StageState, i: n.Copy | n.Add, sources: Sequence[str], origin: object) -> None:
        """Sources of the main context, expanded."""

    def base_platform(self, stage: PlannedStage, platform: Platform) -> None:
        """A base image was resolved."""
