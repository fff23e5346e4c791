"""Execute a plan: every step once, from the cache where it can be, independent ones at the same time.

Why: a step needs the layers below it and the files of its inputs; in which order, and on which thread, is the
schedule's. Nothing of a base image is fetched until a step must look into it. A stage that the image only
copies from may be hollow: if what was copied is cached, nobody needs the stage's content. If it is needed
after all, the stage is solved again with content.
Threads: those of the schedule; a step's result is there before what needs it is tried.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from imagesmith.concurrency import Cancel
from imagesmith.context.rows import Rows
from imagesmith.errors import ImagesmithError, SandboxError
from imagesmith.events import EventSink, Log, StepCached, StepDone, StepFailedEvent, StepStarted
from imagesmith.fs.entry import Entry
from imagesmith.fs.view import EMPTY_VIEW
from imagesmith.layer.diff import layer_entries
from imagesmith.ops.copy import Copier
from imagesmith.ops.run import Runner
from imagesmith.ops.sources import Sources
from imagesmith.solve.built import BuiltLayer, Solved, Watcher
from imagesmith.solve.key import base_of, key_of, parts_of
from imagesmith.solve.layerwriter import LayerWriter
from imagesmith.solve.result import NOTHING, Result
from imagesmith.solve.schedule import Schedule
from imagesmith.solve.step import CopyOp, ImageOp, MakeDirOp, ResolvedImage, RootOp, RunOp, Step, under_runs
from imagesmith.solve.stepcache import STORE, Found, StepCache
from imagesmith.store.cachedb import StepRecord
from imagesmith.store.layers import Form, StoredLayer
from imagesmith.store.store import Store
from imagesmith.values import replace

__all__ = ["Solver"]


@dataclass(slots=True, eq=False)
class _Keys:
    """What a step is looked up by; `short` names the layers of its sources instead of their files."""

    step: Step
    base: str
    parts: dict[str, object] | None = None
    short: dict[str, object] | None = None

    @property
    def short_base(self) -> str:
        """The base of short keys, which are not to be taken for the others."""
        return f"{self.base}+"


class _Task(NamedTuple):
    """A step to be solved; `full`: its layers must have content."""

    step: Step
    full: bool = False


class Solver:
    """Executes steps for one build."""

    def __init__(
        self,
        store: Store,
        writer: LayerWriter,
        sources: Sources,
        runner: Runner,
        layers_of: Callable[[ResolvedImage], Sequence[StoredLayer]],
        events: EventSink,
        cancel: Cancel,
        cache: StepCache | None = None,
        watchers: Sequence[Watcher] = (),
        numbers: Iterator[int] | None = None,
    ) -> None:
        self.cache, self.watchers = cache or StepCache(store, clamp_s=writer.clamp_s), watchers
        self.store, self.writer, self.sources, self.runner = store, writer, sources, runner
        self.layers_of, self.events, self.cancel = layers_of, events, cancel
        self._numbers = numbers or itertools.count(1)
        self._results: dict[Step, Result] = {}
        self._wanted: frozenset[Step] = frozenset()
        self._under_runs: frozenset[Step] = frozenset()

    def solve(self, tip: Step | None) -> Result:
        """The result of the last step of what is built, all of whose layers can be had.

        Raises:
            ImagesmithError: of the first step that failed.
        """
        if tip is None:
            return NOTHING
        wanted: set[Step] = set()
        at: Step | None = tip
        while at is not None:
            wanted.add(at)
            at = at.parent
        self._wanted = frozenset(wanted)
        self._under_runs = under_runs(tip)
        Schedule(self._attempt, self.cancel).run(_Task(tip))
        return self._results[tip]

    def result(self, step: Step | None) -> Result:
        """The result of a step that another one needs, for that one; an empty file system for None."""
        return NOTHING if step is None else self._results[step]

    def _attempt(self, task: _Task) -> Sequence[_Task]:
        """Solve a step, or tell which ones must be solved before."""
        step, inputs = task.step, task.step.inputs()
        if task.full:
            if not self._results[step].hollow:
                return ()
            if self.result(step.parent).hollow:
                return [_Task(inputs[0], full=True)]
        else:
            missing = [_Task(needed) for needed in inputs if needed not in self._results]
            if missing:
                return missing[::-1]
        if isinstance(step.op, ImageOp):
            self._results[step] = self._image(step.op.image)
            return ()
        hollow = [needed for needed in inputs if self._results[needed].hollow]
        self.cancel.check()
        parent = self.result(step.parent)
        may_be_hollow = not task.full and step not in self._wanted
        try:
            layer = self._layer(step, parent, hollow=may_be_hollow, inputs=not hollow)
        except ImagesmithError as e:
            if step.span.first:
                e.located("", step.span.first, step.span.last, "")
            raise
        if layer is None:
            return [_Task(needed, full=True) for needed in reversed(hollow)]
        self._results[step] = parent.plus(layer)
        return ()

    def _image(self, image: ResolvedImage) -> Result:
        stored = self.layers_of(image)
        pairs = zip(image.config.diff_ids, image.manifest.layers, stored, strict=True)
        return Result([BuiltLayer(diff_id, d, layer) for diff_id, d, layer in pairs], image=image)

    # --- one step ------------------------------------------------------------------------------

    def _layer(self, step: Step, parent: Result, *, hollow: bool, inputs: bool = True) -> BuiltLayer | None:
        """The layer of a step, from the cache or made.

        With `hollow` it may be one without content. Without `inputs` what it needs has no content: None if it
        is not cached.

        A COPY that no earlier build has anything of cannot hit: it is executed at once, its files are hashed
        while they are written, and the key is made of what was learnt.
        """
        began = time.time()
        keys = _Keys(step, base_of(parts_of(step.op, parent.chain, ())))
        if len(step.inputs()) > (step.parent is not None):
            keys.short = self._parts(step, parent, by_layers=True)
        fresh = isinstance(step.op, CopyOp) and not self.cache.knows(keys.base)
        found = None if fresh or step.no_cache else self._find(keys, parent, hollow=hollow, inputs=inputs)
        if found is None and not inputs:
            return None
        number = next(self._numbers)
        if found is not None:
            self.events(StepCached(step=number, name=step.name))
            layer, records, hit = found.layer, self._found(keys, found), found.source
        else:
            layer, hit = self._make(keys, parent, number, fresh=fresh), ""
            records = self._remember(keys, layer, parent)
        solved = Solved(
            step=step,
            number=number,
            layer=layer,
            records=records,
            hit=hit,
            began_s=began,
            ended_s=time.time(),
        )
        for watcher in self.watchers:
            watcher.solved(solved)
        return layer

    def _find(self, keys: _Keys, parent: Result, *, hollow: bool, inputs: bool) -> Found | None:
        """What an earlier build made of the same.

        Where files come from other steps, a key made of those steps' layers is tried first: it needs no look
        into them.
        """
        found = None
        if keys.short is not None:
            found = self.cache.find(keys.short, keys.short_base, keys.step.name, hollow=hollow)
        if found is None and (inputs or keys.short is None):
            keys.parts = self._parts(keys.step, parent)
            found = self.cache.find(keys.parts, keys.base, keys.step.name, hollow=hollow)
        return found

    def _found(self, keys: _Keys, found: Found) -> tuple[StepRecord, ...]:
        """The records of a hit; what was not known here is remembered: an imported one, or its short key."""
        if keys.short is None or keys.parts is None:
            records = self.cache.companions(found)
            if found.source != STORE and not found.layer.hollow:
                self.cache.keep(*((r, self.cache.note(r.key)) for r in records))
            return records
        if found.layer.hollow:
            return (found.record,)
        record = replace(found.record, key=key_of(keys.short), base=keys.short_base, parts=keys.short)
        self.cache.keep((record, {"same": found.record.key}))
        return found.record, record

    def _make(self, keys: _Keys, parent: Result, number: int, *, fresh: bool) -> BuiltLayer:
        """Execute a step."""
        step = keys.step
        self.events(StepStarted(step=number, name=step.name))
        began = time.monotonic()
        try:
            if self.watchers:
                parts, op = keys.parts or parts_of(step.op, parent.chain, ()), step.op
                for watcher in self.watchers:
                    watcher.missed(number, step, parts, parent.top, lambda: self.sources.listing(op, self))
            with self.store.during(f"make the layer of {step.name}"):
                layer = self._execute(step, parent, number, digests=fresh)
            keys.parts = keys.parts or self._parts(step, parent)
        except ImagesmithError as e:
            self.events(StepFailedEvent.of(number, step.name, e))
            raise
        self.events(StepDone(step=number, seconds=time.monotonic() - began))
        return layer

    def _remember(self, keys: _Keys, layer: BuiltLayer, parent: Result) -> tuple[StepRecord, ...]:
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
        below, image = parent.top, parent.image
        note = {"name": keys.step.name, "below": below.name if below is not None else ""}
        if image is not None:
            note |= {"image": image.name, "digest": str(image.descriptor.digest)}
        if isinstance(keys.step.op, RunOp) and record.parts["inputs"]:
            note["files"] = json.dumps(self.sources.listing(keys.step.op, self))
        if keys.short is None:
            self.cache.keep((record, note))
            return (record,)
        short = replace(record, key=key_of(keys.short), base=keys.short_base, parts=keys.short)
        self.cache.keep((record, note), (short, {"same": record.key}))
        return record, short

    def _parts(self, step: Step, parent: Result, *, by_layers: bool = False) -> dict[str, object]:
        inputs = self.sources.digests(step, self, by_layers=by_layers)
        parts = parts_of(step.op, parent.chain, inputs)
        parts["clamp"] = self.writer.clamp_s
        parts["codec"] = self.writer.codec_name
        return parts

    def _execute(self, step: Step, parent: Result, number: int, *, digests: bool) -> BuiltLayer:
        op, now = step.op, time.time_ns()
        form: Form = ""
        if isinstance(op, RunOp) or step in self._under_runs:
            with contextlib.suppress(SandboxError):  # a RUN tells itself why it cannot be executed
                form = self.runner.expect(parent.unread(), self)
                parent.was_read()
        if isinstance(op, RunOp):
            return self._run(op, parent, number, step)
        if isinstance(op, RootOp):
            entries = layer_entries(
                self.sources.whole(op.origin), set(), EMPTY_VIEW, spool=self.store.new_spool
            )
            return self._write(entries, now, step, form=form)
        assert not isinstance(op, ImageOp)
        lower = EMPTY_VIEW if isinstance(op, CopyOp) and op.link else parent.view  # --link looks into nothing
        copier, rows = Copier(lower, now, self.sources, self), list[Rows]()
        if isinstance(op, MakeDirOp):
            draft, below = copier.make_dir(op)
        else:
            draft, below, rows = copier.copy(op)
        upper, held_ns = draft.upper_entries(), self.writer.held_ns
        entries = layer_entries(upper, draft.opaques, below, held_ns, self.store.new_spool)
        by_path = not draft.overwritten  # what was copied to a path is what the layer has there
        del draft, upper  # tens of thousands of names, perhaps, which nobody wants while the layer is written
        for watcher in self.watchers:
            watcher.copies(number, entries)
        layer = self._write(entries, now, step, learn=self.sources.learn if digests else None, form=form)
        if digests:
            self.sources.learnt(step, rows, layer.stored.digests if by_path else None)
        return layer

    def _run(self, op: RunOp, parent: Result, number: int, step: Step) -> BuiltLayer:
        self.sources.before_run()

        def output(stream: int, data: bytes) -> None:
            self.events(Log(step=number, stream=stream, data=data))

        with self.runner.run(
            op, [layer.stored for layer in parent.layers], parent.view, self, output
        ) as workspace:
            upper, opaques = workspace.changes()
            entries = layer_entries(upper, opaques, parent.view, spool=self.store.new_spool)
            layer = self._write(entries, time.time_ns(), step)
            workspace.commit(layer.diff_id)
            return layer

    def _write(
        self,
        entries: Iterable[Entry],
        created_ns: int,
        step: Step,
        *,
        learn: Callable[[Entry], None] | None = None,
        form: Form = "",
    ) -> BuiltLayer:
        tap = next((t for w in self.watchers if (t := w.taps(step)) is not None), None)
        diff_id, descriptor = self.writer.write(entries, self.cancel, learn=learn, form=form, tap=tap)
        stored = self.store.layers.layer(diff_id, descriptor.digest)
        writer = self.writer
        return BuiltLayer(
            diff_id, descriptor, stored, created_ns, step.name, writer.codec_name, writer.clamp_s
        )
