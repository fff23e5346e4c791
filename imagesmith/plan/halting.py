"""Where a build is to be looked into: the step of --shell-at, and what a stage is at each of its RUNs.

Why a planner of its own: only a build that asks for it pays for the copies of its states.
A place is an instruction: that of the line, or the next one in the stage where none stands on it; behind the
last one, and without a line, it is the end of the stage. Before what is no RUN the sandbox is that of a RUN
that would stand there.
Threads: one.
"""

from __future__ import annotations

from typing import Any

from imagesmith.dockerfile import nodes as n
from imagesmith.dockerfile.suggest import suggest
from imagesmith.errors import DockerfileError, ImagesmithError
from imagesmith.plan import filesystem
from imagesmith.plan.plan import PlannedImage
from imagesmith.plan.planner import Planner
from imagesmith.plan.stages import PlannedStage
from imagesmith.plan.state import StageState
from imagesmith.request import ShellAt
from imagesmith.solve.step import Step

__all__ = ["HaltingPlanner", "Halts"]

#: The names of so many stages are told where one is not found.
_MOST_NAMES = 20


class Halts:
    """What the planners of one build find.

    moments   what the stage's image would be at a RUN, its layer included
    step      the one before which to halt
    is_there  it is a step of the plan, and not one that only has a shell
    """

    def __init__(self) -> None:
        self.moments: dict[Step, PlannedImage] = {}
        self.step: Step | None = None
        self.is_there = False
        self.where = ""


class HaltingPlanner(Planner):
    """Works out a Dockerfile, and notes where it may be looked into."""

    def __init__(self, halts: Halts, *words: Any) -> None:  # noqa: ANN401 - handed on
        """Take where to note it, and what a Planner takes."""
        super().__init__(*words)
        self._halts, self._wanted = halts, self.request.shell_at
        self._stage = None if self._wanted is None else self._stage_of(self._wanted)

    def plan(self) -> PlannedImage:
        """See Planner.

        Raises:
            DockerfileError: the place of --shell-at is nowhere, or no part of what is built.
        """
        planned = super().plan()
        if self._stage is not None and self._halts.step is None:
            shown = f"--shell-at {self._wanted}: stage {self._stage.shown}"
            if self._stage.context:
                reason, hint = f"is replaced by the build context {self._stage.context}", ""
            else:
                reason = f"is not needed for {self.graph.target.shown}"
                hint = f"--target {self._stage.name} builds it" if self._stage.stage.base.name else ""
            raise self._at(DockerfileError(f"{shown} {reason}", hint=hint), self._stage.stage.base)
        return planned

    def _stage_of(self, wanted: ShellAt) -> PlannedStage:
        stages, name = self.graph.stages, wanted.stage.lower()
        found = self.graph.find(name)
        if found is None and name.isascii() and name.isdecimal() and len(name) < 10:
            found = stages[int(name)] if int(name) < len(stages) else None
        if found is None:
            names = [stage.stage.base.name or str(stage.index) for stage in stages]
            more = ["…"] * (len(names) > _MOST_NAMES)
            meant = "" if name.isdecimal() else suggest(name, names)
            raise DockerfileError(
                f"--shell-at {wanted}: there is no stage {wanted.stage}{meant}",
                hint=f"the stages are {', '.join(names[:_MOST_NAMES] + more)}",
                file=self.dockerfile.file,
            )
        first, last = found.stage.base.span.first, self._last_line(found)
        if wanted.line and not first <= wanted.line <= last:
            text = f"--shell-at {wanted}: stage {found.shown} has the lines {first} to {last}"
            raise self._at(DockerfileError(text), found.stage.base)
        return found

    def _last_line(self, stage: PlannedStage) -> int:
        """The last line before the next stage, or of the file."""
        if stage.index + 1 < len(self.graph.stages):
            return self.graph.stages[stage.index + 1].stage.base.span.first - 1
        return max(self.dockerfile.source.count("\n"), stage.stage.base.span.last)

    # --- what is noted -------------------------------------------------------------------------

    def _start(self, stage: PlannedStage) -> StageState:
        state = super()._start(stage)
        if not stage.context and self._is_before(stage, stage.stage.base):
            self._note_empty(state, stage, stage.stage.base)
        return state

    def _instruction(
        self, state: StageState, stage: PlannedStage, i: n.Instruction, *, triggered: bool
    ) -> None:
        halts = not triggered and self._is_before(stage, i)
        if halts and not isinstance(i, n.Run):
            self._note_empty(state, stage, i)
        super()._instruction(state, stage, i, triggered=triggered)
        if isinstance(i, n.Run):
            assert state.tip is not None
            self._halts.moments.setdefault(state.tip, state.image(self.request.labels, self.epoch))
            if halts:
                self._halts.step, self._halts.is_there = state.tip, True
                self._halts.where = f"before {stage.shown}:{i.span.first}"

    def _work_out(self, stage: PlannedStage) -> StageState:
        state = super()._work_out(stage)
        if stage is self._stage and not stage.context and self._halts.step is None:
            self._note_empty(state, stage, None)
        return state

    def _is_before(self, stage: PlannedStage, i: n.Instruction) -> bool:
        """True if it is before this instruction that the shell is wanted."""
        wanted = self._wanted
        if stage is not self._stage or wanted is None or not wanted.line or self._halts.step is not None:
            return False
        return wanted.line <= i.span.last

    def _note_empty(self, state: StageState, stage: PlannedStage, before: n.Instruction | None) -> None:
        """Note a place where no RUN stands: a step with a shell only, which is never a part of the plan."""
        last = before or (stage.stage.base, *stage.stage.instructions)[-1]
        span = last.span
        run = n.Run(
            span=span, keyword="RUN", text="RUN", command=n.Command((_shell(state),), exec=True)
        )  # fmt: skip
        here = state.child()
        try:
            filesystem.apply(self, here, stage, run, lambda word: word, triggered=False)
        except ImagesmithError as e:
            raise self._at(e, last) from e.__cause__
        assert here.tip is not None
        self._halts.step = here.tip
        self._halts.moments[here.tip] = here.image({}, self.epoch)
        self._halts.where = f"before {stage.shown}:{span.first}" if before else f"at the end of {stage.shown}"


def _shell(state: StageState) -> str:
    return state.runtime.shell[0] if state.runtime.shell else "/bin/sh"
