"""Where a build is looked into: a step's sandbox that is ready, and who is told of it.

Why here: the op alone can make its sandbox again, with its files and mounts; the command line alone has a
terminal; the image of what a step left is made further up. Each knows the others by what stands here.
Trust: what lies in the root is what a step left, which is hostile; it is executed in its sandbox only.
Threads: `Failing` is called on the thread of the step, an `Attendant` on the one that the build began on.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

from imagesmith.errors import StepFailed
from imagesmith.interfaces import Mount, Output, RunSpec, Sandbox, Workspace
from imagesmith.values import frozen, replace

if TYPE_CHECKING:
    from imagesmith.solve.result import Result

__all__ = ["STEP_VARIABLE", "Attendant", "Failing", "Halt", "Room", "how_it_ended"]


#: The variable with the words of the step, for `eval`, and the longest (bytes) that are put there.
STEP_VARIABLE, _MOST_BYTES = "IMAGESMITH_STEP", 100_000


def how_it_ended(error: StepFailed) -> str:
    """Why a step failed, without its command."""
    return error.message.rpartition("did not complete successfully: ")[2]


@frozen(kw_only=True, eq=False)
class Room:
    """A step's sandbox with its mounts, over a workspace that has what the step wrote, if it has begun.

    name    of the step that is, or would be, executed there
    parent  what it stands on
    """

    name: str
    spec: RunSpec
    parent: Result
    workspace: Workspace
    sandbox: Sandbox

    def enter(self, argv: Sequence[str], output: Output, *, tells: bool, beside: Sequence[Mount] = ()) -> int:
        """Execute a program on the caller's terminal, as the step is executed but for its limit of time.

        Args:
            argv: the program and its arguments.
            output: takes what it writes.
            tells: a variable of its has the words of the step.
            beside: further mounts.

        Returns its exit status.

        Raises:
            NotStarted: it cannot be executed.
            SandboxError: the sandbox could not be set up.
        """
        import shlex

        env = dict(self.spec.env)
        env.setdefault("TERM", "xterm")
        words = shlex.join(self.spec.argv)
        if tells and len(words.encode("utf-8", "surrogateescape")) <= _MOST_BYTES:
            env[STEP_VARIABLE] = words
        mounts = sorted((*self.spec.mounts, *beside), key=lambda m: m.target)
        spec = replace(
            self.spec, argv=tuple(argv), env=tuple(env.items()), mounts=tuple(mounts), timeout_s=0.0,
            tty=True, interactive=True, forwards=True,
        )  # fmt: skip
        return self.sandbox.run(spec, self.workspace.root, output, lambda: False)


class Failing(Protocol):
    """Is told that a RUN has failed, while its sandbox could still be entered."""

    def __call__(self, step: object, room: Room, error: StepFailed, held: ExitStack, /) -> None:
        """The step's room lasts as long as `held`; who needs it longer takes all of that away (pop_all)."""


@frozen(kw_only=True, eq=False)
class Halt:
    """A place at which somebody may look around.

    room      the sandbox
    shell     the program of the stage's SHELL, or empty
    error     why the step failed, with its place; None before a step
    where     the place, as `before build:7`; empty where one failed
    has_step  a step is executed there, and not only a shell
    """

    room: Room
    shell: str
    error: StepFailed | None = None
    where: str = ""
    has_step: bool = True


class Attendant(Protocol):
    """Who has a terminal."""

    def failed(self, halt: Halt, /) -> None:
        """A step has failed; nothing else runs any more."""

    def before(self, halt: Halt, /) -> None:
        """A step has not begun yet; nothing else runs.

        Raises:
            Cancelled: the build is to end here.
        """
