"""Bringing caches to and from their places: a registry, a layout folder, or the image itself.

Why lazily: reading a cache takes its manifest and its document, two requests; layers stay where they are
until a step must look into one or an output needs it, and are then mounted where the registry is the same.
Why warnings: a cache is a help. One that is missing, broken or of another kind costs time, never a build.
Trust: whoever writes a cache decides layers, and nothing else: documents come through the strict door and are
held against their digests (cacheio.py), layers against theirs when they are fetched.
Threads: `load` runs on the thread of the first step that the store does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.errors import (
    ContextError,
    DigestMismatch,
    ImagesmithError,
    IntegrityError,
    InvalidDocument,
    NotFound,
    RegistryError,
)
from imagesmith.events import EventSink, Warned
from imagesmith.interfaces import ImageSource
from imagesmith.layer.codecs import Codec
from imagesmith.oci import mediatype as mt
from imagesmith.oci.codec import Object, parse_object
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor, Index, Manifest
from imagesmith.oci.names import Platform
from imagesmith.request import CachePlace
from imagesmith.solve.cacheahead import CachesAhead
from imagesmith.solve.cachewriting import CacheWriter, Contents, SharedCaches
from imagesmith.solve.key import key_of
from imagesmith.solve.result import BuiltLayer
from imagesmith.solve.step import Step
from imagesmith.solve.stepcache import Imported, StepCache
from imagesmith.solve.watching import Solved, Watcher
from imagesmith.store.layers import StoredLayer
from imagesmith.store.store import Store
from imagesmith.transports.bases import Bases
from imagesmith.transports.tables import Told
from imagesmith.values import replace

if TYPE_CHECKING:
    from imagesmith.oci.identity import Identity

__all__ = ["CacheExport", "CacheImport", "CacheLost"]

_BUILDKIT = "application/vnd.buildkit.cacheconfig.v0"


def _source(place: CachePlace, images: Bases) -> ImageSource:
    """The place that a cache is read from."""
    if place.ref is not None:
        return images.session().repository(place.ref)
    from imagesmith.transports.files import FolderFiles
    from imagesmith.transports.layout import LayoutSource

    folder = Path(place.path)
    if not folder.is_dir():
        raise NotFound(f"{folder}: no such folder")
    return LayoutSource(FolderFiles(folder), f"@{place.digest}" if place.digest else place.tag)


class CacheLost(NotFound):
    """A layer that the imported cache of this name promised cannot be had; a build is done without it."""

    def __init__(self, message: str, *, cache: str) -> None:
        super().__init__(message)
        self.cache = cache


class _Lazy:
    """A cache's place while layers are read from it; ImageSource."""

    def __init__(
        self, name: str, source: ImageSource, holders: Mapping[Digest, Sequence[ImageSource]]
    ) -> None:
        self.name, self._source, self._holders = name, source, holders

    def root(self) -> Descriptor:
        """See ImageSource."""
        return self._source.root()

    def document(self, d: Descriptor) -> bytes:
        """See ImageSource."""
        return self._source.document(d)

    def pieces(self, d: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """The bytes of a layer, from another cache where this one has lost it; see ImageSource."""
        others = [source for source in self._holders.get(d.digest, ()) if source is not self._source]
        lost: ImagesmithError | None = None
        for source in [self._source, *others]:
            try:
                for piece in source.pieces(d, offset):
                    yield piece
                    offset += len(piece)
            except (RegistryError, IntegrityError, ContextError) as e:
                lost = lost or e
                if isinstance(e, DigestMismatch):  # what was handed on is wrong already
                    break
                continue
            return
        assert lost is not None
        raise CacheLost(
            f"the cache {self.name} lacks layer {d.digest}: {lost.message}", cache=self.name
        ) from lost

    def lacks(self, d: Descriptor) -> bool:
        """See ImageSource."""
        return self._source.lacks(d)

    def origin(self, digest: Digest) -> ImageSource:
        """See ImageSource."""
        return self._source.origin(digest)

    @property
    def identity(self) -> Identity:
        """See ImageSource."""
        return self._source.identity

    def referrers(self, digest: Digest) -> Sequence[Descriptor]:
        """See ImageSource."""
        return self._source.referrers(digest)

    def tagged(self, tag: str) -> Descriptor | None:
        """See ImageSource."""
        return self._source.tagged(tag)


class CacheImport:
    """Reads the caches of --cache-from."""

    def __init__(
        self,
        places: Sequence[CachePlace],
        images: Bases,
        platforms: Sequence[Platform],
        events: EventSink,
        ahead: CachesAhead,
    ) -> None:
        self._ahead = ahead
        self._places, self._images, self._platforms, self._events = places, images, platforms, events

    def load(self) -> Iterator[Imported]:
        """The caches that can be read; for the others a warning."""
        for place in self._places:
            try:
                with self._images.step(f"importing cache manifest from {place.name}"):
                    found = self._read(place)
            except (ImagesmithError, OSError) as e:
                why = e.message if isinstance(e, ImagesmithError) else str(e.strerror)
                self._events(Warned(rule="", text=f"the cache {place.name} is not used: {why}"))
                continue
            yield from found

    def _read(self, place: CachePlace) -> list[Imported]:
        source = _source(place, self._images)
        return [
            self._imported(place, source, m) for m in self._manifests(source, self._ahead.root(place, source))
        ]

    def _imported(self, place: CachePlace, source: ImageSource, manifest: Manifest) -> Imported:
        from imagesmith.solve.cacheio import CONFIG_TYPE, INLINE, decode
        from imagesmith.solve.cachetables import tables_in
        from imagesmith.transports.documents import config_of

        if manifest.config.media_type == CONFIG_TYPE:
            document = parse_object(source.document(manifest.config), f"cache {manifest.config.digest}")
            layers = manifest.layers
        elif mt.is_image_config(manifest.config.media_type):
            image = config_of(source, manifest)
            if INLINE not in image.extra:
                raise NotFound(
                    "the image holds no cache",
                    hint="build it with --cache-to type=inline, or use type=registry",
                )
            document = Object({"inline": image.extra[INLINE]}, "image config").need_obj("inline")
            layers = manifest.layers
        else:
            raise InvalidDocument(_foreign(manifest.config.media_type))
        records, notes = decode(document, layers)
        for diff_id, table in tables_in(document, layers).items():
            told = Told(cache=place.name, source=source, data=table.data, blob=table.blob)
            self._images.tables.add(diff_id, told)

        holders = self._images.holders
        for d in layers:
            held = holders.setdefault(d.digest, [])
            if source not in held:
                held.append(source)
        lazy = _Lazy(place.name, source, holders)

        def layer(diff_id: Digest, d: Descriptor) -> StoredLayer:
            _tell_repositories(holders[d.digest][1:], d.digest)
            return self._images.lazy(place.name, lazy, diff_id, d)

        return Imported(place.name, records, layer, notes)

    def _manifests(self, source: ImageSource, d: Descriptor) -> list[Manifest]:
        """The manifests that hold the cache: itself, or those of the build's platforms that there are."""
        from imagesmith.transports.copier import chosen
        from imagesmith.transports.documents import document_of

        document = document_of(source, d)
        if not isinstance(document, Index):
            return [document]
        if any(m.media_type == _BUILDKIT for m in document.manifests):
            raise InvalidDocument(_foreign(_BUILDKIT))
        found: dict[Digest, Manifest] = {}
        lacking: NotFound | None = None
        for platform in self._platforms:
            try:
                manifest = chosen(source, d, platform)
                found[manifest.digest] = manifest
            except NotFound as e:
                lacking = e
        if lacking is not None and not found:
            raise lacking
        return list(found.values())


def _tell_repositories(holders: Iterable[ImageSource], digest: Digest) -> None:
    """Let it be known which repositories have a layer besides, so that it can be mounted from there."""
    for source in holders:
        if source.identity.transport == "docker":
            from imagesmith.registry.repository import Repository

            if isinstance(source, Repository):
                source.has_now(digest)


def _foreign(media_type: str) -> str:
    if media_type == _BUILDKIT:
        return "it was written by BuildKit, whose keys mean nothing to imagesmith"
    return f"{media_type[:100]} is no cache"


class CacheExport(Watcher):
    """Collects what a build made or found, and writes it where --cache-to says."""

    def __init__(
        self,
        places: Sequence[CachePlace],
        store: Store,
        images: Bases,
        cache: StepCache,
        events: EventSink,
        own: Container[Step] | None = None,
        shared: SharedCaches | None = None,
    ) -> None:
        """Prepare.

        Args:
            places: of --cache-to.
            store: with the layers.
            images: has the connections, and the vertices.
            cache: where steps were found.
            events: is told what happens.
            own: the build's steps, where others are solved with them.
            shared: takes what goes to a place that others write to as well; its owner writes it.
        """
        self._own, self._shared = own, shared
        self._places = places
        self.store, self._cache, self.events = store, cache, events
        self._writer = CacheWriter(store, images, cache, events)
        self._solved: list[Solved] = []

    def solved(self, solved: Solved) -> None:
        """See Watcher."""
        if self._own is None or solved.step in self._own:
            self._solved.append(solved)

    def inline(self, layers: Sequence[BuiltLayer], epoch: int | None = None) -> Mapping[str, object]:
        """What the config of an image with these layers gets: the cache, if it is to be inline.

        Under an epoch (seconds) its steps were all made then, as the image says too: it is reproducible.
        """
        if all(place.type != "inline" for place in self._places):
            return {}
        from imagesmith.solve.cacheio import INLINE, encode

        places = {layer.diff_id: n for n, layer in enumerate(layers) if layer.created_ns is not None}
        made_ns = None if epoch is None else epoch * 1_000_000_000
        document = encode(self._solved, lambda s: places.get(s.layer.diff_id), self._cache.note, made_ns)
        return {INLINE: document}

    def finish(
        self, result: Sequence[BuiltLayer], recompressed: Callable[[BuiltLayer, Codec], BuiltLayer]
    ) -> Descriptor | None:
        """Write the caches that are this build's alone, and note what was of use; returns the last manifest.

        Args:
            result: the layers of what was built; with mode=min, those alone go along.
            recompressed: a layer in another compression.

        Raises:
            ImagesmithError: one cannot be written, unless its place says that this is no error.
        """
        self.store.cache.touch_steps(r.key for s in self._solved if s.hit for r in s.records)
        written = None
        for place in self._places:
            if place.type == "inline":
                continue
            contents = self._contents(place, result, recompressed)
            if self._shared is None or not self._shared.add(place, self._writer, contents):
                written = self._writer.write(place, [contents]) or written
        return written

    def _contents(
        self,
        place: CachePlace,
        result: Sequence[BuiltLayer],
        recompressed: Callable[[BuiltLayer, Codec], BuiltLayer],
    ) -> Contents:
        """What goes to a place."""
        wanted = {layer.diff_id for layer in result}
        kept = [s for s in self._solved if place.mode == "max" or s.layer.diff_id in wanted]
        away = [s for s in self._solved if s not in kept or s.layer.hollow]
        steps = [s for s in kept if not s.layer.hollow]
        if place.codec is not None:
            steps = [_in_codec(s, place.codec, recompressed) for s in steps]
        return Contents(tuple(steps), tuple(away))


def _in_codec(
    solved: Solved, codec: Codec, recompressed: Callable[[BuiltLayer, Codec], BuiltLayer]
) -> Solved:
    """A step with its layer in another compression, and its records under the keys of that."""
    layer = recompressed(solved.layer, codec)
    records = []
    for r in solved.records:
        parts = {**r.parts, "codec": str(codec)}
        records.append(replace(r, key=key_of(parts), parts=parts, layer=layer.descriptor.to_json()))
    return replace(solved, layer=layer, records=tuple(records))
