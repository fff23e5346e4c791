"""Questions about the steps of a plan, answered from its last ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from imagesmith.oci.names import Platform
from imagesmith.solve.step import Op, Step

__all__ = ["after_runs", "all_steps", "chain", "equal_ops", "foreign_runs", "needed_steps", "under_runs"]


def all_steps(tips: Iterable[Step | None]) -> list[Step]:
    """Every step that must be solved for the last ones, each after what it needs."""
    done: dict[Step, None] = {}
    todo = [tip for tip in tips if tip is not None][::-1]
    while todo:
        step = todo[-1]
        unknown = [needed for needed in step.inputs() if needed not in done]
        if step in done or not unknown:
            done[todo.pop()] = None
        else:
            todo += unknown[::-1]
    return list(done)


def chain(tip: Step | None) -> Iterator[Step]:
    """A step and those that it stands on, the last first."""
    while tip is not None:
        yield tip
        tip = tip.parent


def after_runs(tips: Iterable[Step | None]) -> list[Step]:
    """The steps that take files of a context, and cannot begin before a RUN has ended."""
    waits: dict[Step, bool] = {}
    for step in all_steps(tips):
        waits[step] = any(needed.op.runs or waits[needed] for needed in step.inputs())
    return [step for step, late in waits.items() if late and any(step.op.reads())]


def needed_steps(tips: Iterable[Step | None]) -> Iterable[Step]:
    """Every step that must be solved for the last ones, those before their needs, in no other order."""
    seen: dict[Step, None] = {}
    todo = [tip for tip in tips if tip is not None]
    while todo:
        step = todo.pop()
        if step not in seen:
            seen[step] = None
            todo += step.inputs()
    return seen


def equal_ops(tips: Iterable[Step | None]) -> list[list[Step]]:
    """The steps that make layers by equal ops on different file systems; RUNs are each its own."""
    by_op: dict[Op, list[Step]] = {}
    for step in all_steps(tips):
        if step.op.makes_layer and not step.op.runs:
            by_op.setdefault(step.op, []).append(step)
    return [steps for steps in by_op.values() if len(steps) > 1]


def foreign_runs(tips: Iterable[Step | None]) -> dict[Step, dict[Platform, Step]]:
    """For each step the RUNs of other machines' programs that need its result, itself among them.

    Of each platform it is the nearest one.
    """
    found: dict[Step, dict[Platform, Step]] = {}
    for step in reversed(all_steps(tips)):
        above = found.get(step, {})
        if (platform := step.op.foreign) is not None:
            above = found[step] = above | {platform: step}
        for needed in step.inputs() if above else ():
            found[needed] = found.get(needed, {}) | above
    return found


def under_runs(tips: Iterable[Step | None]) -> frozenset[Step]:
    """The steps on whose layers a RUN stands, or that it mounts: it executes if they do."""
    under: set[Step] = set()
    for step in all_steps(tips):
        for at in step.inputs() if step.op.runs else ():
            for below in chain(at):
                if below in under:
                    break
                under.add(below)
    return frozenset(under)
