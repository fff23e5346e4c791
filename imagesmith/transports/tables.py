"""Tables of layers that are elsewhere: where each is, and the index that a view has by it.

Why: a table is read when a step asks what is at a path and the layer is not in the store; it is some
kilobytes, and the layer stays where it is. Those of one build are its own: what a cache tells of a layer
serves the build that was given that cache, and nothing of it is kept.
Trust: see store/tables.py. One that cannot be used is a warning, and the layer is read.
Threads: any; a table is read once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from imagesmith.concurrency import Once
from imagesmith.errors import Cancelled, DigestMismatch, ImagesmithError, LimitExceeded
from imagesmith.events import EventSink, Warned
from imagesmith.fs.layerindex import LayerIndex
from imagesmith.interfaces import ImageSource
from imagesmith.oci.digest import Digest, digest_bytes
from imagesmith.oci.model import Descriptor
from imagesmith.store.layers import StoredLayer
from imagesmith.store.store import Store
from imagesmith.values import frozen

__all__ = ["Tables", "Told"]


@frozen(kw_only=True)
class Told:
    """A table that a cache has of a layer.

    cache    the cache's name
    data     the table, if it came along
    blob     where it is else, in `source`
    """

    cache: str
    source: ImageSource
    data: bytes = b""
    blob: Descriptor | None = None

    def read(self) -> bytes:
        """The table, packed.

        Raises:
            LimitExceeded: it is too large.
            DigestMismatch: it is not what the cache says.
            RegistryError: it is not there.
        """
        from imagesmith.store.tables import MOST_BYTES

        d = self.blob
        if d is None:
            return self.data
        if d.size > MOST_BYTES:
            raise LimitExceeded(f"a table of {d.size} bytes, more than {MOST_BYTES}")
        raw = bytearray()
        for piece in self.source.pieces(d):
            raw += piece
            if len(raw) > d.size:
                break
        if len(raw) != d.size or digest_bytes(bytes(raw), d.digest.algorithm) != d.digest:
            raise DigestMismatch(f"a table that is not blob {d.digest}")
        return bytes(raw)


class Tables:
    """The tables that the caches of one solve have."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._told: dict[Digest, list[Told]] = {}
        self._used: dict[Digest, str] = {}
        self._read: Once[Digest, LayerIndex | None] = Once()
        self._lock = threading.Lock()

    def add(self, diff_id: Digest, told: Told) -> None:
        """Take note of a table of a layer; of several the first one that is whole is used."""
        with self._lock:
            self._told.setdefault(diff_id, []).append(told)

    def of(self, diff_id: Digest) -> Told | None:
        """A table of a layer, to be handed on."""
        return next(iter(self._told.get(diff_id, ())), None)

    def tellers(self, layers: Callable[[], Iterable[Digest]]) -> set[str]:
        """The names of the caches whose tables of some layers are in use."""
        return {self._used[d] for d in layers() if d in self._used} if self._used else set()

    def index(self, layer: StoredLayer, events: EventSink) -> LayerIndex | None:
        """What a table tells of a layer that is not in the store; None where there is none to go by."""
        if layer.diff_id not in self._told or not layer.absent:
            return None
        return self._read.get(layer.diff_id, lambda: self._index(layer, events))

    def _index(self, layer: StoredLayer, events: EventSink) -> LayerIndex | None:
        from imagesmith.store.tables import read_table  # most builds read none

        for told in list(self._told[layer.diff_id]):
            try:
                raw = told.read()
                index = LayerIndex(lambda raw=raw: read_table(raw, layer), self._store.new_spool)  # type: ignore[misc]
                self._used[layer.diff_id] = told.cache
                return index
            except Cancelled:
                raise
            except ImagesmithError as e:
                where = f"the cache {told.cache} tells of layer {layer.diff_id}"
                events(Warned(rule="", text=f"what {where} is not used: {e.message}"))
        return None
