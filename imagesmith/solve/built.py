"""What a step makes, what became of it, and who is told: values between the solver and its watchers.

Why: explaining, reporting, exporting the cache and sending layers early all look at the solver's work; it
knows them as watchers only.
Threads: a watcher is called from the thread of each step, several at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, Self

from imagesmith.fs.entry import Entry
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor
from imagesmith.solve.step import Step
from imagesmith.store.cachedb import StepRecord
from imagesmith.store.layers import StoredLayer
from imagesmith.values import frozen

__all__ = ["BuiltLayer", "Solved", "Tap", "Watcher", "Watching"]


@frozen
class BuiltLayer:
    """A layer of a result; `created_ns` is None for a base image's, `name` is that of the step.

    codec and clamp_s tell how a new layer was written (see image/forms.py). A hollow layer is one that an
    earlier build made and that nobody has any more: its diff_id is known, its content is not.
    """

    diff_id: Digest
    descriptor: Descriptor
    stored: StoredLayer
    created_ns: int | None = None
    name: str = ""
    codec: str = ""
    clamp_s: int | None = None
    hollow: bool = False


@frozen(kw_only=True)
class Solved:
    """What became of a step that makes a layer.

    records     what a later build finds it by: the step's own key, and that of its sources' layers
    hit         where its result came from: `store`, the name of an imported cache, or empty if it ran
    began_s, ended_s   wall clock, seconds
    """

    step: Step
    number: int
    layer: BuiltLayer
    records: tuple[StepRecord, ...]
    hit: str
    began_s: float
    ended_s: float


class Tap(Protocol):
    """Takes the bytes of a blob while it is made."""

    def write(self, data: bytes, /) -> None:
        """The next bytes."""

    def abort(self) -> None:
        """There will be no such blob."""


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
        files of a RUN's mounts are (ops/sources.py).
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
