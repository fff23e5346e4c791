"""Where a build may be looked into: the place of a failure is held, or kept as an image; halts before steps.

Why a failure is held and entered later: the shell wants the terminal and the thread that has the signals, and
the steps that run at the same time are to be over. What the failed step had stays mounted until then.
Trust: see solve/halting.py.
Threads: it is called on those of steps; all else on the one that the build began on.
"""

from __future__ import annotations

import contextlib
import shlex
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from imagesmith.errors import Cancelled, ImagesmithError, SandboxError, StepFailed
from imagesmith.events import EventSink, Warned
from imagesmith.image.kept import keep
from imagesmith.ops.run import RunOp
from imagesmith.plan.halting import Halts
from imagesmith.request import BuildRequest
from imagesmith.settings import Settings
from imagesmith.solve.halting import Attendant, Halt, Room
from imagesmith.solve.step import Halted, Step, Work
from imagesmith.values import frozen

if TYPE_CHECKING:
    from imagesmith.oci.names import ImageRef
    from imagesmith.plan.plan import PlannedImage
    from imagesmith.solve.layerwriter import LayerWriter
    from imagesmith.store.store import Store

__all__ = ["Halting"]

#: The shell of an image that names none.
_SHELL = "/bin/sh"


@frozen(kw_only=True, eq=False)
class _Held:
    """A step that failed, and what its sandbox lasts as long as."""

    step: Step
    room: Room
    error: StepFailed
    stack: ExitStack


class Halting:
    """What a build asks for of that kind. Called with a step that failed (solve/halting.Failing)."""

    def __init__(
        self,
        request: BuildRequest,
        halts: Halts,
        store: Store,
        writer: LayerWriter,
        events: EventSink,
        attendant: Attendant | None,
        place: Callable[[ImagesmithError], object],
    ) -> None:
        """Begin.

        Args:
            request: the build.
            halts: where it may be looked into, as its planners found it.
            store: takes what is kept.
            writer: of layers.
            events: is told what could not be kept.
            attendant: has the terminal, if there is one.
            place: says in which Dockerfile an error belongs.
        """
        self._request, self._halts, self._attendant, self._place = request, halts, attendant, place
        self._store, self._writer, self._events = store, writer, events
        self._lock = threading.Lock()
        self._held: list[_Held] = []
        self._is_over = False

    # --- a failure -------------------------------------------------------------------------------

    def __call__(self, step: object, room: Room, error: StepFailed, held: ExitStack, /) -> None:
        """Keep the first that fails, or hold it; see solve/halting.Failing."""
        asked = self._request.on_failure
        assert isinstance(step, Step)
        planned = self._halts.moments.get(step)
        if asked is None or planned is None:
            return
        with self._lock:
            if self._is_over:
                return
            if asked.keep is None:
                self._held.append(_Held(step=step, room=room, error=error, stack=held.pop_all()))
                return
            self._is_over = True
        self._keep(asked.keep, room, error, planned)

    def _keep(self, ref: ImageRef, room: Room, error: StepFailed, planned: PlannedImage) -> None:
        try:
            keep(ref, room, error, planned, self._store, self._writer)
        except ImagesmithError as e:
            self._events(Warned(rule="", text=f"what the step left is not kept: {e.message}"))
            return
        root = self._store.root
        elsewhere = [] if root == Settings.load("").root else ["--root", str(root)]
        shell = planned.runtime.shell[0] if planned.runtime.shell else _SHELL
        entering = shlex.join(
            ["imagesmith", "run", "-it", *elsewhere, "--entrypoint", shell, ref.familiar]
        )  # fmt: skip
        kept = f"what the step left is kept: `{entering}` enters it"
        error.hint = f"{error.hint}; {kept}" if error.hint else kept

    def attend(self, error: BaseException) -> None:
        """All has ended because of an error: if a step was its reason, have somebody look into that."""
        with self._lock:
            self._is_over = True
        with ExitStack() as stack:
            for held in self._held:
                stack.push(held.stack)
            found = next((held for held in self._held if held.error is error), None)
            if found is not None and self._attendant is not None:
                shell = self._shell_of(found.step)
                self._attendant.failed(Halt(room=found.room, shell=shell, error=found.error))

    def _shell_of(self, step: Step) -> str:
        """The program of the SHELL that counts at a step; empty where the file has none."""
        return next(iter(self._halts.moments[step].runtime.shell), "")

    # --- before a step -----------------------------------------------------------------------------

    @property
    def halted(self) -> Halted | None:
        """Where the solve is halted, and what is done there."""
        step = self._halts.step
        return None if step is None else (step, self._look)

    def _look(self, work: Work) -> None:
        """Have somebody look around before a step. What is changed there is thrown away."""
        step, tools = work.step, work.tools
        assert isinstance(step.op, RunOp)
        assert self._attendant is not None
        try:
            if step.op.foreign is not None:
                tools.workshop.require(step.op.foreign)
            with contextlib.suppress(SandboxError):  # who makes the room tells of it
                tools.workshop.expect(work.parent.unread())
                work.parent.was_read()
            with ExitStack() as stack:
                room = step.op.room(work, stack)
                self._attendant.before(
                    Halt(
                        room=room, shell=self._shell_of(step), where=self._halts.where,
                        has_step=self._halts.is_there,
                    )
                )  # fmt: skip
        except ImagesmithError as e:
            if not isinstance(e, Cancelled):
                self._place(e.located("", step.span.first, step.span.last, ""))
            raise
