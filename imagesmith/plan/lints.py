"""The build checks that need the scope of the build: unset variables, ignored files, platforms of bases.

Why: the rules and their words are in dockerfile/lint.py; here they are held against what the planner knows
at each instruction, so that the same rule fires in a build and under `--call check`.
Spec: BuildKit's dockerfile2llb (validations.go, convert.go), whose order and wording this follows.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from imagesmith.context.local import LocalTree
from imagesmith.dockerfile import lint
from imagesmith.dockerfile import nodes as n
from imagesmith.dockerfile.suggest import suggest
from imagesmith.dockerfile.words import Lexer
from imagesmith.errors import DockerfileError, InvalidReference
from imagesmith.oci.names import ImageRef, Platform, host_platform
from imagesmith.plan.scope import NEVER_ENV, global_args

if TYPE_CHECKING:
    from imagesmith.dockerfile.nodes import Dockerfile
    from imagesmith.fs.tree import Tree
    from imagesmith.ops.copy import CopyOp
    from imagesmith.plan.stages import PlannedStage, StageGraph
    from imagesmith.plan.state import StageState

__all__ = ["BuildLints"]

_SECRET = r"(?i)(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)"
_NO_SECRET = r"(?i)(?:_|^)(?:public|file|version)(?:_|$)"
#: Of more names none is suggested: each variable that is not set would be held against all of them.
_MOST_NAMES = 1000
_EVERYTHING = ("*", "**", "**/*")


class BuildLints:
    """Feeds a Linter from the planner."""

    def __init__(self, linter: lint.Linter) -> None:
        self.linter = linter
        self._scope: Mapping[str, str] = {}
        self._once: dict[str, n.Instruction] = {}

    def _report(self, rule: str, detail: str, i: n.Instruction, word: str = "") -> None:
        self.linter.report(rule, detail, i, i.comments, word)

    # --- FROM ----------------------------------------------------------------------------------

    def before_stages(
        self, graph: StageGraph, predefined: Mapping[str, str], scope: Mapping[str, str]
    ) -> None:
        """The rules about FROM lines and the global scope, which is `predefined` and the ARGs before FROM."""
        self._scope = scope
        declared = {p.key for a in graph.dockerfile.global_args for p in a.pairs}
        self._defaults(graph.dockerfile, predefined)
        for stage in graph.stages:
            name, platform = graph.expansions[stage.index]
            used = set(name.unmatched) | (platform.unmatched if platform is not None else set())
            for variable in sorted(used - declared):
                hint = suggest(variable, [*scope, *sorted(declared)])
                self.linter.report(
                    "UndefinedArgInFrom",
                    f"FROM argument '{variable}' is not declared{hint}",
                    stage.stage.base,
                    word=variable,
                )
            if platform is not None:
                self._platform(stage.stage.base, platform.text, platform.matched, platform.unmatched)

    def _platform(self, word: n.From, text: str, matched: set[str], unmatched: set[str]) -> None:
        if matched == {"TARGETPLATFORM"} and not unmatched and text == self._scope.get("TARGETPLATFORM"):
            detail = (
                f"Setting platform to predefined {word.platform} in FROM is redundant as this is the default "
                "behavior"
            )
            self.linter.report("RedundantTargetPlatform", detail, word, word=word.platform)
        if matched or unmatched:
            return
        platform = Platform.parse(text)
        if platform.os not in word.name and platform.architecture not in word.name:
            detail = f'FROM --platform flag should not use constant value "{text}"'
            self.linter.report("FromPlatformFlagConstDisallowed", detail, word, word=word.platform)

    def _defaults(self, dockerfile: Dockerfile, predefined: Mapping[str, str]) -> None:
        """FROM as it would be had no argument been given."""
        lexer = Lexer(dockerfile.escape)
        try:
            bare = global_args(dockerfile, predefined, {})
            for stage in dockerfile.stages:
                name = lexer.expand(stage.base.image, bare.get).text
                try:
                    ImageRef.parse(name)
                except InvalidReference:
                    word = stage.base.image
                    detail = f"Default value for ARG {word} results in empty or invalid base image name"
                    self.linter.report("InvalidDefaultArgInFrom", detail, stage.base, word=word)
        except DockerfileError:
            return  # `${X:?}` is satisfied only by an argument: nothing can be said about the defaults

    def base_platform(self, stage: PlannedStage, platform: Platform) -> None:
        """A base image was resolved."""
        wanted = stage.platform or host_platform()
        if (platform.os, platform.architecture) != (wanted.os, wanted.architecture):
            detail = (
                f'Base image {stage.image} was pulled with platform "{platform}", expected "{wanted}" for '
                "current build"
            )
            self.linter.report(
                "InvalidBaseImagePlatform", detail, stage.stage.base, word=stage.stage.base.image
            )

    # --- instructions --------------------------------------------------------------------------

    def enter_stage(self) -> None:
        """A stage begins."""
        self._once = {}

    def instruction(self, state: StageState, i: n.Instruction) -> None:
        """An instruction is about to be applied."""
        match i:
            case n.Env() | n.Label():
                self._pairs(i)
            case n.Arg():
                self._secrets("ARG", i)
            case n.Cmd() | n.Entrypoint():
                self._used_once(i)
                if not i.command.exec and not state.runtime.shell:
                    detail = (
                        f"JSON arguments recommended for {i.keyword.upper()} to prevent unintended behavior "
                        "related to OS signals"
                    )
                    self._report("JSONArgsRecommended", detail, i, "".join(i.command.args))
            case n.Healthcheck():
                self._used_once(i)

    def _pairs(self, i: n.Env | n.Label) -> None:
        name = i.keyword.upper()
        if i.legacy:
            detail = f'"{name} key=value" should be used instead of legacy "{name} key value" format'
            self._report("LegacyKeyValueFormat", detail, i, i.pairs[0].key)
        if isinstance(i, n.Env):
            self._secrets(name, i)

    def _secrets(self, name: str, i: n.Env | n.Arg) -> None:
        for pair in i.pairs:
            if re.search(_SECRET, pair.key) and not re.search(_NO_SECRET, pair.key):
                detail = f'Do not use ARG or ENV instructions for sensitive data ({name} "{pair.key}")'
                self._report("SecretsUsedInArgOrEnv", detail, i, pair.key)

    def _used_once(self, i: n.Instruction) -> None:
        """The earlier of two is named, for it is the one that does not count."""
        name = i.keyword.upper()
        earlier = self._once.get(name)
        self._once[name] = i
        if earlier is not None:
            detail = (
                f"Multiple {name} instructions should not be used in the same stage because only the last "
                "one will be used"
            )
            self.linter.report("MultipleInstructionsDisallowed", detail, earlier, i.comments, earlier.keyword)

    def unset(self, state: StageState, i: n.Instruction, names: Iterable[str]) -> None:
        """An expansion used names that are not set."""
        for name in sorted(set(names) - set(state.args) - NEVER_ENV):
            known = [*self._scope, *state.env]
            hint = suggest(name, known) if len(known) <= _MOST_NAMES else ""
            hint = hint.replace("did you mean ", "did you mean $")
            self._report("UndefinedVar", f"Usage of undefined variable '${name}'{hint}", i, name)

    def exposed(self, i: n.Instruction, words: Iterable[str]) -> None:
        """The words of an EXPOSE, expanded."""
        for word in words:
            address, _, protocol = word.partition("/")
            if protocol != protocol.lower():
                detail = f"Defined protocol '{word}' in EXPOSE instruction should be lowercase"
                self._report("ExposeProtoCasing", detail, i, word)
            if ":" in address:
                detail = (
                    f"EXPOSE instruction should not define an IP address or host-port mapping, found '{word}'"
                )
                self._report("ExposeInvalidFormat", detail, i, word)

    def workdir(self, state: StageState, i: n.Workdir, path: str) -> None:
        """A WORKDIR with its expanded path."""
        if not state.workdir_set and not path.startswith("/"):
            detail = f'Relative workdir "{path}" can have unexpected results if the base image changes'
            self._report("WorkdirRelativePath", detail, i, i.path)

    def linked(self, i: n.Copy | n.Add, op: CopyOp, base: Callable[[], Tree | None]) -> None:
        """A COPY --link with what it does; `base` gives the files of the base image, if there is one."""
        if not op.link or not self.linter.wants(lint.LINKED_FOLDER, i.comments):
            return
        from imagesmith.fs.owner import copy_owner

        tree = base()
        uid, gid = (copy_owner(op.chown, None) if op.chown else None) or (0, 0)
        path = op.dest.rstrip("/") if op.dest.endswith("/") else posixpath.dirname(op.dest)
        while tree is not None and path.strip("/"):
            e = tree.get(path.strip("/"))
            if e is not None and e.kind == "d" and (e.mode, e.uid, e.gid) != (0o755, uid, gid):
                self._linked(i, path, f"0755 {uid}:{gid}", f"{e.mode:04o} {e.uid}:{e.gid}")
            elif e is not None and e.kind != "d":
                self._linked(i, path, "a folder", f"a link to {e.link}" if e.kind == "l" else "no folder")
            path = posixpath.dirname(path)

    def _linked(self, i: n.Copy | n.Add, path: str, made: str, was: str) -> None:
        detail = f"{i.keyword.upper()} --link makes {path} {made}, in the base image it is {was}"
        self._report(lint.LINKED_FOLDER, detail, i, i.dest)

    def ignored(self, i: n.Copy | n.Add, sources: Sequence[str], tree: Tree | None) -> None:
        """Sources of the main context, expanded; None where its files are not here."""
        if not isinstance(tree, LocalTree) or not tree.ignore or tree.ignore.has_exclusions:
            return
        words = i.sources if len(i.sources) == len(sources) else sources  # ADD has others, too
        for source, word in zip(sources, words, strict=True):
            path = _clean(source)
            if path in (".", "/") and not any(p.text in _EVERYTHING for p in tree.ignore.patterns):
                continue
            # As BuildKit has it, what is before a leading slash is a folder too, one without a name.
            if tree.ignore.matches(path) or (path[:1] == "/" and tree.ignore.matches("")):
                verb = "Add" if isinstance(i, n.Add) else "Copy"
                detail = f'Attempting to {verb} file "{path}" that is excluded by .dockerignore'
                self._report("CopyIgnoredFile", detail, i, word)


def _clean(path: str) -> str:
    """A path as Go's filepath.Clean has it."""
    path = posixpath.normpath(path or ".")
    return path[1:] if path.startswith("//") else path
