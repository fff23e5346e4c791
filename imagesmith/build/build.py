"""A whole build: context and Dockerfile in, image and outputs out.

    context -> Dockerfile -> parse, lint -> plan -> solve -> commit -> outputs

Why: this is the only place where all parts meet; each of them knows only what it is given here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from imagesmith.build.commit import Image, commit
from imagesmith.build.contexts import Contexts
from imagesmith.build.images import Images
from imagesmith.build.layerwriter import LayerWriter
from imagesmith.build.lints import BuildLints
from imagesmith.build.planner import Plan, Planner
from imagesmith.build.request import BuildRequest, Output
from imagesmith.build.solver import Result, Solver
from imagesmith.concurrency import Cancel
from imagesmith.dockerfile.lint import LintConfig, Linter
from imagesmith.dockerfile.nodes import Dockerfile
from imagesmith.dockerfile.parse import parse
from imagesmith.errors import ImagesmithError, UsageError
from imagesmith.events import EventSink, Warned
from imagesmith.layer.codecs import Codec
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor
from imagesmith.oci.names import ImageRef
from imagesmith.plugins import EXPORTERS, load
from imagesmith.sandbox.world import World
from imagesmith.settings import Settings
from imagesmith.steps.run import Runner
from imagesmith.steps.sources import Sources
from imagesmith.store.store import Store

__all__ = ["Built", "Export", "plan_of", "read_dockerfile", "run_build"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What came out of a build."""

    image: Image
    tags: tuple[ImageRef, ...]

    @property
    def digest(self) -> Digest:
        """The manifest's digest."""
        return self.image.manifest.digest

    @property
    def image_id(self) -> Digest:
        """What Docker calls the image's ID: the digest of its config."""
        return self.image.manifest.config.digest

    @property
    def descriptor(self) -> Descriptor:
        """The manifest's descriptor, with its platform."""
        return self.image.manifest.descriptor(self.image.config.platform)

    def metadata(self) -> bytes:
        """The document of --metadata-file, as buildx writes it."""
        document = {
            "containerimage.config.digest": str(self.image_id),
            "containerimage.descriptor": self.descriptor.to_json(),
            "containerimage.digest": str(self.digest),
        }
        if self.tags:
            document["image.name"] = ",".join(map(str, self.tags))
        return json.dumps(dict(sorted(document.items())), indent=2).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What an exporter is given: the image, its file system, where it comes from and who is told."""

    image: Image
    result: Result
    tags: tuple[ImageRef, ...]
    epoch: int | None
    store: Store
    images: Images
    request: BuildRequest
    events: EventSink


def run_build(request: BuildRequest, settings: Settings, world: World, events: EventSink) -> Built:
    """Build what is asked, write every output, and return the image.

    Raises:
        ImagesmithError: located in the Dockerfile where it belongs to an instruction.
    """
    with Store(settings.root) as store, Contexts(request, store) as contexts:
        dockerfile = read_dockerfile(contexts)
        try:
            return _build(dockerfile, contexts, request, settings, world, events, store)
        except ImagesmithError as e:
            raise e.located(dockerfile.file, 0, 0, dockerfile.source) from e.__cause__


def read_dockerfile(contexts: Contexts) -> Dockerfile:
    """The parsed Dockerfile of the build."""
    name, data = contexts.dockerfile()
    return parse(data, name)


def plan_of(
    dockerfile: Dockerfile,
    request: BuildRequest,
    images: Images,
    contexts: Contexts,
    warn: Callable[[Warned], None],
) -> tuple[Planner, Linter]:
    """A planner for a Dockerfile, and its linter, whose warnings go to `warn` as they are found."""
    config = LintConfig.parse(
        request.build_args.get("BUILDKIT_DOCKERFILE_CHECK", dockerfile.directive("check"))
    )
    linter = Linter(config, dockerfile, warn=lambda w: warn(_event(w, dockerfile)))
    linter.lint_file()
    return Planner(dockerfile, request, images, contexts, BuildLints(linter)), linter


def _event(w: object, dockerfile: Dockerfile) -> Warned:
    return Warned(rule=w.rule, text=w.detail, line=w.span.first, url=w.url, file=dockerfile.file)


def _build(
    dockerfile: Dockerfile,
    contexts: Contexts,
    request: BuildRequest,
    settings: Settings,
    world: World,
    events: EventSink,
    store: Store,
) -> Built:
    images = contexts.images = Images(store, settings, request, events)
    planner, linter = plan_of(dockerfile, request, images, contexts, events)
    plan = planner.plan()
    linter.finish()
    outputs = request.outputs or ((Output(type="image"),) if request.tags else (Output(type="cacheonly"),))
    codec, clamp_s = _layer_options(outputs, plan)
    cancel = Cancel()
    writer = LayerWriter(store, codec, settings.workers, clamp_s)
    sources = Sources(contexts.fetch_url, contexts.fetch_git, contexts.file_digest, _now_ns(plan))
    runner = Runner(world, store, request, cancel)
    solver = Solver(store, writer, sources, runner, images.layers, events, cancel)
    try:
        result = solver.result(plan.state.tip)
    finally:
        runner.close()
    image = commit(
        plan.state,
        result.layers,
        store,
        labels=request.labels,
        epoch=plan.epoch,
        oci_types=all(o.flag("oci-mediatypes", True) for o in outputs),
        annotations=_annotations(outputs, request),
    )
    for output in outputs:
        tags = (
            tuple(ImageRef.parse(n) for n in output.options.get("name", "").split(",") if n) or request.tags
        )
        load(EXPORTERS[output.type])(
            output,
            Export(
                image=image, result=result, tags=tags, epoch=plan.epoch, store=store, images=images,
                request=request, events=events,
            ),
        )  # fmt: skip
    return Built(image=image, tags=request.tags)


def _now_ns(plan: Plan) -> int:
    del plan
    return time.time_ns()


def _annotations(outputs: tuple[Output, ...], request: BuildRequest) -> dict[str, str]:
    found = dict(request.annotations)
    for output in outputs:
        for key, value in output.options.items():
            if key.startswith("annotation."):
                found[key.removeprefix("annotation.")] = value
    return found


def _layer_options(outputs: tuple[Output, ...], plan: Plan) -> tuple[Codec, int | None]:
    """How new layers are compressed, and the epoch that their times are clamped to."""
    wanted = {(o.options.get("compression", "gzip"), o.options.get("compression-level", "")) for o in outputs}
    if len(wanted) > 1:
        raise UsageError("outputs of one build must agree on compression")
    kind, level = wanted.pop()
    clamps = {o.flag("rewrite-timestamp") for o in outputs}
    if len(clamps) > 1:
        raise UsageError("outputs of one build must agree on rewrite-timestamp")
    clamp = plan.epoch if clamps.pop() else None
    return Codec.parse(kind, level), clamp
