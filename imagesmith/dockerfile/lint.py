"""Build checks: BuildKit's rules by their names and words, one of ours, and which of them a Dockerfile wants.

Why in two places: the rules that need nothing but the text are checked here; those that need the scope of
the build (unset variables, ignored files) are in plan/lints.py and come here to be reported.
Spec: BuildKit's frontend/dockerfile/linter (ruleset.go, linter.go) and instructions/parse.go.
Trust: text of a Dockerfile; a bad `check` directive is a DockerfileError.
Threads: a Linter belongs to one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from imagesmith.dockerfile import nodes as n
from imagesmith.dockerfile.nodes import Dockerfile, Span
from imagesmith.dockerfile.places import place
from imagesmith.dockerfile.values import parse_bool
from imagesmith.errors import DockerfileError
from imagesmith.values import frozen

__all__ = ["LINKED_FOLDER", "RULES", "Finding", "LintConfig", "Linter", "Rule"]

#: Our own rule, after BuildKit's. It reads the layers of base images, so it runs only where it is asked for.
LINKED_FOLDER = "CopyLinkFolder"
_SITE = "https://docs.docker.com/go/dockerfile/rule/"


@frozen
class Rule:
    """A check: its name, what it is about, and whether it runs only where it is asked for."""

    name: str
    about: str
    experimental: bool = False

    @property
    def url(self) -> str:
        """Where the rule is explained; empty for those without a page."""
        if self.name in ("InvalidBaseImagePlatform", LINKED_FOLDER):
            return ""
        return _SITE + re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", self.name).lower() + "/"


#: Every rule by its name; the descriptions of all but the last are BuildKit's.
RULES = {
    r.name: r
    for r in (
        Rule("StageNameCasing", "Stage names should be lowercase"),
        Rule("FromAsCasing", "The 'as' keyword should match the case of the 'from' keyword"),
        Rule(
            "NoEmptyContinuation",
            "Empty continuation lines will become errors in a future release",
        ),
        Rule(
            "ConsistentInstructionCasing",
            "All commands within the Dockerfile should use the same casing (either upper or lower)",
        ),
        Rule("DuplicateStageName", "Stage names should be unique"),
        Rule("ReservedStageName", "Reserved words should not be used as stage names"),
        Rule("JSONArgsRecommended", "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended "
             "behavior related to OS signals"),
        Rule("MaintainerDeprecated", "The MAINTAINER instruction is deprecated, use a label instead to "
             "define an image author"),
        Rule("UndefinedArgInFrom", "FROM command must use declared ARGs"),
        Rule("WorkdirRelativePath", "Relative workdir without an absolute workdir declared within the build "
             "can have unexpected results if the base image changes"),
        Rule("UndefinedVar", "Variables should be defined before their use"),
        Rule("MultipleInstructionsDisallowed", "Multiple instructions of the same type should not be used in "
             "the same stage"),
        Rule("LegacyKeyValueFormat", "Legacy key/value format with whitespace separator should not be used"),
        Rule("InvalidBaseImagePlatform", "Base image platform does not match expected target platform"),
        Rule("RedundantTargetPlatform", "Setting platform to predefined $TARGETPLATFORM in FROM is redundant "
             "as this is the default behavior"),
        Rule("SecretsUsedInArgOrEnv", "Sensitive data should not be used in the ARG or ENV commands"),
        Rule("InvalidDefaultArgInFrom", "Default value for global ARG results in an empty or invalid base "
             "image name"),
        Rule("FromPlatformFlagConstDisallowed", "FROM --platform flag should not use a constant value"),
        Rule("CopyIgnoredFile", "Attempting to Copy file that is excluded by .dockerignore"),
        Rule("InvalidDefinitionDescription", "Comment for build stage or argument should follow the format: "
             "`# <arg/stage name> <description>`. If this is not intended to be a description comment, add "
             "an empty line or comment between the instruction and the comment.", experimental=True),
        Rule("ExposeProtoCasing", "Protocol in EXPOSE instruction should be lowercase"),
        Rule("ExposeInvalidFormat", "IP address and host-port mapping should not be used in EXPOSE "
             "instruction. This will become an error in a future release"),
        Rule(LINKED_FOLDER, "COPY --link makes the folders on its way anew, in place of the base image's",
             experimental=True),
    )
}  # fmt: skip


@frozen
class Finding:
    """A finding: the rule, what is wrong here, and where; `caret` is a word's line and its columns."""

    rule: Rule
    detail: str
    span: Span
    caret: tuple[int, int, int] | None = None


@frozen
class LintConfig:
    """Which rules run: those of `skip` do not, experimental ones only if they are asked for."""

    skip: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    skip_all: bool = False
    experimental_all: bool = False
    error: bool = False

    @classmethod
    def parse(cls, text: str) -> LintConfig:
        """Read the value of a check directive: `skip=A,B;error=true;experimental=C`.

        Raises:
            DockerfileError: an option that is not known, or a value that is no boolean.
        """
        skip: frozenset[str] = frozenset()
        experimental: frozenset[str] = frozenset()
        error = False
        for part in text.split(";", 2) if text else ():
            name, equals, value = part.strip().partition("=")
            if not equals or name not in ("skip", "experimental", "error"):
                shown = name if equals else part
                raise DockerfileError(f'failed to parse check options: invalid check option "{shown}"')
            if name == "error":
                try:
                    error = parse_bool(value)
                except ValueError as e:
                    raise DockerfileError(f'failed to parse check option "{part.strip()}": {e}') from None
                continue
            names = frozenset(w.strip() for w in value.split(","))
            if name == "skip":
                skip = names
            else:
                experimental = names
        return cls(skip, experimental, skip == {"all"}, experimental == {"all"}, error)

    def wants(self, rule: Rule) -> bool:
        """True if the rule runs."""
        if rule.experimental:
            return self.experimental_all or rule.name in self.experimental
        return not self.skip_all and rule.name not in self.skip

    def with_comments(self, comments: Iterable[str]) -> LintConfig:
        """This, with what `check=` comments right above an instruction add.

        Words after the value explain it; a comment that cannot be read is an ordinary one.
        """
        config = self
        for comment in comments:
            name, equals, value = comment.partition("=")
            words = value.split()
            if not equals or name.strip().lower() != "check" or not words:
                continue
            try:
                more = LintConfig.parse(words[0])
            except DockerfileError:
                continue
            config = LintConfig(
                config.skip | more.skip,
                config.experimental | more.experimental,
                config.skip_all or more.skip_all,
                config.experimental_all or more.experimental_all,
                config.error or more.error,
            )
        return config


