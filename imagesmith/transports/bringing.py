"""Blobs of images that are elsewhere: where each of them is, and how it comes here or goes on from there.

Why apart from bases.py: which image a name means is settled while planning; its layers are brought when a
step looks into them, or never, where a registry can mount them.
Trust: blobs are held against their digests.
Threads: methods may be called from any; a blob is brought once.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.concurrency import Cancel
from imagesmith.errors import DockerfileError
from imagesmith.events import EventSink, Progress, Vertex
from imagesmith.fs.view import LayerIndex, View
from imagesmith.interfaces import ImageSource
from imagesmith.oci.config import ImageConfig
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.oci.names import ImageRef
from imagesmith.request import BuildRequest
from imagesmith.settings import Settings
from imagesmith.store.layers import StoredLayer
from imagesmith.store.store import Store
from imagesmith.transports.tables import Tables
from imagesmith.values import frozen

if TYPE_CHECKING:
    from imagesmith.transports.layout import LayoutSource
    from imagesmith.transports.transfer import Session

__all__ = ["LAYOUT", "ImageBlobs", "ResolvedImage", "open_layout"]

#: What the place of an image in a layout begins with.
LAYOUT = "oci:"


@frozen(kw_only=True)
class ResolvedImage:
    """An image that FROM or --from names: what its reference was resolved to, no layer fetched.

    `place` tells where missing blobs are: a reference, or `oci:` and a layout's folder.
    """

    name: str
    descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig
    place: str

    @property
    def ref(self) -> ImageRef | None:
        """The reference, where it is in a registry."""
        return None if self.place.startswith(LAYOUT) else ImageRef.parse(self.place, default_tag=False)


#: Where a blob may come from: a registry's repository, or a layout or the place of an imported cache.
Origin = ImageRef | ImageSource


class ImageBlobs:
    """Brings what images consist of, and knows where it is until then."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        request: BuildRequest,
        events: EventSink,
        numbers: Iterator[int] | None,
        cancel: Cancel | None,
        beside: ImageBlobs | None = None,
    ) -> None:
        """Prepare; see Bases."""
        self.store, self._settings, self._request, self._events = store, settings, request, events
        self._lock, self._session_lock = threading.Lock(), threading.Lock()
        self._blob_locks: dict[Digest, threading.Lock] = {}
        self._origins: dict[Digest, Origin] = {}
        #: Where layers of caches can be read, in the order of the caches: one may have lost what another has.
        self.holders: dict[Digest, list[ImageSource]] = {}
        #: What caches tell of layers that are not in the store.
        self.tables = Tables(store)
        self._session: Session | None = None
        self._beside: ImageBlobs | None = None
        if beside is not None:
            self._lock, self._blob_locks, self._origins = beside._lock, beside._blob_locks, beside._origins
            self.holders, self.tables = beside.holders, beside.tables
            if beside._reaches_as(request):
                self._beside = beside
        self.numbers = numbers or itertools.count(1)
        self._cancel = cancel or Cancel()

    def layers(self, image: ResolvedImage) -> Sequence[StoredLayer]:
        """The layers of an image, bottom first; their blobs come when somebody looks into them."""
        if len(image.config.diff_ids) != len(image.manifest.layers):
            raise DockerfileError(
                f"{image.name}: {len(image.manifest.layers)} layers but {len(image.config.diff_ids)} diff_ids"
            )
        pairs = zip(image.config.diff_ids, image.manifest.layers, strict=True)
        origin = self._origin(image)
        return [self.lazy(image.name, origin, diff_id, d) for diff_id, d in pairs]

    def _origin(self, image: ResolvedImage) -> Origin:
        """Where the blobs of an image are."""
        return image.ref or open_layout(Path(image.place.removeprefix(LAYOUT)))

    def files(self, image: ResolvedImage) -> View:
        """The files of an image; see planner.ImageResolver."""
        return View([layer.index() for layer in self.layers(image)])

    def lazy(self, name: str, origin: Origin, diff_id: Digest, d: Descriptor) -> StoredLayer:
        """A layer whose blob comes when somebody looks into it."""
        layer = self.store.layers.layer(diff_id, d.digest)
        self._origins.setdefault(d.digest, origin)
        layer.known_as(d.digest, lambda: self._fetch(name, origin, d))
        return layer

    def told(self, layer: StoredLayer) -> LayerIndex | None:
        """What is known of a layer that is not in the store; None where it must be read."""
        return self.tables.index(layer, self._events)

    def tellers(self, layers: Callable[[], Iterable[Digest]]) -> set[str]:
        """The names of the caches by whose tables some layers were looked into."""
        return self.tables.tellers(layers)

    def fetch(self, image: ResolvedImage, d: Descriptor) -> None:
        """Bring one blob of an image into the store, if it is not there."""
        self._fetch(image.name, self._origin(image), d)

    def _fetch(self, name: str, origin: Origin, d: Descriptor) -> None:
        with self._lock:
            lock = self._blob_locks.setdefault(d.digest, threading.Lock())
        with lock:
            if self.store.blobs.has(d.digest):
                return
            with self.step(f"fetch {name} {d.digest}") as vertex:
                if isinstance(origin, ImageRef):
                    self.session().fetch_blob(origin, d, vertex.number, self._cancel)
                else:
                    self._read(origin, d)
                self._events(
                    Progress(step=vertex.number, id=str(d.digest), current=d.size, total=d.size, done=True)
                )

    def _read(self, source: ImageSource, d: Descriptor) -> None:
        from imagesmith.transports.layout import LayoutSource
        from imagesmith.transports.stored import write_blob

        write_blob(self.store.blobs, d, source, lambda _count: self._cancel.check())
        behind = source.origin(d.digest)
        if not isinstance(behind, LayoutSource):
            from imagesmith.registry.repository import Repository

            if isinstance(behind, Repository):
                behind.has_now(d.digest)  # for later builds, to mount it from there

    def fetch_all(self, image: ResolvedImage) -> None:
        """Bring every layer of an image into the store."""
        for d in image.manifest.layers:
            self.fetch(image, d)

    def _reaches_as(self, request: BuildRequest) -> bool:
        """True if another build asks the same registries in the same way."""
        return self._request.access == request.access and self._request.pull == request.pull

    def session(self) -> Session:
        """The connection to registries, made when it is first needed."""
        if self._beside is not None:
            return self._beside.session()
        with self._session_lock:
            if self._session is None:
                from imagesmith.transports.transfer import Session

                self._session = Session(
                    self.store,
                    access=self._request.access,
                    events=self._events,
                    transfers=self._settings.transfers,
                    numbers=self.numbers,
                )
            return self._session

    # --- pushing -------------------------------------------------------------------------------

    def push(
        self,
        ref: ImageRef,
        image: Descriptor,
        layers: Iterable[tuple[Descriptor, StoredLayer]],
        vertex: Vertex,
    ) -> None:
        """Send a finished image with these layers to the registry of a name.

        Base layers that nothing has needed are mounted, or copied from registry to registry; they are not
        brought here for it.
        """
        self.session().push(ref, image, self.elsewhere(layers), vertex=vertex)

    def elsewhere(self, layers: Iterable[tuple[Descriptor, StoredLayer]]) -> dict[Digest, ImageSource]:
        """Where layers can be read that the store may lack."""
        out: dict[Digest, ImageSource] = {}
        for d, _stored in layers:
            origin = self._origins.get(d.digest)
            if isinstance(origin, ImageRef):
                out[d.digest] = self.session().repository(origin)
            elif origin is not None:
                out[d.digest] = origin
        return out

    def step(self, name: str) -> Vertex:
        """A vertex of the screen."""
        return Vertex(self._events, next(self.numbers), name)

    def close(self) -> None:
        """End the connections to registries."""
        with self._session_lock:
            if self._session is not None:
                self._session.close()


def open_layout(folder: Path, ref: str = "") -> LayoutSource:
    """A layout folder, at one of its images."""
    from imagesmith.transports.files import FolderFiles
    from imagesmith.transports.layout import LayoutSource

    return LayoutSource(FolderFiles(folder), ref)
