"""OCI layouts as places: `oci:DIR[:REF]` to read and write, `oci-archive:FILE[:REF]` to read.

Why: the one reader and writer of layouts, for named contexts, caches, copies and what a build exports.
Spec: OCI image-spec 1.1, image-layout.md; an exported image is listed as BuildKit lists it.
Trust: blobs are verified while they are read, documents parsed strictly.
Threads: any.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.errors import (
    DigestMismatch,
    InvalidDocument,
    InvalidReference,
    NotFound,
    StoreError,
    UsageError,
    cannot_write,
)
from imagesmith.fs.atomic import put_whole
from imagesmith.interfaces import ImageSource
from imagesmith.oci.codec import dumps, parse_object
from imagesmith.oci.digest import Digest, digest_bytes
from imagesmith.oci.mediatype import INDEX_TYPES, MANIFEST_TYPES, OCI_INDEX
from imagesmith.oci.model import MAX_MANIFEST_BYTES, Descriptor, parse_document, referrer_descriptor
from imagesmith.oci.names import ImageRef
from imagesmith.store.blobs import BlobStore
from imagesmith.transports.documents import document_of, parsed
from imagesmith.transports.files import Files, FolderFiles
from imagesmith.transports.lacking import lacks
from imagesmith.transports.stored import write_blob
from imagesmith.values import replace

if TYPE_CHECKING:
    from imagesmith.oci.identity import Identity

__all__ = [
    "LAYOUT",
    "NAME",
    "REF",
    "LayoutFolder",
    "LayoutSource",
    "entries_of",
    "is_companion",
    "is_layout",
]

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
REF = "org.opencontainers.image.ref.name"
NAME = "io.containerd.image.name"
_CREATED = "org.opencontainers.image.created"


def is_layout(files: Files) -> bool:
    """True if there is an OCI layout."""
    return files.size("oci-layout") >= 0 and files.size("index.json") >= 0


def entries_of(d: Descriptor, names: Sequence[str], created: str = "") -> list[Descriptor]:
    """The entries of index.json for an image in an archive or an export: one a name, or one without.

    Args:
        d: the image.
        names: references, or words that are none.
        created: when it was exported, RFC 3339; empty to say nothing.
    """
    entries = []
    for name in names or ("",):
        annotations = {**d.annotations, **({_CREATED: created} if created else {})}
        ref = _reference(name)
        if ref is not None:
            annotations |= {NAME: str(ref), REF: ref.tag or str(ref.digest)}
        elif name:
            annotations[REF] = name
        entries.append(replace(d, annotations=annotations))
    return entries


def _reference(name: str) -> ImageRef | None:
    """A name as an image reference; a bare word is no reference but a name of its own."""
    if "/" in name or ":" in name:
        with contextlib.suppress(UsageError):
            return ImageRef.parse(name)
    return None


def is_companion(d: Descriptor) -> bool:
    """True for an entry that belongs to another, such as its signature by cosign."""
    from imagesmith.transports.cosigntags import COMPANION

    return COMPANION.fullmatch(d.annotations.get(REF, "")) is not None


class LayoutSource:
    """An image of a layout; ImageSource."""

    def __init__(self, files: Files, ref: str = "", identity: Identity | None = None) -> None:
        """Bind an image.

        Args:
            files: the layout.
            ref: its name there, a digest with `@` before it, or empty for the only one.
            identity: what policies know it by, where that is not a layout or an archive of one.

        Raises:
            NotFound: there is no layout.
            InvalidDocument: it is of an unknown version.
        """
        self._files, self._ref, self._identity = files, ref, identity
        #: index.json as it was read last.
        self._known: tuple[bytes, list[Descriptor]] = b"", []
        raw = files.read("oci-layout", 1 << 16) if files.size("oci-layout") >= 0 else b""
        if not raw:
            raise NotFound(f"{files.name} is not an OCI layout: no oci-layout file")
        version = parse_object(raw, f"{files.name}: oci-layout").text("imageLayoutVersion")
        if version != "1.0.0":
            raise InvalidDocument(f"{files.name}: layout version {version[:20]!r} is not 1.0.0")

    @property
    def name(self) -> str:
        """Where it is."""
        return f"{self._files.name}:{self._ref}" if self._ref else self._files.name

    @property
    def identity(self) -> Identity:
        """The folder, or the archive; see ImageSource."""
        from imagesmith.oci.identity import Identity

        transport = "oci" if isinstance(self._files, FolderFiles) else "oci-archive"
        return self._identity or Identity(transport=transport, path=self._files.path)

    def entries(self) -> list[Descriptor]:
        """The descriptors of index.json."""
        raw = self._files.read("index.json", MAX_MANIFEST_BYTES)
        if raw != self._known[0]:
            index = parse_object(raw, f"{self._files.name}: index.json")
            self._known = raw, [Descriptor.from_json(o) for o in index.objects("manifests")]
        return list(self._known[1])

    def names(self) -> list[str]:
        """The names of the images there."""
        return sorted({n for d in self.entries() if (n := d.annotations.get(NAME) or d.annotations.get(REF))})

    def root(self) -> Descriptor:
        """The entry of the name; see ImageSource."""
        entries = self.entries()
        if self._ref.startswith("@"):
            return self._by_digest(Digest.parse(self._ref[1:]), entries)
        if not self._ref:
            found = {d.digest: d for d in entries if d.annotations.get("kind", "") == ""}
            images = [d for d in found.values() if not (is_companion(d) or self._is_referrer(d))]
            if len(images) == 1:
                return images[0]
            raise NotFound(
                f"{self._files.name}: {len(images)} images in the layout; name one",
                hint=f"it has {', '.join(self.names()[:8]) or 'none with a name'}",
            )
        wanted = {self._ref}
        with contextlib.suppress(InvalidReference):
            wanted.add(str(ImageRef.parse(self._ref)))
        for d in entries:
            if wanted & {d.annotations.get(REF, ""), d.annotations.get(NAME, "")}:
                return d
        raise NotFound(
            f"{self._files.name}: no image named {self._ref} in the layout",
            hint=f"it has {', '.join(self.names()[:8]) or 'none with a name'}",
        )

    def _by_digest(self, digest: Digest, entries: Sequence[Descriptor]) -> Descriptor:
        found = next((d for d in entries if d.digest == digest), None)
        if found is not None:
            return found
        size = self._files.size(_path(digest))
        if size < 0:
            raise NotFound(f"{self._files.name}: no {digest} in the layout")
        raw = self._files.read(_path(digest), MAX_MANIFEST_BYTES)
        self._check(raw, digest)
        return parsed(self, Descriptor(media_type="", digest=digest, size=len(raw)), raw).descriptor()

    def _is_referrer(self, d: Descriptor) -> bool:
        if d.annotations.get(REF) or d.annotations.get(NAME) or self._files.size(_path(d.digest)) < 0:
            return False
        return b'"subject"' in self.document(d) and document_of(self, d).subject is not None

    def document(self, d: Descriptor) -> bytes:
        """A document, verified; see ImageSource."""
        if not self._has(d) and (raw := d.embedded()) is not None:
            return raw
        raw = self._files.read(_path(d.digest), 4 * MAX_MANIFEST_BYTES)
        self._check(raw, d.digest)
        return raw

    def _check(self, raw: bytes, digest: Digest) -> None:
        if digest_bytes(raw, digest.algorithm) != digest:
            raise DigestMismatch(f"{self._files.name}: blob {digest} is damaged")

    def pieces(self, d: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """The bytes of a blob; see ImageSource."""
        size = self._files.size(_path(d.digest))
        if size < 0 and (raw := d.embedded()) is not None:
            yield raw[offset:]
            return
        if size != d.size:
            if size < 0:
                raise NotFound(f"{self._files.name}: no blob {d.digest} in the layout")
            raise DigestMismatch(f"{self._files.name}: blob {d.digest}: {size} bytes, expected {d.size}")
        seen = hashlib.new(d.digest.algorithm)
        for piece in self._files.pieces(_path(d.digest), offset):
            if offset == 0:
                seen.update(piece)
            yield piece
        if offset == 0 and seen.hexdigest() != d.digest.hex:
            raise DigestMismatch(f"{self._files.name}: blob {d.digest} is damaged")

    def lacks(self, d: Descriptor) -> bool:
        """True if part of a manifest is not in the layout; see ImageSource."""
        return lacks(self, d, self._holds)

    def _holds(self, d: Descriptor) -> bool:
        return self._has(d) or d.embedded() is not None

    def _has(self, d: Descriptor) -> bool:
        return self._files.size(_path(d.digest)) >= 0

    def origin(self, digest: Digest) -> LayoutSource:
        """See ImageSource."""
        del digest
        return self

    def referrers(self, digest: Digest) -> list[Descriptor]:
        """The entries of index.json with this subject; see ImageSource."""
        found = []
        for d in self.entries():
            if d.media_type not in MANIFEST_TYPES | INDEX_TYPES or self._files.size(_path(d.digest)) < 0:
                continue
            raw = self.document(d)
            subject = parsed(self, d, raw).subject
            if subject is not None and subject.digest == digest:
                found.append(referrer_descriptor(raw, d.media_type))
        return found

    def tagged(self, tag: str) -> Descriptor | None:
        """The entry with another name; see ImageSource."""
        return next((d for d in self.entries() if d.annotations.get(REF) == tag), None)


def _path(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


class LayoutFolder(LayoutSource):
    """A layout folder, read and written; ImageSource and ImageTarget."""

    in_order = False
    sparse = False

    def __init__(
        self,
        folder: Path,
        ref: str = "",
        *,
        create: bool = False,
        names: Sequence[str] = (),
        exported: str = "",
    ) -> None:
        """Open a folder.

        Args:
            folder: the layout.
            ref: the image's name there; see LayoutSource.
            create: make a layout of the folder.
            names: those that an exported image has instead.
            exported: when that is. One without a name takes the place of the one without a name.
        """
        if create:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with _alone(folder):
                    self._blobs = BlobStore(folder)
                    if not (folder / "oci-layout").exists():
                        put_whole(folder / "oci-layout", LAYOUT)
                    if not (folder / "index.json").exists():
                        put_whole(folder / "index.json", _index([]))
            except (OSError, StoreError) as e:
                raise cannot_write(e, folder) from e
        super().__init__(FolderFiles(folder), ref)
        self.folder, self._names, self._exported = folder, names, exported
        self._loose: list[Descriptor] = []

    def has(self, d: Descriptor) -> bool:
        """True if the blob is there; see ImageTarget."""
        return self._files.size(_path(d.digest)) == d.size

    def put_blob(self, d: Descriptor, source: ImageSource, progress: Callable[[int], None]) -> str:
        """Take a blob; see ImageTarget."""
        write_blob(self._blobs, d, source, progress)
        return "sent"

    def put_document(self, d: Descriptor, raw: bytes) -> None:
        """Take a manifest; one with a subject is listed, so that it is found. See ImageTarget."""
        with self._blobs.writer(d.digest.algorithm) as out:
            out.write(raw)
            out.commit(d.digest, len(raw))
        if b'"subject"' in raw and parse_document(raw, d.media_type).subject is not None:
            self._loose.append(d)

    def put_tagged(self, tag: str, d: Descriptor, raw: bytes) -> None:
        """Take a manifest, listed under another name; see ImageTarget."""
        self.put_document(d, raw)
        self._loose.append(replace(d, annotations={**d.annotations, REF: tag}))

    def finish(self, d: Descriptor, raw: bytes) -> None:
        """Take the last manifest and name it; see ImageTarget."""
        self.put_document(d, raw)
        self._blobs.settle()
        loose, self._loose = [x for x in self._loose if x.digest != d.digest or REF in x.annotations], []
        if self._exported:
            fresh = entries_of(d, self._names, self._exported)
            self.change(lambda entries: _with_exported(_with_all(entries, loose), fresh))
            return
        entry = replace(d, annotations={**d.annotations, **({REF: self._ref} if self._ref else {})})
        self.change(lambda entries: _with(_with_all(entries, loose), entry))
        with _alone(self.folder), contextlib.suppress(OSError):  # not while others write
            (self.folder / "ingest").rmdir()

    def unname(self) -> None:
        """Take the image's entry out of index.json.

        Raises:
            NotFound: there is none.
        """
        gone = self.root()
        self.change(lambda entries: [e for e in entries if e != gone])

    def change(self, change: Callable[[list[Descriptor]], list[Descriptor]]) -> None:
        """Write index.json anew, alone among processes."""
        with _alone(self.folder):
            put_whole(self.folder / "index.json", _index(change(self.entries())))


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else changes the tables meanwhile: the folder is locked, for its files are replaced."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _index(entries: Sequence[Descriptor]) -> bytes:
    return dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [d.to_json() for d in entries]})


def _with_all(entries: list[Descriptor], more: Sequence[Descriptor]) -> list[Descriptor]:
    for d in more:
        if REF in d.annotations:
            entries = _with(entries, d)
        elif all(e.digest != d.digest for e in entries):
            entries = [*entries, d]
    return entries


def _with(entries: list[Descriptor], entry: Descriptor) -> list[Descriptor]:
    """The entries with one more, which takes the name from whatever had it."""
    name = entry.annotations.get(REF)
    kept = [
        e
        for e in entries
        if not (e.digest == entry.digest and e.annotations.get(REF) in (None, name))
        and (name is None or e.annotations.get(REF) != name)
    ]
    return [*kept, entry]


def _with_exported(entries: list[Descriptor], fresh: Sequence[Descriptor]) -> list[Descriptor]:
    """The entries with those of an export, but for those whose name, or lack of one, is taken."""
    names, digests = {_title(e) for e in fresh}, {e.digest for e in fresh}
    kept = [e for e in entries if _title(e) not in names and (_title(e) or e.digest not in digests)]
    return [*kept, *fresh]


def _title(d: Descriptor) -> str:
    return d.annotations.get(NAME) or d.annotations.get(REF) or ""
