"""The store as a whole: its folder, its lock, its images by name, and what may be thrown away.

    oci-layout, index.json   the images that have a name, as an OCI image layout
    blobs/, ingest/          content, and content on its way (store/blobs.py)
    layers/, layers.format   derived from layers (store/layers.py)
    cache.db                 memory of earlier builds (store/cachedb.py)
    cachemounts/, work/      RUN --mount=type=cache, and snapshots in use
    lock                     flock: shared while the store is used, exclusive to prune

Why: a name is written last, so that a crash leaves only what prune takes. The kernel frees the lock of a
killed process.
Spec: OCI image-spec 1.1, image-layout.md.
Threads: methods may be called from any thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

from imagesmith.errors import InvalidDocument, InvalidReference, LockTimeout, NotFound, StoreError, disk_fault
from imagesmith.fs.jail import remove_tree
from imagesmith.oci.codec import dumps, parse_object
from imagesmith.oci.config import ImageConfig
from imagesmith.oci.digest import Digest
from imagesmith.oci.mediatype import OCI_INDEX
from imagesmith.oci.model import Descriptor, Index, Manifest, parse_document
from imagesmith.oci.names import ImageRef, Platform, choose_platform
from imagesmith.store.blobs import BlobStore
from imagesmith.store.cachedb import CacheDB
from imagesmith.store.disk import on_disk_fault
from imagesmith.store.folder import claim
from imagesmith.store.layers import LayerStore
from imagesmith.store.renewal import renew
from imagesmith.values import frozen, replace

__all__ = ["UNUSED_S", "Pruned", "Store"]

_NAME = "io.containerd.image.name"
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
                self._sweep_layers()
        except BaseException:
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

    def _sweep_layers(self) -> None:
        """Delete what was set aside, if nobody else is here: another version may have it mounted."""
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.layers.sweep()
        self._hold(fcntl.LOCK_SH, 60.0)

    def close(self) -> None:
        """Give the lock back."""
        self.blobs.settle()
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
        out = []
        for d in self._read_names():
            with contextlib.suppress(InvalidReference):
                out.append((ImageRef.parse(d.annotations.get(_NAME, "")), d))
        return sorted(out, key=lambda p: str(p[0]))

    def named(self) -> list[Descriptor]:
        """What has a name, in the order in which the names were given."""
        return self._read_names()

    def find(self, ref: ImageRef) -> Descriptor | None:
        """The manifest or index that a name stands for, or None."""
        if ref.digest is not None:
            size = self.blobs.size(ref.digest)
            if size < 0:
                return None
            document = parse_document(self.blobs.read(ref.digest))
            return document.descriptor()
        return next((d for name, d in self.images() if str(name) == str(ref)), None)

    def name(self, ref: ImageRef, descriptor: Descriptor) -> None:
        """Give a manifest or index a name, taking it from whatever had it."""
        named = replace(descriptor, annotations={_NAME: str(ref), _REF: ref.tag or "latest"})
        with self._names_lock():
            others = [d for d in self._read_names() if d.annotations.get(_NAME) != str(ref)]
            self._write_names([*others, named])

    def unname(self, ref: ImageRef) -> Descriptor:
        """Take a name away and return what it stood for.

        Raises:
            NotFound: no image has that name.
        """
        with self._names_lock():
            names = self._read_names()
            found = next((d for d in names if d.annotations.get(_NAME) == str(ref)), None)
            if found is None:
                raise NotFound(f"no image named {ref.familiar}", hint="`imagesmith images` lists them")
            self._write_names([d for d in names if d is not found])
        return found

    @contextlib.contextmanager
    def _names_lock(self) -> Iterator[None]:
        with (self.root / "index.lock").open("ab") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            yield

    def _read_names(self) -> list[Descriptor]:
        try:
            raw = (self.root / "index.json").read_bytes()
        except FileNotFoundError:
            return []
        try:
            return [Descriptor.from_json(o) for o in parse_object(raw, "index.json").objects("manifests")]
        except InvalidDocument as e:
            raise StoreError(f"{self.root / 'index.json'} is damaged: {e}") from e

    def _write_names(self, names: list[Descriptor]) -> None:
        self.blobs.settle()
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [d.to_json() for d in names]}
        self._replace("index.json", dumps(document))

    def _replace(self, name: str, data: bytes) -> None:
        """Write a file of the store's root, whole or not at all.

        Raises:
            StoreError: the disk is full, or may not be written.
        """
        try:
            with tempfile.NamedTemporaryFile(dir=self.blobs.ingest, delete=False) as f:
                f.write(data)
                f.flush()
                os.fchmod(f.fileno(), 0o644)
                os.fsync(f.fileno())
            os.replace(f.name, self.root / name)
        except OSError as e:
            raise StoreError(f"cannot write {self.root / name}: {e.strerror}") from e

    # --- documents -----------------------------------------------------------------------------

    def manifest(self, descriptor: Descriptor, platform: Platform) -> Manifest:
        """The manifest for a platform behind a manifest or an index.

        Raises:
            NotFound: the blob is missing, or the index has no such platform.
        """
        document = parse_document(self.blobs.read(descriptor.digest), descriptor.media_type)
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
            dropped = self.cache.drop_unused(unused_s)
            return self._prune(everything, dropped)

    def _prune(self, everything: bool, dropped: int) -> Pruned:
        steps = self.cache.all_steps()
        dead = [
            s.key for s in steps if everything or not self.blobs.has(Digest.parse(str(s.layer["digest"])))
        ]
        self.cache.drop_steps(dead)
        gone = set(dead)
        kept = [s for s in steps if s.key not in gone]
        live = {Digest.parse(str(s.layer["digest"])) for s in kept}
        live_layers = {Digest.parse(s.diff_id) for s in kept}
        for d in self._read_names():
            self._mark(d, live, live_layers)
        freed, blobs, layers = self.blobs.sweep_ingest(), 0, 0
        for digest in self.blobs.digests():
            if digest not in live:
                freed += self.blobs.remove(digest)
                blobs += 1
        for diff_id in self.layers.diff_ids():
            if diff_id not in live_layers or everything:
                freed += _tree_bytes(self.layers.folder(diff_id))
                self.layers.remove(diff_id)
                layers += 1
        self.layers.sweep()
        for folder in (self.work, self.cache_mounts) if everything else (self.work,):
            freed += _tree_bytes(folder)
            with contextlib.suppress(OSError):  # files of ids that this process may not touch stay
                remove_tree(folder)
        return Pruned(blobs, layers, dropped + len(dead), freed)

    def _mark(self, descriptor: Descriptor, live: set[Digest], live_layers: set[Digest]) -> None:
        """Mark all that a manifest or index reaches and the store has."""
        if descriptor.digest in live or not self.blobs.has(descriptor.digest):
            return
        live.add(descriptor.digest)
        document = parse_document(self.blobs.read(descriptor.digest), descriptor.media_type)
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


def _tree_bytes(folder: Path) -> int:
    total = 0
    for path, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                st = os.lstat(os.path.join(path, name))
                total += st.st_blocks * 512 // max(1, st.st_nlink)
    return total
