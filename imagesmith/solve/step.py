"""The build graph: steps that make file systems, and what they take from where.

Why: a Dockerfile is first worked out whole (plan/planner.py) and only then executed (solve/solver.py). A
Step says everything that its result depends on, so that the cache key is made of it and nothing else.
Values only; steps are compared by identity, for two equal lines are still two steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from imagesmith.context.git import GitRef
from imagesmith.dockerfile.mounts import Mount
from imagesmith.dockerfile.nodes import Span
from imagesmith.fs.tree import Tree
from imagesmith.oci.config import ImageConfig
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.oci.names import Platform
from imagesmith.values import field, frozen

__all__ = [
    "ContextFiles",
    "CopyOp",
    "CopySource",
    "Fetched",
    "GitFiles",
    "ImageOp",
    "Inline",
    "MakeDirOp",
    "Op",
    "Origin",
    "ResolvedImage",
    "RootOp",
    "RunMount",
    "RunOp",
    "Step",
    "after_runs",
    "context_reads",
    "names_of",
    "under_runs",
]


@frozen(kw_only=True)
class ResolvedImage:
    """An image that FROM or --from names: what its reference was resolved to, no layer fetched.

    `origin` tells the fetcher where missing blobs are: a registry reference, or a layout's folder.
    """

    name: str
    descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig
    origin: object


@frozen
class ContextFiles:
    """The files of a build context that are below a folder of the machine; `name` is for messages."""

    name: str
    tree: Tree


@frozen
class Fetched:
    """A file from a URL, fetched when the step is worked on. `checksum` is a digest or empty."""

    url: str
    checksum: str = ""
    unpack: bool = False


@frozen
class GitFiles:
    """The files of a repository at a ref; `own` if the user named it, and no Dockerfile did."""

    ref: GitRef
    keep_git_dir: bool = False
    checksum: str = ""
    own: bool = False


@frozen
class Inline:
    """A here-document as a file."""

    name: str
    data: bytes
    mode: int = 0o644


@frozen
class CopySource:
    """One source of COPY or ADD: a path or pattern in an origin."""

    origin: Origin
    path: str = "/"


@frozen(kw_only=True)
class CopyOp:
    """COPY and ADD. `dest` is absolute; a trailing slash (or `/.`) means a directory.

    `unpack` is ADD's: None unpacks local archives only, True all, False none; COPY has False.
    """

    sources: tuple[CopySource, ...]
    dest: str
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    excludes: tuple[str, ...] = ()
    is_add: bool = False
    unpack: bool | None = False


@frozen(kw_only=True)
class MakeDirOp:
    """WORKDIR's directory, owned by `user`; `time_ns` is its time under SOURCE_DATE_EPOCH."""

    path: str
    user: str = ""
    time_ns: int | None = None


@frozen
class RunMount:
    """A --mount with where its files come from; `origin` is None for an empty tree."""

    mount: Mount
    origin: Origin = None


@frozen(kw_only=True)
class RunOp:
    """RUN. `env` is the whole environment, `proxy_env` what is given to the process but is not in the key."""

    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    cwd: str
    user: str = ""
    mounts: tuple[RunMount, ...] = ()
    network: str = "default"
    security: str = "sandbox"
    proxy_env: tuple[tuple[str, str], ...] = ()
    hostname: str = ""
    extra_hosts: tuple[tuple[str, str], ...] = ()
    shm_size_bytes: int = 0
    ulimits: tuple[tuple[str, int, int], ...] = ()
    cgroup_parent: str = ""
    platform: Platform | None = None


@frozen
class ImageOp:
    """The file system of an image."""

    image: ResolvedImage


@frozen
class RootOp:
    """A folder, repository or URL as a whole root file system (`FROM` a named context)."""

    origin: ContextFiles | GitFiles | Fetched


Op = RunOp | CopyOp | MakeDirOp | ImageOp | RootOp


@frozen(kw_only=True, eq=False)
class Step:
    """An operation on the result of `parent` (None: an empty file system).

    `name` is what the user reads; `no_cache` asks to execute it whatever the cache says.
    """

    op: Op
    parent: Step | None
    name: str
    span: Span = field(default_factory=lambda: Span(0, 0))
    stage: str = ""
    no_cache: bool = False

    def inputs(self) -> tuple[Step, ...]:
        """The steps whose results this one needs, the parent first."""
        out = [] if self.parent is None else [self.parent]
        if isinstance(self.op, CopyOp):
            out += [s.origin for s in self.op.sources if isinstance(s.origin, Step)]
        elif isinstance(self.op, RunOp):
            out += [m.origin for m in self.op.mounts if isinstance(m.origin, Step)]
        return tuple(out)


#: Where files can come from: another step's result, an empty tree (None), a context, a URL, a repository.
Origin = Step | ContextFiles | Fetched | GitFiles | Inline | None


def after_runs(tip: Step | None) -> list[Step]:
    """The steps that take files of a context, and cannot begin before a RUN has ended."""
    waits: dict[Step, bool] = {}
    todo = [tip] if tip is not None else []
    while todo:
        step = todo[-1]
        unknown = [needed for needed in step.inputs() if needed not in waits]
        if unknown and step not in waits:
            todo += unknown
            continue
        todo.pop()
        waits[step] = any(isinstance(needed.op, RunOp) or waits[needed] for needed in step.inputs())
    return [step for step, late in waits.items() if late and any(context_reads(step))]


def names_of(tip: Step | None) -> tuple[str, ...]:
    """The names of all steps that must be solved for the last one, those of other stages among them."""
    seen: dict[Step, None] = {}
    todo = [tip] if tip is not None else []
    while todo:
        step = todo.pop()
        if step not in seen:
            seen[step] = None
            todo += step.inputs()
    return tuple(step.name for step in seen if not isinstance(step.op, ImageOp))


def context_reads(step: Step) -> Iterator[tuple[ContextFiles, str]]:
    """The contexts that a step takes files of, and their paths there."""
    taken: Sequence[CopySource | RunMount] = ()
    if isinstance(step.op, CopyOp):
        taken = step.op.sources
    elif isinstance(step.op, RunOp):
        taken = step.op.mounts
    for one in taken:
        if isinstance(one.origin, ContextFiles):
            yield one.origin, one.path if isinstance(one, CopySource) else one.mount.source


def under_runs(tip: Step | None) -> frozenset[Step]:
    """The steps on whose layers a RUN stands, or that it mounts: it executes if they do."""
    seen: set[Step] = set()
    under: set[Step] = set()
    todo = [tip] if tip is not None else []
    while todo:
        step = todo.pop()
        if step in seen:
            continue
        seen.add(step)
        todo += step.inputs()
        for at in step.inputs() if isinstance(step.op, RunOp) else ():
            below: Step | None = at
            while below is not None and below not in under:
                under.add(below)
                below = below.parent
    return frozenset(under)
