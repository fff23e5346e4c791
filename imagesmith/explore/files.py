"""The files of an image that is anywhere, read from no more layers than have to do with the question.

    files = open_files(source, store, Platform.parse("linux/amd64"))
    for found in list_files(files, "/etc", recursive=True): ...
    data = read_file(files, "/etc/os-release")

Why lazily: a path is decided by the topmost layer that has or hides it, so most questions need the top one
alone. Layers are read from the top down, each the first time that it is asked: what the store has is not
fetched; of an eStargz or zstd:chunked layer in a registry the table of contents is read, and of its files the
chunks; others are brought into the store whole, where the next question finds them.
Spec: OCI image-spec 1.1, layer.md.
Trust: everything in an image is hostile. Links are followed in values, within the image (fs/tree.py); blobs,
diff_ids, tables and chunks are verified; names go out as they are, and whoever shows them cleans them.
Threads: one at a time for each image.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Literal, Protocol, runtime_checkable

from imagesmith.errors import ContextError, LimitExceeded, NetworkFault, NotFound, UsageError
from imagesmith.fs.entry import Entry
from imagesmith.fs.layerindex import LayerIndex, parent_of
from imagesmith.fs.tree import resolve
from imagesmith.fs.view import View
from imagesmith.image.edited import layers_of
from imagesmith.interfaces import ImageSource
from imagesmith.layer.toc import has_table, read_table
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.oci.names import Platform
from imagesmith.store.disk import spool
from imagesmith.store.store import Store
from imagesmith.transports.copier import chosen
from imagesmith.transports.documents import config_of
from imagesmith.transports.stored import write_blob
from imagesmith.values import frozen, printable

__all__ = ["ImageFile", "ImageFiles", "list_files", "open_files", "read_file"]

#: What read_file puts into memory, unless told otherwise (bytes).
_MOST_BYTES = 1 << 30
#: So often a part of a blob is asked for, with a pause (seconds) before each further time.
_TRIES, _PAUSE_S = 3, 0.5

FileKind = Literal["file", "directory", "symlink", "chardev", "blockdev", "fifo"]
_KINDS: dict[str, FileKind] = {
    "f": "file", "d": "directory", "l": "symlink", "c": "chardev", "b": "blockdev", "p": "fifo",
}  # fmt: skip


@frozen(kw_only=True)
class ImageFile:
    """What is at a path of an image.

    path        absolute; `/` is the root. Bytes that are not UTF-8 are surrogates, as os.fsdecode makes them
    kind        what it is; a further name of a file is a file
    mode        permissions, with setuid, setgid and sticky
    size        bytes of a file, 0 for others
    mtime_ns    modification time, nanoseconds since 1970
    target      of a symbolic link: where it leads, as it is written
    hardlink    of a further name of a file: the path of the first one
    device      major and minor number of a device
    layer       the layer that it is from, 1 for the lowest; 0 where no layer tells of it
    """

    path: str
    kind: FileKind
    mode: int
    uid: int
    gid: int
    size: int = 0
    mtime_ns: int = 0
    target: str = ""
    hardlink: str = ""
    device: tuple[int, int] = (0, 0)
    layer: int = 0

    def __repr__(self) -> str:
        size = f", {self.size}" if self.kind == "file" else ""
        return printable(f"ImageFile({self.path}, {self.kind}{size})")


@runtime_checkable
class _GivesParts(Protocol):
    def part(self, d: Descriptor, offset: int, size: int) -> bytes | None: ...


class _LateIndex(LayerIndex):
    """A layer's index that is made when something is first asked of it."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[], LayerIndex]) -> None:
        self.make = make

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - asked for what is not there yet: any field
        if name not in LayerIndex.__slots__:
            raise AttributeError(name)
        made = self.make()
        for field in LayerIndex.__slots__:
            setattr(self, field, getattr(made, field))
        return getattr(self, name)


