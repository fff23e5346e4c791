"""RUN, COPY, ADD and WORKDIR as steps of the build graph, with their history in BuildKit's words.

Nothing is executed here: the functions expand words, check flags, find out where files come from, and
append a Step to the stage's state.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from imagesmith.context.addresses import is_http_url
from imagesmith.context.git import GitRef, is_git_url
from imagesmith.context.origins import ContextFiles, Fetched, GitFiles, Inline, Remote
from imagesmith.dockerfile import nodes as n
from imagesmith.dockerfile import values
from imagesmith.dockerfile.grammar import BLANKS
from imagesmith.errors import DockerfileError, ImagesmithError, InvalidDocument, blame
from imagesmith.fs.tree import Tree
from imagesmith.oci.digest import Digest
from imagesmith.ops.copy import CopyOp, CopySource
from imagesmith.ops.run import RunOp
from imagesmith.ops.runmount import RunMount
from imagesmith.plan import naming
from imagesmith.plan.lints import BuildLints
from imagesmith.plan.metadata import shell_words
from imagesmith.plan.stages import PlannedStage
from imagesmith.plan.state import StageState
from imagesmith.request import BuildRequest
from imagesmith.solve.step import Op, Step
from imagesmith.values import replace

__all__ = ["Locks", "Planning", "apply"]

Expand = Callable[[str], str]


class Locks(Protocol):
    """Knows what is pinned."""

    def locked(self, origin: Remote) -> Remote:
        """What ADD names, as it is pinned."""


class Planning(Protocol):
    """What an instruction asks of the plan that it becomes part of; see planner.Planner."""

    request: BuildRequest
    lints: BuildLints
    proxies: tuple[tuple[str, str], ...]
    epoch: int | None

    @property
    def contexts(self) -> Locks:
        """The contexts of the build."""

    def source(
        self, stage: PlannedStage, name: str, *, number: bool, target: str = ""
    ) -> Step | ContextFiles | GitFiles | Fetched | None:
        """What `--from`, or the `from` of a mount with a target, means; None for `scratch`."""

    def build_context(self) -> ContextFiles | GitFiles | Fetched:
        """The main context."""

    def tree_of(self, origin: object) -> Tree | None:
        """The files of a context that is here."""

    def base_of(self, state: StageState) -> Callable[[], Tree | None]:
        """How to get the files of a state's base image; None where it has none."""

    def no_cache(self, stage: PlannedStage) -> bool:
        """True if this stage's steps are to be executed whatever the cache says."""

    def interned(self, step: Step) -> Step:
        """The first step of the plan that is equal."""

    def heredoc(self, state: StageState, i: n.Instruction, doc: n.Heredoc) -> str:
        """The content of a heredoc as a file of COPY or ADD."""


def apply(
    planner: Planning,
    state: StageState,
    stage: PlannedStage,
    i: n.Instruction,
    expand: Expand,
    *,
    triggered: bool,
) -> None:
    """Append the step of RUN, COPY, ADD or WORKDIR to the state."""
    builder = _Builder(planner, state, stage, i, expand, triggered)
    match i:
        case n.Run():
            builder.run(i)
        case n.Copy():
            builder.copy(i)
        case n.Add():
            builder.add(i)
        case n.Workdir():
            builder.workdir(i)
        case _:
            raise DockerfileError(f"{i.keyword} is not supported")


