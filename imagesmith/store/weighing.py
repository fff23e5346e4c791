"""The images of the store with their platforms and sizes.

Trust: a document that is missing or broken is told, and hides no other image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from imagesmith.errors import IntegrityError, NotFound
from imagesmith.oci.digest import Digest
from imagesmith.oci.mediatype import is_image_config
from imagesmith.oci.model import Descriptor, Index
from imagesmith.oci.names import ImageRef
from imagesmith.store.store import Store
from imagesmith.values import frozen

__all__ = ["StoredImage", "stored_images"]


@frozen
class StoredImage:
    """A name in the store, what it stands for, the platforms that are here, and its blobs' size (bytes)."""

    ref: ImageRef
    descriptor: Descriptor
    platforms: tuple[str, ...]
    size: int


def stored_images(store: Store, warn: Callable[[str], object]) -> Iterator[StoredImage]:
    """What has a name, by name; `warn` is told of what is missing or broken."""
    for ref, d in store.images():
        platforms: list[str] = []
        blobs: dict[Digest, int] = {}
        try:
            _weigh(store, d, platforms, blobs, set())
        except (IntegrityError, NotFound) as e:  # one bad image does not hide the others
            warn(f"{ref.familiar}: {e.message}")
        yield StoredImage(ref, d, tuple(dict.fromkeys(platforms)), sum(blobs.values()))


def _weigh(
    store: Store, d: Descriptor, platforms: list[str], blobs: dict[Digest, int], seen: set[Digest]
) -> None:
    """Collect the platforms of an image, or of an index those that are here, and blobs' sizes (bytes)."""
    seen.add(d.digest)
    document = store.document(d.digest, d.media_type)
    if isinstance(document, Index):
        for m in document.manifests:
            if m.digest not in seen and store.blobs.has(m.digest):
                _weigh(store, m, platforms, blobs, seen)
        return
    blobs |= {b.digest: b.size for b in document.parts}
    if d.is_attestation:
        return
    platform = str(d.platform or "")
    if is_image_config(document.config.media_type) and store.blobs.has(document.config.digest):
        platform = platform or str(store.config(document).platform)
    if platform:
        platforms.append(platform)
