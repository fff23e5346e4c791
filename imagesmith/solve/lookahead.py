"""Which of several results of one step to take: the one on which most of what follows is found as well.

Why: a key is made of the layers below. Where two machines executed the same RUN, each has a layer of its own,
and the steps on it are known to that machine's cache only. Whoever takes the first cache's layer misses them.
Why not all combinations: a step on given layers is looked at once, and only where a record leads there, so
what this costs grows with the records. It is asked only where caches disagree.
Trust: what a cache promises may be wrong; then a step is executed.
Threads: that of the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from imagesmith.errors import ImagesmithError
from imagesmith.oci.config import chain_id
from imagesmith.oci.digest import Digest
from imagesmith.solve.graph import all_steps
from imagesmith.solve.key import base_of
from imagesmith.solve.step import Step
from imagesmith.solve.stepcache import StepCache
from imagesmith.store.cachedb import StepRecord

__all__ = ["LookAhead"]

#: So many steps further than the one in question are looked at.
_FAR = 100


class LookAhead:
    """Chooses the record of a step by the steps that follow it."""

    def __init__(
        self,
        cache: StepCache,
        goals: Iterable[Step],
        parts: Callable[[Step, bool], dict[str, object]],
        step: Step,
        below: Digest | None,
    ) -> None:
        """Prepare; nothing is looked at before there is a choice.

        Args:
            cache: where steps are found.
            goals: the last steps of what is built.
            parts: of a step's key on no layers, without its inputs if the second argument says so.
            step: which there are several records of.
            below: the chain id of the layers that it works on.
        """
        self._cache, self._goals, self._parts, self._step, self._below = cache, goals, parts, step, below
        self._following: dict[Step, list[Step]] = {}
        self._known: dict[Step, tuple[dict[str, object], bool] | None] = {}
        self._counts: dict[tuple[Step, Digest | None], int] = {}

    def __call__(self, records: Sequence[StepRecord]) -> StepRecord:
        """The record to take: of those that lead furthest the first."""
        for step in all_steps(self._goals):
            if step.parent is not None:
                self._following.setdefault(step.parent, []).append(step)
        return max(records, key=lambda r: self._after(self._step, self._on(r.diff_id, self._below), 0))

    def _on(self, diff_id: str, below: Digest | None) -> Digest | None:
        return chain_id([Digest.parse(diff_id)], below)

    def _after(self, step: Step, chain: Digest | None, far: int) -> int:
        """How many of the steps after this one are found, if its result has this chain id."""
        known = (step, chain)
        if known not in self._counts:
            following = self._following.get(step, ()) if far < _FAR else ()
            self._counts[known] = sum(self._from(after, chain, far) for after in following)
        return self._counts[known]

    def _from(self, step: Step, below: Digest | None, far: int) -> int:
        """How many are found from this one on."""
        if step not in self._known:
            self._known[step] = self._worked_out(step)
        found = self._known[step]
        if found is None:
            return 0
        parts = {**found[0], "below": "" if step.op.apart or below is None else str(below)}
        promised = self._cache.promised if found[1] else self._cache.promised_on
        after = (
            self._after(step, self._on(diff_id, below), far + 1)
            for diff_id in promised(parts, base_of(parts))
        )
        return max((1 + more for more in after), default=0)

    def _worked_out(self, step: Step) -> tuple[dict[str, object], bool] | None:
        """The parts of a step's key, and whether its inputs are among them; None for one that cannot hit.

        Files of other steps are not looked into for this.
        """
        if step.no_cache or not step.op.makes_layer:
            return None
        known = len(step.inputs()) == 1  # what it works on
        try:
            return self._parts(step, not known), known
        except ImagesmithError:  # it will be told when it is the step's turn
            return None
