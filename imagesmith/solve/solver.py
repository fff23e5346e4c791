"""Execute plans: every step once, from the cache where it can be, independent ones at the same time.

Why: a step needs the layers below it and the files of its inputs; in which order, and on which thread, is the
schedule's. Nothing of a base image is fetched until a step must look into it. A stage that the image only
copies from may be hollow: if what was copied is cached, nobody needs the stage's content. If it is needed
after all, the stage is solved again with content.
Threads: those of the schedule; a step's result is there before what needs it is tried. Equal steps are one
task; those of equal ops take turns (alike.py); different ones that come to the same key while one of them is
executed wait for its layer.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from imagesmith.context.rows import KnownDigests, Rows
from imagesmith.errors import Cancelled, ImagesmithError, SandboxError
from imagesmith.events import StepCached, StepDone, StepFailedEvent, StepStarted
from imagesmith.fs.entry import Entry
from imagesmith.fs.view import View
from imagesmith.oci.names import Platform
from imagesmith.solve.fetching import Fetching
from imagesmith.solve.graph import chain, equal_ops, foreign_runs, under_runs
from imagesmith.solve.key import StepKeys, base_of, key_of, parts_of
from imagesmith.solve.layerwriter import LayerWriter
from imagesmith.solve.lookahead import LookAhead
from imagesmith.solve.result import NOTHING, BuiltLayer, Result
from imagesmith.solve.schedule import Schedule
from imagesmith.solve.step import Halted, Step
from imagesmith.solve.stepcache import STORE, Found, StepCache
from imagesmith.solve.tools import Tools
from imagesmith.solve.turns import Turns
from imagesmith.solve.watching import Solved, Watcher
from imagesmith.store.cachedb import StepRecord
from imagesmith.store.layers import Form
from imagesmith.values import replace

if TYPE_CHECKING:
    from imagesmith.solve.alike import Alike

__all__ = ["Solver"]


class _Task(NamedTuple):
    """A step to be solved; `full`: its layers must have content."""

    step: Step
    full: bool = False


class _Working:
    """A step while it is solved; see step.Work."""

    def __init__(self, solver: Solver, step: Step, parent: Result) -> None:
        self.tools, self.step, self.parent = solver.sites.get(step, solver.tools), step, parent
        self.number, self.learns = 0, False
        self.told: set[str] = set()
        self.form: Form = ""
        self.alike = solver.alike.get(step)
        self._solver = solver
        self._rows: Sequence[Rows] = ()

    @property
    def now_ns(self) -> int:
        """See Work."""
        return time.time_ns() if self.alike is None else self.alike.now_ns

    def result(self, step: Step) -> Result:
        """See Work."""
        return self._solver.result(step)

    def outline(self, result: Result) -> View:
        """See Work."""
        view = result.outline(self.tools.bases.told, self.form)
        self.told |= self.tools.bases.tellers(lambda: result.diff_ids)
        return view

    def held_ns(self, mtime_ns: int) -> int:
        """See Work."""
        return self._solver.writer.held_ns(mtime_ns)

    def tell_copies(self, entries: Iterable[Entry]) -> None:
        """See Work."""
        for watcher in self._solver.watchers:
            watcher.copies(self.number, entries)

    def learnt(self, rows: Sequence[Rows], digests: KnownDigests | None) -> None:
        """See Work."""
        for row in rows:
            row.known = digests
        self._rows = rows
        self.tools.trees.file_digest.learnt()

    def seen(self) -> Sequence[Rows]:
        """See Work."""
        rows, self._rows = self._rows, ()
        return rows

    def listing(self) -> Mapping[str, Mapping[str, str]]:
        """What the step's inputs are; see Op.listing."""
        return self.step.op.listing(self)

    def write(self, entries: Iterable[Entry], created_ns: int) -> BuiltLayer:
        """See Work."""
        if self.alike is None:
            return self._written(entries, created_ns)
        layer = self.alike.layer(entries, lambda: self._written(entries, created_ns))
        return replace(layer, name=self.step.name)

    def _written(self, entries: Iterable[Entry], created_ns: int) -> BuiltLayer:
        writer, step, once = self._solver.writer, self.step, self.alike is None
        tap = next((t for w in self._solver.watchers if (t := w.taps(step)) is not None), None)
        learn, stop = self.tools.trees.file_digest.learn if self.learns else None, self.tools.cancel
        diff_id, descriptor = writer.write(entries, stop, learn=learn, once=once, form=self.form, tap=tap)
        stored = self.tools.store.layers.layer(diff_id, descriptor.digest)
        return BuiltLayer(
            diff_id, descriptor, stored, created_ns, step.name, writer.codec_name, writer.clamp_s
        )


