"""A run of builds: one store, one set of settings, and who is told; each request is built in it.

    context -> Dockerfile -> parse, lint -> plan -> solve -> commit -> outputs

Why: this is the only place where all parts meet; each of them knows only what it is given here.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

from imagesmith.concurrency import Background, Cancel
from imagesmith.context.contexts import Contexts
from imagesmith.context.trees import Trees
from imagesmith.dockerfile.lint import Finding
from imagesmith.dockerfile.nodes import Dockerfile
from imagesmith.dockerfile.places import mark
from imagesmith.errors import ImagesmithError, IntegrityError
from imagesmith.events import EventSink, Message, Planned, Warned
from imagesmith.export.writing import (
    Outputs,
    Wanted,
    access_of,
    refuse_what_it_cannot_hold,
    uploader_of,
)
from imagesmith.image.forms import Form, Reforming, common_form, form_of, is_image
from imagesmith.image.result import BuildResult
from imagesmith.layer.codecs import Codec
from imagesmith.plan.plan import Plan
from imagesmith.plan.platforms import plan_build
from imagesmith.plan.reading import linter_of, read_dockerfile
from imagesmith.request import BuildRequest, Output
from imagesmith.settings import Settings
from imagesmith.solve.cacheplaces import CacheExport, CacheImport, CacheLost
from imagesmith.solve.graph import after_runs, names_of
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

if TYPE_CHECKING:
    from imagesmith.attest.attesting import Attesting
    from imagesmith.attest.bills import Bills
    from imagesmith.context.origins import ContextFiles, Fetched, GitFiles
    from imagesmith.fs.tree import Tree
    from imagesmith.interfaces import Admission

    #: What an SBOM looks at: a stage's last step (None for an empty one), or a context.
    Scanned = Step | ContextFiles | GitFiles | Fetched | None

__all__ = ["Session", "run_build"]


def run_build(request: BuildRequest, settings: Settings, world: World, events: EventSink) -> BuildResult:
    """Build one request in a session of its own; see Session.build."""
    with Session(settings, world, events) as session:
        return session.build(request)


class Session:
    """The store, and what builds are done with; close it, or use it in a `with`."""

    def __init__(self, settings: Settings, world: World, events: EventSink) -> None:
        """Open the store.

        Args:
            settings: of this user.
            world: where RUN is executed.
            events: is told what happens, from any thread.
        """
        self.settings, self.world, self.events = settings, world, events
        self.store = Store(settings.root)
        self.store.warn = lambda text: events(Warned(rule="", text=text))

    def __enter__(self) -> Self:
        self.store.__enter__()
        return self

    def __exit__(self, *what: Any) -> None:  # noqa: ANN401 - handed on
        """Close the store; see Store.__exit__ for what may be told then."""
        self.store.__exit__(*what)

    def _admission(self, request: BuildRequest) -> Admission | None:
        """Who is asked about images from elsewhere, if there is a policy."""
        policy = self.settings.policy_for(request.policy)
        if not policy:
            return None
        from imagesmith.trust.admission import admission_by

        return admission_by(policy)

    def build(self, request: BuildRequest) -> BuildResult:
        """Build what is asked, and write every output.

        Raises:
            ImagesmithError: located in the Dockerfile where it belongs to an instruction.
        """
        events, recorder = self.events, None
        request, admission = replace(request, access=access_of(request)), self._admission(request)
        if request.report:
            from imagesmith.observe.report import Recorder, reporting

            events = recorder = Recorder(self.events)
        with Contexts(request, self.store, events) as contexts:
            dockerfile = read_dockerfile(contexts, self.store)
            build = _Build(self, request, contexts, dockerfile, events, admission)
            try:
                if recorder is None:
                    return _attempts(build)
                with reporting(recorder, request, self.store) as page:
                    built = _attempts(build, recorder)
                    page.built = built
                return built
            except ImagesmithError as e:
                for i in dockerfile.at(e.first):  # what a step was about when it failed
                    mark(e, i.span, i.text)
                e.step = e.step if request.indexed else ""
                raise e.located(dockerfile.file, 0, 0, dockerfile.source) from e.__cause__


@frozen(eq=False)
class _Build:
    """One request, on its way."""

    session: Session
    request: BuildRequest
    contexts: Contexts
    dockerfile: Dockerfile
    events: EventSink
    admission: Admission | None

    def run(self, *watchers: Watcher) -> BuildResult:
        """Plan, solve, and write the outputs."""
        request, contexts, store = self.request, self.contexts, self.session.store
        cancel = Cancel()
        bases = Bases(
            store,
            self.session.settings,
            request,
            self.events,
            contexts.numbers,
            cancel,
            contexts.pinning,
            self.admission,
        )
        contexts.images = bases
        plan = self._plan(bases)
        self.events(Planned(names=names_of(plan.tips)))
        wanted = self._wanted(plan)
        first = common_form([form for output, forms in wanted if is_image(output) for form in forms])
        keeping = Keeping(after_runs(plan.tips), contexts.tree_of, store.work)
        tools = Tools(
            store=store, trees=Trees(contexts, contexts.file_digest, time.time_ns()),
            workshop=Workshop(self.session.world, store, self.events, request.emulators),
            bases=bases, request=request,
            events=self.events, cancel=cancel, before_run=keeping.begin,
        )  # fmt: skip
        platforms = [image.platform for image in plan.images]
        imports = CacheImport(request.cache_from, bases, platforms, self.events)
        cache = StepCache(store, imports.load, first.clamp_s)
        keeper = CacheExport(request.cache_to, store, bases, cache, self.events)
        pushed = [output for output, forms in wanted if forms[0].same_layers(first)]
        uploading = uploader_of(pushed, request, plan, bases, self.session.settings.transfers, self.events)
        scans = self._scans(plan)
        attesting, noted = self._attesting(tools)
        solver = Solver(
            tools, self._writer(first.codec, first.clamp_s), cache,
            [keeper, *watchers, *self._explainer(cache), *noted, uploading], contexts.numbers,
        )  # fmt: skip
        outputs = Outputs(request, plan, keeper, bases, Reforming(store, self._writer, cancel), attesting)
        stages = [tip for _, _, tip in scans if isinstance(tip, Step)]
        with keeping, _solved(solver, [*plan.tips, *stages], uploading) as results:
            if attesting is not None:
                attesting.bills = self._bills(scans, solver, tools.trees)
            return outputs.write(wanted, results[: len(plan.images)])

    def _scans(self, plan: Plan) -> list[tuple[str, str, Scanned]]:
        """What the SBOMs of each platform look at besides its result, if any are made."""
        attestations = self.request.attestations
        if attestations is None or attestations.sbom is None:
            return []
        return [(str(image.platform), name, of) for image in plan.images for name, of in image.scans]

    def _bills(self, scans: Sequence[tuple[str, str, Scanned]], solver: Solver, trees: Trees) -> Bills | None:
        """Who makes the SBOMs, if they are asked for; all steps are solved."""
        attestations = self.request.attestations
        if attestations is None or attestations.sbom is None:
            return None
        from imagesmith.attest.bills import Bills

        scanned: dict[str, list[tuple[str, Tree]]] = {}
        for platform, name, of in scans:
            tree = solver.result(of).view if isinstance(of, Step) or of is None else trees.tree(of)
            scanned.setdefault(platform, []).append((name, tree))
        return Bills(
            attestations.sbom, self.dockerfile, scanned, self.session.store.blobs.ingest,
            lambda text: self.events(Warned(rule="", text=text)),
        )  # fmt: skip

    def _attesting(self, tools: Tools) -> tuple[Attesting | None, tuple[Watcher, ...]]:
        """Who makes attestations, if any are asked for, and who notes for it what steps take."""
        request = self.request
        if request.attestations is None and not request.recorded:
            return None, ()
        from imagesmith.attest.attesting import Attesting
        from imagesmith.attest.materials import Noted, Sources

        noted = Noted()
        sources = Sources(
            request=request, dockerfile=self.dockerfile, contexts=self.contexts, trees=tools.trees,
            bases=tools.bases, noted=noted,
        )  # fmt: skip
        return Attesting(sources, self.session.store.blobs), (noted,)

    def _plan(self, bases: Bases) -> Plan:
        """The plan; what the linter finds is told as it comes."""
        dockerfile = self.dockerfile

        def warn(f: Finding) -> None:
            rule = f.rule
            self.events(
                Warned(rule=rule.name, text=f.detail, line=f.span.first, url=rule.url, file=dockerfile.file)
            )

        asked = [str(platform) for platform in self.request.platforms]
        for platform in dict.fromkeys(p for p in asked if asked.count(p) > 1):
            text = f'Duplicate platform result requested "{platform}"'
            self.events(Warned(rule="", text=text))
        linter = linter_of(dockerfile, self.request, warn)
        linter.lint_file()
        plan = plan_build(dockerfile, self.request, bases, self.contexts, linter)
        pinning = self.contexts.pinning
        if pinning is not None and pinning.write():  # before a step copies the folder that it lies in
            self.events(Message(text=f"{pinning.lock} is written"))
        linter.finish()
        return plan

    def _wanted(self, plan: Plan) -> list[Wanted]:
        """The outputs with their forms; without any, the image goes to the store if it has names."""
        request = self.request
        kind = "image" if request.tags else "cacheonly"

        def forms(o: Output) -> tuple[Form, ...]:
            return tuple(
                form_of(o, request, image.epoch, image.platform, several=request.indexed)
                for image in plan.images
            )

        wanted = [(o, forms(o)) for o in request.outputs or (Output(type=kind),)]
        for output, _ in wanted:
            refuse_what_it_cannot_hold(output, len(plan.images))
        if any(found[0].epoch is None and o.flag("rewrite-timestamp") for o, found in wanted):
            text = "rewrite-timestamp is specified, but no source-date-epoch was found"
            self.events(Warned(rule="", text=text))
        return wanted

    def _writer(self, codec: Codec, clamp_s: int | None) -> LayerWriter:
        return LayerWriter(self.session.store, codec, self.session.settings.workers, clamp_s)

    def _explainer(self, cache: StepCache) -> tuple[Watcher, ...]:
        """Who tells why steps are executed, if that is asked for."""
        if not self.request.explain:
            return ()
        from imagesmith.observe.explain import Explainer

        return (Explainer(self.session.store, cache, self.request.build_args, self.events),)


def _attempts(build: _Build, *watchers: Watcher) -> BuildResult:
    """Build, and where an imported cache is broken, build again without it."""
    try:
        return build.run(*watchers)
    except (CacheLost, IntegrityError) as e:
        if not build.request.cache_from:
            raise
        build.events(Warned(rule="", text=f"building again without --cache-from: {e.message}"))
        if build.contexts.images is not None:
            build.contexts.images.close()
        return replace(build, request=replace(build.request, cache_from=())).run(*watchers)


@contextlib.contextmanager
def _solved(solver: Solver, tips: Sequence[Step | None], uploading: Watching) -> Iterator[list[Result]]:
    """The results of the last steps. While they are used, what steps needed on this machine is taken away."""

    def end() -> None:
        with contextlib.suppress(OSError):  # what is left is swept by the next build
            solver.tools.workshop.close()

    try:
        with uploading:
            results = solver.solve(tips)
    except BaseException:
        end()
        raise
    ending = Background(end, "ending")
    try:
        yield results
    finally:
        ending.join()