class _Builder:
    """One instruction on its way to a step."""

    def __init__(
        self,
        planner: Planning,
        state: StageState,
        stage: PlannedStage,
        instruction: n.Instruction,
        expand: Expand,
        triggered: bool,
    ) -> None:
        self.planner, self.state, self.stage = planner, state, stage
        self.instruction, self._expand, self.triggered = instruction, expand, triggered

    def expand(self, word: str) -> str:
        """The word with its variables filled in.

        Raises:
            DockerfileError: it holds a NUL, which no path, owner or address may have.
        """
        text = self._expand(word)
        if "\0" in text:
            raise DockerfileError(f"{self.instruction.keyword} has a word with a NUL character in it")
        return text

    def _others(self, i: n.Run | n.Copy | n.Add) -> dict[str, Any]:
        """Flags that only the op knows, expanded."""
        return {k: self.expand(v) if isinstance(v, str) else v for k, v in i.others.items()}

    def _append(self, op: Op, text: str, history: str) -> None:
        made = Step.of(
            op,
            self.state.tip,
            naming.step(self.state, text, triggered=self.triggered, indexed=self.planner.request.indexed),
            span=self.instruction.span,
            stage=self.state.stage,
            no_cache=not op.always_cached and self.planner.no_cache(self.stage),
        )
        step = self.planner.interned(made)
        self.state.tip = step
        self.state.record(history, step)

    # --- WORKDIR -------------------------------------------------------------------------------

    def workdir(self, i: n.Workdir) -> None:
        from imagesmith.ops.mkdir import MakeDirOp

        path = self.expand(i.path)
        self.planner.lints.workdir(self.state, i, path)
        here = self.state.runtime.working_dir or "/"
        where = path if path.startswith("/") else posixpath.normpath(posixpath.join("/", here, path))
        if where.startswith("//") and not path.startswith("/"):
            where = where[1:]
        self.state.workdir_set = True
        self.state.runtime = replace(self.state.runtime, working_dir=where)
        history = f"WORKDIR {where}"
        if where == "/":
            self.state.record(history)
            return
        epoch = self.planner.epoch
        op = MakeDirOp(
            path=where, user=self.state.runtime.user, time_ns=None if epoch is None else epoch * 1_000_000_000
        )
        self._append(op, op.words(), op.words())

    # --- RUN -----------------------------------------------------------------------------------

    def run(self, i: n.Run) -> None:
        state, planner = self.state, self.planner
        if i.devices:
            raise DockerfileError(
                "device feature is only supported in Dockerfile frontend 1.14.0-labs or later",
                hint="imagesmith gives no devices to RUN",
            ).about(f"--device={i.devices[0]}")
        mounts = [self._mount(value) for value in i.mounts]
        argv, extra, shown = self._command(i)
        if not argv:
            raise DockerfileError("arguments are required")
        self._check_entitlements(i)
        args = [(k, state.env.get(k, v or "")) for k, v in state.args.items()]
        request = planner.request
        op = RunOp(
            argv=argv,
            env=tuple(state.env.items()),
            cwd=state.runtime.working_dir or "/",
            user=state.runtime.user,
            mounts=(*extra, *mounts),
            network=i.network if i.network and i.network != "default" else request.network,
            security=i.security or "sandbox",
            proxy_env=planner.proxies,
            hostname=request.build_args.get("BUILDKIT_SANDBOX_HOSTNAME", ""),
            extra_hosts=request.extra_hosts,
            shm_size_bytes=request.shm_size_bytes,
            ulimits=request.ulimits,
            cgroup_parent=request.cgroup_parent,
            platform=state.platform,
            **self._others(i),
        )
        self._append(op, f"RUN {shown}", op.words(args))

    def _check_entitlements(self, i: n.Run) -> None:
        allowed = self.planner.request.allow
        if i.network == "host" and "network.host" not in allowed:
            raise DockerfileError(
                "failed to load LLB: network.host is not allowed", hint="allow it with --allow network.host"
            ).about("--network=host")
        if i.security == "insecure" and "security.insecure" not in allowed:
            raise DockerfileError(
                "failed to load LLB: security.insecure is not allowed",
                hint="allow it with --allow security.insecure",
            ).about("--security=insecure")

    def _command(self, i: n.Run) -> tuple[tuple[str, ...], tuple[RunMount, ...], str]:
        """The argument list, a mount for a script with `#!`, and the text for the screen."""
        state = self.state
        text = " ".join(i.command.args) if not i.command.exec else values.json_list(i.command.args)
        flags = "".join(f"--mount={m} " for m in i.mounts)
        if not i.heredocs:
            return shell_words(state, i.command), (), flags + text
        first = i.heredocs[0]
        if not n.is_single_heredoc(i):
            whole = i.command.args[0] + "".join(f"\n{h.text}{h.name}" for h in i.heredocs)
            return shell_words(state, n.Command((whole,), exec=False)), (), flags + text
        summary = f"{flags}{text} ({_summary(first.text)})"
        content = first.content()
        if not content.startswith("#!") or state.platform.os == "windows":
            return shell_words(state, n.Command((content,), exec=False)), (), summary
        from imagesmith.dockerfile.mounts import parse_mount

        script = f"/dev/pipes/{first.name}"
        inline = Inline(first.name, values.to_bytes(content), 0o755)
        mount = parse_mount("type=bind,target=/dev/pipes/,readonly", lambda w: w)
        return shell_words(state, n.Command((script,), exec=False)), (RunMount(mount, inline),), summary

    def _mount(self, value: str) -> RunMount:
        from imagesmith.dockerfile.mounts import parse_mount

        mount = parse_mount(value, self.expand, self.state.runtime.working_dir or "/")
        if mount.from_ and mount.type != "tmpfs":
            origin = self.planner.source(self.stage, mount.from_, number=False, target=mount.target)
        else:
            origin = self.planner.build_context() if mount.type == "bind" else None
        return RunMount(mount, origin if mount.type in ("bind", "cache") else None)

    # --- COPY and ADD --------------------------------------------------------------------------

    def copy(self, i: n.Copy) -> None:
        origin = self.planner.source(self.stage, i.from_, number=True) if i.from_ else None
        sources = [self.expand(s) for s in i.sources]
        dest = self.expand(i.dest)
        for s, word in zip(sources, i.sources, strict=True):
            if is_git_url(s):
                raise DockerfileError("source can't be a git ref for COPY").about(word)
            if is_http_url(s):
                raise DockerfileError("source can't be a URL for COPY").about(word)
        if not i.from_ and sources:
            origin = self.planner.build_context()
            self.planner.lints.ignored(i, sources, self.planner.tree_of(origin))
        self._copy(i, [CopySource(origin, s) for s in sources], sources, dest, parents=i.parents)

    def add(self, i: n.Add) -> None:
        sources = [self.expand(s) for s in i.sources]
        dest, checksum = self.expand(i.dest), self.expand(i.checksum)
        if checksum:
            with blame(f"--checksum={i.checksum}", len("--checksum=")):
                self._check_checksum(sources, i, checksum)
        origins: list[CopySource] = []
        local: list[str] = []
        for s, word in zip(sources, i.sources, strict=True):
            if is_git_url(s):
                with blame(word):
                    origins.append(CopySource(self.planner.contexts.locked(self._git(s, i, checksum))))
            elif is_http_url(s):
                with blame(word):
                    fetched = Fetched(s, checksum, unpack=bool(i.unpack))
                    origins.append(CopySource(self.planner.contexts.locked(fetched)))
            else:
                local.append(s)
                origins.append(CopySource(self.planner.build_context(), s))
        if local:
            self.planner.lints.ignored(i, local, self.planner.tree_of(self.planner.build_context()))
        self._copy(i, origins, sources, dest, parents=False)

    def _check_checksum(self, sources: list[str], i: n.Add, checksum: str) -> None:
        if len(sources) + len(i.heredocs) != 1:
            raise DockerfileError("checksum can't be specified for multiple sources")
        if not sources or not (is_http_url(sources[0]) or is_git_url(sources[0])):
            raise DockerfileError("checksum requires HTTP(S) or Git sources")
        if is_git_url(sources[0]):
            return
        try:
            Digest.parse(checksum)
        except InvalidDocument as e:
            if ":" not in checksum:
                raise DockerfileError("invalid checksum digest format") from e
            raise DockerfileError(str(e).partition(" in ")[0]) from e

    def _git(self, address: str, i: n.Add, checksum: str) -> GitFiles:
        try:
            ref = GitRef.parse(address)
        except ImagesmithError as e:
            raise DockerfileError(e.message) from e
        if i.keep_git_dir is not None and ref.keep_git_dir is not None and i.keep_git_dir != ref.keep_git_dir:
            raise DockerfileError("inconsistent keep-git-dir configuration")
        keep = i.keep_git_dir if i.keep_git_dir is not None else bool(ref.keep_git_dir)
        if checksum and ref.checksum and checksum != ref.checksum:
            raise DockerfileError(f'checksum mismatch "{checksum}" != "{ref.checksum}"')
        return GitFiles(ref, keep, checksum or ref.checksum)

    def _copy(
        self, i: n.Copy | n.Add, sources: list[CopySource], shown: Sequence[str], dest: str, *, parents: bool
    ) -> None:
        chown, chmod = self.expand(i.chown), self.expand(i.chmod)
        if chmod:
            with blame(f"--chmod={i.chmod}", len("--chmod=")):
                values.parse_chmod(chmod)
        for doc in i.heredocs:
            content = self.planner.heredoc(self.state, i, doc)
            sources.append(CopySource(Inline(doc.name, values.to_bytes(content))))
        op = _op_of(i)(
            sources=tuple(sources),
            dest=_absolute(dest, self.state.runtime.working_dir or "/"),
            chown=chown,
            chmod=chmod,
            link=i.link and not chmod,
            parents=parents,
            excludes=tuple(i.excludes),
            unpack=i.unpack if isinstance(i, n.Add) else False,
            **self._others(i),
        )
        self.planner.lints.linked(i, op, self.planner.base_of(self.state))
        text = op.words([*shown, *(f"<<{d.name}" for d in i.heredocs)], dest)
        name = f"LINK {text}" if op.link else text
        if isinstance(i, n.Copy) and i.from_:
            name = name.replace("COPY ", f"COPY --from={i.from_} ", 1)
        self._append(op, name, f"{text} # buildkit")


def _op_of(i: n.Copy | n.Add) -> type[CopyOp]:
    if isinstance(i, n.Copy):
        return CopyOp
    from imagesmith.ops.add import AddOp

    return AddOp


def _absolute(dest: str, workdir: str) -> str:
    """An absolute destination; a trailing slash (or `/.`, or `.` alone) is kept as a slash."""
    folder = dest in ("", ".") or dest.endswith(("/", "/."))
    path = posixpath.normpath(posixpath.join("/", workdir, dest)).lstrip("/")
    return f"/{path}/" if folder and path else f"/{path}"


def _summary(body: str) -> str:
    """The first line of a script that says something, with dots where there is more."""
    first, more, _ = body.replace("\r\n", "\n").strip(BLANKS).partition("\n")
    return first + "..." * bool(more)