class Solver:
    """Executes steps with one set of tools."""

    def __init__(
        self,
        tools: Tools,
        writer: LayerWriter,
        cache: StepCache | None = None,
        watchers: Sequence[Watcher] = (),
        numbers: Iterator[int] | None = None,
        *,
        sites: Mapping[Step, Tools] | None = None,
        blame: Callable[[ImagesmithError, Step], None] | None = None,
        jobs: int = 0,
        keep_going: bool = False,
    ) -> None:
        """Prepare.

        Args:
            tools: what steps share.
            writer: writes their layers.
            cache: where earlier builds' are found; the store by default.
            watchers: are told of steps.
            numbers: of the steps on the screen.
            sites: the tools of steps that have their own; they have the store and the worker in common.
            blame: says where an error belongs, by the step that raised it.
            jobs: how many steps are worked on at a time; 0 for as many as there may be.
            keep_going: where a step fails, finish what does not need it.
        """
        #: Why steps have no result, if others are finished all the same.
        self.failed: dict[Step, ImagesmithError] | None = {} if keep_going else None
        self.sites, self._blame, self._jobs = sites or {}, blame, jobs
        self.tools, self.writer, self.watchers = tools, writer, watchers
        self.cache = cache or StepCache(tools.store, clamp_s=writer.clamp_s)
        self._numbers = numbers or itertools.count(1)
        self._results: dict[Step, Result] = {}
        self._wanted: frozenset[Step] = frozenset()
        self._under_runs: frozenset[Step] = frozenset()
        self._goals: Sequence[Step] = ()
        self._foreign: Mapping[Step, Mapping[Platform, Step]] | None = None
        self._turns, self._fetching = Turns(), Fetching()
        #: What steps of equal ops share; of those that have one.
        self.alike: dict[Step, Alike] = {}
        self._lock = threading.Lock()

    def solve(self, tips: Sequence[Step | None], halted: Halted | None = None) -> list[Result]:
        """The results of the last steps of what is built, all of whose layers can be had.

        Raises:
            ImagesmithError: of the first step that failed.
        """
        goals = [tip for tip in tips if tip is not None]
        first = () if halted is None else halted[0].inputs()
        self._wanted = frozenset(step for tip in (*goals, *first) for step in chain(tip))
        self._under_runs = under_runs(goals)
        self._goals = goals
        for steps in equal_ops(goals):
            from imagesmith.solve.alike import Alike  # which most builds have no need of

            self.alike.update(dict.fromkeys(steps, Alike(len(steps))))
        with self._fetching:
            if halted is not None:
                self._run([_Task(step) for step in first])
                halted[1](_Working(self, halted[0], self.result(halted[0].parent)))
            self._run([_Task(tip, full=tip in self._results) for tip in goals])
        return [self.result(tip) for tip in tips if not self.failed or tip not in self.failed]

    def _run(self, tasks: Sequence[_Task]) -> None:
        if tasks:
            Schedule(self._attempt, self.tools.cancel, self._jobs).run(tasks)

    def result(self, step: Step | None) -> Result:
        """The result of a step that was solved; an empty file system for None."""
        return NOTHING if step is None else self._results[step]

    def _attempt(self, task: _Task) -> Sequence[_Task]:
        """Solve a step, or tell which ones must be solved before."""
        step, inputs = task.step, task.step.inputs()
        if task.full:
            if not self._results[step].hollow:
                return ()
            if self.result(step.parent).hollow:
                return [_Task(inputs[0], full=True)]
        elif self.failed and (lost := next((self.failed[s] for s in inputs if s in self.failed), None)):
            self.failed[step] = lost
            return ()
        else:
            missing = [_Task(needed) for needed in inputs if needed not in self._results]
            if missing:
                return missing[::-1]
        parent = self.result(step.parent)
        work = _Working(self, step, parent)
        hollow = [needed for needed in inputs if self._results[needed].hollow]
        may_be_hollow = not task.full and step not in self._wanted
        try:
            started = step.op.start(work)
            if started is not None:
                self._results[step] = started
                return ()
            with work.alike or contextlib.nullcontext():
                self.tools.cancel.check()
                layer = self._layer(work, hollow=may_be_hollow, inputs=not hollow)
        except ImagesmithError as e:
            if step.span.first:
                e.located("", step.span.first, step.span.last, "")
            e.step = e.step or step.name
            self._placed(e, step)
            if self.failed is None or isinstance(e, Cancelled):
                raise
            self.failed[step] = e
            return ()
        if layer is None:
            return [_Task(needed, full=True) for needed in reversed(hollow)]
        self._results[step] = parent.plus(layer)
        return ()

    def _placed(self, error: ImagesmithError, step: Step) -> None:
        if self._blame is not None and not error.file:  # once
            self._blame(error, step)

    # --- one step ------------------------------------------------------------------------------

    def _layer(self, work: _Working, *, hollow: bool, inputs: bool = True) -> BuiltLayer | None:
        """The layer of a step, from the cache or made.

        With `hollow` it may be one without content. Without `inputs` what it needs has no content: None if it
        is not cached.

        A COPY that no earlier build has anything of cannot hit: it is executed at once, its files are hashed
        while they are written, and the key is made of what was learnt.
        """
        step, parent = work.step, work.parent
        began = time.time()
        keys = StepKeys(step, base_of(parts_of(step.op, parent.chain, ())))
        if len(step.inputs()) > (step.parent is not None):
            keys.short = self._parts(work, by_layers=True)
        work.learns = step.op.learns and self._learns(work.alike, keys.base)
        may_hit = not work.learns and not step.no_cache
        found = self._find(keys, work, hollow=hollow, inputs=inputs) if may_hit else None
        if found is None and not inputs:
            return None
        with self._turns.of(keys if may_hit and found is None else None) as waited:
            if waited:
                self.tools.cancel.check()
                found = self._find(keys, work, hollow=hollow, inputs=inputs)
            work.number = next(self._numbers)
            if found is not None:
                work.tools.events(StepCached(step=work.number, name=step.name))
                layer, records, hit = found.layer, self._found(keys, found, work), found.source
            else:
                layer, hit = self._make(keys, work), ""
                records = self._remember(keys, layer, work)
        solved = Solved(
            step=step, number=work.number, layer=layer, records=records, hit=hit,
            began_s=began, ended_s=time.time(), image=parent.image,
        )  # fmt: skip
        for watcher in self.watchers:
            watcher.solved(solved)
        return layer

    def _learns(self, alike: Alike | None, base: str) -> bool:
        """True if no earlier build has anything of an instruction, nor had when an equal one was executed."""
        if alike is None:
            return not self.cache.knows(base)
        if alike.learns is None:
            alike.learns = not self.cache.knows(base)
        return alike.learns

    def _find(self, keys: StepKeys, work: _Working, *, hollow: bool, inputs: bool) -> Found | None:
        """What an earlier build made of the same.

        Where files come from other steps, a key made of those steps' layers is tried first: it needs no look
        into them.
        """
        found, step = None, keys.step
        best = LookAhead(self.cache, self._goals, self._ahead, step, work.parent.chain)
        if keys.short is not None:
            found = self.cache.find(keys.short, keys.short_base, step.name, hollow=hollow, best=best)
        if found is None and (inputs or keys.short is None):
            keys.parts = self._parts(work)
            found = self.cache.find(keys.parts, keys.base, step.name, hollow=hollow, best=best)
        return found

    def _found(self, keys: StepKeys, found: Found, work: _Working) -> tuple[StepRecord, ...]:
        """The records of a hit; what was not known here is remembered: an imported one, or its short key."""
        if keys.short is None or keys.parts is None:
            records = self.cache.companions(found)
            if found.source != STORE and not found.layer.hollow:
                self.cache.keep(*((r, self.cache.note(r.key)) for r in records), told=work.told)
            return records
        if found.layer.hollow:
            return (found.record,)
        short = {**keys.short, "codec": found.record.parts.get("codec", "")}  # what its layer is in
        record = replace(found.record, key=key_of(short), base=keys.short_base, parts=short)
        (record,) = self.cache.keep((record, {"same": found.record.key}), told=work.told)
        return found.record, record

    def _make(self, keys: StepKeys, work: _Working) -> BuiltLayer:
        """Execute a step."""
        step, parent, number, events = keys.step, work.parent, work.number, work.tools.events
        self._require(step)
        events(StepStarted(step=number, name=step.name))
        began = time.monotonic()
        try:
            if self.watchers:
                parts = keys.parts or parts_of(step.op, parent.chain, ())
                for watcher in self.watchers:
                    watcher.missed(number, step, parts, parent.top, work.listing)
            with self.tools.store.during(f"make the layer of {step.name}"):
                if step.op.runs or step in self._under_runs:
                    with contextlib.suppress(SandboxError):  # a RUN tells itself why it cannot be executed
                        work.form = self._fetching.expect(parent, self.tools.workshop, step.op.runs)
                layer = step.op.execute(work)
            keys.parts = keys.parts or self._parts(work)
        except ImagesmithError as e:
            events(StepFailedEvent.of(number, step.name, e))
            raise
        events(StepDone(step=number, seconds=time.monotonic() - began))
        return layer

    def _require(self, step: Step) -> None:
        """Raise if a RUN that needs the step cannot be executed here: what cannot end shall not begin."""
        with self._lock:
            if self._foreign is None:
                self._foreign = foreign_runs(self._goals)
        for platform, run in self._foreign.get(step, {}).items():
            try:
                self.tools.workshop.require(platform)
            except ImagesmithError as e:
                e.located("", run.span.first, run.span.last, "")
                e.step = run.name
                self._placed(e, run)
                raise

    def _remember(self, keys: StepKeys, layer: BuiltLayer, work: _Working) -> tuple[StepRecord, ...]:
        """Keep what was made, under its key, and under the short one that points to it."""
        assert keys.parts is not None
        record = StepRecord(
            key=key_of(keys.parts),
            base=keys.base,
            parts=keys.parts,
            diff_id=str(layer.diff_id),
            layer=layer.descriptor.to_json(),
            created_ns=layer.created_ns or 0,
        )
        below, image = work.parent.top, work.parent.image
        note = {"name": keys.step.name, "below": below.name if below is not None else ""}
        if image is not None:
            note |= {"image": image.name, "digest": str(image.descriptor.digest)}
        if keys.step.op.runs and record.parts["inputs"]:
            note["files"] = json.dumps(work.listing())
        if keys.short is None:
            return self.cache.keep((record, note), told=work.told)
        short = replace(record, key=key_of(keys.short), base=keys.short_base, parts=keys.short)
        return self.cache.keep((record, note), (short, {"same": record.key}), told=work.told)

    def _ahead(self, step: Step, bare: bool) -> dict[str, object]:
        return parts_of(step.op, None, ()) if bare else self._parts(_Working(self, step, NOTHING))

    def _parts(self, work: _Working, *, by_layers: bool = False) -> dict[str, object]:
        op = work.step.op
        parts = parts_of(op, work.parent.chain, op.digests(work, by_layers=by_layers))
        parts["clamp"] = self.writer.clamp_s
        parts["codec"] = self.writer.codec_name
        return parts
