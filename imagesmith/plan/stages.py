"""The stages of a Dockerfile as a graph: who is built on whom, who copies from whom, what the target needs.

Why: stages that the target does not reach are never resolved or run, but some mistakes count in all of
them (names, circles, indexes), as in BuildKit, whose order of checks this follows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from imagesmith.context.named import normalise_name
from imagesmith.dockerfile.nodes import Copy, Dockerfile, From, Instruction, Run, Stage
from imagesmith.dockerfile.places import locate
from imagesmith.dockerfile.suggest import suggest
from imagesmith.dockerfile.words import Expansion, Lexer
from imagesmith.errors import DockerfileError, InvalidReference, blame
from imagesmith.oci.names import ImageRef, Platform
from imagesmith.values import field, record

__all__ = ["PlannedStage", "StageGraph", "from_word"]


@record
class PlannedStage:
    """A stage with its FROM expanded. `base` is an earlier stage, or None for an image or scratch.

    `context` is the name of the build context that replaces the stage, or empty.
    """

    stage: Stage
    image: str
    platform: Platform | None
    base: PlannedStage | None
    context: str = ""
    needs: dict[PlannedStage, None] = field(default_factory=dict)

    @property
    def index(self) -> int:
        """The stage's number, from 0."""
        return self.stage.index

    @property
    def name(self) -> str:
        """The stage's name, or its number as text."""
        return self.stage.name

    @property
    def shown(self) -> str:
        """The stage's name in messages."""
        return self.stage.base.name or f"stage-{self.index}"


def from_word(name: str, *, number: bool) -> tuple[str, int]:
    """How COPY (where numbers count), or a mount, names a stage, and where the name begins in that."""
    key = "--from=" if number else "from="
    return key + name, len(key)


