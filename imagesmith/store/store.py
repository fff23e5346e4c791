"""The store as a whole: its folder, its lock, its images by name, and what may be thrown away.

    oci-layout, index.json   the images that have a name, as an OCI image layout
    blobs/, ingest/          content, and content on its way (store/blobs.py)
    layers/, layers.format   derived from layers (store/layers.py)
    cache.db                 memory of earlier builds (store/cachedb.py)
    cachemounts/, work/      RUN --mount=type=cache, and snapshots in use
    lock                     flock: shared while the store is used, exclusive to prune
    reserve                  given up when the disk is full (store/reserve.py)

Why: a name is written last, so that a crash leaves only what prune takes. The kernel frees the lock of a
killed process. A prune needs no room: what was left lying goes first, records last.
Spec: OCI image-spec 1.1, image-layout.md.
Trust: the folder is claimed first (store/folder.py). Blobs are held against their digests when they are read,
and documents come through the strict door.
Threads: methods may be called from any thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from imagesmith.errors import (
    InvalidDocument,
    LockTimeout,
    NotFound,
    StoreError,
    Unsupported,
    disk_fault,
)
from imagesmith.oci.codec import dumps
from imagesmith.oci.config import ImageConfig
from imagesmith.oci.digest import Digest
from imagesmith.oci.mediatype import OCI_INDEX
from imagesmith.oci.model import Descriptor, Index, Manifest, parse_document
from imagesmith.oci.names import ImageRef, Platform, choose_platform
from imagesmith.store import reserve
from imagesmith.store.blobs import BlobStore
from imagesmith.store.cachedb import CacheDB, StepRecord
from imagesmith.store.disk import on_disk_fault, spool
from imagesmith.store.folder import NAME, claim, images_in, read_names
from imagesmith.store.layers import LayerStore
from imagesmith.store.renewal import renew
from imagesmith.values import frozen, replace

__all__ = ["UNUSED_S", "Pruned", "Store"]

_REF = "org.opencontainers.image.ref.name"
#: Steps that were of no use for so long (seconds) are forgotten by a prune.
UNUSED_S = 60 * 24 * 3600
_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


@frozen
class Pruned:
    """What a prune took: counts, and bytes that became free."""

    blobs: int
    layers: int
    steps: int
    freed_bytes: int


class Store:
    """A store folder, opened for use; close it, or use it in a `with`."""

    def __init__(self, root: Path) -> None:
        """Open (or make) the store at `root`, and hold its lock shared.

        Raises:
            StoreError: the folder cannot be made or written, belongs to another user, or has links in it.
            LockTimeout: a prune holds it.
        """
        self.root = root
        #: Is told what of the store cannot be used; set before that is.
        self.warn: Callable[[str], None] = logging.getLogger(__name__).warning
        claim(root)
        self.blobs = BlobStore(root)
        self.layers = LayerStore(self.blobs)
        try:
            self._lock_file = (root / "lock").open("ab")
        except OSError as e:
            raise StoreError(f"cannot use the store at {root}: {e.strerror}") from e
        try:
            self._hold(fcntl.LOCK_SH, 60.0)
            if not (root / "oci-layout").exists():
                self._replace("oci-layout", _LAYOUT)
            if renew(self.layers):
                self._if_alone(self.layers.sweep)
            reserve.keep(root)
        except BaseException:
            self.blobs.arrivals.close()
            self._lock_file.close()
            raise

    @cached_property
    def cache(self) -> CacheDB:
        """The memory of earlier builds."""
        return CacheDB(self.root / "cache.db", self.warn)

    @property
    def cache_mounts(self) -> Path:
        """Where the directories of RUN --mount=type=cache are."""
        return self.root / "cachemounts"

    @property
    def work(self) -> Path:
        """Where snapshots in use are."""
        return self.root / "work"

    def new_spool(self) -> BinaryIO:
        """A file without a name for what a step knows of more files than fit into memory; see fs/table.py.

        Raises:
            StoreError: the disk is full, read-only or broken.
        """
        return spool(self.work, "keep what there is to know of many files")

    def _hold(self, mode: int, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(self._lock_file, mode | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LockTimeout(f"the store at {self.root} is in use by another imagesmith") from None
                time.sleep(0.05)

    def _if_alone(self, work: Callable[[], object]) -> None:
        """Do something if nobody else is here: another version may have mounted what was set aside."""
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            work()
        self._hold(fcntl.LOCK_SH, 60.0)

    def close(self) -> None:
        """Give the lock back."""
        self.blobs.settle()
        self.blobs.arrivals.close()
        if "cache" in self.__dict__:
            self.cache.close()
        self._lock_file.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
        """Close it; what the disk refused, and nobody told in more words, becomes an error of the store.

        Raises:
            StoreError: the disk of the store is full, read-only or broken.
        """
        self.close()
        if isinstance(error, OSError) and str(error.filename).startswith(f"{self.root}/"):
            fault = disk_fault(error, "write to the store", self.root)
            if fault is not None:
                raise fault from error

    def during(self, doing: str) -> contextlib.AbstractContextManager[None]:
        """What the disk refuses meanwhile becomes the store's error: it cannot do that; see `disk_fault`."""
        return on_disk_fault(doing, self.root)

    # --- names ---------------------------------------------------------------------------------

    def images(self) -> list[tuple[ImageRef, Descriptor]]:
        """The named images, by name."""
        return images_in(self.root)

    def named(self) -> list[Descriptor]:
        """What has a name, in the order in which the names were given."""
        return read_names(self.root)

    def find(self, ref: ImageRef) -> Descriptor | None:
        """The manifest or index that a name stands for, or None."""
        if ref.digest is not None:
            size = self.blobs.size(ref.digest)
            if size < 0:
                return None
            return self.document(ref.digest).descriptor()
        return next((d for name, d in self.images() if str(name) == str(ref)), None)

    def name(self, ref: ImageRef, descriptor: Descriptor) -> None:
        """Give a manifest or index a name, taking it from whatever had it."""
        named = replace(descriptor, annotations={NAME: str(ref), _REF: ref.tag or "latest"})
        with self._names_lock():
            others = [d for d in read_names(self.root) if d.annotations.get(NAME) != str(ref)]
            self._write_names([*others, named])

    def unname(self, ref: ImageRef) -> Descriptor:
        """Take a name away and return what it stood for.

        Raises:
            NotFound: no image has that name.
        """
        with self._names_lock():
            names = read_names(self.root)
            found = next((d for d in names if d.annotations.get(NAME) == str(ref)), None)
            if found is None:
                raise NotFound(f"no image named {ref.familiar}", hint="`imagesmith images` lists them")
            left = [d for d in names if d is not found]
            try:
                self._write_names(left)
            except StoreError:
                self._make_room()
                self._write_names(left)
        return found

    def _make_room(self) -> None:
        """Let a full disk have room for a list of names."""
        reserve.give_up(self.root)
        self.blobs.sweep_ingest()
        self._if_alone(self._sweep)

    @contextlib.contextmanager
    def _names_lock(self) -> Iterator[None]:
        with (self.root / "index.lock").open("ab") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            yield

    def _write_names(self, names: list[Descriptor]) -> None:
        self.blobs.settle()
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [d.to_json() for d in names]}
        self._replace("index.json", dumps(document))

    def _replace(self, name: str, data: bytes) -> None:
        """Write a file of the store's root, whole or not at all.

        Raises:
            StoreError: the disk is full, or may not be written.
        """
        file, path = self.blobs.arrivals.new(f"write {name}")
        try:
            with file:
                file.write(data)
                os.fchmod(file.fileno(), 0o644)
                os.fsync(file.fileno())
                path.replace(self.root / name)
            self.blobs.arrivals.arrived(path)
        except OSError as e:
            self.blobs.arrivals.drop(path)
            raise StoreError(f"cannot write {self.root / name}: {e.strerror}") from e

    # --- documents -----------------------------------------------------------------------------

    def document(self, digest: Digest, media_type: str = "") -> Manifest | Index:
        """A manifest or index; `media_type` is what its descriptor says.

        Raises:
            NotFound: the blob is missing.
            InvalidDocument: it is neither; with the store's name.
        """
        raw = self.blobs.read(digest)
        try:
            return parse_document(raw, media_type)
        except (InvalidDocument, Unsupported) as e:
            raise e.of(f"the store {self.root}") from e.__cause__

    def manifest(self, descriptor: Descriptor, platform: Platform) -> Manifest:
        """The manifest for a platform behind a manifest or an index.

        Raises:
            NotFound: the blob is missing, or the index has no such platform.
        """
        document = self.document(descriptor.digest, descriptor.media_type)
        if isinstance(document, Manifest):
            return document
        offers = [d for d in document.manifests if not d.is_attestation]
        n = choose_platform(platform, [d.platform for d in offers])
        if n is None:
            raise NotFound(f"no match for platform in manifest {descriptor.digest}: not found")
        return self.manifest(offers[n], platform)

    def config(self, manifest: Manifest) -> ImageConfig:
        """The image config of a manifest; see `ImageConfig.of`."""
        return ImageConfig.of(manifest, lambda d: self.blobs.read(d.digest))

    # --- throwing away -------------------------------------------------------------------------

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the store alone.

        Raises:
            LockTimeout: a build is running.
        """
        self._hold(fcntl.LOCK_EX, 10.0)
        try:
            yield
        finally:
            self._hold(fcntl.LOCK_SH, 10.0)

    def prune(self, *, everything: bool = False, unused_s: int = UNUSED_S) -> Pruned:
        """Delete what no named image and no step record needs; with `everything`, the records too.

        Records that were of no use for `unused_s` seconds are forgotten first.

        Raises:
            LockTimeout: a build is running.
        """
        with self.alone():
            freed = self.blobs.sweep_ingest() + self._sweep()
            reserve.give_up(self.root)
            if "cache" in self.__dict__:
                self.cache.close()
                del self.__dict__["cache"]
            cache = CacheDB.of_one(self.root / "cache.db", self.warn)
            try:
                pruned = self._prune(cache, everything, unused_s)
            finally:
                cache.close()
            reserve.keep(self.root)
        return replace(pruned, freed_bytes=pruned.freed_bytes + freed)

    def _sweep(self) -> int:
        """Delete what was left lying: needs no room, nor anything to be read. Returns the bytes of it."""
        self.layers.sweep()
        return _delete(self.work)

    def _prune(self, cache: CacheDB, everything: bool, unused_s: int) -> Pruned:
        """Delete what no record needs that stays, then the records: so a full disk gets room for that."""
        from imagesmith.fs.sizes import tree_bytes

        steps, unused = cache.all_steps(), cache.unused(unused_s)
        kept = [s for s in steps if not everything and s.key not in unused and self.blobs.has(_layer(s))]
        live = {_layer(s) for s in kept}
        live_layers = {Digest.parse(s.diff_id) for s in kept}
        for d in read_names(self.root):
            self._mark(d, live, live_layers)
        freed = blobs = layers = 0
        for digest in self.blobs.digests():
            if digest not in live:
                freed += self.blobs.remove(digest)
                blobs += 1
        for diff_id in self.layers.diff_ids():
            if diff_id not in live_layers or everything:
                freed += tree_bytes(self.layers.folder(diff_id))
                self.layers.remove(diff_id)
                layers += 1
        if everything:
            freed += _delete(self.cache_mounts)
        alive = {s.key for s in kept}
        cache.drop_steps([s.key for s in steps if s.key not in alive])
        cache.drop_unused(unused_s)
        return Pruned(blobs, layers, len(steps) - len(kept), freed)

    def _mark(self, descriptor: Descriptor, live: set[Digest], live_layers: set[Digest]) -> None:
        """Mark all that a manifest or index reaches and the store has."""
        if descriptor.digest in live or not self.blobs.has(descriptor.digest):
            return
        live.add(descriptor.digest)
        document = self.document(descriptor.digest, descriptor.media_type)
        if isinstance(document, Index):
            for d in document.manifests:
                self._mark(d, live, live_layers)
            return
        live |= {document.config.digest, *(d.digest for d in document.layers)}
        if document.config.media_type.endswith(("config.v1+json", "image.v1+json")) and self.blobs.has(
            document.config.digest
        ):
            with contextlib.suppress(InvalidDocument):
                live_layers |= set(self.config(document).diff_ids)


def _layer(step: StepRecord) -> Digest:
    return Digest.parse(str(step.layer["digest"]))


def _delete(folder: Path) -> int:
    """Delete a folder; returns the bytes of it."""
    from imagesmith.fs.jail import remove_tree
    from imagesmith.fs.sizes import tree_bytes

    freed = tree_bytes(folder)
    with contextlib.suppress(OSError):  # files of ids that this process may not touch stay
        remove_tree(folder)
    return freed
