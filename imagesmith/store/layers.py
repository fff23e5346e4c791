"""What is derived from a layer's blob and kept beside it: its index, its uncompressed tar, its tree.

    layers/<diff_id hex>/index   the entries, as JSON lines: who owns what, and where in the tar its bytes are
    layers/<diff_id hex>/tar     the uncompressed tar; made when bytes of a file are first wanted
    layers/<diff_id hex>/tree    the entries as a directory that overlayfs stacks (snapshot/overlay.py)

Why: views need only the index, so COPY over a large base reads a few hundred kilobytes. All of it can be
made again from the blob, and each part gets its name by rename when it is complete.
Trust: an index is our own file, but it is checked like any input; the tar is verified against the diff_id
while it is written.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

from imagesmith.errors import DigestMismatch, NotFound, StoreError
from imagesmith.fs.entry import Entry
from imagesmith.fs.view import LayerIndex
from imagesmith.layer.tarread import decompressed, read_layer
from imagesmith.oci.digest import Digest
from imagesmith.store.blobs import BlobStore

__all__ = ["LayerContent", "LayerStore", "StoredLayer"]

_FORMAT = "imagesmith-index-1"


class LayerContent:
    """The bytes of one file of a stored layer; shared by the names of a hard-linked file."""

    __slots__ = ("layer", "offset", "path", "size")

    def __init__(self, layer: StoredLayer, path: str, offset: int, size: int) -> None:
        self.layer, self.path, self.offset, self.size = layer, path, offset, size

    def open(self) -> BinaryIO:
        """Open the file's bytes; see fs.entry.Content."""
        return self.layer.open_content(self)


