"""Delete what no manifest needs: blobs of repositories, and content that no repository has.

Why: a deletion through the API only takes a name away; the bytes go here, while nobody serves the folder, so
that no push can be half way (Storage holds the lock).
Trust: manifests were checked when they came; one that cannot be read any more stops the collection, since
what it needs would be deleted.
"""

from __future__ import annotations

from imagesmith.embedded.storage import Storage
from imagesmith.errors import StoreError
from imagesmith.oci.codec import Object, parse_object
from imagesmith.oci.digest import Digest
from imagesmith.values import frozen

__all__ = ["Collected", "collect"]


@frozen
class Collected:
    """What a collection deleted: manifests, blobs, and the bytes of both."""

    manifests: int
    blobs: int
    size: int


def collect(storage: Storage, *, untagged: bool = False) -> Collected:
    """Delete unreferenced content.

    Args:
        untagged: manifests go too that no tag leads to, neither itself, nor through an index or a subject.

    Raises:
        StoreError: a manifest's content is damaged; nothing was deleted in its repository then.
    """
    live: set[Digest] = set()
    gone = 0
    for name in storage.repositories():
        documents = {m.digest: _document(storage, m.digest) for m in storage.manifests(name)}
        if untagged:
            reached = _reached(storage, name, documents)
            for digest in documents.keys() - reached:
                storage.delete_manifest(name, digest)
                del documents[digest]
                gone += 1
        needed = {part for document in documents.values() for part in _parts(document)}
        live |= documents.keys() | needed
        for digest in storage.blobs(name):
            if digest not in needed:
                storage.unlink_blob(name, digest)
    blobs = size = 0
    for digest in storage.contents():
        if digest not in live:
            path = storage.content(digest)
            size += path.stat().st_size
            path.unlink()
            blobs += 1
    return Collected(gone, max(0, blobs - gone), size)


def _document(storage: Storage, digest: Digest) -> Object:
    try:
        return parse_object(storage.content(digest).read_bytes(), f"manifest {digest}")
    except OSError as e:
        raise StoreError(f"cannot read manifest {digest}: {e.strerror}") from e


def _parts(document: Object) -> set[Digest]:
    config = document.obj("config")
    found = [*document.objects("layers"), *document.objects("blobs"), *([config] if config else [])]
    return {Digest.parse(part.need_text("digest")) for part in found}


def _reached(storage: Storage, name: str, documents: dict[Digest, Object]) -> set[Digest]:
    """The manifests that tags lead to: through indexes downward, and from subjects to their referrers."""
    below: dict[Digest, set[Digest]] = {digest: set() for digest in documents}
    for digest, document in documents.items():
        below[digest] |= {Digest.parse(d.need_text("digest")) for d in document.objects("manifests")}
        if subject := document.obj("subject"):
            below.setdefault(Digest.parse(subject.need_text("digest")), set()).add(digest)
    tagged = (storage.manifest(name, tag) for tag in storage.tags(name) or ())
    todo, seen = [found.digest for found in tagged if found], set[Digest]()
    while todo:
        digest = todo.pop()
        if digest in documents and digest not in seen:
            seen.add(digest)
            todo += below[digest]
    return seen
