"""Writing a cache: what one or several builds made, as one manifest, beside what is there already if asked.

Why several: targets of a bake file name one place for all. If each wrote its own, that of the last one would
be left; so what they have is put together and written once (`SharedCaches`).
Why merging is asked for: a cache that keeps what nobody has used grows. Without `merge=true` the new one
takes the place of the old one, as in BuildKit. With it, workers that write to one name keep each other's
records. A folder is locked. A registry has no lock, so its name is looked at right before it is written and
again after; who finds another's cache there merges with that, and writes anew. Two that both look before
either writes can lose one of theirs, within the time of one request; where that must not be, each worker has
a name of its own.
Trust: a cache that is merged with comes through the strict door, and is left out where it is broken.
Threads: `add` may be called from any; `write` from one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagesmith.errors import ImagesmithError, NotFound, RegistryError, cannot_write
from imagesmith.events import EventSink, Warned
from imagesmith.interfaces import ImageSource, ImageTarget
from imagesmith.oci.codec import Object, dumps, parse_object
from imagesmith.oci.digest import Digest, digest_bytes
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.request import CachePlace
from imagesmith.solve.stepcache import StepCache
from imagesmith.solve.watching import Solved
from imagesmith.store.store import Store
from imagesmith.transports.bases import Bases
from imagesmith.values import frozen, replace

if TYPE_CHECKING:
    from imagesmith.solve.cachetables import Table

__all__ = ["CacheWriter", "Contents", "SharedCaches"]

#: So often a cache is merged anew because somebody else wrote meanwhile.
_TRIES = 8
_WAIT_S = 0.2


@frozen
class Contents:
    """What of a build goes to a place.

    steps     those whose layers go along
    away      those that are told of without their layers
    """

    steps: tuple[Solved, ...]
    away: tuple[Solved, ...]


class _Moved(Exception):
    """Somebody else has written the name."""


class _Guarded:
    """A target whose name is given only while it stands for what was merged; ImageTarget."""

    def __init__(self, target: ImageTarget, still: Callable[[], bool]) -> None:
        self._target, self._still = target, still
        self.name, self.in_order, self.sparse = target.name, target.in_order, target.sparse
        self.has, self.put_blob = target.has, target.put_blob
        self.put_document, self.put_tagged = target.put_document, target.put_tagged

    def finish(self, d: Descriptor, raw: bytes) -> None:
        """See ImageTarget."""
        if not self._still():
            raise _Moved
        self._target.finish(d, raw)


class CacheWriter:
    """Writes caches with one build's connections."""

    def __init__(self, store: Store, images: Bases, cache: StepCache, events: EventSink) -> None:
        self.store, self._images, self._cache, self.events = store, images, cache, events

    def write(self, place: CachePlace, contents: Sequence[Contents]) -> Descriptor | None:
        """Write one cache of what several builds have; None where it failed and that is no error.

        Raises:
            ImagesmithError: it cannot be written.
        """
        try:
            with self._images.step(f"exporting cache to {place.name}") as vertex:
                document, layers = self._document(contents)
                steps = [s for c in contents for s in c.steps]
                elsewhere = self._images.elsewhere([(s.layer.descriptor, s.layer.stored) for s in steps])
                tables = self._tables(steps, elsewhere)
                if not place.merge:
                    whole = self._with_tables(document, layers, tables)
                    return self._send(self._target(place), *whole, elsewhere, vertex.number)
                with _locked(place):
                    return self._merge(place, document, layers, tables, elsewhere, vertex.number)
        except ImagesmithError as e:
            if not place.ignore_error:
                raise
            self.events(Warned(rule="", text=f"the cache was not written to {place.name}: {e.message}"))
            return None

    def _document(self, contents: Sequence[Contents]) -> tuple[dict[str, Any], list[Descriptor]]:
        from imagesmith.solve.cacheio import encode, exported

        steps = sorted((s for c in contents for s in c.steps), key=lambda s: str(s.layer.descriptor.digest))
        numbers: dict[Digest, int] = {}
        layers: list[Descriptor] = []
        for s in steps:
            if numbers.setdefault(s.layer.descriptor.digest, len(layers)) == len(layers):
                layers.append(exported(s.layer.descriptor, s.layer.diff_id, s.layer.created_ns or 0))
        away = [s for c in contents for s in c.away]
        position = lambda s: numbers.get(s.layer.descriptor.digest)  # noqa: E731
        return encode([*away, *steps], position, self._cache.note), layers

    def _tables(
        self, steps: Iterable[Solved], elsewhere: dict[Digest, ImageSource]
    ) -> list[tuple[Digest, Table]]:
        """The tables of the steps' layers and of those of their base images, as far as they are known.

        Those that imported caches have are taken as they are; where their blobs are goes to `elsewhere`.
        """
        from imagesmith.solve.cachetables import Table
        from imagesmith.store.tables import packed_table

        images = {s.image.manifest.digest: s.image for s in steps if s.image is not None}
        below = (diff_id for image in images.values() for diff_id in image.config.diff_ids)
        tables: list[tuple[Digest, Table]] = []
        for diff_id in dict.fromkeys([*below, *(s.layer.diff_id for s in steps)]):
            layer = self.store.layers.layer(diff_id, None)
            if (raw := packed_table(layer)) is not None:
                tables.append((diff_id, Table(raw)))
            elif (told := self._images.tables.of(diff_id)) is not None:
                tables.append((diff_id, Table(told.data, told.blob)))
                if told.blob is not None:
                    elsewhere[told.blob.digest] = told.source
        return tables

    def _with_tables(
        self,
        document: Mapping[str, Any],
        layers: Sequence[Descriptor],
        tables: Sequence[tuple[Digest, Table]],
    ) -> tuple[dict[str, Any], list[Descriptor]]:
        """What is sent: the document and the layers with the tables, whose blobs are in the store then."""
        from imagesmith.solve.cachetables import with_tables

        whole, all_layers, blobs = with_tables(document, layers, tables)
        for raw in blobs:
            self.store.blobs.put(raw)
        return whole, all_layers

    def _send(
        self,
        target: ImageTarget,
        document: Mapping[str, Any],
        layers: Sequence[Descriptor],
        elsewhere: Mapping[Digest, ImageSource],
        step: int,
    ) -> Descriptor:
        from imagesmith.solve.cacheio import CONFIG_TYPE
        from imagesmith.transports.copier import Choice, plan_copy
        from imagesmith.transports.sender import copy_image
        from imagesmith.transports.stored import StorePlace

        raw = dumps(document)
        config = Descriptor(media_type=CONFIG_TYPE, digest=digest_bytes(raw), size=len(raw))
        manifest = Manifest.build(config, layers)
        self.store.blobs.put(raw)
        self.store.blobs.put(manifest.raw)
        source = StorePlace(self.store, None, manifest.descriptor(), elsewhere)
        return copy_image(source, target, plan_copy(source, Choice()), step=step, events=self.events)

    def _merge(
        self,
        place: CachePlace,
        document: dict[str, Any],
        layers: list[Descriptor],
        tables: list[tuple[Digest, Table]],
        elsewhere: Mapping[Digest, ImageSource],
        step: int,
    ) -> Descriptor:
        import random

        from imagesmith.solve.cacheio import merged
        from imagesmith.solve.cachetables import tables_in

        for _ in range(_TRIES):
            target = self._target(place)
            before = _standing(target)
            old, kept = self._old(place, target, before)
            whole, all_layers = merged((document, layers), (old, kept))
            known = {diff_id for diff_id, _ in tables}
            more_tables = [t for t in tables_in(Object(old, "cache"), kept).items() if t[0] not in known]
            whole, all_layers = self._with_tables(whole, all_layers, [*tables, *more_tables])
            more = {d.digest: target for d in all_layers}

            def still(before: Descriptor | None = before) -> bool:
                now = _standing(self._target(place))
                return (now and now.digest) == (before and before.digest)

            with contextlib.suppress(_Moved):
                guarded = _Guarded(target, still)
                done = self._send(guarded, whole, all_layers, {**more, **elsewhere}, step)
                after = _standing(self._target(place))
                if after is None or after.digest == done.digest:
                    return done
            time.sleep(random.uniform(0, _WAIT_S))  # or two would go on in step
        raise RegistryError(
            f"{place.name}: others wrote the cache each time it was merged",
            hint="give each worker a name of its own, and all of them to --cache-from",
        )

    def _old(
        self, place: CachePlace, target: ImageSource, d: Descriptor | None
    ) -> tuple[dict[str, Any], list[Descriptor]]:
        """The document that is there and its layers; nothing where there is none that can be read."""
        from imagesmith.solve.cacheio import CONFIG_TYPE, decode

        nothing: tuple[dict[str, Any], list[Descriptor]] = {"records": []}, []
        if d is None:
            return nothing
        from imagesmith.transports.documents import document_of

        try:
            manifest = document_of(target, d)
            if not isinstance(manifest, Manifest) or manifest.config.media_type != CONFIG_TYPE:
                raise NotFound("it is no cache")
            document = parse_object(target.document(manifest.config), f"cache {manifest.config.digest}")
            decode(document, manifest.layers)
        except ImagesmithError as e:
            self.events(Warned(rule="", text=f"what {place.name} held is not merged with: {e.message}"))
            return nothing
        return dict(document.data), list(manifest.layers)

    def _target(self, place: CachePlace) -> Any:  # noqa: ANN401 - both an ImageSource and an ImageTarget
        if place.ref is not None:
            return self._images.session().repository(place.ref)
        from imagesmith.transports.layout import LayoutFolder

        return LayoutFolder(Path(place.path), place.tag or "latest", create=True)


