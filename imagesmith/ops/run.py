"""RUN: a process in a sandbox over a snapshot of the layers below.

Why: here an operation becomes a RunSpec: who it runs as, what its environment and mounts are. How it is kept
apart, and how layers become a root directory, is behind interfaces.py.
Spec: BuildKit's solver/llbsolver/ops/exec.go; runc's user look-up.
Threads: steps may run at the same time.
"""

from __future__ import annotations

import contextlib
import posixpath
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from imagesmith.context.origins import ContextFiles, Inline
from imagesmith.dockerfile.values import go_duration
from imagesmith.errors import ContextError, SandboxError, StepFailed
from imagesmith.events import Log
from imagesmith.fs.view import View, largest_id
from imagesmith.interfaces import Output, RunSpec, Sandbox, Workspace
from imagesmith.oci.config import DEFAULT_PATH
from imagesmith.oci.names import Platform, is_native
from imagesmith.ops.origins import layers_of, mounted, tree_of
from imagesmith.ops.runmount import RunMount
from imagesmith.quotas import KILLED
from imagesmith.solve.key import counted_as, uncounted
from imagesmith.solve.result import BuiltLayer
from imagesmith.solve.step import Op, Reads, Step, Work
from imagesmith.values import field, frozen

if TYPE_CHECKING:
    from imagesmith.ops.mounts import Mounts
    from imagesmith.solve.halting import Room

__all__ = ["RunOp"]

#: How much (bytes) of a failed step's last output the error keeps.
_TAIL = 4096
#: In so many of its last lines a failed step says why.
_LAST_LINES = 12
#: What programs say of a call that the kernel, or what answers for it, refused.
_REFUSALS = ("operation not permitted", "permission denied", "invalid argument", "/proc", "/dev/")
#: The status of a step that was stopped at its time limit: that of timeout(1).
_TIMED_OUT = 124
#: Mounts of more files than that are not listed.
_MOST_LISTED = 1000


def _pairs(env: tuple[tuple[str, str], ...]) -> list[str]:
    return [f"{k}={v}" for k, v in env]


def _names(hosts: tuple[tuple[str, str], ...]) -> list[str]:
    """How added hosts count: their addresses do not."""
    return [name for name, _ in hosts]


