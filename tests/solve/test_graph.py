"""Questions about the steps of a plan: which there are, in which order, and which of them wait for a RUN."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from imagesmith.context.origins import ContextFiles
from imagesmith.solve.graph import after_runs, all_steps, chain, needed_steps, under_runs
from imagesmith.solve.step import Op, Reads, Step
from imagesmith.values import frozen


@frozen(kw_only=True)
class Node(Op):
    """Does nothing; `sources` are further inputs."""

    label: str
    sources: tuple[Step, ...] = ()

    kind = "node"


@frozen(kw_only=True)
class Base(Node):
    """Brings layers that are there."""

    makes_layer = False


@frozen(kw_only=True)
class Runs(Node):
    """Executes a program."""

    runs = True


@frozen(kw_only=True)
class Takes(Node):
    """Takes files of a context."""

    def reads(self) -> Iterator[Reads]:
        """See Op."""
        yield Reads(ContextFiles("context", "."), "f")


def step(label: str, parent: Step | None = None, *sources: Step, kind: type[Node] = Node) -> Step:
    """A step, called as its op is labelled."""
    return Step.of(kind(label=label, sources=sources), parent, label)


def names(steps: Any) -> list[str]:
    """What steps are called."""
    return [s.name for s in steps]


def test_nothing_has_no_steps() -> None:
    assert all_steps([]) == all_steps([None, None]) == list(chain(None)) == after_runs([None]) == []
    assert (list(needed_steps([None])), under_runs([None])) == ([], frozenset())


def test_every_step_comes_once_and_after_what_it_needs() -> None:
    a = step("a")
    b, c = step("b", a), step("c", a)
    d = step("d", b, c, a)
    assert names(all_steps([d])) == ["a", "b", "c", "d"]
    assert names(all_steps([c, None, d, c])) == ["a", "c", "b", "d"]


def test_steps_that_say_the_same_are_one() -> None:
    one, other = step("x", step("a")), step("x", step("a"))
    assert one is not other
    assert names(all_steps([one, other, step("y", other)])) == ["a", "x", "y"]


@pytest.mark.parametrize("by", ["parent", "source"])
def test_chain_that_is_longer_than_one_of_calls_is_gone_through(by: str) -> None:
    tip = step("0")
    for n in range(1, 3000):
        tip = step(str(n), tip) if by == "parent" else step(str(n), None, tip)
    assert names(all_steps([tip])) == [str(n) for n in range(3000)]
    assert len(list(needed_steps([tip]))) == 3000
    assert len(list(chain(tip))) == (3000 if by == "parent" else 1)


def test_chain_is_what_a_step_stands_on_the_last_first() -> None:
    other = step("other")
    assert names(chain(step("c", step("b", step("a"), other), other))) == ["c", "b", "a"]


def test_what_takes_files_waits_for_runs_that_it_needs_on_any_way() -> None:
    run = step("run", None, kind=Runs)
    on_it = step("on it", run, kind=Takes)
    further = step("further", step("between", on_it), kind=Takes)
    from_it = step("from it", step("a"), further, kind=Takes)
    beside = step("beside", step("a"), kind=Takes)
    under = step("under", None, kind=Takes)
    over = step("over", under, kind=Runs)
    late = after_runs([from_it, beside, over, step("takes nothing", run)])
    assert names(late) == ["on it", "further", "from it"]


def test_names_are_those_of_what_makes_layers_whatever_stage_it_is_of() -> None:
    base = step("base", None, kind=Base)
    stage = step("copied from", step("of the stage", base))
    tip = step("tip", step("below", base), stage)
    assert sorted(step.name for step in needed_steps([tip, stage, None]) if step.op.makes_layer) == [
        "below",
        "copied from",
        "of the stage",
        "tip",
    ]


def test_under_a_run_is_all_that_it_stands_on_and_mounts_with_what_is_below() -> None:
    mounted = step("mounted", step("below it"))
    stands_on = step("stands on", step("base", None, kind=Base), step("copied from"))
    run = step("run", stands_on, mounted, kind=Runs)
    tip = step("after", run)
    assert {s.name for s in under_runs([tip])} == {"stands on", "base", "mounted", "below it"}
    second = step("second", tip, kind=Runs)
    assert under_runs([second]) == under_runs([tip]) | {run, tip}