class StageGraph:
    """All stages, their edges, and the target."""

    def __init__(
        self,
        dockerfile: Dockerfile,
        scope: Mapping[str, str],
        contexts: Mapping[str, object],
        target: str,
        default_platform: Platform | None,
    ) -> None:
        """Expand every FROM, find the target and the edges.

        Raises:
            DockerfileError: see the module's docstring; located at its instruction.
        """
        self.dockerfile = dockerfile
        self._scope, self._contexts, self._default = scope, contexts, default_platform
        self._lexer = Lexer(dockerfile.escape)
        self.expansions: dict[int, tuple[Expansion, Expansion | None]] = {}
        self.stages: list[PlannedStage] = []
        self._named: dict[str, PlannedStage] = {}
        if not dockerfile.stages:
            raise DockerfileError("dockerfile contains no stages to build", file=dockerfile.file)
        for stage in dockerfile.stages:
            with_place = stage.base
            try:
                planned = self._stage(stage)
            except DockerfileError as e:
                raise self._at(e, with_place) from None
            self.stages.append(planned)
            self._named[stage.base.name] = planned
        self.target = self._target(target)
        for planned in self.stages:
            for instruction in planned.stage.instructions:
                self.add_needs(planned, instruction)
        self._refuse_circles()

    # --- look-ups ------------------------------------------------------------------------------

    def find(self, name: str) -> PlannedStage | None:
        """The stage of that name in any case; of two with one name the later."""
        return self._named.get(name.lower())

    def source(self, name: str, *, number: bool = True) -> PlannedStage | None:
        """The stage that `--from` means; None if it must be an image or a context.

        Raises:
            DockerfileError: a number that is no stage's.
        """
        if number and name.isascii() and name.lstrip("+-").isdigit():
            index = int(name) if len(name) <= 20 else -1
            if not 0 <= index < len(self.stages):
                raise DockerfileError(f"invalid stage index {name[:20] if index < 0 else index}")
            return self.stages[index]
        return self.find(name)

    def reachable(self) -> list[PlannedStage]:
        """The stages that the target needs, itself included, in the file's order."""
        seen: dict[PlannedStage, None] = {}
        todo = [self.target]
        while todo:
            stage = todo.pop()
            if stage in seen:
                continue
            seen[stage] = None
            if not stage.context:
                todo += stage.needs
        return sorted(seen, key=lambda s: s.index)

    def add_needs(self, planned: PlannedStage, instruction: Instruction) -> None:
        """Add the edges of one instruction (a trigger's are found only when its base is known)."""
        try:
            if isinstance(instruction, Copy) and instruction.from_:
                self._check_copy_from(instruction)
                self._add(planned, instruction.from_, number=True)
            elif isinstance(instruction, Run):
                for mount in instruction.mounts:
                    from imagesmith.dockerfile.mounts import mount_from

                    name = mount_from(mount)
                    if name:
                        self._add(planned, name, number=False)
        except DockerfileError as e:
            raise self._at(e, instruction) from None

    def _add(self, planned: PlannedStage, name: str, *, number: bool) -> None:
        word, start = from_word(name, number=number)
        with blame(word, start):
            found = self.source(name, number=number)
        if found is not None:
            planned.needs[found] = None
        elif name != "scratch" and normalise_name(name) not in self._contexts:
            _check_reference(name, word, start)

    def _check_copy_from(self, c: Copy) -> None:
        expanded = self._lexer.expand(c.from_, lambda _: None)
        if expanded.text != c.from_:
            raise DockerfileError(
                "variable expansion is not supported for --from, define a new stage with FROM using ARG from "
                "global scope as a workaround"
            ).about(*from_word(c.from_, number=True))

    # --- FROM ----------------------------------------------------------------------------------

    def _stage(self, stage: Stage) -> PlannedStage:
        word = stage.base
        name = self._lexer.expand(word.image, self._scope.get)
        if not name.text.strip():
            raise DockerfileError(f"base name ({word.image}) should not be blank").about(word.image)
        platform, expansion = self._default, None
        if word.platform:
            expansion = self._lexer.expand(word.platform, self._scope.get)
            platform = self._platform(word, expansion)
        self.expansions[stage.index] = name, expansion
        base = self._named.get(name.text)
        context = ""
        if base is None and name.text != "scratch" and normalise_name(name.text) not in self._contexts:
            _check_reference(name.text, word.image)
        replaceable = word.name in self._contexts and word.name not in ("", "scratch", "context")
        # A context named like the image that this very stage starts from stands for that image.
        if replaceable and (base is not None or normalise_name(name.text) != word.name):
            context = word.name
        planned = PlannedStage(stage, name.text, platform, base, context)
        if base is not None:
            planned.needs[base] = None
        return planned

    def _platform(self, word: From, expansion: Expansion) -> Platform:
        if not expansion.text:
            hint = "".join(suggest(n, list(self._scope)) for n in sorted(expansion.unmatched))
            raise DockerfileError(f"empty platform value from expression {word.platform}{hint}").about(
                word.platform
            )
        try:
            return Platform.parse(expansion.text)
        except InvalidReference as e:
            told = DockerfileError(f"failed to parse platform {expansion.text}: {e}")
            raise told.about(word.platform) from e

    def _target(self, target: str) -> PlannedStage:
        if not target:
            return self.stages[-1]
        found = self.find(target)
        if found is None:
            names = [s.stage.base.name for s in self.stages if s.stage.base.name]
            raise DockerfileError(
                f'target stage "{target}" could not be found{suggest(target, names)}',
                file=self.dockerfile.file,
            )
        return found

    def _refuse_circles(self) -> None:
        done: set[PlannedStage] = set()
        for first in self.stages:
            path: dict[PlannedStage, Iterator[PlannedStage]] = {}
            if first not in done:
                path[first] = iter(first.needs)
            while path:
                stage, needs = next(reversed(path.items()))
                needed = next((n for n in needs if n not in done), None)
                if needed is None:
                    done.add(stage)
                    del path[stage]
                elif needed in path:
                    message = f"circular dependency detected on stage: {needed.shown}"
                    raise self._at(DockerfileError(message), needed.stage.base)
                else:
                    path[needed] = iter(needed.needs)

    def _at(self, e: DockerfileError, instruction: Instruction) -> DockerfileError:
        d = self.dockerfile
        return locate(e, d.file, instruction.span, instruction.text, d.source)


def _check_reference(name: str, word: str, start: int = 0) -> None:
    """Refuse what is no image's name; it stands in a word, from `start` on."""
    try:
        ImageRef.parse(name)
    except InvalidReference as e:
        told = DockerfileError(f'failed to parse stage name "{name}": {e.reason}')
        raise told.about(word, start) from e
