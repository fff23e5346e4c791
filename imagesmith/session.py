"""A run of builds: one store, one set of settings, and who is told; requests are built in it, also together.

    context -> Dockerfile -> parse, lint -> plan -> solve -> commit -> outputs

Why: this is the only place where all parts meet; each of them knows only what it is given here.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from imagesmith.building import Build, Common
from imagesmith.concurrency import Background
from imagesmith.context.contexts import Contexts
from imagesmith.context.sshkeys import with_agents
from imagesmith.errors import Cancelled, ImagesmithError, IntegrityError
from imagesmith.events import EventSink, Planned, Warned, titled, with_title
from imagesmith.export.writing import access_of
from imagesmith.image.forms import common_form
from imagesmith.image.result import BuildResult
from imagesmith.options import refuse_shells
from imagesmith.plan.plan import Plan
from imagesmith.request import BuildRequest, CachePlace
from imagesmith.settings import Settings
from imagesmith.solve.cacheplaces import CacheLost
from imagesmith.solve.graph import needed_steps
from imagesmith.solve.solver import Solver
from imagesmith.solve.step import Step
from imagesmith.solve.stepcache import Imported, StepCache
from imagesmith.solve.watching import Watcher
from imagesmith.store.store import Store
from imagesmith.values import frozen, replace
from imagesmith.worker.sandbox.world import World
from imagesmith.worker.workshop import Workshop

if TYPE_CHECKING:
    from imagesmith.halting import Halting
    from imagesmith.interfaces import Admission
    from imagesmith.solve.halting import Attendant
    from imagesmith.solve.layerwriter import LayerWriter

__all__ = ["Session", "jobs_here", "run_build"]

#: How many steps of several builds are worked on at a time for each core: some of them wait.
_JOBS_A_CORE = 4
#: The outputs of so many builds are written at a time.
_FINISHING = 8
#: What is raised where a cache that was imported does not hold what it promised.
_BROKEN_CACHE = (CacheLost, IntegrityError)


@frozen(kw_only=True)
class _How:
    """How a solve goes: so many steps at a time (0: many), and on after a failure or not."""

    jobs: int
    keep_going: bool


def jobs_here() -> int:
    """How many steps of several builds are worked on at a time on this machine, where nobody says it."""
    return _JOBS_A_CORE * len(os.sched_getaffinity(0))


def run_build(
    request: BuildRequest,
    settings: Settings,
    world: World,
    events: EventSink,
    attendant: Attendant | None = None,
) -> BuildResult:
    """Build one request in a session of its own; see Session.build."""
    with Session(settings, world, events, attendant) as session:
        return session.build(request)


class Session:
    """The store, and what builds are done with; close it, or use it in a `with`."""

    def __init__(
        self, settings: Settings, world: World, events: EventSink, attendant: Attendant | None = None
    ) -> None:
        """Open the store.

        Args:
            settings: of this user.
            world: where RUN is executed.
            events: is told what happens, from any thread.
            attendant: opens shells where builds ask for them, if there is a terminal.
        """
        self.settings, self.world, self.events, self._attendant = settings, world, events, attendant
        self._admissions: dict[str, Admission] = {}
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
        if policy not in self._admissions:
            from imagesmith.trust.admission import admission_by

            self._admissions[policy] = admission_by(policy)
        return self._admissions[policy]

    def build(self, request: BuildRequest) -> BuildResult:
        """Build what is asked, and write every output.

        Raises:
            ImagesmithError: located in the Dockerfile where it belongs to an instruction.
        """
        [built] = self.build_all([request])
        return built

    def build_all(self, requests: Sequence[BuildRequest], jobs: int = 0) -> list[BuildResult]:
        """Build several requests, as `build_each` does; the first that fails ends it.

        Raises:
            ImagesmithError: of the first that failed, located in its Dockerfile.
        """
        found = self.build_each(requests, jobs, keep_going=False)
        return [built for built in found if isinstance(built, BuildResult)]

    def build_each(
        self, requests: Sequence[BuildRequest], jobs: int = 0, *, keep_going: bool = True
    ) -> list[BuildResult | ImagesmithError]:
        """Build several requests in one solve, in which what is the same is done once; write every output.

        Args:
            requests: each after those that its contexts name.
            jobs: how many steps are worked on at a time, 0 for many.
            keep_going: finish what does not depend on what failed.

        Returns:
            What came out of each, or why nothing did, located in its Dockerfile.

        Raises:
            ImagesmithError: without `keep_going`, of the first that failed; two of them write one file.
        """
        if len(requests) > 1:
            from imagesmith.export.clashes import doubled_names, refuse_doubled_files

            refuse_doubled_files(requests)
            for text in doubled_names(requests):
                self.events(Warned(rule="", text=text))
        events, recorder = self.events, None
        if any(request.report for request in requests):
            from imagesmith.observe.report import Recorder, reporting

            events = recorder = Recorder(self.events)
        numbers, how = itertools.count(1), _How(jobs=jobs, keep_going=keep_going)
        with contextlib.ExitStack() as open_:
            builds = [self._begun(request, events, numbers, open_) for request in requests]
            if recorder is None:
                return self._attempts(builds, numbers, events, how)
            with reporting(recorder, requests, self.store) as page:
                found = self._attempts(builds, numbers, events, how, recorder)
                page.built = [
                    (r.name, f) for r, f in zip(requests, found, strict=True) if isinstance(f, BuildResult)
                ]
                page.failed = [f for f in found if isinstance(f, ImagesmithError)]
                return found

    def _begun(
        self,
        request: BuildRequest,
        events: EventSink,
        numbers: Iterator[int],
        open_: contextlib.ExitStack,
    ) -> Build:
        """A build, with its contexts, which are closed in the end."""
        if self._attendant is None:
            refuse_shells(request)
        request, events = replace(request, access=access_of(request)), titled(events, request.name)
        request = open_.enter_context(with_agents(request))
        contexts = open_.enter_context(Contexts(request, self.store, events, numbers))
        return Build(request, contexts, events, self._admission(request))

    def _attempts(
        self,
        builds: Sequence[Build],
        numbers: Iterator[int],
        events: EventSink,
        how: _How,
        *watchers: Watcher,
    ) -> list[BuildResult | ImagesmithError]:
        """Build, and where an imported cache is broken, build again without it."""
        while True:
            try:
                common = Common(self.settings, self.store, numbers, builds)
                found = self._solve(common, events, how, watchers)
                lost = next((e for e in found if isinstance(e, _BROKEN_CACHE)), None)
            except _BROKEN_CACHE as e:
                found, lost = [], e
            if lost is None or not any(build.request.cache_from for build in builds):
                if not found and lost is not None:
                    raise lost
                return found
            cache = lost.cache if isinstance(lost, CacheLost) else ""
            of = f"={cache}" if cache else ""
            events(Warned(rule="", text=f"building again without --cache-from{of}: {lost.message}"))
            for build in builds:
                if build.contexts.images is not None:
                    build.contexts.images.close()
                left = [place for place in build.request.cache_from if cache and place.name != cache]
                build.request, build.failed = replace(build.request, cache_from=tuple(left)), None

    def _solve(
        self, common: Common, events: EventSink, how: _How, watchers: Sequence[Watcher]
    ) -> list[BuildResult | ImagesmithError]:
        """Plan all, solve, and write the outputs."""
        everyone, links = common.builds, dict[str, Plan]()
        for build in everyone:
            with _placed(build, how):
                build.work_out(common, links)
                links[build.request.name] = build.plan
        builds = common.builds = [build for build in everyone if build.failed is None]
        if not builds:
            return [build.outcome for build in everyone]
        owners = common.owners
        goals = [goal for build in builds for goal in build.goals]
        events(Planned(names=_names(goals, owners)))
        forms = [form for build in builds for form in build.forms]
        first = common_form(forms or [builds[0].wanted[0][1][0]])
        workshop = Workshop(self.world, self.store, events, builds[0].request.emulators)
        writer = common.writer(first.codec, first.clamp_s)
        halting = [self._halting(build, writer) for build in builds]
        for build, halts in zip(builds, halting, strict=True):
            build.equip(common, workshop, halts)
        named = {place.name for build in builds for place in build.request.cache_from}
        cache = StepCache(self.store, _imports(builds), first.clamp_s, builds[0].request.cache_ttl_s, named)
        told = [w for build in builds for w in build.watch(common, cache, first)]
        told += [*watchers, *self._explainer(builds, cache, events)]
        solver = Solver(
            builds[0].tools, writer, cache, told, common.numbers,
            sites={step: build.tools for step, build in owners.items()}, blame=_blame(builds, owners),
            jobs=how.jobs, keep_going=how.keep_going,
        )  # fmt: skip
        with _solved(solver, builds, goals, [halts for halts in halting if halts is not None]):
            _finish(builds, common, solver, how)
        return [build.outcome for build in everyone]

    def _halting(self, build: Build, writer: LayerWriter) -> Halting | None:
        """Who holds a build where it is to be looked into, if that is asked for."""
        if build.halts is None:
            return None
        from imagesmith.halting import Halting

        attendant = self._attendant
        return Halting(build.request, build.halts, self.store, writer, build.events, attendant, build.place)

    def _explainer(self, builds: Sequence[Build], cache: StepCache, events: EventSink) -> tuple[Watcher, ...]:
        """Who tells why steps are executed, if that is asked for."""
        if not any(build.request.explain for build in builds):
            return ()
        from imagesmith.observe.explain import Explainer

        given = {key for build in builds for key in build.request.build_args}
        return (Explainer(self.store, cache, given, events),)


def _names(goals: Sequence[Step | None], owners: Mapping[Step, Build]) -> tuple[str, ...]:
    """The names of all steps, as they will be told."""
    return tuple(
        with_title(owners[step].request.name, step.name) if step in owners else step.name
        for step in needed_steps(goals)
        if step.op.makes_layer
    )


def _imports(builds: Sequence[Build]) -> Callable[[], Iterator[Imported]]:
    """How the caches of all builds are read: each place once."""
    readers, seen = [], list[CachePlace]()
    for build in builds:
        readers.append(build.imports(seen))
        seen += build.request.cache_from
    return lambda: itertools.chain.from_iterable(reader.load() for reader in readers)


def _blame(builds: Sequence[Build], owners: Mapping[Step, Build]) -> Callable[[ImagesmithError, Step], None]:
    """Who says in which Dockerfile an error of a step belongs."""

    def blame(error: ImagesmithError, step: Step) -> None:
        owners.get(step, builds[0]).place(error)

    return blame


@contextlib.contextmanager
def _placed(build: Build, how: _How) -> Iterator[None]:
    """Errors in the `with` belong to the build's Dockerfile, and end the whole unless it is to go on."""
    try:
        yield
    except ImagesmithError as e:
        build.failed = build.place(e)
        if not how.keep_going or isinstance(e, Cancelled):
            raise build.failed from e.__cause__