@frozen(kw_only=True)
class RunOp(Op):
    """RUN. `env` is the whole environment."""

    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = field(note=counted_as(form=_pairs))
    cwd: str
    user: str = ""
    mounts: tuple[RunMount, ...] = field(
        default=(), note=counted_as(form=lambda mounts: [m.counted() for m in mounts])
    )
    network: str = "default"
    security: str = "sandbox"
    proxy_env: tuple[tuple[str, str], ...] = field(
        default=(), note=uncounted("proxies decide how a step reaches the network, not what it makes")
    )
    hostname: str = ""
    extra_hosts: tuple[tuple[str, str], ...] = field(default=(), note=counted_as("hosts", _names))
    shm_size_bytes: int = field(default=0, note=uncounted("room, as BuildKit has it"))
    ulimits: tuple[tuple[str, int, int], ...] = ()
    cgroup_parent: str = field(default="", note=uncounted("a limit of the machine's, as BuildKit has it"))
    platform: Platform | None = field(default=None, note=counted_as(form=lambda p: str(p or "")))

    kind = "run"
    runs = True

    @property
    def foreign(self) -> Platform | None:
        """See Op."""
        return None if is_native(self.platform) else self.platform

    def reads(self) -> Iterator[Reads]:
        """See Op."""
        for m in self.mounts:
            if isinstance(m.origin, ContextFiles):
                yield Reads(m.origin, m.mount.source)

    def asks(self) -> Iterator[tuple[str, str]]:
        """See Op."""
        yield from (
            (m.mount.type, m.mount.id or "") for m in self.mounts if m.mount.type in ("secret", "ssh")
        )

    def words(self, args: Sequence[tuple[str, str]]) -> str:
        """The instruction as history has it, with the arguments that are declared before it."""
        counted = f"|{len(args)} {' '.join(f'{k}={v}' for k, v in args)} " if args else ""
        return f"RUN {counted}{' '.join(self.argv)} # buildkit"

    @property
    def _binds(self) -> list[RunMount]:
        return [m for m in self.mounts if m.mount.type == "bind"]

    def input_names(self) -> list[str]:
        """See Op."""
        return [f"--mount=type=bind,source={m.mount.source or '/'}" for m in self._binds]

    def uncounted(self) -> str:
        """See Op."""
        caches = any(m.mount.type == "cache" for m in self.mounts)
        return "ids, sharing and owners of cache mounts" if caches else ""

    def digests(self, work: Work, *, by_layers: bool = False) -> list[str]:
        """See Op."""
        return [
            layers_of(m.origin, m.mount.source, work)
            if by_layers and isinstance(m.origin, Step)
            else mounted(m.origin, m.mount.source, work)
            for m in self._binds
        ]

    def listing(self, work: Work) -> Mapping[str, Mapping[str, str]]:
        """See Op: the files of bind mounts, but for large ones and whole stages. Digests are known."""
        out: dict[str, Mapping[str, str]] = {}
        for m in self._binds:
            source = m.mount.source
            whole = isinstance(m.origin, Step) and source in ("", "/")
            if m.origin is None or isinstance(m.origin, Inline) or whole:
                continue
            found = work.tools.trees.listing(tree_of(m.origin, work), source, _MOST_LISTED)
            if found is not None:
                out[source or "/"] = found
        return out

    def execute(self, work: Work) -> BuiltLayer:
        """See Op.

        Raises:
            StepFailed: the command ended with another status than 0, could not be started or took too long.
            SandboxUnavailable: this machine has no way to run anything.
            SandboxError: the sandbox, or a mount, could not be made.
        """
        from imagesmith.layer.diff import layer_entries

        tools, parent = work.tools, work.parent
        tools.before_run()

        def output(stream: int, data: bytes) -> None:
            tools.events(Log(step=work.number, stream=stream, data=data))

        with self._ran(work, output) as workspace:
            upper, opaques = workspace.changes()
            entries = layer_entries(upper, opaques, parent.view, spool=tools.store.new_spool)
            layer = work.write(entries, time.time_ns())
            workspace.commit(layer.diff_id)
            return layer

    @contextlib.contextmanager
    def _ran(self, work: Work, output: Output) -> Iterator[Workspace]:
        """The workspace that the command changed; discarded at the end unless it is committed."""
        with contextlib.ExitStack() as stack:
            room = self.room(work, stack)
            try:
                self._finish(work, room, output)
            except StepFailed as e:
                if work.tools.failing is not None:
                    work.tools.failing(work.step, room, e, stack)
                raise
            yield room.workspace

    def room(self, work: Work, stack: contextlib.ExitStack) -> Room:
        """The sandbox of the step with its mounts, over the layers below; it lasts as long as `stack`.

        Raises:
            StepFailed: the image has no such user.
            SandboxUnavailable: this machine has no way to run anything.
            SandboxError: a mount could not be made.
        """
        from imagesmith.solve.halting import Room

        tools, parent = work.tools, work.parent
        sandbox, snapshots, copies = tools.workshop.ready()
        from imagesmith.ops.mounts import Mounts  # a build that executes nothing needs none of it

        mounts = Mounts(work, self.cwd, tools.workshop.world.place, snapshots, copies, stack)
        spec = self._spec(work, parent.view, mounts)
        workspace = snapshots.prepare([layer.stored for layer in parent.layers], parent.view)
        stack.callback(workspace.discard)
        return Room(name=work.step.name, spec=spec, parent=parent, workspace=workspace, sandbox=sandbox)

    def _finish(self, work: Work, room: Room, output: Output) -> None:
        """Run the command to its end."""
        from imagesmith.worker.loglimit import LogLimit

        tail = _Tail(LogLimit(output))
        status = self._execute(work, room.sandbox, room.spec, room.workspace, tail)
        if status:
            weaker = work.tools.workshop.world.weaker
            said, hint = f"exit code: {status}", _weakness(weaker, tail.text())
            if told := _killed(tail.text()):
                from imagesmith.worker.sandbox.hints import for_memory

                said, hint = f"{said}: {told}", for_memory(told)
            raise StepFailed(_failed(self, said), status=status, output=tail.text(), hint=hint)

    def _spec(self, work: Work, view: View, mounts: Mounts) -> RunSpec:
        """The process that the operation describes."""
        from imagesmith.fs.owner import process_user

        try:
            user = process_user(self.user, view)
        except SandboxError as e:
            raise StepFailed(_failed(self, e.message)) from e
        made = tuple(mounts.make(m) for m in self.mounts)
        env = dict(self.env) | dict(self.proxy_env)  # what the command line says counts over ENV and ARG
        env.setdefault("PATH", DEFAULT_PATH)
        env |= mounts.env
        env["HOME"] = env.get("HOME") or user.home  # runc takes an empty one for none
        by_target = {m.target: m for found in made for m in found}  # of two at one place the last one counts
        return RunSpec(
            argv=self.argv,
            env=tuple(env.items()),
            cwd=self.cwd,
            uid=user.uid,
            gid=user.gid,
            groups=user.groups,
            mounts=tuple(by_target[target] for target in sorted(by_target)),
            network="none" if self.network == "none" else "host" if self.network == "host" else "default",
            insecure=self.security == "insecure",
            hostname=self.hostname or "buildkitsandbox",
            hosts=self.extra_hosts,
            shm_size_bytes=self.shm_size_bytes or 64 << 20,
            ulimits=self.ulimits,
            cgroup_parent=self.cgroup_parent,
            limits=work.tools.request.limits,
            timeout_s=work.tools.request.step_timeout_s,
            emulators=tuple(work.tools.workshop.emulators(self.platform)),
            largest_id=largest_id(view) if work.tools.workshop.world.place.ids == "subid" else 0,
        )

    def _execute(
        self, work: Work, sandbox: Sandbox, spec: RunSpec, workspace: Workspace, output: _Tail
    ) -> int:
        from imagesmith.worker.sandbox.native import NotStarted
        from imagesmith.worker.sandbox.streams import TookTooLong

        try:
            return sandbox.run(spec, workspace.root, output, lambda: work.tools.cancel.is_set)
        except NotStarted as e:
            hint = "" if self.foreign is None or _is_missing(spec, work.parent.view) else _foreign(self)
            raise StepFailed(_failed(self, e.message), status=127, hint=hint) from e
        except TookTooLong as e:
            limit = go_duration(round(spec.timeout_s * 10**9))
            reason = f"it took longer than {limit} and was stopped"
            raise StepFailed(
                _failed(self, reason),
                status=_TIMED_OUT,
                output=output.text(),
                hint="--step-timeout sets the limit",
            ) from e


