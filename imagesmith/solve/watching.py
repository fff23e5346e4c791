"""What became of a step, and who is told.

Why: explaining, reporting, exporting the cache and sending layers early all look at the solver's work; it
knows them as watchers only.
Threads: a watcher is called from the thread of each step, several at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Self

from imagesmith.fs.entry import Entry
from imagesmith.solve.layerwriter import Tap
from imagesmith.solve.result import BuiltLayer
from imagesmith.solve.step import Step
from imagesmith.store.cachedb import StepRecord
from imagesmith.transports.bringing import ResolvedImage
from imagesmith.values import frozen

__all__ = ["Solved", "Watcher", "Watching"]


@frozen(kw_only=True)
class Solved:
    """What became of a step that makes a layer.

    records     what a later build finds it by: the step's own key, and that of its sources' layers
    hit         where its result came from: `store`, the name of an imported cache, or empty if it ran
    image       the base image that it stands on, if any
    began_s, ended_s   wall clock, seconds
    """

    step: Step
    number: int
    layer: BuiltLayer
    records: tuple[StepRecord, ...]
    hit: str
    began_s: float
    ended_s: float
    image: ResolvedImage | None = None


class Watcher:
    """Is told of steps; does nothing itself."""

    def missed(
        self,
        number: int,
        step: Step,
        parts: Mapping[str, object],
        below: BuiltLayer | None,
        listing: Callable[[], Mapping[str, Mapping[str, str]]],
    ) -> None:
        """A step is about to be executed on the layer `below`, and those below that.

        `parts` has no inputs where nothing is known of the instruction; `listing` tells what the
        files of a RUN's mounts are (ops/run.py).
        """

    def copies(self, number: int, entries: Iterable[Entry]) -> None:
        """COPY or ADD is about to write these entries; they may be gone through more than once."""

    def taps(self, step: Step) -> Tap | None:
        """Who takes the compressed bytes of a step's layer while it is made."""

    def solved(self, solved: Solved) -> None:
        """A step's layer is there."""


class Watching(Watcher):
    """A watcher that works while steps are solved: used in a `with`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, e: BaseException | None, _trace: object) -> None:
        """End its work, soon where the build failed."""
