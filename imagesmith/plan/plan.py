"""A worked-out Dockerfile as plain data: the steps of its images, and what their configs say besides.

Why: what is planned in one place may be looked at, recorded and executed in another. A plan is written as
JSON and read back equal; nothing in it is open, fetched or bound to a process. Contexts and images are named:
by the name and the place that they were given, and by digest. Values of secrets are never in it.

    {"version": 2, "images": [{…, "tip": DIGEST, "epoch": …}, …], "steps": [STEP, …]}
    STEP: {"digest", "name", "lines": [first, last], "stage", "no_cache", "parent": DIGEST | null, "op": {…}}

A step comes after those that it needs. Values are objects whose `kind` says what they are (solve/plain.py).
Trust: a plan that is read comes through the strict door, and a step is what its digest says or is refused.
"""

from __future__ import annotations

import functools
from typing import Any

from imagesmith.context.git import GitRef
from imagesmith.context.origins import ContextFiles, Fetched, GitFiles, Inline
from imagesmith.dockerfile.nodes import Span
from imagesmith.errors import InvalidDocument
from imagesmith.oci.codec import parse_object
from imagesmith.oci.config import Healthcheck, History, Runtime
from imagesmith.oci.digest import Digest
from imagesmith.oci.names import Platform
from imagesmith.ops.copy import CopyOp, CopySource
from imagesmith.ops.image import ImageOp
from imagesmith.ops.run import RunOp
from imagesmith.ops.runmount import RunMount
from imagesmith.solve.graph import all_steps, chain
from imagesmith.solve.plain import kind_of, plain, restored
from imagesmith.solve.step import Step
from imagesmith.values import frozen

__all__ = ["Plan", "PlannedHistory", "PlannedImage"]

_VERSION = 2


@frozen
class PlannedHistory:
    """A history entry whose time is known only when its layer is, if it has one."""

    created_by: str
    layer: bool = False


#: What an SBOM looks at besides an image: a name, and a stage's last step (None: it is empty) or a context.
Scan = tuple[str, Step | ContextFiles | GitFiles | Fetched | None]


@frozen(kw_only=True)
class PlannedImage:
    """An image: its last step (None for an empty one), and what it says besides its layers.

    The base image's history comes before its own; times are clamped to the epoch (seconds), if there is one.
    `bare` are the images without layers that its stages start from: no step brings anything of them.
    Where an SBOM is made, `scans` are the stages, by name, and the context that are looked at besides.
    """

    platform: Platform
    tip: Step | None
    epoch: int | None
    runtime: Runtime
    author: str
    base_history: tuple[History, ...]
    history: tuple[PlannedHistory, ...]
    scans: tuple[Scan, ...] = ()
    bare: tuple[ImageOp, ...] = ()

    @property
    def base(self) -> ImageOp | None:
        """The image that it stands on."""
        ops = [step.op for step in chain(self.tip)]
        return ops[-1] if ops and isinstance(ops[-1], ImageOp) else None


@frozen
class Plan:
    """The images of one build, one a platform, in the order in which they were asked for."""

    images: tuple[PlannedImage, ...]

    @property
    def tips(self) -> list[Step | None]:
        """The last steps."""
        return [image.tip for image in self.images]

    def to_json(self) -> dict[str, Any]:
        """The document; see the module's docstring."""
        return {
            "version": _VERSION,
            "images": [plain(image) for image in self.images],
            "steps": [_written(step) for step in all_steps(self.tips)],
        }

    @classmethod
    def parse(cls, raw: bytes) -> Plan:
        """Read a plan that was written.

        Raises:
            InvalidDocument: it is none, of another version, or a step is not what its digest says.
        """
        document = parse_object(raw, "plan").data
        if document.get("version") != _VERSION:
            raise InvalidDocument(f"a plan of version {str(document.get('version'))[:20]!r} is not known")
        steps: dict[str, Step] = {}
        try:
            for row in document["steps"]:
                step = _read(row, steps)
                steps[str(step.step_digest)] = step
            images = [restored(row, _kinds(), steps.__getitem__) for row in document["images"]]
        except (KeyError, TypeError, ValueError) as e:
            raise InvalidDocument(f"a plan lacks {e}") from e
        if not images or not all(_is_sound(image) for image in images):
            raise InvalidDocument("a plan has no image")
        return cls(tuple(images))


@functools.cache
def _kinds() -> dict[str, type]:
    """All that a plan may hold; who plans reads none, and needs few of these."""
    from imagesmith.dockerfile.mounts import Mount
    from imagesmith.ops.add import AddOp
    from imagesmith.ops.mkdir import MakeDirOp
    from imagesmith.ops.root import RootOp

    kinds = (
        AddOp, ContextFiles, CopyOp, CopySource, Digest, Fetched, GitFiles, GitRef, Healthcheck, History,
        ImageOp, Inline, MakeDirOp, Mount, PlannedHistory, PlannedImage, Platform, RootOp, RunMount, RunOp,
        Runtime,
    )  # fmt: skip
    return {kind_of(kind): kind for kind in kinds}


def _is_sound(image: object) -> bool:
    if not isinstance(image, PlannedImage):
        return False
    epoch: object = image.epoch
    tip: object = image.tip
    return isinstance(epoch, int | None) and isinstance(tip, Step | None)


def _written(step: Step) -> dict[str, object]:
    return {
        "digest": str(step.step_digest),
        "name": step.name,
        "lines": [step.span.first, step.span.last],
        "stage": step.stage,
        "no_cache": step.no_cache,
        "parent": step.parent and str(step.parent.step_digest),
        "op": plain(step.op),
    }


def _read(row: dict[str, Any], steps: dict[str, Step]) -> Step:
    first, last = row["lines"]
    parent = row["parent"]
    step = Step.of(
        restored(row["op"], _kinds(), steps.__getitem__),
        None if parent is None else steps[parent],
        row["name"],
        span=Span(int(first), int(last)),
        stage=row["stage"],
        no_cache=row["no_cache"] is True,
    )
    if str(step.step_digest) != row["digest"]:
        raise InvalidDocument(f"a plan's step {str(row['digest'])[:80]!r} is another one")
    return step
