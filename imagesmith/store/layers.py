"""What is derived from a layer's blob and kept beside it: its index, its uncompressed tar, its tree.

    layers/<diff_id hex>/index   the entries, as JSON lines: who owns what, and where in the tar its bytes are
    layers/<diff_id hex>/tar     the uncompressed tar; made when bytes of a file are first wanted
    layers/<diff_id hex>/erofs   the same tar with what the kernel needs to mount it (layer/erofs.py)
    layers/<diff_id hex>/tree    the entries as a directory that overlayfs stacks; other places have others
                                 beside it (worker/snapshot/trees.py), and a mark that one was in memory

Why: views need only the index, so COPY over a large base reads a few hundred kilobytes. All of it can be
made again from the blob, and each part gets its name by rename when it is complete. Each is a function of the
layer's bytes and of nothing else: a layer looks the same to all builds, whoever made it, and over whatever.
A diff_id may have several blobs, of bases that were compressed differently: any of them will do here.
Trust: an index is our own file, but it is checked like any input, and made again from the blob where it is
damaged; the tar is verified against the diff_id while it is written. Trees hold what steps left: files in
them are opened through fs/jail.py.
Threads: may be shared; each layer has a lock.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from imagesmith.errors import DigestMismatch, LimitExceeded, NotFound, StoreError, UnsafeArchive
from imagesmith.fs.entry import Entry, replace
from imagesmith.fs.room import FEW
from imagesmith.fs.view import LayerIndex
from imagesmith.oci.digest import Digest
from imagesmith.store.arriving import Arriving
from imagesmith.store.blobs import BlobStore
from imagesmith.store.disk import spool
from imagesmith.store.layerbytes import first_bytes, in_tar, in_tree
from imagesmith.store.newtar import Form, NewTar, Tee

if TYPE_CHECKING:
    from imagesmith.store.indexfile import NewIndex

__all__ = ["Form", "LayerContent", "LayerStore", "NewTar", "StoredLayer"]

#: A layer's folder has the hexadecimal part of its diff_id as its name.
_BY_LENGTH = {64: "sha256", 96: "sha384", 128: "sha512"}


class LayerContent:
    """The bytes of one file of a stored layer; those of the names of a hard-linked file are equal."""

    __slots__ = ("layer", "offset", "path", "size")

    def __init__(self, layer: StoredLayer, path: str, offset: int, size: int) -> None:
        self.layer, self.path, self.offset, self.size = layer, path, offset, size

    def packed(self) -> tuple[StoredLayer, str, int, int]:
        """See fs.entry.Packed."""
        return self.layer, self.path, self.offset, self.size

    @classmethod
    def unpacked(cls, layer: StoredLayer, path: str, offset: int, size: int) -> LayerContent:
        """See fs.entry.Packed."""
        return cls(layer, path, offset, size)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LayerContent) and (self.offset, self.layer) == (other.offset, other.layer)

    def __hash__(self) -> int:
        return hash((self.offset, self.layer))

    def open(self) -> BinaryIO:
        """Open the file's bytes; see fs.entry.Content."""
        return self.layer.open_content(self)

    def whole(self, size: int) -> bytes:
        """The file's first bytes; see fs.entry.Whole."""
        return self.layer.read_content(self, size)