def _standing(target: ImageSource) -> Descriptor | None:
    """What the name stands for now; a registry itself is asked, none of its mirrors."""
    if target.identity.transport == "docker":
        from imagesmith.registry.repository import Repository

        assert isinstance(target, Repository)
        return target.standing()
    try:
        return target.root()
    except NotFound:
        return None


@contextlib.contextmanager
def _locked(place: CachePlace) -> Iterator[None]:
    """One at a time merges with a folder's cache."""
    if place.ref is not None:
        yield
        return
    blobs = Path(place.path) / "blobs"  # the folder itself is locked by whoever changes its tables
    try:
        blobs.mkdir(parents=True, exist_ok=True)
        fd = os.open(blobs, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as e:
        raise cannot_write(e, Path(place.path)) from e
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


class SharedCaches:
    """The places that several builds of one solve write to: each is written once, with what all of them have.

    Each build's CacheExport.finish adds to it; `write` is called when all are done.
    """

    def __init__(self, places: Iterable[Sequence[CachePlace]]) -> None:
        """Find the places that are named by more than one of the builds."""
        counts: dict[tuple[str, ...], int] = {}
        for of_one in places:
            for key in {_key(place) for place in of_one if place.type != "inline"}:
                counts[key] = counts.get(key, 0) + 1
        self._shared = frozenset(key for key, count in counts.items() if count > 1)
        self._added: dict[tuple[str, ...], list[tuple[CachePlace, CacheWriter, Contents]]] = {}
        self._lock = threading.Lock()

    def add(self, place: CachePlace, writer: CacheWriter, contents: Contents) -> bool:
        """Take what a build has for a place; False if nobody else writes there, so that it does so itself."""
        if _key(place) not in self._shared:
            return False
        with self._lock:
            self._added.setdefault(_key(place), []).append((place, writer, contents))
        return True

    def write(self) -> list[tuple[CachePlace, Descriptor | ImagesmithError]]:
        """Write what was added, also where some of the builds failed; returns what came of each place.

        An error counts unless all who write there say otherwise.
        """
        with self._lock:
            added, self._added = self._added, {}
        out: list[tuple[CachePlace, Descriptor | ImagesmithError]] = []
        for of_place in added.values():
            of_place.sort(key=lambda added: _keys(added[2]))  # it does not count which build ended first
            first, writer, _ = of_place[0]
            lenient = all(place.ignore_error for place, _, _ in of_place)
            merge = any(place.merge for place, _, _ in of_place)
            contents = [contents for _, _, contents in of_place]
            written: Descriptor | ImagesmithError | None
            try:
                written = writer.write(replace(first, ignore_error=lenient, merge=merge), contents)
            except ImagesmithError as e:
                written = e
            if written is not None:
                out += [(place, written) for place, _, _ in of_place]
        return out


def _keys(contents: Contents) -> list[str]:
    return sorted(r.key for s in (*contents.steps, *contents.away) for r in s.records)


def _key(place: CachePlace) -> tuple[str, ...]:
    """What two places have in common if one cache takes the other's place."""
    if place.ref is not None:
        return ("registry", str(place.ref))
    return (place.type, os.path.realpath(place.path), place.tag or "latest")