class StoredLayer:
    """One layer of the store, named by its diff_id."""

    def __init__(self, store: LayerStore, diff_id: Digest, blob: Digest | None) -> None:
        self.store, self.diff_id, self.blob = store, diff_id, blob
        #: Brings the blob into the store; set where an image's layers are fetched only when they are needed.
        self.fetch: Callable[[], None] | None = None
        self.folder = store.folder(diff_id)
        self._index: LayerIndex | None = None
        self._lock = threading.Lock()

    @property
    def tree(self) -> Path:
        """Where the extracted tree is, or is to be put by rename."""
        return self.folder / "tree"

    def index(self) -> LayerIndex:
        """The entries by path; read from the blob the first time."""
        with self._lock:
            if self._index is None:
                path = self.folder / "index"
                if not path.exists():
                    self._unpack_tar(keep=False)
                self._index = LayerIndex(self._read_index(path))
            return self._index

    def entries(self) -> Iterable[Entry]:
        """The entries in the order of the tar, whiteouts included."""
        path = self.folder / "index"
        if not path.exists():
            self.index()
        return self._read_index(path)

    def open_tar(self) -> BinaryIO:
        """The uncompressed tar, from its first byte."""
        return self._tar().open("rb")

    def open_content(self, content: LayerContent) -> BinaryIO:
        """The bytes of a file: from the tar if it is there, else from the tree, else by making the tar."""
        tar = self.folder / "tar"
        if not tar.exists() and self.tree.is_dir():
            with contextlib.suppress(OSError):
                fd = os.open(self.tree / content.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                if os.fstat(fd).st_size == content.size:
                    return os.fdopen(fd, "rb")
                os.close(fd)
        f = self._tar().open("rb", buffering=0)
        f.seek(content.offset)
        return f

    def _tar(self) -> Path:
        path = self.folder / "tar"
        with self._lock:
            if not path.exists():
                self._unpack_tar(keep=True)
        return path

    def _unpack_tar(self, *, keep: bool) -> None:
        """Read the blob once: check the diff_id, write the index if it is missing, keep the tar if asked."""
        if self.blob is None:
            raise NotFound(f"the blob of layer {self.diff_id} is not in the store")
        if self.fetch is not None and not self.store.blobs.has(self.blob):
            self.fetch()
        self.folder.mkdir(parents=True, exist_ok=True)
        with (
            self.store.blobs.open(self.blob) as raw,
            tempfile.NamedTemporaryFile(dir=self.store.blobs.ingest, delete=False) as out,
        ):
            try:
                tee = _Tee(decompressed(raw), out if keep else None)
                entries = [(e, offset) for e, offset in read_layer(tee)]
                tee.drain()
                if tee.digest() != self.diff_id:
                    raise DigestMismatch(
                        f"layer {self.blob}: its diff_id is {tee.digest()}, not {self.diff_id}"
                    )
                if not (self.folder / "index").exists():
                    self.write_index(entries)
                if keep:
                    os.replace(out.name, self.folder / "tar")
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(out.name)

    def write_index(self, entries: Iterable[tuple[Entry, int]]) -> None:
        """Keep the entries, each with the offset of its bytes in the uncompressed tar."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=self.store.blobs.ingest, delete=False, encoding="ascii"
        ) as out:
            out.write(f'"{_FORMAT}"\n')
            for e, offset in entries:
                row: list[object] = [e.path, e.kind, e.mode, e.uid, e.gid, e.size, e.mtime_ns, offset, e.link]
                if e.kind in "cb" or e.capability or e.digest:
                    row += [*e.rdev, base64.b64encode(e.capability or b"").decode(), e.digest]
                out.write(json.dumps(row, separators=(",", ":")) + "\n")
        os.replace(out.name, self.folder / "index")

    def _read_index(self, path: Path) -> list[Entry]:
        try:
            lines = path.read_text(encoding="ascii").splitlines()
            if not lines or json.loads(lines[0]) != _FORMAT:
                raise ValueError("another format")
            out = []
            for row in json.loads("[" + ",".join(lines[1:]) + "]"):
                name, kind, mode, uid, gid, size, mtime_ns, offset, link, *more = row
                e = Entry(name, kind, mode, uid, gid, size, mtime_ns, link)
                if kind == "f":
                    e.content = LayerContent(self, name, offset, size)
                if more:
                    e.rdev, e.digest = (more[0], more[1]), more[3]
                    e.capability = base64.b64decode(more[2]) or None
                out.append(e)
        except (ValueError, TypeError, OSError) as e:
            raise StoreError(
                f"the layer index {path} is damaged ({e}); remove its folder and build again"
            ) from e
        return out


class _Tee(io.RawIOBase):
    """Reads a stream, hashes it, and copies it to a file."""

    def __init__(self, source: BinaryIO, copy: BinaryIO | None) -> None:
        super().__init__()
        self._source, self._copy, self._hash = source, copy, hashlib.sha256()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self._hash.update(data)
        if self._copy is not None:
            self._copy.write(data)
        return data

    def drain(self) -> None:
        while self.read(1 << 20):
            pass

    def digest(self) -> Digest:
        return Digest("sha256", self._hash.hexdigest())


class LayerStore:
    """The `layers/` folder of a store."""

    def __init__(self, blobs: BlobStore) -> None:
        self.blobs = blobs
        self.root = blobs.root / "layers"
        self._open: dict[Digest, StoredLayer] = {}
        self._lock = threading.Lock()

    def folder(self, diff_id: Digest) -> Path:
        """The folder of a layer."""
        return self.root / diff_id.hex

    def layer(self, diff_id: Digest, blob: Digest | None) -> StoredLayer:
        """The layer of a diff_id, whose compressed form is `blob`; one object a process."""
        with self._lock:
            found = self._open.get(diff_id)
            if found is None:
                found = self._open[diff_id] = StoredLayer(self, diff_id, blob)
            elif found.blob is None or (blob is not None and not self.blobs.has(found.blob)):
                found.blob = blob
            return found

    def diff_ids(self) -> list[Digest]:
        """The layers that have a folder."""
        if not self.root.is_dir():
            return []
        return sorted(Digest("sha256", p.name) for p in self.root.iterdir() if len(p.name) == 64)

    def remove(self, diff_id: Digest) -> None:
        """Delete what is derived from a layer."""
        folder = self.folder(diff_id)
        gone = folder.with_name(f"{folder.name}.gone-{os.getpid()}")
        with contextlib.suppress(FileNotFoundError):
            folder.rename(gone)
            shutil.rmtree(gone, onerror=_force)


def _force(function: object, path: str, _info: object) -> None:
    """Let rmtree into directories that their owner closed."""
    os.chmod(os.path.dirname(path), 0o700)
    if os.path.isdir(path) and not os.path.islink(path):
        os.chmod(path, 0o700)
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            os.unlink(path)