class StoredLayer:
    """One layer of the store, named by its diff_id."""

    def __init__(self, store: LayerStore, diff_id: Digest, blob: Digest | None = None) -> None:
        self.store, self.diff_id = store, diff_id
        self.folder = store.folder(diff_id)
        #: Where the extracted tree is, or is to be put by rename; other places have others beside it.
        self.tree = self.folder / "tree"
        #: The layer's compressed forms, and what brings one into the store where that can be done.
        self._blobs: dict[Digest, Callable[[], None] | None] = {}
        self._index: LayerIndex | None = None
        self._written: Iterator[Entry] | None = None
        self._lock = threading.Lock()
        if blob is not None:
            self.known_as(blob)

    def known_as(self, blob: Digest, fetch: Callable[[], None] | None = None) -> None:
        """Take note of a blob that holds the layer, and of what brings that one into the store."""
        if fetch is not None or blob not in self._blobs:
            self._blobs[blob] = fetch

    def bring(self, blob: Digest) -> bool:
        """Bring one of the layer's blobs into the store if it can be; True if it is there."""
        fetch = self._blobs.get(blob)
        if fetch is not None and not self.store.blobs.has(blob):
            fetch()
        return self.store.blobs.has(blob)

    def open_blob(self) -> tuple[Digest, BinaryIO]:
        """A blob that holds the layer: one that is there, else one that can be fetched.

        Raises:
            NotFound: there is none.
        """
        blobs = list(self._blobs)
        here = next((b for b in blobs if self.store.blobs.has(b)), None)
        if here is None:
            here = next((b for b in blobs if self.bring(b)), None)
        if here is None:
            raise NotFound(f"the blob of layer {self.diff_id} is not in the store")
        return here, self.store.blobs.open(here)

    def index(self) -> LayerIndex:
        """The entries by path; read from the blob the first time.

        Raises:
            NotFound: neither the index nor the blob is in the store.
            UnsafeArchive, LimitExceeded: the layer is hostile; it is named, and so is the entry.
            StoreError: the index is damaged, and the blob is not there to make another.
        """
        with self._lock:
            return self._known()

    def entries(self) -> Iterator[Entry]:
        """The entries in the order of the tar, whiteouts included; see `index` for what it raises."""
        with self._lock:
            return self._entries()

    def just_written(
        self, entries: Sequence[Entry], offsets: Sequence[int], clamp_s: int | None, *, own: bool = False
    ) -> None:
        """Take what the index was made of just now: then it need not be read again in this process.

        With `own` the entries of files are nobody else's.
        """

        def again() -> Iterator[Entry]:
            from imagesmith.layer.tarwrite import held_ns

            for e, offset in zip(entries, offsets, strict=True):
                if not own or e.kind != "f":
                    e = replace(e)
                e.mtime_ns = held_ns(e.mtime_ns, clamp_s)
                yield self._entry(e, offset)

        self._written = again()

    def placed(self) -> Iterator[Entry]:
        """What an extraction makes; see interfaces.LayerTree, and `index` for what it raises."""
        return self.index().placed()

    @property
    def unread(self) -> bool:
        """True if nothing was ever read of the layer's blob."""
        return self._index is None and not (self.folder / "index").exists()

    @property
    def absent(self) -> bool:
        """True if the layer must be fetched before anybody can look into it."""
        return self.unread and not any(self.store.blobs.has(blob) for blob in list(self._blobs))

    def at_hand(self, path: str, offset: int, size: int) -> bytes | None:
        """A small file's bytes, if nothing need be unpacked for them."""
        f = in_tar(self.folder, offset) or in_tree(self.folder, path, size)
        if f is None:
            return None
        with f:
            data = f.read(size)
        return data if len(data) == size else None

    def unpack(self, form: Form) -> None:
        """Read the blob and keep its tar in a form, if nothing was ever read of it: one reading does for all.

        See `index` for what it raises.
        """
        with self._lock:
            if self.unread:
                self._unpack(form)

    def _known(self) -> LayerIndex:
        """The entries by path, for who holds the lock."""
        if self._index is None:
            if self._written is not None:
                written, self._written = self._written, None
                self._index = LayerIndex(written, self._spool)
            else:
                with _told(self.diff_id):
                    self._index = LayerIndex(self._entries, self._spool)
        return self._index

    def _spool(self) -> BinaryIO:
        return spool(self.store.blobs.ingest, "keep what a layer holds")

    def digests(self) -> Iterator[tuple[str, str]]:
        """The paths and the digests of the files whose digests the index has, in the order of the tar."""
        return ((e.path, e.digest) for e in self.entries() if e.digest)

    def _entries(self) -> Iterator[Entry]:
        """The rows of the index, made from the blob where there is none that is whole."""
        from imagesmith.store.indexfile import is_whole, read_index

        path = self.folder / "index"
        if not path.exists():
            self._unpack()
        elif not is_whole(path):
            if not self._blobs:
                raise StoreError(
                    f"the layer index {path} is damaged", hint="remove its folder and build again"
                )
            path.unlink(missing_ok=True)
            self._unpack()
        return (self._entry(e, offset) for e, offset in read_index(path))

    def _entry(self, e: Entry, offset: int) -> Entry:
        """An entry whose bytes are those of the layer."""
        e.content = LayerContent(self, e.path, offset, e.size) if e.kind == "f" else None
        return e

    def open_tar(self) -> BinaryIO:
        """The uncompressed tar, from its first byte."""
        self._tar()
        return (self.folder / "tar").open("rb")

    def open_content(self, content: LayerContent) -> BinaryIO:
        """The bytes of a file: from the tar if it is there in one form or the other, else from a tree."""
        f = in_tar(self.folder, content.offset) or in_tree(self.folder, content.path, content.size)
        if f is None:
            self._tar()
            f = in_tar(self.folder, content.offset)
        if f is None:
            raise NotFound(f"the tar of layer {self.diff_id} was deleted while it was read")
        return f

    def read_content(self, content: LayerContent, size: int) -> bytes:
        """The first bytes of a file; from a tar that is there by few calls, for there may be many files."""
        if (found := first_bytes(self.folder, content.offset, size)) is not None:
            return found
        with self.open_content(content) as f:
            return f.read(size)

    def erofs(self) -> Path | None:
        """A file that the kernel mounts as the layer's tree (layer/erofs.py); None if it has none."""
        path = self.folder / "erofs"
        with self._lock:
            if not path.exists() or not self._renewed(path):
                self._unpack("erofs")
        return path if path.exists() else None

    def _renewed(self, path: Path) -> bool:
        """True if the file is of today's format, or was brought to it with the tar that it holds."""
        from imagesmith.layer.erofs import TAR_AT, outdated

        with path.open("rb") as old:
            left = outdated(old)
            if left is None:
                return True
            old.seek(TAR_AT)
            with self.store.new_tar("erofs") as tar:
                while left and (data := old.read(min(left, 1 << 20))):
                    tar.write(data)
                    left -= len(data)
                if tar.size == 0 or left:  # torn: from the blob, then
                    return False
                tar.keep(self.folder, self._known)
        return True

    def _tar(self) -> None:
        with self._lock:
            if not (self.folder / "tar").exists():
                self._unpack("tar")

    def _unpack(self, form: Form = "") -> None:
        """Read the blob once: check the diff_id, write the index if it is missing, keep the tar if asked."""
        blob, raw = self._open_now()
        try:
            self._unpack_from(blob, raw, form)
        except BaseException:
            if isinstance(raw, Arriving):
                raw.settle()  # if it could not be fetched, that is why
            raise

    def _open_now(self) -> tuple[Digest, BinaryIO | Arriving]:
        """A blob that holds the layer, of which there may be no byte yet."""
        known = list(self._blobs.items())  # another thread may add one meanwhile
        fetches = [(b, fetch) for b, fetch in known if fetch]
        if len(fetches) != 1 or any(self.store.blobs.has(b) for b, _ in known):
            return self.open_blob()
        return fetches[0][0], self.store.blobs.arriving(*fetches[0])

    def _unpack_from(self, blob: Digest, raw: BinaryIO | Arriving, form: Form) -> None:
        from imagesmith.layer.tarread import decompressed, read_layer

        with contextlib.ExitStack() as stack:
            stack.enter_context(raw)
            self.folder.mkdir(parents=True, exist_ok=True)
            tar = stack.enter_context(self.store.new_tar(form)) if form else None
            index = None
            if not (self.folder / "index").exists():
                index = stack.enter_context(self.store.new_index())
            tee = Tee(decompressed(raw), tar, self.diff_id.algorithm)
            found: list[Entry] = []
            if index is not None:
                with _told(blob):
                    for e, offset in read_layer(tee):
                        index.add(e, offset, e.mtime_ns)
                        if form and len(found) <= FEW:
                            found.append(self._entry(e, offset))
            tee.drain()
            if tee.digest() != self.diff_id:
                raise DigestMismatch(f"layer {blob}: its diff_id is {tee.digest()}, not {self.diff_id}")
            if isinstance(raw, Arriving):
                raw.settle()
            if index is not None:
                index.keep(self.diff_id)
                if form and len(found) <= FEW:
                    with _told(blob):
                        self._index = LayerIndex(found, self._spool)
                del found
            if tar is not None:
                tar.keep(self.folder, self._known)