def _killed(said: str) -> str:
    """What the sandbox told of a step's processes that were killed for want of memory, at its end; or ''."""
    last = said.rstrip("\n").rpartition("\n")[2]
    _, found, reason = last.rpartition(KILLED)  # what the step wrote may not have ended its line
    return found + reason if found else ""


def _weakness(weaker: Sequence[str], said: str) -> str:
    """What to think of where a step failed by what it may not do here and root may elsewhere; or ''."""
    last = "\n".join(said.splitlines()[-_LAST_LINES:]).lower()
    if not weaker or not any(reason in last for reason in _REFUSALS):
        return ""
    return f"it may be that {'; '.join(weaker)}: `imagesmith doctor` tells what would help"


def _is_missing(spec: RunSpec, view: View) -> bool:
    """True if no file has the program's name: then it is nothing to do with what would have executed it."""
    name = spec.argv[0]
    folders = [spec.cwd] if "/" in name else dict(spec.env)["PATH"].split(":")
    with contextlib.suppress(ContextError):  # links in circles, which are no program either
        paths = (posixpath.join(spec.cwd, folder, name) for folder in folders)
        return all(view.get(view.resolve(path)) is None for path in paths)
    return True


def _foreign(op: RunOp) -> str:
    """What to do where a program of another machine's kind could not be executed."""
    return (
        f"a program of {op.platform} runs here by an emulator: install qemu-user-static, or give one by "
        "--emulator PATH; `imagesmith doctor` tells what there is"
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
