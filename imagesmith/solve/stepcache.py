"""Looking up what earlier builds made: in the store first, then in the caches that --cache-from names.

Why lazily: an imported cache is asked for only when the store does not know a step, so a build that needs
nothing makes no request. Its records name blobs that come only when somebody looks into them.
Threads: any; imports are read once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping

from imagesmith.oci.codec import Object
from imagesmith.oci.digest import Digest
from imagesmith.oci.mediatype import OCI_LAYER
from imagesmith.oci.model import Descriptor
from imagesmith.solve.key import key_of
from imagesmith.solve.result import BuiltLayer
from imagesmith.store.cachedb import StepRecord
from imagesmith.store.layers import StoredLayer
from imagesmith.store.store import Store
from imagesmith.values import field, frozen

__all__ = ["STORE", "Found", "Imported", "StepCache"]

#: The source of a hit in the store itself.
STORE = "store"


@frozen
class Imported:
    """The records of a cache somewhere else, and how one of its layers is got when it is needed."""

    name: str
    records: Mapping[str, StepRecord]
    layer: Callable[[Digest, Descriptor], StoredLayer]
    notes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@frozen
class Found:
    """A hit: the record, the layer it names, and where it was found."""

    record: StepRecord
    layer: BuiltLayer
    source: str


class StepCache:
    """The steps that a build need not execute."""

    def __init__(
        self, store: Store, load: Callable[[], Iterable[Imported]] = tuple, clamp_s: int | None = None
    ) -> None:
        """Look into a store.

        Args:
            store: whose records come first.
            load: reads the imported caches, when the store lacks something.
            clamp_s: the clamp of times (seconds) that the build's layers have.
        """
        self._store, self._load, self._clamp_s = store, load, clamp_s
        self._imports: list[Imported] | None = None
        self._by_base: dict[str, list[tuple[StepRecord, Imported]]] = {}
        self._lock = threading.Lock()

    def _imported(self) -> list[Imported]:
        with self._lock:
            if self._imports is None:
                self._imports = list(self._load())
                for found in self._imports:
                    for record in found.records.values():
                        self._by_base.setdefault(record.base, []).append((record, found))
            return self._imports

    def knows(self, base: str) -> bool:
        """True if any record has this base: a hit is possible at all."""
        return self._store.cache.knows_base(base) or (bool(self._imported()) and base in self._by_base)

    def like(self, base: str) -> list[StepRecord]:
        """Records of the same instruction, the store's first, newest first; for explaining a miss."""
        self._imported()
        more = sorted((r for r, _ in self._by_base.get(base, ())), key=lambda r: -r.created_ns)
        return [*self._store.cache.steps_like(base), *more]

    def note(self, key: str) -> Mapping[str, str]:
        """What was noted beside a record: its step's name, its base image."""
        found = self._store.cache.note(key)
        return found or next((i.notes[key] for i in self._imports or () if key in i.notes), {})

    def find(
        self, parts: Mapping[str, object], base: str, name: str, *, hollow: bool = False
    ) -> Found | None:
        """The layer that an earlier build made of the same parts, be it compressed in another way.

        With `hollow` also one that nobody has any more, if none has it.
        """
        key, wanted = key_of(parts), _any_codec(parts)
        record = self._store.cache.step(key)
        if record is None:
            like = self._store.cache.steps_like(base)
            record = next((r for r in like if _any_codec(r.parts) == wanted), None)
        without = (record, STORE) if record is not None else None
        if record is not None and record.layer:
            descriptor = _descriptor(record)
            if self._store.blobs.has(descriptor.digest):
                stored = self._store.layers.layer(Digest.parse(record.diff_id), descriptor.digest)
                return Found(record, self._layer(record, descriptor, stored, name), STORE)
        for source in self._imported():
            found = source.records.get(key) or next(
                (
                    r
                    for r, of in self._by_base.get(base, ())
                    if of is source and _any_codec(r.parts) == wanted
                ),
                None,
            )
            if found is not None and not found.layer:
                without = found, source.name
            elif found is not None:
                descriptor = _descriptor(found)
                stored = source.layer(Digest.parse(found.diff_id), descriptor)
                return Found(found, self._layer(found, descriptor, stored, name), source.name)
        return self._hollow(*without, name) if hollow and without is not None else None

    def _hollow(self, record: StepRecord, source: str, name: str) -> Found:
        """A hit without content."""
        diff_id = Digest.parse(record.diff_id)
        nothing = Descriptor(media_type=OCI_LAYER, digest=diff_id, size=0)
        stored = self._store.layers.layer(diff_id, None)
        return Found(
            record, BuiltLayer(diff_id, nothing, stored, record.created_ns, name, hollow=True), source
        )

    def _layer(
        self, record: StepRecord, descriptor: Descriptor, stored: StoredLayer, name: str
    ) -> BuiltLayer:
        codec = str(record.parts.get("codec", ""))
        return BuiltLayer(stored.diff_id, descriptor, stored, record.created_ns, name, codec, self._clamp_s)

    def companions(self, found: Found) -> tuple[StepRecord, ...]:
        """The record of a hit, and the one that it was made beside, if it is known."""
        same = self.note(found.record.key).get("same", "")
        other = self._store.cache.step(same) if same else None
        if same and other is None:
            other = next((i.records[same] for i in self._imports or () if same in i.records), None)
        return (found.record,) if other is None else (other, found.record)

    def keep(self, *noted: tuple[StepRecord, Mapping[str, str]]) -> None:
        """Remember what a step made, under each of its keys, with a note for each."""
        self._store.cache.put_steps([r for r, _ in noted], {r.key: note for r, note in noted})


def _any_codec(parts: Mapping[str, object]) -> dict[str, object]:
    return {k: v for k, v in parts.items() if k != "codec"}


def _descriptor(record: StepRecord) -> Descriptor:
    return Descriptor.from_json(Object(dict(record.layer), "cache record"))
