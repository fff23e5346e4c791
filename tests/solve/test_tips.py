"""One solve for several tips: what is equal is executed once, by its digest and then by its key."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from imagesmith.concurrency import Cancel
from imagesmith.context.digests import FileDigests
from imagesmith.context.trees import Trees
from imagesmith.errors import StepFailed
from imagesmith.events import Event, StepCached, StepStarted, nobody
from imagesmith.fs.entry import Entry
from imagesmith.interfaces import Place
from imagesmith.layer.codecs import Codec
from imagesmith.request import BuildRequest
from imagesmith.settings import Settings
from imagesmith.solve.key import uncounted
from imagesmith.solve.layerwriter import LayerWriter
from imagesmith.solve.result import BuiltLayer
from imagesmith.solve.solver import Solver
from imagesmith.solve.step import Op, Step, Work
from imagesmith.solve.tools import Tools
from imagesmith.store.store import Store
from imagesmith.transports.bases import Bases
from imagesmith.values import field, frozen
from imagesmith.worker.sandbox.world import World
from imagesmith.worker.workshop import Workshop
from tests.kitchen import Kitchen


@frozen(kw_only=True)
class Folder(Op):
    """Makes a folder, slowly; `remark` is not in the key."""

    path: str
    remark: str = field(default="", note=uncounted("it is a remark"))
    source: Step | None = field(default=None, note=uncounted("a test needs no more"))
    fails: bool = field(default=False, note=uncounted("a test's fault"))

    kind = "folder"

    def execute(self, work: Work) -> BuiltLayer:
        """See Op."""
        time.sleep(0.2)
        if self.fails:
            raise StepFailed("it failed", status=1)
        return work.write([Entry(self.path, "d", 0o755)], time.time_ns())


@contextmanager
def solver(kitchen: Kitchen, events: list[Event]) -> Iterator[Solver]:
    """A solver on a store."""
    request, cancel = BuildRequest(context=str(kitchen.context)), Cancel()
    with Store(kitchen.root) as store:
        bringer: Any = None
        tools = Tools(
            store=store,
            trees=Trees(bringer, FileDigests(store.cache, 0), 0),
            workshop=Workshop(World(Place(ids="own", mounts=False), "none", ()), store, nobody),
            bases=Bases(store, Settings(root=kitchen.root), request, nobody),
            request=request,
            events=events.append,
            cancel=cancel,
            before_run=lambda: None,
        )
        yield Solver(tools, LayerWriter(store, Codec.parse("gzip"), 1, None))


def step(path: str, parent: Step | None = None, **words: Any) -> Step:
    """A step that makes a folder."""
    return Step.of(Folder(path=path, **words), parent, path)


def counts(events: list[Event]) -> tuple[int, int]:
    """How many steps were executed, and found."""
    return sum(isinstance(e, StepStarted) for e in events), sum(isinstance(e, StepCached) for e in events)


def test_tips_that_share_steps_execute_them_once(kitchen: Kitchen) -> None:
    events: list[Event] = []
    tips = [step(name, step("b", step("a"))) for name in ("x", "y", "z", "x")]
    with solver(kitchen, events) as made:
        results = made.solve([*tips, None])
    assert counts(events) == (5, 0)
    assert [len(r.layers) for r in results] == [3, 3, 3, 3, 0]
    assert results[0].diff_ids == results[3].diff_ids != results[1].diff_ids
    assert len({r.layers[1].diff_id for r in results[:4]}) == 1


def test_steps_of_one_key_wait_for_the_first_and_take_its_layer(kitchen: Kitchen) -> None:
    events: list[Event] = []
    with solver(kitchen, events) as made:
        results = made.solve([step("a", remark=str(n)) for n in range(6)])
    assert counts(events) == (1, 5)
    assert len({r.diff_ids for r in results}) == 1


def test_step_that_waits_for_one_that_fails_ends_too(kitchen: Kitchen) -> None:
    events: list[Event] = []
    before = threading.active_count()
    with solver(kitchen, events) as made, pytest.raises(StepFailed):
        made.solve([step("a", remark=str(n), fails=True) for n in range(4)])
    assert counts(events)[0] == 1
    assert threading.active_count() <= before


def test_stage_of_five_thousand_steps_is_solved(kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    events: list[Event] = []
    tip: Step | None = None
    for n in range(5000):
        tip = step(str(n), tip, source=tip)
    before = threading.active_count()
    with solver(kitchen, events) as made:
        [result] = made.solve([tip])
    assert counts(events) == (5000, 0)
    assert len(result.layers) == 5000
    assert threading.active_count() <= before
