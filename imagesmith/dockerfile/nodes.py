"""The instructions of a Dockerfile as values: what the parser makes and the build reads.

Why: words here are as written (after line joining): expansion needs the scope of the build and comes later,
by `words.py`. A node says which instruction it is by its class and where it stood by its `span`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from imagesmith.values import field, frozen

__all__ = [
    "Add",
    "Arg",
    "Cmd",
    "Command",
    "Copy",
    "Directive",
    "Dockerfile",
    "Entrypoint",
    "Env",
    "Expose",
    "From",
    "Healthcheck",
    "Heredoc",
    "Instruction",
    "KeyValue",
    "Label",
    "Maintainer",
    "Onbuild",
    "Run",
    "Shell",
    "Span",
    "Stage",
    "Stopsignal",
    "User",
    "Volume",
    "Workdir",
    "is_single_heredoc",
]


@frozen
class Span:
    """First and last physical line of an instruction, from 1.

    `pieces` tell where the joined line comes from: an offset in it, and the line and column (from 0) that the
    text from there on has in the file.
    """

    first: int
    last: int
    pieces: tuple[tuple[int, int, int], ...] = field(default=(), shown=False)


@frozen
class Directive:
    """A parser directive: name in lower case, value as written."""

    name: str
    value: str
    line: int


@frozen
class Heredoc:
    """A here-document: `expand` is False if its name was quoted, `chomp` is True for `<<-`.

    `text` is the body as it stands in the file, each line with its end, tabs not yet taken off.
    """

    name: str
    text: str
    expand: bool
    chomp: bool

    def content(self) -> str:
        """The body as a file: with `<<-` the leading tabs of each line are gone."""
        if not self.chomp:
            return self.text
        return "".join(line.lstrip("\t") for line in self.text.splitlines(keepends=True))


@frozen
class KeyValue:
    """One pair of ENV, LABEL or ARG, both parts as written; `value` is None for an ARG without `=`."""

    key: str
    value: str | None


@frozen
class Command:
    """A command line: `exec` form is a list of arguments, shell form one string in a list of one."""

    args: tuple[str, ...]
    exec: bool


@frozen(kw_only=True)
class Instruction:
    """What all instructions have. `text` is the joined line, keyword as written included.

    `comments` are the comment lines directly above (without `#`, trimmed), for doc comments and
    `# check=skip=…`; `keyword` is the word as written.
    """

    span: Span
    keyword: str
    text: str
    comments: tuple[str, ...] = ()


@frozen(kw_only=True)
class From(Instruction):
    """FROM: `name` is in lower case, `written_name` as written; `as_word` the word AS as written."""

    image: str
    platform: str = ""
    name: str = ""
    written_name: str = ""
    as_word: str = ""


@frozen(kw_only=True)
class Run(Instruction):
    """RUN. `mounts` are the values of `--mount` as written; heredocs in order of appearance."""

    command: Command
    heredocs: tuple[Heredoc, ...] = ()
    mounts: tuple[str, ...] = ()
    network: str = ""
    security: str = ""
    devices: tuple[str, ...] = ()
    others: Mapping[str, object] = field(default_factory=dict)


@frozen(kw_only=True)
class Copy(Instruction):
    """COPY. `sources` exclude heredocs, which stand in `heredocs`; `others` are flags of the op alone."""

    sources: tuple[str, ...]
    dest: str
    heredocs: tuple[Heredoc, ...] = ()
    from_: str = ""
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    excludes: tuple[str, ...] = ()
    others: Mapping[str, object] = field(default_factory=dict)


@frozen(kw_only=True)
class Add(Instruction):
    """ADD. `keep_git_dir` and `unpack` are None where the flag is absent."""

    sources: tuple[str, ...]
    dest: str
    heredocs: tuple[Heredoc, ...] = ()
    chown: str = ""
    chmod: str = ""
    link: bool = False
    excludes: tuple[str, ...] = ()
    checksum: str = ""
    keep_git_dir: bool | None = None
    unpack: bool | None = None
    others: Mapping[str, object] = field(default_factory=dict)


@frozen(kw_only=True)
class Env(Instruction):
    """ENV. `legacy` is True for `ENV key value`."""

    pairs: tuple[KeyValue, ...]
    legacy: bool = False


@frozen(kw_only=True)
class Label(Instruction):
    """LABEL. `legacy` is True for `LABEL key value`."""

    pairs: tuple[KeyValue, ...]
    legacy: bool = False


@frozen(kw_only=True)
class Arg(Instruction):
    """ARG, one or more names."""

    pairs: tuple[KeyValue, ...]


@frozen(kw_only=True)
class Workdir(Instruction):
    """WORKDIR."""

    path: str


@frozen(kw_only=True)
class User(Instruction):
    """USER."""

    user: str


@frozen(kw_only=True)
class Expose(Instruction):
    """EXPOSE: words as written, not yet expanded or split into ranges."""

    ports: tuple[str, ...]


@frozen(kw_only=True)
class Volume(Instruction):
    """VOLUME."""

    paths: tuple[str, ...]


@frozen(kw_only=True)
class Cmd(Instruction):
    """CMD."""

    command: Command


@frozen(kw_only=True)
class Entrypoint(Instruction):
    """ENTRYPOINT."""

    command: Command


@frozen(kw_only=True)
class Shell(Instruction):
    """SHELL."""

    args: tuple[str, ...]


@frozen(kw_only=True)
class Stopsignal(Instruction):
    """STOPSIGNAL."""

    signal: str


@frozen(kw_only=True)
class Healthcheck(Instruction):
    """HEALTHCHECK. `test` is the config's Test list; durations in nanoseconds, 0 = not set."""

    test: tuple[str, ...]
    interval_ns: int = 0
    timeout_ns: int = 0
    start_period_ns: int = 0
    start_interval_ns: int = 0
    retries: int = 0


@frozen(kw_only=True)
class Onbuild(Instruction):
    """ONBUILD: `trigger` is the text that goes into the config, heredoc bodies included."""

    trigger: str


@frozen(kw_only=True)
class Maintainer(Instruction):
    """MAINTAINER."""

    name: str


@frozen
class Stage:
    """FROM and the instructions up to the next FROM."""

    index: int
    base: From
    instructions: tuple[Instruction, ...]

    @property
    def name(self) -> str:
        """The stage's name in lower case, or its index as text."""
        return self.base.name or str(self.index)


@frozen
class Dockerfile:
    """A whole Dockerfile. `global_args` are the ARGs before the first FROM.

    `source` is the text (after the byte order mark), `file` the name for messages, `escape` the escape
    character, `empty_continuations` the last lines of instructions that hold blank lines, for the linter.
    """

    file: str
    source: str
    escape: str
    directives: tuple[Directive, ...]
    global_args: tuple[Arg, ...]
    stages: tuple[Stage, ...]
    empty_continuations: tuple[int, ...] = field(default=())

    def at(self, line: int) -> Iterator[Instruction]:
        """The instruction that begins at a line, if one does."""
        groups = (self.global_args, *((stage.base, *stage.instructions) for stage in self.stages))
        return (i for group in groups for i in group if i.span.first == line)

    def directive(self, name: str) -> Directive:
        """A directive; an empty one where it is not written."""
        return next((d for d in self.directives if d.name == name), Directive(name, "", 0))


def is_single_heredoc(i: Run) -> bool:
    """True if the command is exactly one here-document: its body is the script."""
    from imagesmith.dockerfile.heredocs import opening_of

    return not i.command.exec and opening_of(i.command.args[0]) is not None
