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
