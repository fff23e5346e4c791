"""One request of a session, on its way: planned, equipped for its steps, and its outputs written.

Why apart from the session: several requests are solved together (bake), and each has its own Dockerfile,
contexts, secrets, outputs, caches and attestations. What they have in common is in `Common`: equal steps of
two of them are one step, an image that both name is asked for once.
Threads: planning is one's; `finish` of several may run at the same time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from imagesmith.concurrency import Cancel
from imagesmith.context.contexts import Contexts
from imagesmith.context.named import TargetContext
from imagesmith.context.trees import Trees
from imagesmith.dockerfile.lint import Finding
from imagesmith.dockerfile.nodes import Dockerfile
from imagesmith.dockerfile.places import mark
from imagesmith.errors import ImagesmithError
from imagesmith.events import EventSink, Message, Warned, with_title
from imagesmith.export.writing import (
    Outputs,
    Wanted,
    refuse_what_it_cannot_hold,
    uploader_of,
)
from imagesmith.image.forms import Form, Reforming, form_of, is_image
from imagesmith.image.result import BuildResult
from imagesmith.layer.codecs import Codec
from imagesmith.plan.plan import Plan
from imagesmith.plan.platforms import plan_build
from imagesmith.plan.reading import linter_of, read_dockerfile
from imagesmith.request import BuildRequest, CachePlace, Output
from imagesmith.settings import Settings
from imagesmith.solve.cacheahead import CachesAhead
from imagesmith.solve.cacheplaces import CacheExport, CacheImport
from imagesmith.solve.cachewriting import SharedCaches
from imagesmith.solve.graph import after_runs, all_steps
from imagesmith.solve.keeping import Keeping
from imagesmith.solve.layerwriter import LayerWriter
from imagesmith.solve.solver import Solver
from imagesmith.solve.step import Step
from imagesmith.solve.stepcache import StepCache
from imagesmith.solve.tools import Tools
from imagesmith.solve.watching import Watcher, Watching
from imagesmith.store.store import Store
from imagesmith.transports.bases import Bases
from imagesmith.worker.workshop import Workshop

if TYPE_CHECKING:
    from imagesmith.attest.attesting import Attesting
    from imagesmith.attest.bills import Bills
    from imagesmith.attest.materials import Noted, Sources
    from imagesmith.context.origins import ContextFiles, Fetched, GitFiles
    from imagesmith.fs.tree import Tree
    from imagesmith.interfaces import Admission
    from imagesmith.plan.halting import Halts
    from imagesmith.solve.halting import Failing

    #: What an SBOM looks at: a stage's last step (None for an empty one), or a context.
    Scanned = Step | ContextFiles | GitFiles | Fetched | None

__all__ = ["Build", "Common"]


class Common:
    """What the builds of one solve share."""

    def __init__(
        self, settings: Settings, store: Store, numbers: Iterator[int], builds: Sequence[Build]
    ) -> None:
        """Begin.

        Args:
            settings: of this user.
            store: with all that is made.
            numbers: of the vertices on the screen.
            builds: those of the solve, in the order in which they are planned.
        """
        self.settings, self.store, self.numbers, self.builds = settings, store, numbers, builds
        self.cancel = Cancel()
        #: Those of the builds that are planned; later ones share what they ask for.
        self.bases: list[Bases] = []
        self.caches = SharedCaches(build.request.cache_to for build in builds)
        #: The steps of all plans, each as it was met first.
        self.steps: dict[Step, Step] = {}

    def begin(self) -> None:
        """A RUN begins: what later steps take of the contexts is kept as it is."""
        for build in self.builds:
            build.keeping.begin()

    @cached_property
    def owners(self) -> Mapping[Step, Build]:
        """Whose each step is, where there are several builds: the first's that has it and what it asks for.

        Secrets and agents are no part of a step: one build may lack what another one gives.
        """
        owners: dict[Step, Build] = {}
        if len(self.builds) > 1:
            for build in self.builds:
                for step in all_steps(build.goals):
                    owner = owners.setdefault(step, build)
                    if owner is not build and build.gives(step) > owner.gives(step):
                        owners[step] = build
        return owners

    def writer(self, codec: Codec, clamp_s: int | None) -> LayerWriter:
        """Who writes layers."""
        return LayerWriter(self.store, codec, self.settings.workers, clamp_s)


class Build:
    """One request; planned first, then equipped, and finished when its steps are solved."""

    dockerfile: Dockerfile
    plan: Plan
    wanted: list[Wanted]
    bases: Bases
    ahead: CachesAhead
    tools: Tools
    keeping: Keeping
    keeper: CacheExport
    uploading: Watching

    def __init__(
        self,
        request: BuildRequest,
        contexts: Contexts,
        events: EventSink,
        admission: Admission | None,
    ) -> None:
        """Begin.

        Args:
            request: what is asked.
            contexts: its own.
            events: is told what happens.
            admission: is asked about images from elsewhere.
        """
        self.request, self.contexts, self.events = request, contexts, events
        self._admission = admission
        self._attesting: Attesting | None = None
        #: Where it may be looked into, if that is asked for.
        self.halts: Halts | None = None
        if request.on_failure is not None or request.shell_at is not None:
            from imagesmith.plan.halting import Halts

            self.halts = Halts()
        #: Why nothing came of it, or what did.
        self.failed: ImagesmithError | None = None
        self.built: BuildResult | None = None

    # --- planning ------------------------------------------------------------------------------

    def work_out(self, common: Common, links: Mapping[str, Plan]) -> None:
        """Read the Dockerfile, and plan; what the linter finds is told as it comes.

        Args:
            common: to all builds of the solve; those before this one are planned.
            links: the plans of those that this one's contexts name.

        Raises:
            ImagesmithError: it cannot be planned, or one that it needs could not.
        """
        if not hasattr(self, "dockerfile"):
            self.dockerfile = read_dockerfile(self.contexts, common.store)
        for other in common.builds if self._needed else ():
            if other.failed is not None and other.request.name in self._needed:
                raise other.failed
        alike = (b for b in common.bases if b.asks_as(self.request, self._admission))
        self.bases = Bases(
            common.store,
            common.settings,
            self.request,
            self.events,
            common.numbers,
            common.cancel,
            self.contexts.pinning,
            self._admission,
            next(alike, common.bases[0] if common.bases else None),
        )
        common.bases.append(self.bases)
        self.contexts.images = self.bases
        asked = self.request.cache_from
        self.ahead = CachesAhead(asked if asked and common.store.cache.is_empty() else (), self.bases)
        self.plan = self._plan(common, links)
        self.wanted = self._wanted()

    def _plan(self, common: Common, links: Mapping[str, Plan]) -> Plan:
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
        plan = plan_build(
            dockerfile, self.request, self.bases, self.contexts, linter, common.steps, links, self.halts
        )
        pinning = self.contexts.pinning
        if pinning is not None and pinning.write():  # before a step copies the folder that it lies in
            self.events(Message(text=f"{pinning.lock} is written"))
        linter.finish()
        return plan

    def _wanted(self) -> list[Wanted]:
        """The outputs with their forms; without any, the image goes to the store if it has names."""
        request, plan = self.request, self.plan
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

    @property
    def forms(self) -> list[Form]:
        """Those of the images that go anywhere: what is built for others only takes their form."""
        goes = [(o, forms) for o, forms in self.wanted if is_image(o) and o.type != "cacheonly"]
        return [form for _, forms in goes for form in forms]

    @property
    def goals(self) -> list[Step | None]:
        """The steps that are to be solved: the last ones of the images, and of the stages for an SBOM."""
        stages = [tip for _, _, tip in self._scans() if isinstance(tip, Step)]
        return [*self.plan.tips, *stages]

    # --- what its steps are executed with --------------------------------------------------------

    def equip(self, common: Common, workshop: Workshop, failing: Failing | None = None) -> None:
        """Have what its steps need; it is planned. `failing` is told of RUNs that fail."""
        request, contexts, store = self.request, self.contexts, common.store
        self.keeping = Keeping(after_runs(self.plan.tips), contexts.tree_of, store.work)
        self.tools = Tools(
            store=store, trees=Trees(contexts, contexts.file_digest, time.time_ns()), workshop=workshop,
            bases=self.bases, request=request, events=self.events, cancel=common.cancel,
            before_run=common.begin, failing=failing,
        )  # fmt: skip

    def imports(self, but: Sequence[CachePlace] = ()) -> CacheImport:
        """Who reads its caches, but for those that others read."""
        places = [place for place in self.request.cache_from if place not in but]
        platforms = [image.platform for image in self.plan.images]
        return CacheImport(places, self.bases, platforms, self.events, self.ahead)

    def watch(self, common: Common, cache: StepCache, first: Form) -> list[Watcher]:
        """Who is told of steps: what keeps the cache, notes sources, sends layers.

        Args:
            common: to all builds of the solve.
            cache: where steps are found.
            first: the form that layers are written in.
        """
        request, events = self.request, self.events
        own = None if len(common.builds) == 1 else frozenset(all_steps(self.goals))
        self.keeper = CacheExport(
            request.cache_to, common.store, self.bases, cache, events, own, common.caches
        )
        pushed = [output for output, forms in self.wanted if forms[0].same_layers(first)]
        transfers = common.settings.transfers
        self.uploading = uploader_of(pushed, request, self.plan, self.bases, transfers, events)
        return [self.keeper, *self._attest(common), self.uploading]

    def _attest(self, common: Common) -> tuple[Watcher, ...]:
        """Prepare to make attestations, if any are asked for; returns who notes what steps take."""
        request = self.request
        if request.attestations is None and not request.recorded:
            return ()
        from imagesmith.attest.attesting import Attesting
        from imagesmith.attest.materials import Noted

        noted = Noted()
        self._attesting = Attesting(self._sources(common, noted), common.store.blobs)
        return (noted,)

    def _sources(self, common: Common, noted: Noted) -> Sources:
        """Who knows what it was made of; of another build's steps, that one's."""
        from imagesmith.attest.materials import Sources

        def of(step: Step) -> Sources | None:
            owner = common.owners.get(step, self)
            return None if owner is self else owner._sources(common, noted)

        return Sources(
            request=self.request, dockerfile=self.dockerfile, contexts=self.contexts,
            trees=self.tools.trees, bases=self.bases, noted=noted, others=of,
        )  # fmt: skip

    # --- its end ---------------------------------------------------------------------------------

    @property
    def _needed(self) -> set[str]:
        """The targets that its contexts name."""
        return {place.name for place in self.request.contexts.values() if isinstance(place, TargetContext)}

    @property
    def outcome(self) -> BuildResult | ImagesmithError:
        """What came of it."""
        found = self.failed or self.built
        assert found is not None
        return found

    def finish(self, common: Common, solver: Solver) -> None:
        """Write every output, if all its steps are solved.

        Raises:
            ImagesmithError: one cannot be written, or a step has failed.
        """
        for step in self.goals if solver.failed else ():
            if solver.failed and step in solver.failed:
                raise solver.failed[step]
        if self._attesting is not None:
            self._attesting.bills = self._bills(solver, common.store)
        reforming = Reforming(common.store, common.writer, common.cancel)
        outputs = Outputs(self.request, self.plan, self.keeper, self.bases, reforming, self._attesting)
        self.built = outputs.write(self.wanted, [solver.result(tip) for tip in self.plan.tips])

    def gives(self, step: Step) -> int:
        """How much the build has of the secrets and agents that a step asks for."""
        request = self.request
        given = {("ssh", name) for name in request.ssh} | {("secret", s.id) for s in request.secrets}
        return len(given.intersection(step.op.asks()))

    def _scans(self) -> list[tuple[str, str, Scanned]]:
        """What the SBOMs of each platform look at besides its result, if any are made."""
        attestations = self.request.attestations
        if attestations is None or attestations.sbom is None:
            return []
        return [(str(image.platform), name, of) for image in self.plan.images for name, of in image.scans]

    def _bills(self, solver: Solver, store: Store) -> Bills | None:
        """Who makes the SBOMs, if they are asked for."""
        attestations = self.request.attestations
        if attestations is None or attestations.sbom is None:
            return None
        from imagesmith.attest.bills import Bills

        scanned: dict[str, list[tuple[str, Tree]]] = {}
        for platform, name, of in self._scans():
            tree = solver.result(of).view if isinstance(of, Step | None) else self.tools.trees.tree(of)
            scanned.setdefault(platform, []).append((name, tree))
        return Bills(
            attestations.sbom, self.dockerfile, scanned, store.blobs.ingest,
            lambda text: self.events(Warned(rule="", text=text)),
        )  # fmt: skip

    def place(self, error: ImagesmithError) -> ImagesmithError:
        """Say where in its Dockerfile an error belongs, if nobody has, and return it."""
        if error.file or not hasattr(self, "dockerfile"):
            return error
        request, dockerfile = self.request, self.dockerfile
        for i in dockerfile.at(error.first):  # what a step was about when it failed
            mark(error, i.span, i.text)
        is_told = error.step and (request.indexed or request.name)
        error.step = with_title(request.name, error.step) if is_told else ""
        return error.located(dockerfile.file, 0, 0, dockerfile.source)
