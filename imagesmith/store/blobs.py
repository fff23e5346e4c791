"""Content-addressed blobs in `blobs/<algorithm>/<hex>`: written once, verified on the way in.

Why: a blob gets its name only when it is complete and on disk, by rename within the store, so a crash
leaves nothing but a file in `ingest/` that the next prune takes. Equal content written twice at once is
harmless: the second rename replaces a file by its equal. The folders are synced once, by `settle`, before
anything is written that says that blobs are there.
Spec: OCI image-spec 1.1, image-layout.md.
Trust: what a writer is given may come from a registry; `commit` compares with what was promised.
Threads: a BlobWriter belongs to one thread; a BlobStore may be shared.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from imagesmith.errors import DigestMismatch, LimitExceeded, NotFound, StoreError
from imagesmith.oci.digest import Digest, digest_bytes
from imagesmith.store.arriving import Arriving
from imagesmith.store.disk import Arrivals, on_disk_fault

__all__ = ["BlobStore", "BlobWriter"]


class BlobWriter:
    """A blob being written; becomes a blob by `commit`, nothing by `abort` (or leaving the `with`)."""

    def __init__(
        self,
        store: BlobStore,
        algorithm: str = "sha256",
        expected: Digest | None = None,
        *,
        hashes: bool = True,
    ) -> None:
        self._store = store
        self._algorithm = algorithm
        self._hash = hashlib.new(algorithm) if hashes else None
        self.size = 0
        self._file, self._path = store.arrivals.new("write a blob")
        reader = store.readers.get(expected) if expected is not None else None
        self._reader = reader if reader is not None and reader.begun(self._path) else None

    def write(self, data: bytes) -> None:
        """Append bytes."""
        if self._hash is not None:
            self._hash.update(data)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self.size += len(data)
        if self._reader is not None:
            self._reader.grew(self.size)

    def commit(self, expected: Digest | None = None, size: int | None = None) -> tuple[Digest, int]:
        """Make it a blob and return its digest and size in bytes.

        Args:
            expected: its digest; where the writer does not hash, that of what was written.
            size: in bytes.

        Raises:
            DigestMismatch: it is not what was expected; nothing is kept.
        """
        if self._hash is None:
            assert expected is not None
            digest = expected
        else:
            digest = Digest(self._algorithm, self._hash.hexdigest())
        if (size is not None and size != self.size) or (expected is not None and expected != digest):
            self.abort()
            raise DigestMismatch(
                f"blob {expected or digest}: got {self.size} bytes of digest {digest}"
                + (f", expected {size} bytes" if size is not None else "")
            )
        target = self._store.path(digest)
        with on_disk_fault("write a blob", self._store.root):
            os.fchmod(self._file.fileno(), 0o444)
            os.fsync(self._file.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            self._path.rename(target)
        self._store.arrivals.arrived(self._path)
        self._file.close()
        self._store.unsettled.add(target.parent)
        return digest, self.size

    def abort(self) -> None:
        """Throw away what was written; does nothing after `commit`."""
        if not self._file.closed:
            self._file.close()
            self._store.arrivals.drop(self._path)

    def __enter__(self) -> BlobWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.abort()


class BlobStore:
    """The blobs of a layout folder."""

    def __init__(self, root: Path) -> None:
        """Open (and make) the folders below `root`."""
        self.root = root
        self.ingest = root / "ingest"
        self.arrivals = Arrivals(self.ingest)
        #: Folders with names that a power cut may still undo.
        self.unsettled: set[Path] = set()
        #: Who reads blobs while they arrive.
        self.readers: dict[Digest, Arriving] = {}
        try:
            (root / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
            self.ingest.mkdir(exist_ok=True)
        except OSError as e:
            raise StoreError(f"cannot use the store at {root}: {e.strerror}") from e

    def path(self, digest: Digest) -> Path:
        """Where the blob is, or would be."""
        return self.root / "blobs" / digest.algorithm / digest.hex

    def has(self, digest: Digest) -> bool:
        """True if the blob is there."""
        return self.path(digest).is_file()

    def size(self, digest: Digest) -> int:
        """The blob's size in bytes; -1 if it is not there."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            return -1

    def open(self, digest: Digest) -> BinaryIO:
        """Open a blob for reading.

        Raises:
            NotFound: it is not in the store.
        """
        try:
            return self.path(digest).open("rb")
        except FileNotFoundError:
            raise NotFound(f"blob {digest} is not in the store {self.root}") from None

    def read(self, digest: Digest, limit: int = 64 << 20) -> bytes:
        """A small blob, verified.

        Raises:
            NotFound: it is not in the store.
            DigestMismatch: the file was damaged.
            LimitExceeded: it is no small one.
        """
        with self.open(digest) as f:
            data = f.read(limit + 1)
        if len(data) > limit:
            raise LimitExceeded(f"blob {digest} is too large to be read at once: more than {limit} bytes")
        if digest_bytes(data, digest.algorithm) != digest:
            raise DigestMismatch(f"blob {digest} in the store is damaged; remove it: {self.path(digest)}")
        return data

    def arriving(self, digest: Digest, fetch: Callable[[], None]) -> Arriving:
        """Fetch a blob and read it meanwhile; `fetch` has a writer that says which one it expects."""

        def bring() -> None:
            try:
                fetch()
            finally:
                self.readers.pop(digest, None)

        reader = self.readers[digest] = Arriving(bring, lambda: self.open(digest))
        reader.start()
        return reader

    def writer(
        self, algorithm: str = "sha256", expected: Digest | None = None, *, hashes: bool = True
    ) -> BlobWriter:
        """Begin a blob.

        Args:
            algorithm: of its digest.
            expected: the digest that it will have, if somebody may read it while it arrives.
            hashes: False for one whose bytes are hashed by whoever makes them.
        """
        try:
            while True:
                try:
                    return BlobWriter(self, algorithm, expected, hashes=hashes)
                except FileNotFoundError:  # who completed an image in this layout took the folder away
                    with contextlib.suppress(FileExistsError):
                        self.ingest.mkdir()
        except OSError as e:
            raise StoreError(f"cannot write to the store at {self.root}: {e.strerror}") from e

    def settle(self) -> None:
        """Let the names of all blobs so far outlive a power cut."""
        for path in list(self.unsettled):
            self.unsettled.discard(path)
            with contextlib.suppress(OSError):
                folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)

    def put(self, data: bytes, algorithm: str = "sha256") -> Digest:
        """Store bytes that are in memory; does nothing if they are there."""
        digest = digest_bytes(data, algorithm)
        if not self.has(digest):
            with self.writer(algorithm) as w:
                w.write(data)
                w.commit(digest)
        return digest

    def digests(self) -> list[Digest]:
        """All blobs, sorted."""
        return sorted(
            Digest(algorithm.name, blob.name)
            for algorithm in (self.root / "blobs").iterdir()
            for blob in algorithm.iterdir()
        )

    def remove(self, digest: Digest) -> int:
        """Delete a blob and return the bytes that became free."""
        path = self.path(digest)
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            return 0
        return size

    def sweep_ingest(self) -> int:
        """Delete what crashed writers left; return the bytes that became free."""
        freed = 0
        for path in self.ingest.iterdir():
            try:
                with path.open("rb") as f:
                    fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    freed += os.fstat(f.fileno()).st_size
                    path.unlink(missing_ok=True)
            except (BlockingIOError, FileNotFoundError, IsADirectoryError):
                continue
        return freed
