"""Sending finished layers to the registry while later steps still run.

Why: the network is idle while steps run, and the last layer is often a small one. The base image's layers are
mounted, or sent if the store has them, from the beginning on; one that is in another registry only is left to
the push, for a step may yet bring it here. What was sent here the push at the end does not ask for again.
Why a small layer that was just made is not asked for: hardly any registry has it, and to send it takes as
long as to ask.
Why the registry's failures are not told: the push comes to the same blob again, with its retries and its
error message. Any other error is raised at the end of the `with`, or told where the build has failed.
Threads: a small pool; the end of the `with` waits for it, or makes it give up at its next piece.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Container, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Self

from imagesmith.concurrency import Cancel
from imagesmith.errors import ImagesmithError
from imagesmith.events import EventSink, Progress, Warned
from imagesmith.oci.mediatype import is_nondistributable
from imagesmith.oci.model import Descriptor
from imagesmith.oci.names import ImageRef
from imagesmith.registry.repository import Repository
from imagesmith.solve.layerwriter import Tap
from imagesmith.solve.result import BuiltLayer
from imagesmith.solve.step import Step
from imagesmith.solve.watching import Solved, Watching
from imagesmith.transports.bases import Bases, ResolvedImage
from imagesmith.transports.stored import StorePlace

if TYPE_CHECKING:
    from imagesmith.export.streaming import LayerStreams

__all__ = ["Uploader"]

_log = logging.getLogger(__name__)

#: Layers of so many bytes at most are sent without asking, if they are new.
_UNASKED_BYTES = 64 << 10


class Uploader(Watching):
    """Uploads the layers of some steps to some repositories as they are made."""

    def __init__(
        self,
        images: Bases,
        targets: Sequence[ImageRef],
        steps: Container[object],
        transfers: int,
        events: EventSink,
        bases: Sequence[ResolvedImage] = (),
    ) -> None:
        """Prepare; nothing is started before there is a layer, or a base.

        Args:
            images: has the connections, and the store with the layers.
            targets: a reference in each repository.
            steps: those whose layers belong to an image.
            transfers: layers sent at the same time.
            events: is told of progress.
            bases: the images that they are put onto.
        """
        self._bases = bases
        self._store, self._images, self._targets, self._steps = images.store, images, targets, steps
        self._transfers, self._events, self._cancel = transfers, events, Cancel()
        self._pool: ThreadPoolExecutor | None = None
        self._streams: dict[object, LayerStreams] = {}
        self._begun: list[Future[None]] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        for base in self._bases:
            stored = self._images.layers(base)
            pairs = zip(base.config.diff_ids, base.manifest.layers, stored, strict=True)
            layers = [BuiltLayer(diff_id, d, layer) for diff_id, d, layer in pairs]
            self._submit(partial(self._send_base, base.ref, layers))
        return self

    def _send_base(self, origin: ImageRef | None, layers: Sequence[BuiltLayer]) -> None:
        """Send what the store has, or the target's registry in another repository."""
        if origin is None:
            return
        pairs = [(layer.descriptor, layer.stored) for layer in layers]
        source = StorePlace(self._store, None, None, self._images.elsewhere(pairs))
        for d in (layer.descriptor for layer in layers):
            if not (d.urls and is_nondistributable(d.media_type)):
                for ref in self._targets:
                    near = origin.registry == ref.registry
                    if near or self._store.blobs.has(d.digest):
                        self._send(ref, d, source)

    def taps(self, step: Step) -> Tap | None:
        """See Watcher."""
        from imagesmith.export.streaming import LayerStreams

        if step not in self._steps:
            return None

        def targets() -> list[Repository]:
            return [self._images.session().repository(ref) for ref in self._targets]

        found = self._streams[step] = LayerStreams(targets)
        return found

    def solved(self, solved: Solved) -> None:
        """See Watcher."""
        d = solved.layer.descriptor
        if solved.step not in self._steps or not self._store.blobs.has(d.digest):
            return
        streams = self._streams.get(solved.step)
        source = StorePlace(self._store, None, None, self._images.elsewhere([(d, solved.layer.stored)]))
        new = not solved.hit and d.size <= _UNASKED_BYTES
        for ref in self._targets:
            self._submit(partial(self._send, ref, d, source, streams, new=new))

    def _submit(self, work: Callable[[], None]) -> None:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._transfers, thread_name_prefix="upload")
            self._begun.append(self._pool.submit(work))

    def _send(
        self,
        ref: ImageRef,
        d: Descriptor,
        source: StorePlace,
        streams: LayerStreams | None = None,
        *,
        new: bool = False,
    ) -> None:
        try:
            self._cancel.check()
            target = self._images.session().repository(ref)
            streamed = streams is not None and streams.finish(target, d.digest)
            if not (streamed or new) and target.has(d):
                return
            with self._images.step(f"upload {ref.name} {d.digest.hex[:12]}") as vertex:
                step = vertex.number
                how = "sent" if streamed else target.put_blob(d, source, self._teller(step, d))
                name = str(d.digest) if how == "sent" else f"{d.digest} {how}"
                self._events(Progress(step=step, id=name, current=d.size, total=d.size, done=True))
        except ImagesmithError as e:
            _log.debug("%s is left to the push: %s", d.digest, e.message)

    def _teller(self, step: int, d: Descriptor) -> Callable[[int], None]:
        def tell(current: int) -> None:
            self._cancel.check()
            self._events(Progress(step=step, id=str(d.digest), current=current, total=d.size))

        return tell

    def __exit__(self, _kind: object, e: BaseException | None, _trace: object) -> None:
        """Wait until all is sent; give up where the build failed."""
        try:
            self._end(failed=e is not None)
        except BaseException:
            self._end(failed=True)
            raise
        faults = [f for streams in self._streams.values() for f in streams.faults]
        faults += [f for begun in self._begun if not begun.cancelled() and (f := begun.exception())]
        faults = [f for f in faults if not isinstance(f, ImagesmithError)]
        if faults and e is None:
            raise faults[0]
        for fault in faults:
            self._events(Warned(rule="", text=f"an early upload failed: {type(fault).__name__}: {fault}"))

    def _end(self, *, failed: bool) -> None:
        if failed:
            self._cancel.set()
        if self._pool is not None:
            with self._images.session().hurried() if failed else contextlib.nullcontext():
                self._pool.shutdown(cancel_futures=failed)
        for streams in list(self._streams.values()):
            streams.abort()
