"""Sending finished layers to the registry while later steps still run.

Why: the network is idle while steps run, and the last layer is often a small one. What is sent here the push
at the end finds there, and asks once for each blob.
Why failures are not told: the push comes to the same blob again, with its retries and its error message.
Threads: a small pool; the end of the `with` waits for it, or makes it give up at its next piece.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Sequence
from concurrent.futures import ThreadPoolExecutor

from imagesmith.build.built import Solved, Watching
from imagesmith.build.images import Images
from imagesmith.concurrency import Cancel
from imagesmith.errors import ImagesmithError
from imagesmith.events import EventSink, Progress
from imagesmith.oci.model import Descriptor
from imagesmith.oci.names import ImageRef
from imagesmith.places.storeplace import StorePlace
from imagesmith.store.store import Store

__all__ = ["Uploader"]


class Uploader(Watching):
    """Uploads the layers of some steps to some repositories as they are made."""

    def __init__(
        self,
        store: Store,
        images: Images,
        targets: Sequence[ImageRef],
        steps: Container[object],
        transfers: int,
        events: EventSink,
    ) -> None:
        """Prepare; nothing is started before there is a layer.

        Args:
            store: has the layers.
            images: has the connections.
            targets: a reference in each repository.
            steps: those whose layers belong to the image.
            transfers: layers sent at the same time.
            events: is told of progress.
        """
        self._store, self._images, self._targets, self._steps = store, images, targets, steps
        self._transfers, self._events, self._cancel = transfers, events, Cancel()
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def solved(self, solved: Solved) -> None:
        """See Watcher."""
        d = solved.layer.descriptor
        if solved.step not in self._steps or not self._store.blobs.has(d.digest):
            return
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._transfers, thread_name_prefix="upload")
            for ref in self._targets:
                self._pool.submit(self._send, ref, d)

    def _send(self, ref: ImageRef, d: Descriptor) -> None:
        try:
            self._cancel.check()
            target = self._images.session().repository(ref)
            if target.has(d):
                return
            with self._images.step(f"upload {ref.name} {d.digest.hex[:12]}") as step:
                target.put_blob(d, StorePlace(self._store), self._teller(step, d))
                done = Progress(step=step, id=str(d.digest), current=d.size, total=d.size, done=True)
                self._events(done)
        except ImagesmithError:
            return

    def _teller(self, step: int, d: Descriptor) -> Callable[[int], None]:
        def tell(current: int) -> None:
            self._cancel.check()
            self._events(Progress(step=step, id=str(d.digest), current=current, total=d.size))

        return tell

    def __exit__(self, _kind: object, e: BaseException | None, _trace: object) -> None:
        """Wait until all is sent; give up where the build failed."""
        if e is not None:
            self._cancel.set()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=e is not None)