class Linter:
    """Checks one Dockerfile; findings go to `warn` as they come."""

    def __init__(self, config: LintConfig, dockerfile: Dockerfile, warn: Callable[[Finding], None]) -> None:
        self.config, self.dockerfile, self._warn = config, dockerfile, warn
        self._violated: set[str] = set()
        self._error = config.error

    def wants(self, rule: str, comments: Sequence[str] = ()) -> bool:
        """True if a rule runs for an instruction with these comments above it."""
        return self.config.with_comments(comments).wants(RULES[rule])

    def report(
        self, rule: str, detail: str, at: Span | n.Instruction, comments: Sequence[str] = (), word: str = ""
    ) -> None:
        """Tell a finding, unless the Dockerfile or the `comments` of its instruction silence the rule.

        Args:
            rule: its name.
            detail: what is wrong.
            at: where: lines, or an instruction.
            comments: those above the instruction, where they count.
            word: what of the instruction is meant.
        """
        config = self.config.with_comments(comments) if comments else self.config
        if config.wants(RULES[rule]):
            self._violated.add(rule)
            self._error = self._error or config.error
            span, text = (at, "") if isinstance(at, Span) else (at.span, at.text)
            self._warn(Finding(RULES[rule], detail, span, place(span, text, word)))

    def lint_file(self, *, complete: bool = True) -> None:
        """The rules that need the text alone; not `complete`: what stands before a mistake."""
        for line in self.dockerfile.empty_continuations:
            self.report("NoEmptyContinuation", "Empty continuation line", Span(line, line))
        for arg in self.dockerfile.global_args:
            self._line(arg)
        for stage in self.dockerfile.stages:
            for i in (stage.base, *stage.instructions):
                self._line(i)
        if complete:
            self._stage_names()
            self._casing()

    def finish(self) -> None:
        """Refuse the Dockerfile if `error=true` stands in it and a rule was violated.

        Raises:
            DockerfileError: it names the rules.
        """
        if self._error and self._violated:
            raise DockerfileError(f"lint violation found for rules: {', '.join(sorted(self._violated))}")

    # --- one line ------------------------------------------------------------------------------

    def _line(self, i: n.Instruction) -> None:
        match i:
            case n.Maintainer():
                self.report(
                    "MaintainerDeprecated",
                    "Maintainer instruction is deprecated in favor of using label",
                    i,
                    i.comments,
                    i.keyword,
                )
            case n.From():
                self._from(i)
                self._description(i, [i.name] if i.name else [])
            case n.Arg():
                self._description(i, [p.key for p in i.pairs])

    def _from(self, i: n.From) -> None:
        if i.written_name != i.name:
            detail = f"Stage name '{i.written_name}' should be lowercase"
            self.report("StageNameCasing", detail, i, i.comments, i.written_name)
        lower = i.keyword.islower() and not i.as_word.islower()
        upper = i.keyword.isupper() and not i.as_word.isupper()
        if i.as_word and (lower or upper):
            detail = f"'{i.as_word}' and '{i.keyword}' keywords' casing do not match"
            self.report("FromAsCasing", detail, i, i.comments, i.as_word)

    def _description(self, i: n.Instruction, names: list[str]) -> None:
        if not i.comments or not names or i.comments[-1].split(" ")[0] in names:
            return
        shown = names[0] if len(names) == 1 else "<arg_key>"
        detail = f"Comment for {i.keyword.upper()} should follow the format: `# {shown} <description>`"
        self.report("InvalidDefinitionDescription", detail, i.span, i.comments)

    # --- all lines -----------------------------------------------------------------------------

    def _stage_names(self) -> None:
        seen: set[str] = set()
        for stage in self.dockerfile.stages:
            name = stage.base.name
            if name in ("scratch", "context"):
                detail = f'Stage name should not use the same name as reserved stage "{name}"'
                self.report("ReservedStageName", detail, stage.base, word=stage.base.written_name)
            if name and name in seen:
                detail = f'Duplicate stage name "{name}", stage names should be unique'
                self.report("DuplicateStageName", detail, stage.base, word=stage.base.written_name)
            seen.add(name)

    def _casing(self) -> None:
        """The majority of words that are all lower or all upper decides; a tie is for upper."""
        words = [i for s in self.dockerfile.stages for i in (s.base, *s.instructions)]
        lower = sum(i.keyword.islower() for i in words)
        upper = sum(i.keyword.isupper() for i in words)
        majority = "lowercase" if lower > upper else "uppercase"
        for i in words:
            if not (i.keyword.islower() if lower > upper else i.keyword.isupper()):
                self.report(
                    "ConsistentInstructionCasing",
                    f"Command '{i.keyword}' should match the case of the command majority ({majority})",
                    i,
                    word=i.keyword,
                )