class ImageFiles:
    """The file system of an image; see `open_files`."""

    def __init__(self, source: ImageSource, manifest: Manifest, store: Store) -> None:
        """Take an image of one platform; its config is read, no layer is.

        Raises:
            NotAnImage: it is an artifact.
            NotFound: its config does not fit, or a document is missing.
        """
        self.source, self.manifest, self.store = source, manifest, store
        #: The layers, bottom first: diff_id and descriptor.
        self.layers: tuple[tuple[Digest, Descriptor], ...] = tuple(layers_of(source, manifest))
        self.config = config_of(source, manifest)
        #: The numbers of the layers that were read, 1 for the lowest, in the order in which they were.
        self.read: list[int] = []
        #: Those of them that were read in parts, by their tables of contents.
        self.in_parts: set[int] = set()
        self.indexes = [self._late(n) for n in range(1, len(self.layers) + 1)]
        view = View()
        for index in self.indexes:
            view = view.plus(index)
        #: What the layers show together; made of those that are needed.
        self.view = view

    def _late(self, number: int) -> LayerIndex:
        return _LateIndex(lambda: self._index(number))

    def _index(self, number: int) -> LayerIndex:
        """Read a layer."""
        diff_id, d = self.layers[number - 1]
        self.read.append(number)
        layer = self.store.layers.layer(diff_id, d.digest)
        if not self.store.blobs.has(d.digest) and layer.unread:
            found = self._by_table(number, d)
            if found is not None:
                return found
            write_blob(self.store.blobs, d, self.source, lambda _: None)
        return layer.index()

    def _by_table(self, number: int, d: Descriptor) -> LayerIndex | None:
        """A layer by its table of contents, where its place gives parts of blobs."""
        source = self.source.origin(d.digest)
        if not has_table(d.annotations) or not isinstance(source, _GivesParts):
            return None
        read = source.part

        def part(offset: int, size: int) -> bytes | None:
            for n in range(_TRIES):
                try:
                    return read(d, offset, size)
                except NetworkFault:
                    if n == _TRIES - 1:
                        raise
                    time.sleep(_PAUSE_S)
            return None

        entries = read_table(d.annotations, d.size, part)
        if entries is None:
            return None
        self.in_parts.add(number)
        return LayerIndex(entries, lambda: spool(self.store.blobs.ingest, "keep what a layer holds"))

    def instruction(self, number: int) -> str:
        """What made a layer, as the config's history tells; empty where it does not."""
        made = [h for h in self.config.history if not h.empty_layer]
        return made[number - 1].created_by if len(made) == len(self.layers) else ""

    def get(self, path: str) -> Entry | None:
        """The entry at a path, links not followed, without asking who made the folders on the way."""
        for index in reversed(self.indexes):
            if path in index.implied:
                return Entry(path, "d", 0o755)
            if path in index.entries or index.hides_below(path):
                break
        return self.view.get(path)

    def resolve(self, path: str, *, follow: bool = True) -> str:
        """A path as the image's root has it, links followed; see fs.tree.resolve.

        Raises:
            NotFound: links lead in circles, or to names without end.
        """
        try:
            return resolve(self, _inside(path), follow)
        except ContextError as e:
            raise NotFound(f"{self.source.name}: {e.message}") from e

    def find(self, path: str, *, follow: bool = True) -> ImageFile:
        """What is at a path.

        Args:
            path: from the image's root on; `/` before it makes no difference.
            follow: of a symbolic link, what it leads to; links on the way are followed always.

        Raises:
            NotFound: nothing is; the message tells which layer removed it, where one did.
        """
        at = self.resolve(path, follow=follow)
        e = self.view.get(at)
        if e is None:
            raise self._missing(path, at)
        return self._file(e)

    def _file(self, e: Entry) -> ImageFile:
        return ImageFile(
            path=f"/{e.path}",
            kind=_KINDS[e.kind],
            mode=e.mode,
            uid=e.uid,
            gid=e.gid,
            size=e.size if e.kind == "f" else 0,
            mtime_ns=e.mtime_ns,
            target=e.link if e.kind == "l" else "",
            hardlink=f"/{e.link}" if e.kind == "f" and e.link else "",
            device=e.rdev,
            layer=self._layer_of(e.path),
        )

    def _layer_of(self, path: str) -> int:
        found = self.view.deciding(path)
        return len(self.layers) + 1 - found if found else 0

    def _missing(self, path: str, at: str) -> NotFound:
        """The error for a path at which nothing is."""
        said = f"{self.source.name}: no {_shown(path)}"
        if at != _inside(path):
            said += f", which leads to {_shown(at)}"
        folder, known = at, None
        while folder and known is None:
            folder = parent_of(folder)
            known = self.get(folder)
        if known is not None and known.kind != "d":
            return NotFound(f"{said}: {_shown(folder)} is not a folder")
        for number in range(len(self.layers), 0, -1):
            index = self.indexes[number - 1]
            if not index.hides_below(at):
                continue
            layer = f"layer {number} of {len(self.layers)}"
            made = self.instruction(number)
            hint = f"layer {number} is of: {made[:200]}" if made else ""
            if at in index.whiteouts or any(above in index.whiteouts for above in _above(at)):
                return NotFound(f"{said}: {layer} removed it", hint=hint)
            folder = next((f for f in _above(at) if f in index.opaques), parent_of(at))
            return NotFound(f"{said}: {layer} hides what lower ones have in {_shown(folder)}", hint=hint)
        return NotFound(said)

    def open(self, path: str) -> tuple[ImageFile, BinaryIO]:
        """A file, and its bytes: read `size` of them, and close it. Links are followed.

        Raises:
            NotFound: nothing is there.
            UsageError: it is not a file.
        """
        found = self.find(path)
        e = self.view.get(found.path[1:])
        if e is None or e.kind != "f":
            what = {"directory": "a folder", "fifo": "a fifo"}.get(found.kind, "a device")
            raise UsageError(f"{self.source.name}: {_shown(path)} is {what}, not a file")
        if e.content is None:
            if e.size:
                raise NotFound(f"{self.source.name}: {_shown(path)}: its layer has no bytes of it")
            return found, open(os.devnull, "rb")
        return found, e.content.open()

    def pieces(self, path: str) -> Iterator[bytes]:
        """The bytes of a file as they are read; see `open`.

        Raises:
            NotFound, UsageError: see `open`.
            DigestMismatch: they are not what the image promises.
        """
        found, stream = self.open(path)
        left = found.size
        with stream:
            while left:
                data = stream.read(min(left, 1 << 20))
                if not data:
                    raise NotFound(f"{self.source.name}: {_shown(path)}: {left} bytes are missing")
                left -= len(data)
                yield data


