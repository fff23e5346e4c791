"""What an image was made of: each source with the digest that it had in this build.

Why noted while steps are solved: files of a context may change meanwhile. What is told of a folder is made of
the very digests that are in the steps' cache keys, so it is what went into the image.

    local://NAME   a folder (or a stream) of the machine: `context`, a named one, or `dockerfile`, whose
                   digest is that of its bytes. That of a folder is the sha256 of the JSON list of what steps
                   took of it, [path, excludes, parents, digest of the files], sorted

Spec: BuildKit's solver/llbsolver/provenance (predicate.go, capture.go) for the addresses of the others.
Threads: `Noted` is called from those of the steps.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Iterator

from imagesmith.attest.redact import without_secrets
from imagesmith.attest.statement import purl_of
from imagesmith.context.addresses import is_http_url
from imagesmith.context.contexts import Contexts
from imagesmith.context.git import context_ref
from imagesmith.context.origins import ContextFiles, Fetched, GitFiles
from imagesmith.context.trees import Trees
from imagesmith.dockerfile.nodes import Dockerfile
from imagesmith.oci.codec import dumps
from imagesmith.oci.digest import Digest, digest_bytes
from imagesmith.oci.names import ImageRef
from imagesmith.ops.copy import CopyOp
from imagesmith.ops.image import ImageOp
from imagesmith.ops.root import RootOp
from imagesmith.ops.run import RunOp
from imagesmith.plan.plan import Plan
from imagesmith.request import BuildRequest
from imagesmith.solve.graph import all_steps
from imagesmith.solve.step import Op, Step
from imagesmith.solve.watching import Solved, Watcher
from imagesmith.transports.bases import Bases
from imagesmith.values import frozen

__all__ = ["Material", "Noted", "Sources", "config_source", "materials_of"]

#: What a step takes of somewhere: the origin, the path in it, patterns left out, and --parents.
_Taken = tuple[object, str, tuple[str, ...], bool]


@frozen
class Material:
    """A source: its address, and its digest as algorithm and hexadecimal text."""

    uri: str
    algorithm: str
    hex: str

    @property
    def is_local(self) -> bool:
        """True for what nobody else can fetch."""
        return self.uri.startswith("local://")

    def to_json(self) -> dict[str, object]:
        """The object, as both versions of the predicate have it."""
        return {"uri": self.uri, "digest": {self.algorithm: self.hex}}


class Noted(Watcher):
    """Notes the digests of what steps took, while they are solved."""

    def __init__(self) -> None:
        self.inputs: dict[Step, tuple[str, ...]] = {}

    def solved(self, solved: Solved) -> None:
        """See Watcher."""
        for record in solved.records:
            found = record.parts.get("inputs")
            if isinstance(found, list | tuple):
                self.inputs[solved.step] = tuple(map(str, found))


@frozen(kw_only=True)
class Sources:
    """Who knows what a build was made of; all of it is open while the build lasts.

    `others` gives those of the build that a step is of, where it is another one's of the same solve.
    """

    request: BuildRequest
    dockerfile: Dockerfile
    contexts: Contexts
    trees: Trees
    bases: Bases
    noted: Noted
    others: Callable[[Step], Sources | None] = lambda _step: None


def config_source(sources: Sources) -> Material:
    """Where the Dockerfile came from: an address, a repository, or this machine."""
    request, pinned = sources.request, sources.contexts.pinned
    given = request.dockerfile or ""
    if is_http_url(given):
        return _pinned(without_secrets(given), pinned["-f"])
    if given != "-" and "context" in pinned:
        return _main(sources)
    raw = sources.dockerfile.source.encode("utf-8", "surrogateescape")
    return Material("local://dockerfile", "sha256", digest_bytes(raw).hex)


def materials_of(sources: Sources, plan: Plan) -> tuple[Material, ...]:
    """All sources of one image, sorted by address."""
    found = {config_source(sources), *(_image(op, sources.bases) for i in plan.images for op in i.bare)}
    local: dict[str, set[tuple[str, tuple[str, ...], bool, str]]] = {}
    for step in all_steps(plan.tips):
        own = sources.others(step) or sources
        if isinstance(step.op, ImageOp):
            found.add(_image(step.op, own.bases))
        digests = sources.noted.inputs.get(step, ())
        for n, (origin, path, excludes, parents) in enumerate(_taken(step.op)):
            match origin:
                case GitFiles():
                    commit = own.contexts.checkout(origin).commit
                    found.add(_pinned(without_secrets(origin.ref.address), f"commit:{commit}"))
                case Fetched():
                    [file] = own.trees.tree(origin).walk("")
                    found.add(Material(without_secrets(origin.url), "sha256", file.digest))
                case ContextFiles(name="context") if "context" in own.contexts.pinned:
                    found.add(_main(own))
                case ContextFiles(name=name, place=place) if name in own.contexts.pinned:
                    found.add(_pinned(without_secrets(place), own.contexts.pinned[name]))
                case ContextFiles(name=name, place=place) if place != "scratch":
                    digest = digests[n] if n < len(digests) else _looked_up(step.op, origin, path, own)
                    local.setdefault(name, set()).add((path, excludes, parents, digest))
    for name, rows in local.items():
        listed = [[path, list(excludes), parents, digest] for path, excludes, parents, digest in sorted(rows)]
        found.add(Material(f"local://{urllib.parse.quote(name)}", "sha256", digest_bytes(dumps(listed)).hex))
    return tuple(sorted(found, key=lambda m: (m.uri, m.algorithm, m.hex)))


def _taken(op: Op) -> Iterator[_Taken]:
    """What an op takes of outside, in the order of its digests; steps' results among it, for the order."""
    if isinstance(op, CopyOp):
        for source in op.sources:
            yield source.origin, source.path, op.excludes, op.parents
    elif isinstance(op, RunOp):
        for m in op.mounts:
            if m.mount.type == "bind":
                yield m.origin, m.mount.source or "/", (), False
    elif isinstance(op, RootOp):
        yield op.origin, "/", (), False


def _looked_up(op: Op, origin: ContextFiles, path: str, sources: Sources) -> str:
    """The digest of what a step took, of the files as they are now."""
    trees = sources.trees
    if isinstance(op, CopyOp):
        return trees.taken(origin, path, op.excludes, op.parents)
    return trees.mounted(trees.tree(origin), path)


def _image(op: ImageOp, bases: Bases) -> Material:
    """An image: the digest of what its name stands for, perhaps an index; which of it, the address says."""
    platform = bases.image(op.name, op.digest, op.place).config.platform
    kind = "oci" if op.place.startswith("oci:") else "docker"
    uri = purl_of(ImageRef.parse(op.name, default_tag=kind == "docker"), platform, kind)
    return Material(uri, op.named.algorithm, op.named.hex)


def _main(sources: Sources) -> Material:
    """The build context, where it is a repository or an address."""
    given = sources.request.context
    ref = context_ref(given)
    return _pinned(without_secrets(given if ref is None else ref.address), sources.contexts.pinned["context"])


def _pinned(uri: str, pin: str) -> Material:
    """A material by what a context was pinned to: a commit or a digest."""
    kind, _, value = pin.partition(":")
    if kind == "commit":
        return Material(uri, "sha1" if len(value) == 40 else "sha256", value)
    digest = Digest.parse(pin)
    return Material(uri, digest.algorithm, digest.hex)
