"""Work a Dockerfile out: every reachable stage's config, history and steps, before anything runs.

Why: BuildKit's frontend does the same, and users rely on what follows from it: a bad port in the last line
is told before the first RUN starts, and a stage that the target does not need is never looked at. Base
images are resolved to their config here (no layer is fetched), since ENV and ONBUILD of a base decide what
the words of a stage mean.
Threads: one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from imagesmith.context.addresses import is_http_url
from imagesmith.context.git import GitRef, is_git_url
from imagesmith.context.named import TargetContext, normalise_name
from imagesmith.context.origins import ContextFiles, Fetched, GitFiles
from imagesmith.dockerfile import nodes as n
from imagesmith.dockerfile.parse import parse_trigger
from imagesmith.dockerfile.places import locate
from imagesmith.dockerfile.suggest import suggest
from imagesmith.dockerfile.words import Lexer
from imagesmith.errors import DockerfileError, ImagesmithError, blame
from imagesmith.fs.tree import Tree
from imagesmith.oci.config import Runtime
from imagesmith.oci.names import Platform, host_platform
from imagesmith.oci.times import parse_epoch
from imagesmith.ops.image import ImageOp
from imagesmith.plan import filesystem, metadata, naming
from imagesmith.plan.lints import BuildLints
from imagesmith.plan.plan import Plan, PlannedImage, Scan
from imagesmith.plan.scope import global_args, platform_args, proxy_env
from imagesmith.plan.stages import PlannedStage, StageGraph, from_word
from imagesmith.plan.state import StageState
from imagesmith.request import BuildRequest
from imagesmith.solve.step import Step
from imagesmith.transports.bases import ResolvedImage
from imagesmith.values import replace

if TYPE_CHECKING:
    from imagesmith.plan.givers import ContextProvider, ImageResolver

__all__ = ["Planner"]


class Planner:
    """Works out one Dockerfile for one platform."""

    def __init__(
        self,
        dockerfile: n.Dockerfile,
        request: BuildRequest,
        images: ImageResolver,
        contexts: ContextProvider,
        lints: BuildLints,
        steps: dict[Step, Step] | None = None,
        links: Mapping[str, Plan] | None = None,
    ) -> None:
        """Read what is global.

        Args:
            dockerfile: the parsed file.
            request: the build, for one platform.
            images: finds base images.
            contexts: give files.
            lints: are told of each instruction.
            steps: those of the other platforms and targets, each as it was met first; more are added.
            links: the plans of other targets, by their names, that contexts stand for.
        """
        self.dockerfile, self.request = dockerfile, request
        self.images, self.contexts, self.lints = images, contexts, lints
        self.lexer = Lexer(dockerfile.escape)
        self.proxies = proxy_env(request.build_args)
        stage_name = request.target or next(
            (s.base.name for s in dockerfile.stages[-1:] if s.base.name), "default"
        )
        self.predefined = platform_args(request.platform, stage_name, request.build_args)
        self.scope = global_args(dockerfile, self.predefined, request.build_args)
        self.graph = StageGraph(dockerfile, self.scope, request.contexts, request.target, request.platform)
        self.epoch = self._epoch()
        self._states: dict[PlannedStage, StageState] = {}
        self._busy: list[PlannedStage] = []
        self._bare: dict[ImageOp, None] = {}
        self._steps: dict[Step, Step] = {} if steps is None else steps
        self._links = links or {}
        self._sources: dict[str, Step | ContextFiles | GitFiles | Fetched | None] = {}

    def plan(self) -> PlannedImage:
        """Work out every stage that the target needs, in the file's order.

        Raises:
            DockerfileError: located at its instruction.
        """
        self.lints.before_stages(self.graph, self.predefined, self.scope)
        for stage in self.graph.reachable():
            self.state_of(stage)
        state = self.state_of(self.graph.target)
        made = state.image(self.request.labels, self.epoch)
        return replace(made, scans=self._scans(), bare=tuple(self._bare))

    def _scans(self) -> tuple[Scan, ...]:
        """What an SBOM looks at besides the result, if one is made."""
        attestations = self.request.attestations
        if attestations is None or attestations.sbom is None:
            return ()
        from imagesmith.plan.scans import scans_of

        given = self.request.build_args
        return scans_of(self.graph, self.scope, given, self.contexts.main, lambda s: self.state_of(s).tip)

    def plan_all(self) -> None:
        """Work out all stages; for `--call check` without a target."""
        self.lints.before_stages(self.graph, self.predefined, self.scope)
        for stage in self.graph.stages:
            self.state_of(stage)

    def _epoch(self) -> int | None:
        """SOURCE_DATE_EPOCH in seconds: a number, or the time of a context or of a stage's one download."""
        text = self.scope.get("SOURCE_DATE_EPOCH", self.request.build_args.get("SOURCE_DATE_EPOCH", ""))
        if not text:
            return None
        seconds = parse_epoch(text)
        if seconds is not None:
            return seconds
        stage = self.graph.find(text)
        if stage is not None and not stage.context:
            return self._epoch_of(stage, text)
        if text == "context" or normalise_name(text) in self.request.contexts:
            return self.contexts.time_of(text)
        raise DockerfileError(f"invalid SOURCE_DATE_EPOCH: {text}", file=self.dockerfile.file)

    def _epoch_of(self, stage: PlannedStage, text: str) -> int:
        """The time of what the one instruction of a stage, a remote ADD, takes."""
        add = stage.stage.instructions[0] if len(stage.stage.instructions) == 1 else None
        if stage.image == "scratch" and isinstance(add, n.Add) and len(add.sources) == 1 and not add.heredocs:
            source = self.lexer.expand(add.sources[0], self.scope.get).text
            if is_git_url(source):
                return self.contexts.commit_time(self.contexts.locked(GitFiles(GitRef.parse(source))))
            if is_http_url(source):
                got = self.contexts.fetch_url(self.contexts.locked(Fetched(source)))
                return got.mtime_ns // 1_000_000_000
        raise self._at(DockerfileError(f"invalid SOURCE_DATE_EPOCH: {text}"), stage.stage.base)

    # --- stages --------------------------------------------------------------------------------

    def state_of(self, stage: PlannedStage) -> StageState:
        """The state at a stage's end; worked out once."""
        todo = [] if stage in self._states else [stage]
        while todo:  # a chain of stages may be longer than one of calls
            at = todo[-1]
            before = () if at.context else at.needs
            missing = [s for s in before if s.index < at.index and s not in self._states]
            if missing:
                todo += missing
                continue
            if todo.pop() not in self._states:
                self._states[at] = self._checked(at)
        return self._states[stage]

    def _checked(self, stage: PlannedStage) -> StageState:
        if stage in self._busy:
            raise self._at(
                DockerfileError(f"circular dependency detected on stage: {stage.shown}"), stage.stage.base
            )
        self._busy.append(stage)
        state = self._work_out(stage)
        self._busy.pop()
        return state

    def _work_out(self, stage: PlannedStage) -> StageState:
        try:
            state = self._start(stage)
        except ImagesmithError as e:
            raise self._at(e.about(stage.stage.base.image), stage.stage.base) from e.__cause__
        if stage.context:
            return state
        triggers = [self._trigger(t, stage) for t in state.onbuild]
        state.onbuild = []
        instructions = [*triggers, *stage.stage.instructions]
        state.stage = stage.stage.base.name or (f"stage-{stage.index}" if len(self.graph.stages) > 1 else "")
        state.done = 0 if stage.base is not None else int(state.base is not None or state.done > 0)
        state.total = int(stage.base is None and stage.image != "scratch") + sum(
            isinstance(i, n.Run | n.Copy | n.Add | n.Workdir) for i in instructions
        )
        self.lints.enter_stage()
        for number, i in enumerate(instructions):
            if number < len(triggers):
                self.graph.add_needs(stage, i)
            try:
                self._instruction(state, stage, i, triggered=number < len(triggers))
            except ImagesmithError as e:
                if number < len(triggers):  # its words stand in another Dockerfile
                    raise self._at_base(e, stage) from e.__cause__
                raise self._at(e, i) from e.__cause__
        return state

    def _start(self, stage: PlannedStage) -> StageState:
        if stage.context:
            return self._from_context(stage, stage.context)
        if stage.base is not None:
            return self.state_of(stage.base).child()
        if stage.image != "scratch":
            return self._from_context(stage, stage.image)
        return self._empty(stage)

    def _empty(self, stage: PlannedStage) -> StageState:
        """The state of a stage that starts from no image."""
        here = host_platform()
        state = StageState(platform=stage.platform or here, image_platform=self.request.platform or here)
        state.adopt(Runtime(working_dir="/"))
        return state

    def _from_context(self, stage: PlannedStage, name: str) -> StageState:
        """The state of a stage that starts from an image, or from a named context in place of one."""
        found = self._found(name, stage.platform)
        if isinstance(found, ResolvedImage):
            return self._from_image(stage, found)
        if isinstance(found, PlannedImage):
            return self._from_target(stage, found)
        from imagesmith.ops.root import RootOp

        state = self._empty(stage)
        made = Step.of(RootOp(found), None, f"[context {name}]", span=stage.stage.base.span)
        state.tip = self.interned(made)
        return state

    def _from_image(self, stage: PlannedStage, image: ResolvedImage) -> StageState:
        config = image.config
        self.lints.base_platform(stage, config.platform)
        wanted = self.request.platform
        state = StageState(
            platform=(stage.platform if wanted else None) or config.platform,
            image_platform=wanted or config.platform,
        )
        state.base, state.author, state.base_history = image, config.author, config.history
        workdir = config.runtime.working_dir
        if workdir and not workdir.startswith("/"):
            workdir = f"/{workdir}"
        state.adopt(replace(config.runtime, working_dir=workdir))
        if config.diff_ids:
            name = naming.base(stage, image, state.platform, indexed=self.request.indexed)
            state.tip = Step.of(ImageOp.of(image), None, name, span=stage.stage.base.span)
        else:
            self._bare[ImageOp.of(image)] = None
        return state

    def _from_target(self, stage: PlannedStage, image: PlannedImage) -> StageState:
        """The state of a stage that starts from what another target makes: its image, as if it were there."""
        self.lints.base_platform(stage, image.platform)
        wanted = self.request.platform
        state = StageState(
            platform=(stage.platform if wanted else None) or image.platform,
            image_platform=wanted or image.platform,
        )
        state.author, state.base_history, state.history = image.author, image.base_history, [*image.history]
        state.adopt(image.runtime)
        state.tip, state.done = image.tip, 1  # the image counts as the stage's first vertex
        self._bare.update(dict.fromkeys(image.bare))
        return state

    def _trigger(self, text: str, stage: PlannedStage) -> n.Instruction:
        try:
            return replace(parse_trigger(text), span=stage.stage.base.span)
        except DockerfileError as e:
            raise self._at_base(e, stage) from None

    def _at_base(self, e: ImagesmithError, stage: PlannedStage) -> ImagesmithError:
        """A mistake of a trigger: what it came with is the base, and no word of it stands here."""
        e.word = ""
        return self._at(e.about(stage.stage.base.image), stage.stage.base)

    # --- instructions --------------------------------------------------------------------------

    def _instruction(
        self, state: StageState, stage: PlannedStage, i: n.Instruction, *, triggered: bool
    ) -> None:
        expand, expand_words = self._expanders(state, i)
        self.lints.instruction(state, i)
        if isinstance(i, n.Arg):
            metadata.arg(state, i, expand, self.request.build_args, self.scope)
        elif not metadata.apply(state, i, expand, expand_words):
            filesystem.apply(self, state, stage, i, expand, triggered=triggered)

    def _expanders(
        self, state: StageState, i: n.Instruction
    ) -> tuple[Callable[[str], str], Callable[[str], list[str]]]:
        def expand(word: str) -> str:
            if "$" not in word and '"' not in word and "'" not in word and self.lexer.escape not in word:
                return word
            result = self.lexer.expand(word, state.env.get)
            self.lints.unset(state, i, result.unmatched)
            return result.text

        def expand_words(word: str) -> list[str]:
            words = self.lexer.expand_words(word, state.env.get)
            self.lints.exposed(i, words)
            return words

        return expand, expand_words

    def interned(self, step: Step) -> Step:
        """The first step of the plan that is equal: its name and its place are those of all of them."""
        return self._steps.setdefault(step, step)

    def heredoc(self, state: StageState, i: n.Instruction, doc: n.Heredoc) -> str:
        """The content of a heredoc as a file of COPY or ADD."""
        if not doc.expand:
            return doc.content()
        result = self.lexer.expand_heredoc(doc.content(), state.env.get)
        self.lints.unset(state, i, result.unmatched)
        return result.text

    # --- where files come from -----------------------------------------------------------------

    def source(
        self, stage: PlannedStage, name: str, *, number: bool, target: str = ""
    ) -> Step | ContextFiles | GitFiles | Fetched | None:
        """What `--from`, or the `from` of a mount with a target, means; None for `scratch`.

        Raises:
            DockerfileError: a stage that comes later, or an image that cannot be found.
        """
        with blame(*from_word(name, number=number)):
            return self._source(stage, name, number=number, target=target)

    def _source(
        self, stage: PlannedStage, name: str, *, number: bool, target: str
    ) -> Step | ContextFiles | GitFiles | Fetched | None:
        planned = self.graph.source(name, number=number)
        if planned is not None:
            if planned.index >= stage.index and not planned.context:
                if number:
                    raise DockerfileError(
                        f'cannot copy from stage "{name}", it needs to be defined before current stage '
                        f'"{stage.shown}"'
                    )
                raise DockerfileError(
                    f'cannot mount from stage "{name}" to "{target}", stage needs to be defined before '
                    "current command"
                )
            return self.state_of(planned).tip
        if name == "scratch":
            return None
        if name not in self._sources:
            self._sources[name] = self._outside(name)
        return self._sources[name]

    def _outside(self, name: str) -> Step | ContextFiles | GitFiles | Fetched | None:
        found = self._found(name, self.request.platform)
        if isinstance(found, ResolvedImage):
            return self.interned(Step.of(ImageOp.of(found), None, f"FROM {found.name}"))
        return found.tip if isinstance(found, PlannedImage) else found

    def _found(
        self, name: str, platform: Platform | None
    ) -> ResolvedImage | PlannedImage | ContextFiles | GitFiles | Fetched:
        """The named context or the image of a name; where there is none, a stage may have been meant."""
        try:
            linked = self._linked(name, platform)
            return linked or self.contexts.named(name, platform) or self.images.resolve(name, platform)
        except ImagesmithError as e:
            stages = [s.stage.base.name for s in self.graph.stages]
            raise e.also(suggest(name, filter(None, stages))) from e.__cause__

    def _linked(self, name: str, platform: Platform | None) -> PlannedImage | None:
        """The image of another target that a name stands for; one without that platform has but one."""
        key, contexts = normalise_name(name), self.request.contexts
        place = contexts.get(f"{key}::{platform}") or contexts.get(key) if self._links else None
        if not isinstance(place, TargetContext):
            return None
        images = self._links[place.name].images
        wanted = platform or host_platform()
        return next((image for image in images if image.platform == wanted), images[0])

    def base_of(self, state: StageState) -> Callable[[], Tree | None]:
        """How to get the files of a state's base image; None where it has none."""
        return lambda: None if state.base is None else self.images.files(state.base)

    def tree_of(self, origin: object) -> Tree | None:
        """The files of a context that is here."""
        return self.contexts.tree_of(origin) if isinstance(origin, ContextFiles) else None

    def build_context(self) -> ContextFiles | GitFiles | Fetched:
        """The main context's files."""
        return self.contexts.main()

    def no_cache(self, stage: PlannedStage) -> bool:
        """True if this stage's steps are to be executed whatever the cache says."""
        wanted = self.request.no_cache
        return wanted is not None and (not wanted or stage.name in {w.lower() for w in wanted})

    def _at(self, e: ImagesmithError, instruction: n.Instruction) -> ImagesmithError:
        d = self.dockerfile
        return locate(e, d.file, instruction.span, instruction.text, d.source)
