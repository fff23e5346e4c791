"""Sending what a plan holds (copier.py) from a place to a place.

Order: blobs go in parallel, then manifests, children before their index, the named one last. What is
interrupted leaves content without a name, which the next try finds and does not send again.
Trust: blobs are checked where they are read and where they are kept.
Threads: blobs on a pool; the first failure stops the others at their next piece.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Self

from imagesmith.concurrency import Cancel
from imagesmith.events import EventSink, Progress, part_of
from imagesmith.interfaces import ImageSource, ImageTarget
from imagesmith.oci.model import Descriptor
from imagesmith.transports.copier import Plan

__all__ = ["copy_image"]

_TELL_EVERY_S = 0.1


def copy_image(
    source: ImageSource,
    target: ImageTarget,
    plan: Plan,
    *,
    step: int,
    events: EventSink,
    transfers: int = 4,
    slots: threading.Semaphore | None = None,
    finished: Callable[[Descriptor, str], None] = lambda _d, _how: None,
    standing: Descriptor | None = None,
    take: Callable[[Descriptor, ImageSource, Callable[[int], None]], str] | None = None,
    parts: tuple[str, str] = ("", ""),
    abandoned: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Descriptor:
    """Send what a plan holds, and return the root's descriptor.

    Args:
        source: where blobs are read.
        target: where all goes.
        plan: of `plan_copy`.
        step: the vertex that progress belongs to.
        events: is told of each blob.
        transfers: blobs at the same time.
        slots: as many permits, where several copies share them.
        finished: is told of each blob and how it came there: exists, mounted or sent.
        standing: what the target's name stands for, if that is known.
        take: takes a blob that the target was not asked for, where it has hardly any.
        parts: what sending the blobs and then the manifests is called, if it is to be told.
        abandoned: a `with` in which all that is under way comes to its end, where the user stops it.
    """
    teller = _Teller(step, events, Cancel())
    permits = slots or threading.BoundedSemaphore(max(1, transfers))

    def blob(d: Descriptor) -> None:
        with _Slot(permits) as slot:
            teller.cancel.check()
            progress = teller.progress(d, slot.free)
            if take is not None:
                how = take(d, source, progress)
            else:
                how = "exists" if target.has(d) else target.put_blob(d, source, progress)
        teller.done(d, how)
        finished(d, how)

    with part_of(events, step, parts[0]):
        if target.in_order:
            _in_order(target, plan, blob)
        else:
            _in_parallel(list(plan.blobs.values()), blob, transfers, teller.cancel, abandoned)
    root = plan.the_root()
    with part_of(events, step, parts[1]):
        tagged = {d.digest for _, d in plan.tags}
        for d in plan.manifests[:-1]:
            if not target.in_order and d.digest not in tagged:
                target.put_document(d, plan.raw[d.digest])
        for tag, d in plan.tags:
            target.put_tagged(tag, d, plan.raw[d.digest])
        if standing is None or standing.digest != root.digest:
            target.finish(root, plan.raw[root.digest])
    return root


def _in_order(target: ImageTarget, plan: Plan, blob: Callable[[Descriptor], None]) -> None:
    documents = {d.digest: d for d in plan.manifests}
    for digest in sorted({**plan.blobs, **documents}):
        if digest in documents:
            target.put_document(documents[digest], plan.raw[digest])
        else:
            blob(plan.blobs[digest])


def _in_parallel(
    blobs: Sequence[Descriptor],
    blob: Callable[[Descriptor], None],
    transfers: int,
    cancel: Cancel,
    abandoned: Callable[[], AbstractContextManager[None]],
) -> None:
    """Run `blob` on all, largest first; on a failure the others stop, and the first error is raised."""
    largest = sorted(blobs, key=lambda d: -d.size)
    if len(largest) < 2 or transfers < 2:
        for d in largest:
            blob(d)
        return
    from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

    # Twice as many threads as transfers: those whose bytes are all sent wait for a disk or a registry.
    with ThreadPoolExecutor(min(2 * transfers, len(largest)), thread_name_prefix="transfer") as pool:
        futures = [pool.submit(blob, d) for d in largest]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        except BaseException:
            cancel.set()
            with abandoned():
                pool.shutdown(cancel_futures=True)
            raise
        failed = [e for f in futures if f in done and (e := f.exception()) is not None]
        if failed:
            cancel.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise failed[0]


class _Slot:
    """The right to move bytes; given back at the blob's last byte, before it is on disk or acknowledged."""

    def __init__(self, slots: threading.Semaphore) -> None:
        self._slots, self._held = slots, False

    def __enter__(self) -> Self:
        self._slots.acquire()
        self._held = True
        return self

    def __exit__(self, *_: object) -> None:
        self.free()

    def free(self) -> None:
        """Let the next blob begin."""
        if self._held:
            self._held = False
            self._slots.release()


class _Teller:
    """Passes progress on, not too often, and stops a transfer that nobody wants any more."""

    def __init__(self, step: int, events: EventSink, cancel: Cancel) -> None:
        self._step, self._events, self.cancel = step, events, cancel

    def progress(self, d: Descriptor, moved: Callable[[], None]) -> Callable[[int], None]:
        """What a transfer of a blob calls with the bytes that arrived; at the last one, `moved` is called."""
        last = 0.0

        def tell(current: int) -> None:
            nonlocal last
            if self.cancel.is_set:
                self.cancel.check()
            if current >= d.size:
                moved()
            now = time.monotonic()
            if now - last >= _TELL_EVERY_S:
                last = now
                self._events(Progress(step=self._step, id=str(d.digest), current=current, total=d.size))

        return tell

    def done(self, d: Descriptor, how: str) -> None:
        """A blob is there."""
        name = str(d.digest) if how == "sent" else f"{d.digest} {how}"
        self._events(Progress(step=self._step, id=name, current=d.size, total=d.size, done=True))
