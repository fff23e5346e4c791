"""Steps: operations that make file systems, each known by the digest of what it is.

Why: a Dockerfile is first worked out whole (plan/) and only then executed (solver.py). A step says everything
that its result depends on, and two that say the same are one step: across stages, platforms and targets. The
solver knows no op: what one is, and how it is executed, stands in its own file (ops/), which finds here what
it has to answer, and what it may use.
Steps are plain values: contexts, images and other steps are named in them, nothing is held open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from imagesmith.context.origins import ContextFiles
from imagesmith.context.rows import KnownDigests, Rows
from imagesmith.dockerfile.nodes import Span
from imagesmith.fs.entry import Entry
from imagesmith.fs.view import View
from imagesmith.oci.codec import dumps
from imagesmith.oci.digest import Digest, digest_bytes
from imagesmith.oci.names import Platform
from imagesmith.solve.plain import plain
from imagesmith.solve.result import BuiltLayer, Result
from imagesmith.solve.tools import Tools
from imagesmith.values import field, field_names, frozen

__all__ = ["Halted", "Op", "Reads", "Step", "Work"]


@frozen
class Reads:
    """What a step takes of a context."""

    origin: ContextFiles
    path: str
    excludes: tuple[str, ...] = ()
    parents: bool = False


class Work(Protocol):
    """A step while it is solved: what it stands on, and what it may use."""

    @property
    def step(self) -> Step:
        """The step itself."""

    @property
    def tools(self) -> Tools:
        """Those of the whole solve."""

    @property
    def number(self) -> int:
        """The step's number on the screen."""

    @property
    def parent(self) -> Result:
        """What the step works on."""

    @property
    def now_ns(self) -> int:
        """The time (nanoseconds) of what is made: that at which an equal op was executed first."""

    @property
    def learns(self) -> bool:
        """True if digests of files are to be worked out while the layer is written."""

    def result(self, step: Step) -> Result:
        """The result of a step that this one needs."""

    def outline(self, result: Result) -> View:
        """What is at which path of a result, without layers that are elsewhere where tables tell of them.

        Contents of their files are those of the layers, which are fetched when one is opened.
        """

    def held_ns(self, mtime_ns: int) -> int:
        """What the layer holds of a time; both in nanoseconds."""

    def tell_copies(self, entries: Iterable[Entry]) -> None:
        """Tell who watches what is about to be written; it may be gone through more than once."""

    def learnt(self, rows: Sequence[Rows], digests: KnownDigests | None) -> None:
        """Hand over what each source's digest is made of, for `Op.digests` to take."""

    def seen(self) -> Sequence[Rows]:
        """What `learnt` was given, once."""

    def write(self, entries: Iterable[Entry], created_ns: int) -> BuiltLayer:
        """Write the step's layer."""


class Op:
    """What a step does. One that makes no layer has a `start`, the others `execute`.

    kind           what it is called in keys and in written plans
    runs           it executes a program on the files below, which must lie on the disk for it
    always_cached  --no-cache does not execute it anew
    makes_layer    false for what brings the layers of an image
    learns         its sources are best hashed while they are copied, where no earlier build has any like it
    apart          its layer is the same whatever is below
    """

    __slots__ = ()
    kind = ""
    runs = False
    makes_layer = True
    always_cached = False
    learns = False

    @property
    def apart(self) -> bool:
        """See the class."""
        return False

    @property
    def foreign(self) -> Platform | None:
        """The platform of the program that it executes, if that is not this machine's."""
        return None

    def inputs(self) -> Iterator[Step]:
        """The steps whose results this one needs besides what it works on."""
        yield from _steps(getattr(self, name) for name in field_names(self))

    def reads(self) -> Iterator[Reads]:
        """What it takes of contexts."""
        yield from ()

    def asks(self) -> Iterator[tuple[str, str]]:
        """The secrets and agents that it is given: `secret` or `ssh`, and the id."""
        yield from ()

    def digests(self, work: Work, *, by_layers: bool = False) -> list[str]:
        """The digest of each of its inputs, in order; for the cache key.

        `by_layers`: for files of another step that of its layers and the path, which opens none of them.

        Raises:
            MissingSource: one of them does not exist.
        """
        del work, by_layers
        return []

    def input_names(self) -> list[str]:
        """What the inputs are called where one has changed, in the order of `digests`."""
        return []

    def uncounted(self) -> str:
        """Which parts of it a cache key leaves out, where somebody may wonder."""
        return ""

    def listing(self, work: Work) -> Mapping[str, Mapping[str, str]]:
        """What its inputs are, by name and path, for telling later which file changed."""
        del work
        return {}

    def start(self, work: Work) -> Result | None:
        """The result of an op that makes no layer."""
        del work
        return None

    def execute(self, work: Work) -> BuiltLayer:
        """Make the layer."""
        raise NotImplementedError


@frozen(kw_only=True, eq=False)
class Step:
    """An operation on the result of `parent` (None: an empty file system); make one with `of`.

    `name` is what the user reads; `no_cache` asks to execute it whatever the cache says. Steps are equal if
    their digests are, whatever they are called and wherever they stand.
    """

    op: Op
    parent: Step | None
    name: str
    step_digest: Digest
    span: Span = field(default_factory=lambda: Span(0, 0))
    stage: str = ""
    no_cache: bool = False
    _inputs: tuple[Step, ...] = field(default=(), shown=False)

    @classmethod
    def of(
        cls,
        op: Op,
        parent: Step | None,
        name: str,
        *,
        span: Span | None = None,
        stage: str = "",
        no_cache: bool = False,
    ) -> Step:
        """A step, with the digest of its definition: the op, what it works on, and whether the cache counts.

        The platform is a field of the ops that depend on it: what does not is one step for all platforms.
        """
        definition = {"op": plain(op), "parent": plain(parent), "no_cache": no_cache}
        needed = (*(() if parent is None else (parent,)), *op.inputs())
        return cls(
            op=op,
            parent=parent,
            name=name,
            step_digest=digest_bytes(dumps(definition, sort_keys=True)),
            span=span or Span(0, 0),
            stage=stage,
            no_cache=no_cache,
            _inputs=needed,
        )

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Step) and self.step_digest.hex == other.step_digest.hex)

    def __hash__(self) -> int:
        return hash(self.step_digest.hex)

    def inputs(self) -> tuple[Step, ...]:
        """The steps whose results this one needs, the parent first."""
        return self._inputs


#: A step before which a solve is halted, when what it needs is solved, and what is done there.
Halted = tuple[Step, Callable[[Work], None]]


def _steps(values: Iterable[object]) -> Iterator[Step]:
    """The steps in values and in their fields."""
    for value in values:
        if isinstance(value, Step):
            yield value
        elif isinstance(value, tuple):
            yield from _steps(value)
        elif hasattr(value, "_fields"):
            yield from _steps(getattr(value, name) for name in field_names(value))