def open_files(source: ImageSource, store: Store, platform: Platform) -> ImageFiles:
    """The files of an image.

    Args:
        source: the image, in any place (transports).
        store: layers that it has are not fetched, and those that are fetched whole go there.
        platform: which image of an index.

    Raises:
        NotFound: there is no such image, or none for the platform.
        NotAnImage: it is an artifact.
    """
    return ImageFiles(source, chosen(source, source.root(), platform), store)


def list_files(files: ImageFiles, path: str = "/", *, recursive: bool = False) -> Iterator[ImageFile]:
    """What is in a folder of an image, sorted by bytes; of anything else itself alone. Links are followed.

    Args:
        files: see open_files.
        path: the folder.
        recursive: with all that is below, folders before what they hold.

    Raises:
        NotFound: nothing is at the path; see ImageFiles.find.
    """
    found = files.find(path)
    if found.kind != "directory":
        yield found
        return
    at = found.path[1:]
    view = files.view
    if recursive:
        entries: Iterator[Entry | None] = iter(view.walk(at))
    else:
        entries = (view.get(f"{at}/{name}" if at else name) for name in view.children(at))
    for e in entries:
        if e is not None:
            yield files._file(e)


def read_file(files: ImageFiles, path: str, *, most_bytes: int = _MOST_BYTES) -> bytes:
    """The bytes of a file of an image; links are followed. ImageFiles.pieces gives them one by one.

    Args:
        files: see open_files.
        path: the file.
        most_bytes: larger ones are refused.

    Raises:
        NotFound: nothing is at the path; see ImageFiles.find.
        UsageError: it is not a file.
        LimitExceeded: it is larger.
    """
    size = files.find(path).size
    if size > most_bytes:
        raise LimitExceeded(f"{_shown(path)} has {size} bytes, more than {most_bytes}")
    return b"".join(files.pieces(path))


def _inside(path: str) -> str:
    return "/".join(p for p in path.split("/") if p not in ("", "."))


def _above(path: str) -> Iterator[str]:
    """The folders that a path is in, the nearest first."""
    while path:
        path = parent_of(path)
        yield path


def _shown(path: str) -> str:
    text = f"/{_inside(path)}"
    return text if len(text) <= 200 else f"{text[:200]}..."