def _finish(builds: Sequence[Build], common: Common, solver: Solver, how: _How) -> None:
    """Write the outputs of all, several at a time."""

    def finish(build: Build) -> None:
        with _placed(build, how):
            build.finish(common, solver)

    failed = None
    if len(builds) == 1:
        finish(builds[0])
    else:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(min(len(builds), _FINISHING), thread_name_prefix="outputs") as pool:
            ended = [pool.submit(finish, build) for build in builds]
        failed = next((e for done in ended if (e := done.exception()) is not None), None)
    written = dict(common.caches.write())  # what some have is of use to the next try, should others fail
    if failed is not None:
        raise failed
    for build in builds:
        for place in build.request.cache_to:
            cache = written.get(place)
            if isinstance(cache, ImagesmithError):
                with _placed(build, how):
                    raise cache
            elif cache is not None and build.built is not None:
                build.built = replace(build.built, cache=cache)


@contextlib.contextmanager
def _solved(
    solver: Solver, builds: Sequence[Build], goals: Sequence[Step | None], halting: Sequence[Halting]
) -> Iterator[None]:
    """Solve. In the `with`, what steps needed on this machine is taken away while results are used."""

    def end() -> None:
        with contextlib.suppress(OSError):  # what is left is swept by the next build
            solver.tools.workshop.close()

    with contextlib.ExitStack() as keeping:
        for build in builds:
            keeping.enter_context(build.keeping)
        try:
            with contextlib.ExitStack() as uploading:
                for build in builds:
                    uploading.enter_context(build.uploading)
                solver.solve(goals, next((halts.halted for halts in halting), None))
        except BaseException as e:
            try:
                for halts in halting:
                    halts.attend(e)
            finally:
                end()
            raise
        ending = Background(end, "ending")
        try:
            yield
        finally:
            ending.join()