@contextlib.contextmanager
def _told(layer: Digest) -> Iterator[None]:
    """Say which layer it is whose entries are refused."""
    try:
        yield
    except (UnsafeArchive, LimitExceeded) as e:
        said = e.message if e.message.startswith("layer ") else f"layer {layer}: {e.message}"
        raise type(e)(said) from e


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
        """The layer of a diff_id, one object a process; `blob` is one of its compressed forms."""
        with self._lock:
            found = self._open.get(diff_id)
            if found is None:
                found = self._open[diff_id] = StoredLayer(self, diff_id)
            if blob is not None:
                found.known_as(blob)
            return found

    def new_index(self) -> NewIndex:
        """Begin the index of a layer whose diff_id is not known yet."""
        from imagesmith.store.indexfile import NewIndex

        return NewIndex(self.blobs.arrivals, lambda diff_id: self.folder(diff_id) / "index")

    def new_tar(self, form: Form) -> NewTar:
        """Begin the tar of a layer, in one of its forms."""
        return NewTar(self.blobs.arrivals, form)

    def diff_ids(self) -> list[Digest]:
        """The layers that have a folder."""
        paths = self.root.iterdir() if self.root.is_dir() else ()
        found = ((_BY_LENGTH.get(len(p.name), ""), p.name) for p in paths)
        return sorted(Digest(*pair) for pair in found if pair[0])

    def remove(self, diff_id: Digest) -> None:
        """Delete what is derived from a layer."""
        from imagesmith.fs.jail import remove_tree

        with contextlib.suppress(FileNotFoundError):
            remove_tree(self.set_aside(diff_id))

    def set_aside(self, diff_id: Digest) -> Path:
        """Put what is derived from a layer where nobody looks for it, but `sweep`."""
        folder = self.folder(diff_id)
        return folder.rename(folder.with_name(f"{folder.name}.gone-{os.getpid()}"))

    def sweep(self) -> None:
        """Finish removals that were cut short; for whoever holds the store alone."""
        from imagesmith.fs.jail import remove_tree

        if self.root.is_dir():
            for path in self.root.glob("*.gone-*"):
                with contextlib.suppress(OSError):
                    remove_tree(path)
