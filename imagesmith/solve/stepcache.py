"""Looking up what earlier builds made: in the store first, then in the caches that --cache-from names.

Why lazily: an imported cache is asked for only when the store does not know a step, so a build that needs
nothing makes no request. Its records name blobs that come only when somebody looks into them.
Why candidates: a RUN that was executed twice has two results, each with steps of its own on top. Which one
serves shows only further up (lookahead.py). The store's own is taken as it is.
Threads: any; imports are read once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from imagesmith.oci.codec import Object
from imagesmith.oci.digest import Digest
from imagesmith.oci.mediatype import OCI_LAYER
from imagesmith.oci.model import Descriptor
from imagesmith.solve.key import key_of
from imagesmith.solve.result import BuiltLayer
from imagesmith.store.cachedb import StepRecord
from imagesmith.store.layers import StoredLayer
from imagesmith.store.store import Store
from imagesmith.values import field, frozen, replace

__all__ = ["STORE", "Found", "Imported", "StepCache"]

#: The source of a hit in the store itself.
STORE = "store"


@frozen
class Imported:
    """The records of a cache somewhere else, and how one of its layers is got when it is needed."""

    name: str
    records: Sequence[StepRecord]
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
        self,
        store: Store,
        load: Callable[[], Iterable[Imported]] = tuple,
        clamp_s: int | None = None,
        ttl_s: float | None = None,
        named: Collection[str] = (),
    ) -> None:
        """Look into a store.

        Args:
            store: whose records come first.
            load: reads the imported caches, when the store lacks something.
            clamp_s: the clamp of times (seconds) that the build's layers have.
            ttl_s: records that are older (seconds) are none; None takes any.
            named: the caches that the build was given.
        """
        self._store, self._load, self._clamp_s, self._named = store, load, clamp_s, frozenset(named)
        self._since_ns = None if ttl_s is None else time.time_ns() - int(ttl_s * 1_000_000_000)
        self._imports: list[Imported] | None = None
        self._by_base: dict[str, list[tuple[StepRecord, Imported]]] = {}
        self._by_key: dict[str, list[tuple[StepRecord, Imported]]] = {}
        self._lock = threading.Lock()

    def _imported(self) -> list[Imported]:
        with self._lock:
            if self._imports is None:
                self._imports = list(self._load())
                for found in self._imports:
                    for record in filter(self._is_fresh, found.records):
                        self._by_base.setdefault(record.base, []).append((record, found))
                        self._by_key.setdefault(record.key, []).append((record, found))
            return self._imports

    def _is_fresh(self, record: StepRecord) -> bool:
        """Whether a record may serve; of one whose time was clamped nobody knows how old it is."""
        if self._since_ns is None or record.created_ns >= self._since_ns:
            return True
        return record.created_ns in (0, None if self._clamp_s is None else self._clamp_s * 1_000_000_000)

    def knows(self, base: str) -> bool:
        """True if any record has this base: a hit is possible at all."""
        return self._store.cache.knows_base(base) or (bool(self._imported()) and base in self._by_base)

    def like(self, base: str) -> list[StepRecord]:
        """Records of the same instruction, the store's first, newest first; for explaining a miss."""
        self._imported()
        more = sorted((r for r, _ in self._by_base.get(base, ())), key=lambda r: -r.created_ns)
        return [*self._kept_like(base), *more]

    def note(self, key: str) -> Mapping[str, str]:
        """What was noted beside a record: its step's name, its base image."""
        found = self._store.cache.note(key)
        if (same := found.get("same", "")) != _plain(same):
            found["same"] = _plain(same)
        return found or next((i.notes[key] for i in self._imports or () if key in i.notes), {})

    def find(
        self,
        parts: Mapping[str, object],
        base: str,
        name: str,
        *,
        hollow: bool = False,
        best: Callable[[Sequence[StepRecord]], StepRecord] | None = None,
    ) -> Found | None:
        """The layer that an earlier build made of the same parts, be it compressed in another way.

        Args:
            parts: of the step's key.
            base: of the step's records.
            name: of the step.
            hollow: take also one that nobody has any more, if none has it.
            best: chooses among imported records with different layers; else the first cache's is taken.
        """
        record = self._stored(parts, base)
        without = (record, STORE) if record is not None else None
        if record is not None and record.layer:
            descriptor = _descriptor(record)
            if self._store.blobs.has(descriptor.digest):
                stored = self._store.layers.layer(Digest.parse(record.diff_id), descriptor.digest)
                return Found(record, self._layer(record, descriptor, stored, name), STORE)
        candidates = self._candidates(parts, base)
        whole = [(r, source) for r, source in candidates if r.layer]
        if whole:
            found, source = whole[0]
            if best is not None and len({r.diff_id for r, _ in whole}) > 1:
                found = best([r for r, _ in whole])
                source = next(of for r, of in whole if r is found)
            descriptor = _descriptor(found)
            stored = source.layer(Digest.parse(found.diff_id), descriptor)
            return Found(found, self._layer(found, descriptor, stored, name), source.name)
        if candidates:
            without = candidates[-1][0], candidates[-1][1].name
        return self._hollow(*without, name) if hollow and without is not None else None

    def _stored(self, parts: Mapping[str, object], base: str) -> StepRecord | None:
        """The store's record of these parts; its layer may be gone."""
        record = self._store.cache.step(key_of(parts))
        if record is None or not self._is_fresh(record):
            wanted, like = _any_codec(parts), self._kept_like(base)
            record = next((r for r in like if _any_codec(r.parts) == wanted and self._is_fresh(r)), None)
        return record

    def _kept_like(self, base: str) -> list[StepRecord]:
        """The store's records of the same instruction that owe to no caches but those that are given."""
        return [r for r in self._store.cache.steps_like(base) if self._named.issuperset(_tellers(r.key))]

    def _candidates(self, parts: Mapping[str, object], base: str) -> list[tuple[StepRecord, Imported]]:
        """The records of the imported caches that have these parts, in the order of the caches."""
        if not self._imported():
            return []
        exact, wanted = self._by_key.get(key_of(parts), []), _any_codec(parts)
        having = {id(source) for _, source in exact}
        recoded = [
            (r, source)
            for r, source in self._by_base.get(base, ())
            if id(source) not in having and _any_codec(r.parts) == wanted
        ]
        if not recoded:
            return exact
        order = {id(source): n for n, source in enumerate(self._imported())}
        return sorted([*exact, *recoded], key=lambda c: order[id(c[1])])

    def promised(self, parts: Mapping[str, object], base: str) -> list[str]:
        """The diff_ids that a step of these parts may get from here or from a cache; for looking ahead."""
        record = self._stored(parts, base)
        here = [] if record is None else [record]
        return list(dict.fromkeys(r.diff_id for r in [*here, *(r for r, _ in self._candidates(parts, base))]))

    def promised_on(self, parts: Mapping[str, object], base: str) -> list[str]:
        """The same where the digests of the step's inputs are not known yet: those of any inputs."""
        self._imported()
        wanted = {k: parts[k] for k in ("below", "op", "format")}
        records = [*self._kept_like(base), *(r for r, _ in self._by_base.get(base, ()))]
        records = [r for r in records if self._is_fresh(r)]
        fitting = (r for r in records if all(r.parts.get(k) == v for k, v in wanted.items()))
        return list(dict.fromkeys(r.diff_id for r in fitting))

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
        same = (self._store.cache.note(found.record.key) or self.note(found.record.key)).get("same", "")
        other = self._store.cache.step(same) if same else None
        if same and other is None:
            beside = (r for r, _ in self._by_key.get(same, ()))
            other = next((r for r in beside if r.diff_id == found.record.diff_id), None)
        return (found.record,) if other is None else (other, found.record)

    def keep(
        self, *noted: tuple[StepRecord, Mapping[str, str]], told: Iterable[str] = ()
    ) -> tuple[StepRecord, ...]:
        """Remember what a step made, under each of its keys, with a note for each; returns what is kept.

        Args:
            noted: the records.
            told: the caches by whose tables the layers below were looked into. The records then serve builds
                that are given the same caches, and no others.
        """
        keys = {r.key: _told_by(r.key, [*told, *_tellers(note.get("same", ""))]) for r, note in noted}
        records = tuple(replace(r, key=keys[r.key]) if keys[r.key] != r.key else r for r, _ in noted)
        notes = {}
        for r, note in noted:
            same = note.get("same", "")
            notes[keys[r.key]] = {**note, "same": keys[same]} if same in keys else note
        self._store.cache.put_steps(records, notes)
        return records


def _tellers(key: str) -> list[str]:
    """The caches that a record's key names, one a line behind the key itself."""
    return key.split("\n")[1:]


def _plain(key: str) -> str:
    return key.partition("\n")[0]


def _told_by(key: str, told: Iterable[str]) -> str:
    """The key of a record that owes to these caches."""
    names = {*_tellers(key), *(name.replace("\n", " ") for name in told)}
    return "\n".join([_plain(key), *sorted(names)])


def _any_codec(parts: Mapping[str, object]) -> dict[str, object]:
    return {k: v for k, v in parts.items() if k != "codec"}


def _descriptor(record: StepRecord) -> Descriptor:
    return Descriptor.from_json(Object(dict(record.layer), "cache record"))
