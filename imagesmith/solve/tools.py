"""What all steps of one solve share: the store, the files of origins, the worker, images, and the request."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from imagesmith.concurrency import Cancel
from imagesmith.context.trees import Trees
from imagesmith.events import EventSink
from imagesmith.request import BuildRequest
from imagesmith.store.store import Store
from imagesmith.transports.bases import Bases
from imagesmith.values import frozen
from imagesmith.worker.workshop import Workshop

if TYPE_CHECKING:
    from imagesmith.solve.halting import Failing

__all__ = ["Tools"]


@frozen(kw_only=True, eq=False)
class Tools:
    """The tools.

    store        has layers, caches, and room for work
    trees        the files of contexts and other origins
    workshop     where RUN is executed
    bases        the images that steps begin with
    request      what the user gives: secrets, agents, limits
    events       is told what happens
    cancel       looked at by whatever takes long
    before_run   to be called when a RUN begins
    failing      is told of a RUN that failed, if anybody is
    """

    store: Store
    trees: Trees
    workshop: Workshop
    bases: Bases
    request: BuildRequest
    events: EventSink
    cancel: Cancel
    before_run: Callable[[], None]
    failing: Failing | None = None
