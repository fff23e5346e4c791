"""RUN: a process in a sandbox over a snapshot of the layers below.

Why: here an operation of the plan becomes a RunSpec: who it runs as, what its environment and mounts are. How
it is kept apart, and how layers become a root directory, is behind interfaces.py.
Spec: BuildKit's solver/llbsolver/ops/exec.go; runc's user look-up.
Threads: steps may run at the same time; the sandbox and the snapshotter are made once, by the first.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from imagesmith.concurrency import Cancel
from imagesmith.dockerfile.values import go_duration
from imagesmith.errors import SandboxError, StepFailed
from imagesmith.events import Warned
from imagesmith.fs.owner import process_user
from imagesmith.fs.view import View, largest_id
from imagesmith.interfaces import Output, RunSpec, Sandbox, Snapshotter, Workspace
from imagesmith.oci.names import host_platform
from imagesmith.plan.state import DEFAULT_PATH
from imagesmith.request import BuildRequest
from imagesmith.solve.step import RunOp
from imagesmith.store.layers import Form, StoredLayer
from imagesmith.store.reading import read_all
from imagesmith.store.store import Store
from imagesmith.worker.loglimit import LogLimit
from imagesmith.worker.sandbox.world import World

if TYPE_CHECKING:
    from imagesmith.solve.solver import Solver
    from imagesmith.worker.mounts import Mounts
    from imagesmith.worker.scratch import Copies

__all__ = ["Runner"]

#: The part of a warning before what a weaker way to run steps does not hold.
_WEAK = {
    "chroot": "RUN is kept apart by a chroot only",
    "native": "RUN has one user id only",
    "oci": "RUN has one id only",
}
#: How much (bytes) of a failed step's last output the error keeps.
_TAIL = 4096
#: In so many of its last lines a failed step says why.
_LAST_LINES = 12
#: What programs say of a call that the kernel, or what answers for it, refused.
_REFUSALS = ("operation not permitted", "permission denied", "invalid argument", "/proc", "/dev/")
#: The status of a step that was stopped at its time limit: that of timeout(1).
_TIMED_OUT = 124


class Runner:
    """Executes the RUN steps of one build."""

    def __init__(self, world: World, store: Store, request: BuildRequest, cancel: Cancel) -> None:
        self._world, self._store, self._request, self._cancel = world, store, request, cancel
        self._lock = threading.Lock()
        self._copies: Copies | None = None
        self._sandbox: Sandbox | None = None
        self._snapshots: Snapshotter | None = None

    @contextlib.contextmanager
    def run(
        self, op: RunOp, layers: Sequence[StoredLayer], view: View, solver: Solver, output: Output
    ) -> Iterator[Workspace]:
        """Run one step and yield the workspace that it changed; discarded at the end unless it is committed.

        Args:
            op: what to run.
            layers: the layers below, bottom first.
            view: what they show.
            solver: where the results of other steps, for mounts, come from.
            output: takes what the command writes.

        Raises:
            StepFailed: the command ended with another status than 0, could not be started or took too long.
            SandboxUnavailable: this machine has no way to run anything.
            SandboxError: the sandbox, or a mount, could not be made.
        """
        sandbox, snapshots, copies = self._ready(solver)
        from imagesmith.worker.mounts import Mounts  # a build that executes nothing needs none of it

        with contextlib.ExitStack() as stack:
            mounts = Mounts(
                self._store,
                self._request,
                snapshots,
                solver,
                self._cancel,
                stack,
                op.cwd,
                self._world.place,
                copies,
            )
            spec = self._spec(op, view, mounts)
            workspace = snapshots.prepare(layers, view)
            stack.callback(workspace.discard)
            tail = _Tail(LogLimit(output))
            status = self._execute(op, sandbox, spec, workspace, tail)
            if status:
                raise StepFailed(
                    _failed(op, f"exit code: {status}"), status=status, output=tail.text(),
                    hint=_weakness(self._world.weaker, tail.text()),
                )  # fmt: skip
            yield workspace

    def expect(self, layers: Sequence[StoredLayer], solver: Solver) -> Form:
        """Read layers that a step will stand on before anybody looks into them, so that once is enough.

        Returns the form in which the layers that are still to come are best kept.
        """
        form = self._ready(solver)[1].form()
        read_all(layers, form)
        return form

    def close(self) -> None:
        """End the helper and delete what snapshots left."""
        with self._lock:
            for part in (self._sandbox, self._snapshots, self._copies):
                if part is not None:
                    part.close()
            self._sandbox = self._snapshots = self._copies = None

    def _ready(self, solver: Solver) -> tuple[Sandbox, Snapshotter, Copies]:
        with self._lock:
            if self._sandbox is None:
                self._sandbox = self._world.sandbox()
                if self._world.weaker:
                    what = _WEAK[self._world.isolation]
                    if self._world.place.ids == "subid":
                        what = "RUN is not kept apart in all"
                    text = f"{what}: {', '.join(self._world.weaker)}"
                    solver.events(Warned(rule="", text=text))
            if self._snapshots is None:
                from imagesmith.worker.snapshot.choose import make_snapshotter

                self._snapshots = make_snapshotter(self._world.place, self._store)
            if self._copies is None:
                from imagesmith.worker.scratch import Copies

                self._copies = Copies(self._store, self._world.place)
            return self._sandbox, self._snapshots, self._copies

    def _spec(self, op: RunOp, view: View, mounts: Mounts) -> RunSpec:
        """The process that the operation describes."""
        try:
            user = process_user(op.user, view)
        except SandboxError as e:
            raise StepFailed(_failed(op, e.message)) from e
        made = tuple(mounts.make(m) for m in op.mounts)
        env = dict(op.env) | dict(op.proxy_env)  # what the command line says counts over ENV and ARG
        env.setdefault("PATH", DEFAULT_PATH)
        env |= mounts.env
        env["HOME"] = env.get("HOME") or user.home  # runc takes an empty one for none
        by_target = {m.target: m for found in made for m in found}  # of two at one place the last one counts
        return RunSpec(
            argv=op.argv,
            env=tuple(env.items()),
            cwd=op.cwd,
            uid=user.uid,
            gid=user.gid,
            groups=user.groups,
            mounts=tuple(by_target[target] for target in sorted(by_target)),
            network="none" if op.network == "none" else "host" if op.network == "host" else "default",
            insecure=op.security == "insecure",
            hostname=op.hostname or "buildkitsandbox",
            hosts=op.extra_hosts,
            shm_size_bytes=op.shm_size_bytes or 64 << 20,
            ulimits=op.ulimits,
            cgroup_parent=op.cgroup_parent,
            timeout_s=self._request.step_timeout_s,
            largest_id=largest_id(view) if self._world.place.ids == "subid" else 0,
        )

    def _execute(
        self, op: RunOp, sandbox: Sandbox, spec: RunSpec, workspace: Workspace, output: _Tail
    ) -> int:
        from imagesmith.worker.sandbox.native import NotStarted
        from imagesmith.worker.sandbox.streams import TookTooLong

        try:
            return sandbox.run(spec, workspace.root, output, lambda: self._cancel.is_set)
        except NotStarted as e:
            raise StepFailed(_failed(op, e.message), status=127, hint=_foreign(op)) from e
        except TookTooLong as e:
            limit = go_duration(round(spec.timeout_s * 10**9))
            reason = f"it took longer than {limit} and was stopped"
            raise StepFailed(
                _failed(op, reason),
                status=_TIMED_OUT,
                output=output.text(),
                hint="--step-timeout sets the limit",
            ) from e


def _weakness(weaker: Sequence[str], said: str) -> str:
    """What to think of where a step failed by what it may not do here and root may elsewhere; or ''."""
    last = "\n".join(said.splitlines()[-_LAST_LINES:]).lower()
    if not weaker or not any(reason in last for reason in _REFUSALS):
        return ""
    return f"it may be that {'; '.join(weaker)}: `imagesmith doctor` tells what would help"


def _foreign(op: RunOp) -> str:
    """What to do where a program of another machine's kind could not be executed."""
    if op.platform is None or op.platform.architecture == host_platform().architecture:
        return ""
    return (
        f"a program of {op.platform} runs here with an emulator that is registered in binfmt_misc only: "
        "install qemu-user-static (with binfmt-support)"
    )


def _failed(op: RunOp, reason: str) -> str:
    return f'process "{" ".join(op.argv)}" did not complete successfully: {reason}'


class _Tail:
    """Hands output on and remembers its end."""

    def __init__(self, output: Output) -> None:
        self._output, self._last = output, b""

    def __call__(self, stream: int, data: bytes) -> None:
        self._output(stream, data)
        self._last = (self._last + data)[-_TAIL:]

    def text(self) -> str:
        """The last lines."""
        return self._last.decode("utf-8", "replace")
