"""A whole build: context and Dockerfile in, image and outputs out.

    context -> Dockerfile -> parse, lint -> plan -> solve -> commit -> outputs

Why: this is the only place where all parts meet; each of them knows only what it is given here.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from imagesmith.concurrency import Background, Cancel
from imagesmith.context.contexts import Contexts
from imagesmith.context.trees import Trees
from imagesmith.dockerfile.lint import Finding, LintConfig, Linter
from imagesmith.dockerfile.nodes import Dockerfile, Span
from imagesmith.dockerfile.parse import parse
from imagesmith.dockerfile.places import locate, mark
from imagesmith.errors import DockerfileError, ImagesmithError, IntegrityError
from imagesmith.events import EventSink, Planned, Vertex, Warned, nobody
from imagesmith.export.job import Export
from imagesmith.image.commit import Image, commit
from imagesmith.image.forms import Form, Reforming, common_form, form_of, is_image
from imagesmith.layer.codecs import Codec
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor
from imagesmith.oci.names import ImageRef
from imagesmith.plan.lints import BuildLints
from imagesmith.plan.plan import Plan, PlannedImage
from imagesmith.plan.planner import Planner
from imagesmith.plugins import EXPORTERS, load
from imagesmith.request import BuildRequest, Output
from imagesmith.settings import Settings
from imagesmith.solve.cacheplaces import CacheExport, CacheImport, CacheLost
from imagesmith.solve.graph import after_runs, chain, names_of
from imagesmith.solve.keeping import Keeping
from imagesmith.solve.layerwriter import LayerWriter
from imagesmith.solve.result import Result
from imagesmith.solve.solver import Solver
from imagesmith.solve.step import Step
from imagesmith.solve.stepcache import StepCache
from imagesmith.solve.tools import Tools
from imagesmith.solve.watching import Watcher, Watching
from imagesmith.store.store import Store
from imagesmith.transports.bases import Bases
from imagesmith.values import frozen, replace
from imagesmith.worker.sandbox.world import World
from imagesmith.worker.workshop import Workshop

#: What outputs are called on the screen.
_EXPORTING = {
    "oci": "oci image format",
    "docker": "docker image format",
    "local": "client directory",
    "tar": "client tarball",
}

__all__ = ["Built", "linter_of", "read_dockerfile", "run_build"]


@frozen(kw_only=True)
class Built:
    """What came out of a build."""

    image: Image
    tags: tuple[ImageRef, ...]
    exported: bool = True
    cache: Descriptor | None = None

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
        return self.image.entry

    def metadata(self, warnings: Sequence[Mapping[str, object]] = ()) -> bytes:
        """The document of --metadata-file, as buildx writes it: the image is in it if one was exported."""
        document: dict[str, object] = (
            {}
            if not self.exported
            else {
                "containerimage.config.digest": str(self.image_id),
                "containerimage.descriptor": self.descriptor.to_json(),
                "containerimage.digest": str(self.digest),
            }
        )
        if warnings:
            document["buildx.build.warnings"] = list(warnings)
        if self.cache is not None:
            document["cache.manifest"] = self.cache.to_json()
        if self.tags and self.exported:
            document["image.name"] = ",".join(map(str, self.tags))
        return json.dumps(dict(sorted(document.items())), indent=2).encode()


def run_build(request: BuildRequest, settings: Settings, world: World, events: EventSink) -> Built:
    """Build what is asked, write every output, and return the image.

    Raises:
        ImagesmithError: located in the Dockerfile where it belongs to an instruction.
    """
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(Store(settings.root))
        store.warn = lambda text: events(Warned(rule="", text=text))
        recorder = None
        if request.report:
            from imagesmith.observe.report import Recorder, reporting

            events = recorder = Recorder(events)
        contexts = stack.enter_context(Contexts(request, store, events))
        dockerfile = read_dockerfile(contexts, store)
        try:
            if recorder is None:
                return _attempts(dockerfile, contexts, request, settings, world, events, store)
            with reporting(recorder, request, store) as page:
                built = _attempts(dockerfile, contexts, request, settings, world, events, store, recorder)
                page.image = built.image
            return built
        except ImagesmithError as e:
            for i in dockerfile.at(e.first):  # what a step was about when it failed
                mark(e, i.span, i.text)
            raise e.located(dockerfile.file, 0, 0, dockerfile.source) from e.__cause__


def _attempts(
    dockerfile: Dockerfile,
    contexts: Contexts,
    request: BuildRequest,
    settings: Settings,
    world: World,
    events: EventSink,
    store: Store,
    *watchers: Watcher,
) -> Built:
    """Build, and where an imported cache is broken, build again without it."""
    try:
        return _build(dockerfile, contexts, request, settings, world, events, store, *watchers)
    except (CacheLost, IntegrityError) as e:
        if not request.cache_from:
            raise
        events(Warned(rule="", text=f"building again without --cache-from: {e.message}"))
        if contexts.images is not None:
            contexts.images.close()
        alone = replace(request, cache_from=())
        return _build(dockerfile, contexts, alone, settings, world, events, store, *watchers)


def read_dockerfile(contexts: Contexts, store: Store) -> Dockerfile:
    """The parsed Dockerfile of the build; the grammar is needed only for one that was not seen before."""
    name, data = contexts.dockerfile()
    return parse(data, name, store.cache)


def linter_of(dockerfile: Dockerfile, request: BuildRequest, warn: Callable[[Finding], None]) -> Linter:
    """The linter of a Dockerfile, whose findings go to `warn` as they come.

    Raises:
        DockerfileError: a check directive, or the build argument in its place, that cannot be read.
    """
    given = request.build_args.get("BUILDKIT_DOCKERFILE_CHECK")
    if given is not None:
        return Linter(LintConfig.parse(given), dockerfile, warn)
    written = dockerfile.directive("check")
    try:
        config = LintConfig.parse(written.value)
    except DockerfileError as e:
        text, line = dockerfile.source.split("\n")[written.line - 1], written.line
        raise locate(
            e.about(written.value), dockerfile.file, Span(line, line), text, dockerfile.source
        ) from None
    return Linter(config, dockerfile, warn)


def _event(w: Finding, dockerfile: Dockerfile) -> Warned:
    return Warned(rule=w.rule.name, text=w.detail, line=w.span.first, url=w.rule.url, file=dockerfile.file)


def _build(
    dockerfile: Dockerfile,
    contexts: Contexts,
    request: BuildRequest,
    settings: Settings,
    world: World,
    events: EventSink,
    store: Store,
    *watchers: Watcher,
) -> Built:
    cancel, numbers = Cancel(), contexts.numbers
    images = contexts.images = Bases(store, settings, request, events, numbers, cancel)
    linter = linter_of(dockerfile, request, lambda found: events(_event(found, dockerfile)))
    linter.lint_file()
    plan = Planner(dockerfile, request, images, contexts, BuildLints(linter)).plan()
    linter.finish()
    events(Planned(names=names_of([plan.tip])))
    outputs = request.outputs or ((Output(type="image"),) if request.tags else (Output(type="cacheonly"),))
    forms = [form_of(o, request, plan.epoch, plan.image.platform) for o in outputs]
    if any(f.epoch is None and o.flag("rewrite-timestamp") for o, f in zip(outputs, forms, strict=True)):
        events(Warned(rule="", text="rewrite-timestamp is specified, but no source-date-epoch was found"))
    first = common_form([f for o, f in zip(outputs, forms, strict=True) if is_image(o)])

    def writer_of(codec: Codec, clamp_s: int | None) -> LayerWriter:
        return LayerWriter(store, codec, settings.workers, clamp_s)

    tips = [plan.tip]
    keeping = Keeping(after_runs(tips), contexts.tree_of, store.work)
    tools = Tools(
        store=store, trees=Trees(contexts, contexts.file_digest, time.time_ns()),
        workshop=Workshop(world, store, events), bases=images, request=request, events=events, cancel=cancel,
        before_run=keeping.begin,
    )  # fmt: skip
    imports = CacheImport(request.cache_from, images, plan.image.platform, events)
    cache = StepCache(store, imports.load, first.clamp_s)
    keeper = CacheExport(request.cache_to, store, images, cache, events)
    uploading = _uploading(
        [o for o, f in zip(outputs, forms, strict=True) if f.same_layers(first)],
        request, plan, store, images, settings, events,
    )  # fmt: skip
    solver = Solver(
        tools, writer_of(first.codec, first.clamp_s), cache,
        [keeper, *watchers, *_explainer(request, store, cache, events), uploading], numbers,
    )  # fmt: skip
    wanted = list(zip(outputs, forms, strict=True))
    with keeping, _solved(solver, plan.tip, uploading) as result:
        return _write(wanted, plan, result, Reforming(store, writer_of, cancel), keeper, images, request)


@contextlib.contextmanager
def _solved(solver: Solver, tip: Step | None, uploading: Watching) -> Iterator[Result]:
    """The result of the last step. While it is used, what steps needed on this machine is taken away."""

    def end() -> None:
        with contextlib.suppress(OSError):  # what is left is swept by the next build
            solver.tools.workshop.close()

    try:
        with uploading:
            [result] = solver.solve([tip])
    except BaseException:
        end()
        raise
    ending = Background(end, "ending")
    try:
        yield result
    finally:
        ending.join()


def _write(
    wanted: Sequence[tuple[Output, Form]],
    plan: Plan,
    result: Result,
    reforming: Reforming,
    keeper: CacheExport,
    images: Bases,
    request: BuildRequest,
) -> Built:
    """Commit the image in each form, write the outputs and the caches."""
    made: dict[tuple[Form, bool], Image] = {}
    store, events = keeper.store, keeper.events
    for output, form in wanted:
        key = form, is_image(output)
        with _exporting(output, images) as vertex:
            if key not in made:
                made[key] = _commit(plan.image, result, reforming, keeper, key, vertex)
            export = Export(
                image=made[key], result=result, tags=_names(output, request), store=store, images=images,
                request=request, events=events, vertex=vertex,
            )  # fmt: skip
            load(EXPORTERS[output.type]).write(output, export)
    written = keeper.finish(result.layers, reforming.recompressed)
    output, form = next(((o, f) for o, f in wanted if is_image(o)), wanted[0])
    shown = is_image(output)
    return Built(image=made[form, shown], tags=_names(output, request), exported=shown, cache=written)


def _exporting(output: Output, images: Bases) -> Vertex:
    """The vertex of an output, called as BuildKit calls it; nobody is told of one that writes nothing."""
    if output.type == "cacheonly":
        return Vertex(nobody, 0, "")
    return images.step(f"exporting to {_EXPORTING.get(output.type, 'image')}")


def _commit(
    planned: PlannedImage,
    result: Result,
    reforming: Reforming,
    keeper: CacheExport,
    key: tuple[Form, bool],
    vertex: Vertex,
) -> Image:
    """The image in one form, or the config that goes with its files."""
    form, is_whole = key
    if not is_whole:
        return commit(planned, result.layers, keeper.store, form=form, extra={})
    with vertex.part("exporting layers"):
        layers = reforming.layers(result.layers, form)
    extra = keeper.inline(layers)
    image = commit(planned, layers, keeper.store, form=form, extra=extra)
    vertex.did(f"exporting manifest {image.manifest.digest}")
    vertex.did(f"exporting config {image.manifest.config.digest}")
    return image


def _explainer(
    request: BuildRequest, store: Store, cache: StepCache, events: EventSink
) -> tuple[Watcher, ...]:
    """Who tells why steps are executed, if that is asked for."""
    if not request.explain:
        return ()
    from imagesmith.observe.explain import Explainer

    return (Explainer(store, cache, request.build_args, events),)


def _uploading(
    outputs: Sequence[Output],
    request: BuildRequest,
    plan: Plan,
    store: Store,
    images: Bases,
    settings: Settings,
    events: EventSink,
) -> Watching:
    """Who sends the layers of the image while later ones are made, if any of the outputs is pushed."""
    refs = {ref.name: ref for o in outputs if o.pushes for ref in _names(o, request)}
    if not refs:
        return Watching()
    from imagesmith.export.uploading import Uploader

    found = plan.base
    base = images.image(found.name, found.digest, found.place) if found is not None else None
    steps = set(chain(plan.tip))
    return Uploader(store, images, list(refs.values()), steps, settings.transfers, events, base)


def _names(output: Output, request: BuildRequest) -> tuple[ImageRef, ...]:
    """The names of an output's image: those of --tag, else its own."""
    own = [n for n in output.options.get("name", "").split(",") if n]
    default_tag = not output.flag("push-by-digest")
    return request.tags or tuple(ImageRef.parse(n, default_tag=default_tag) for n in own)
