"""A repository as a place: images are read from it, through mirrors where there are any, and written to it.

Why: pull, push and copy are one loop (transfer.py) over places; this is the end of it that speaks HTTP.
Referrers go through the API where the registry has it, else through the tag schema.
Spec: OCI distribution-spec 1.1, "Listing Referrers", "Referrers Tag Schema".
Trust: the other side may answer anything: a manifest is held against the digest that was asked for, and comes
through the strict door; what a tag stands for is the registry's word.
Threads: any.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from imagesmith.errors import (
    DigestMismatch,
    ImagesmithError,
    IntegrityError,
    InvalidDocument,
    LimitExceeded,
    NetworkFault,
    NotFound,
    RegistryError,
    Unsupported,
)
from imagesmith.interfaces import ImageSource
from imagesmith.oci import mediatype as mt
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import (
    MAX_MANIFEST_BYTES,
    Descriptor,
    Index,
    parse_document,
    referrer_descriptor,
)
from imagesmith.oci.names import ImageRef
from imagesmith.registry.client import Client, Fetched
from imagesmith.registry.download import blob_pieces
from imagesmith.registry.faults import all_told
from imagesmith.registry.sending import Sending

if TYPE_CHECKING:
    from imagesmith.oci.identity import Identity

__all__ = ["Repository", "fallback_tag"]

#: Configs and other small blobs that are read into memory.
_MOST_DOCUMENT_BYTES = 4 * MAX_MANIFEST_BYTES
#: Is called with how many bytes went.
Told = Callable[[int], None]


def fallback_tag(digest: Digest) -> str:
    """The tag that lists the referrers of a manifest where there is no API."""
    return f"{digest.algorithm[:32]}-{digest.hex[:64]}"


class Repository:
    """An image reference in a registry; ImageSource and ImageTarget."""

    in_order = False
    sparse = False

    def __init__(
        self,
        ref: ImageRef,
        readers: Sequence[Client],
        writer: Client,
        sources: Callable[[Digest], Sequence[str]] = lambda _digest: (),
        found: Callable[[Digest, str], None] = lambda _digest, _name: None,
        sending: Sending | None = None,
    ) -> None:
        """Bind a reference to its clients.

        Args:
            ref: the image.
            readers: where to read, mirrors first.
            writer: where to write.
            sources: repositories of the same registry that hold a blob, to mount it from.
            found: is told that a repository (`registry/path`) holds a blob.
            sending: what it shares with the other repositories of its session.
        """
        self.ref, self.writer = ref, writer
        self._readers, self._sources, self._found = readers, sources, found
        self._lock = threading.Lock()
        self._raw: dict[Digest, bytes] = {}
        self._sending = sending or Sending()
        self._no_api, self._mounts = False, True

    @property
    def name(self) -> str:
        """The reference."""
        return str(self.ref)

    @property
    def identity(self) -> Identity:
        """The reference, for policies; see ImageSource."""
        from imagesmith.oci.identity import Identity

        return Identity(transport="docker", ref=self.ref)

    # --- source --------------------------------------------------------------------------------

    def root(self) -> Descriptor:
        """The manifest or index of the tag or digest; see ImageSource."""
        return self._manifest(self.ref.reference).descriptor()

    def digest(self) -> Descriptor:
        """The same without its content where the registry tells enough, which Docker Hub does not count."""
        clients = self._for(by_digest=self.ref.digest is not None)
        for client in clients:
            try:
                found = client.head_manifest(self.ref.reference)
            except RegistryError as e:
                if isinstance(e, NetworkFault) and len(clients) == 1:
                    raise  # it was tried often enough
                continue
            if found is not None:
                return found
        return self.root()

    def _manifest(self, reference: str) -> Fetched:
        failures: list[ImagesmithError] = []
        for client in self._for(by_digest=":" in reference):
            try:
                found = client.get_manifest(reference)
            except (RegistryError, IntegrityError) as e:
                failures.append(e)
                continue
            with self._lock:
                self._raw[found.digest] = found.raw
            return found
        raise all_told(failures)

    def _for(self, *, by_digest: bool) -> list[Client]:
        """The readers that may be asked for a tag, or for a digest."""
        barred = "tag-only" if by_digest else "digest-only"
        return [c for c in self._readers if c.transport.endpoint.use != barred]

    def document(self, d: Descriptor) -> bytes:
        """A manifest, index or config, verified; see ImageSource."""
        with self._lock:
            raw = self._raw.get(d.digest) or d.embedded()
        if raw is None:
            if d.media_type in mt.MANIFEST_TYPES | mt.INDEX_TYPES:
                raw = self._manifest(str(d.digest)).raw
            else:
                if d.size > _MOST_DOCUMENT_BYTES:
                    raise LimitExceeded(f"{self.name}: {d.digest}: a document of {d.size} bytes is too large")
                raw = b"".join(self.pieces(d))
            with self._lock:
                self._raw[d.digest] = raw
        if d.size not in (len(raw), -1):
            raise DigestMismatch(f"{self.name}: {d.digest}: {len(raw)} bytes, expected {d.size}")
        return raw

    def pieces(self, d: Descriptor, offset: int = 0, *, checked: bool = True) -> Iterator[bytes]:
        """The bytes of a blob; see ImageSource, and blob_pieces for `checked`."""
        if (raw := d.embedded()) is not None:
            return iter([raw[offset:]])
        readers = self._for(by_digest=True) if self.ref.digest is not None else self._readers
        return blob_pieces(readers, d, offset, checked=checked)

    def part(self, d: Descriptor, offset: int, size: int) -> bytes | None:
        """So many bytes of a blob, unverified; None where no reader gives parts. See explore/parts.py."""
        readers = self._for(by_digest=True) if self.ref.digest is not None else self._readers
        failures: list[RegistryError] = []
        for client in readers:
            try:
                found = client.get_part(d.digest, offset, size)
            except RegistryError as e:
                failures.append(e)
                continue
            if found is not None:
                return found
        if len(failures) == len(readers):
            raise all_told(failures)
        return None

    def lacks(self, d: Descriptor) -> bool:
        """False: a missing part shows when it is read; see ImageSource."""
        del d
        return False

    def origin(self, digest: Digest) -> Repository:
        """See ImageSource."""
        del digest
        return self

    def referrers(self, digest: Digest, artifact_type: str = "") -> list[Descriptor]:
        """What refers to a manifest; see ImageSource."""
        listed = None if self._no_api else self.writer.referrers(digest, artifact_type)
        if listed is None:
            self._no_api = True
            index = self._fallback(digest)
            listed = [] if index is None else list(index.manifests)
        return [d for d in listed if not artifact_type or d.artifact_type == artifact_type]

    def _fallback(self, digest: Digest) -> Index | None:
        try:
            found = self.writer.get_manifest(fallback_tag(digest))
            if found.digest == digest:  # GitLab takes the tag for the digest: that is the image, and no list
                return None
            return Index.parse(found.raw, found.media_type)
        except (NotFound, InvalidDocument):
            return None

    def tagged(self, tag: str) -> Descriptor | None:
        """What another tag stands for, asked by HEAD; see ImageSource."""
        for client in self._for(by_digest=False):
            try:
                return client.head_manifest(tag) or client.get_manifest(tag).descriptor()
            except NotFound:
                continue
        return None

    # --- target --------------------------------------------------------------------------------

    def standing(self) -> Descriptor | None:
        """What the reference stands for where it is written; None for nothing, or where that is not told."""
        return self._head(self.ref.tag or self.ref.reference)

    def has_manifest(self, d: Descriptor) -> bool:
        """True if the repository is known to have a manifest or index."""
        found = self._head(str(d.digest))
        return found is not None and found.digest == d.digest

    def _head(self, reference: str) -> Descriptor | None:
        try:
            return self.writer.head_manifest(reference)
        except NetworkFault:
            raise  # what is away now will not take anything either
        except RegistryError:
            return None

    def has(self, d: Descriptor) -> bool:
        """True if the repository has the blob."""
        if self._sending.knows(self.ref.name, d.digest):
            return True
        if self.writer.head_blob(d.digest, d.size) is None:
            return False
        self.has_now(d.digest)
        return True

    def has_now(self, digest: Digest) -> None:
        """Learn that the repository has a blob."""
        self._sending.saw(self.ref.name, digest)
        self._found(digest, self.ref.name)

    def is_new(self) -> bool:
        """True if the registry knows no image of that name, so that hardly any blob is there."""
        try:
            return not self.writer.tags(most=1)
        except NotFound:
            return True

    def put_blob(self, d: Descriptor, source: ImageSource, progress: Told, *, unseen: bool = False) -> str:
        """Mount a blob if another repository has it, else send it; see ImageTarget.

        An `unseen` one, which `has` was not asked about, is mounted unasked, as one request does both; it is
        looked for where the registry does not mount.
        """
        with self.turn(d.digest):
            if self._sending.knows(self.ref.name, d.digest):  # another image of the session had it, too
                return "exists"
            return self._brought(d, source, progress, unseen)

    def turn(self, digest: Digest) -> AbstractContextManager[None]:
        """A `with` in which nobody else of the session brings the blob to this registry."""
        return self._sending.turn(self.ref.registry, digest)

    def _brought(self, d: Descriptor, source: ImageSource, progress: Told, unseen: bool) -> str:
        from imagesmith.registry.upload import cancel, mount_any, upload

        if unseen and not self._mounts:
            unseen = False
            if self.has(d):
                return "exists"
        origins = self._mountable(d.digest, source)
        session = mount_any(self.writer, d.digest, origins)
        if session == "":
            self.has_now(d.digest)
            return "mounted"
        self._mounts = self._mounts and not origins
        if unseen and self.has(d):
            if session:
                cancel(self.writer, session)
            return "exists"

        def body(offset: int) -> Iterator[bytes]:
            sent = offset
            for piece in source.pieces(d, offset):
                yield piece
                sent += len(piece)
                progress(sent)

        upload(self.writer, d.digest, d.size, body, session or "")
        self.has_now(d.digest)
        return "sent"

    def _mountable(self, digest: Digest, source: ImageSource) -> list[str]:
        """Repositories of this registry to mount from, the source first; each is one request."""
        names = list(self._sources(digest))
        origin = source.origin(digest)
        if isinstance(origin, Repository) and origin.ref.registry == self.ref.registry:
            names.insert(0, origin.ref.repository)
        return [n for n in dict.fromkeys(names) if n != self.ref.repository][:3]

    def put_document(self, d: Descriptor, raw: bytes) -> None:
        """Store a manifest under its digest; see ImageTarget."""
        self._put(str(d.digest), d, raw)

    def finish(self, d: Descriptor, raw: bytes) -> None:
        """Store the last manifest under the tag, or the digest where there is none; see ImageTarget."""
        if self.ref.digest is not None and self.ref.digest != d.digest:
            raise DigestMismatch(f"{self.name}: what is to be written has digest {d.digest}")
        try:
            self._put(self.ref.tag or str(d.digest), d, raw)
        except NetworkFault:
            raise
        except RegistryError:  # an immutable tag is refused also where it stands for this already
            with contextlib.suppress(NetworkFault):
                found = self.standing()
                if found is not None and found.digest == d.digest:
                    return
            raise

    def put_tagged(self, tag: str, d: Descriptor, raw: bytes) -> None:
        """Store a manifest under another tag, unless that stands for it; see ImageTarget."""
        found = self._head(tag)
        if found is None or found.digest != d.digest:
            self._put(tag, d, raw)

    def _put(self, reference: str, d: Descriptor, raw: bytes) -> None:
        reply = self.writer.put_manifest(reference, raw, d.media_type)
        with self._lock:
            self._raw[d.digest] = raw
        if b'"subject"' not in raw:
            return
        subject = parse_document(raw, d.media_type).subject
        # Docker Hub once sent OCI-Subject without having the API: the header is believed with the API only.
        if subject is not None and not (
            "oci-subject" in reply.headers and self.has_referrers(subject.digest)
        ):
            self._list_in_fallback(subject.digest, referrer_descriptor(raw, d.media_type))

    def tags(self) -> list[str]:
        """All tags, sorted; the referrers' fallback tags are no images and left out."""
        return [t for t in self.writer.tags() if not re.fullmatch(r"sha(?:256|384|512)-[0-9a-f]{64}", t)]

    def delete(self) -> None:
        """Delete the tag alone, or the manifest of the digest with all its tags.

        Registries of Docker's old kind cannot delete a tag: there the tag is moved to a manifest of nothing,
        which is deleted by its digest, so that other tags of the image stay.

        Raises:
            NotFound: there is none.
            Unsupported: the registry does not delete.
        """
        from imagesmith.registry.nothing import move_to_nothing

        if self.ref.digest is None:
            try:
                self.writer.delete_manifest(self.ref.reference)
            except Unsupported:
                self._manifest(self.ref.reference)  # or NotFound
                self.writer.delete_manifest(str(move_to_nothing(self.writer, self.ref.reference)))
            return
        raw = self._manifest(self.ref.reference).raw
        self.writer.delete_manifest(self.ref.reference)
        subject = parse_document(raw).subject if b'"subject"' in raw else None
        if subject is not None:
            self.unlist(subject.digest, self.ref.digest)

    def has_referrers(self, digest: Digest) -> bool:
        """True if the registry has the referrers API."""
        self._no_api = self._no_api or self.writer.referrers(digest) is None
        return not self._no_api

    def _list_in_fallback(self, subject: Digest, entry: Descriptor) -> None:
        index = self._fallback(subject)
        entries = () if index is None else index.manifests
        if all(e.digest != entry.digest for e in entries):
            self._put_fallback(subject, (*entries, entry))

    def unlist(self, subject: Digest, digest: Digest) -> None:
        """Take a deleted referrer out of the fallback tag's list, where that is in use."""
        index = None if self.has_referrers(subject) else self._fallback(subject)
        if index is not None and any(e.digest == digest for e in index.manifests):
            self._put_fallback(subject, tuple(e for e in index.manifests if e.digest != digest))

    def _put_fallback(self, subject: Digest, entries: Sequence[Descriptor]) -> None:
        index = Index.build(entries, indent=None)
        self.writer.put_manifest(fallback_tag(subject), index.raw, index.media_type)
