"""Indexes made of images, with more or with fewer of them.

Spec: OCI image-spec 1.1, image-index.md.
Trust: documents are others', and come through the strict door.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from imagesmith.errors import NotFound, UsageError
from imagesmith.image.edited import Edited
from imagesmith.interfaces import ImageSource
from imagesmith.oci import mediatype as mt
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor, Index, Manifest
from imagesmith.oci.names import Platform
from imagesmith.store.blobs import BlobStore
from imagesmith.transports.documents import config_of, document_of
from imagesmith.values import replace

__all__ = ["entries_of", "index_of", "without"]


def entries_of(source: ImageSource, platform: Platform | None = None) -> list[Descriptor]:
    """What an image adds to an index: itself with its platform, or all that its own index lists.

    Args:
        source: the image.
        platform: to list it under, in place of the config's; for a single manifest only.
    """
    root = source.root()
    document = document_of(source, root)
    if isinstance(document, Index):
        if platform is not None:
            raise UsageError(f"{source.name} is an index; a platform can be given to a single image only")
        return list(document.manifests)
    if platform is None and mt.is_image_config(document.config.media_type):
        platform = config_of(source, document).platform
    return [replace(document.descriptor(), platform=platform)]


def index_of(
    name: str,
    parts: Sequence[tuple[ImageSource, Sequence[Descriptor]]],
    blobs: BlobStore,
    *,
    annotations: Mapping[str, str] | None = None,
    docker: bool = False,
) -> Edited:
    """An index of entries, each to be read from its place; of equal entries the last counts.

    Raises:
        UsageError: Docker's manifest lists have no annotations.
    """
    out = Edited(name, blobs)
    entries: dict[Digest, Descriptor] = {}
    for source, listed in parts:
        for d in listed:
            entries[d.digest] = d
            _route(out, source, d, 0)
    if docker and annotations:
        raise UsageError("an index of Docker's type has no annotations")
    index = Index.build(
        list(entries.values()),
        media_type=mt.DOCKER_INDEX if docker else mt.OCI_INDEX,
        annotations=annotations,
    )
    out.add(index.raw)
    out.set_root(index.descriptor())
    return out


def _route(out: Edited, source: ImageSource, d: Descriptor, depth: int) -> None:
    """Remember where a manifest and all below it are."""
    out.found_at(d.digest, source)
    if source.lacks(d):
        return  # where it is not, it cannot go; copying says so
    document = document_of(source, d)
    below = document.parts if isinstance(document, Manifest) else document.manifests
    for child in below:
        if isinstance(document, Manifest):
            out.found_at(child.digest, source)
        elif depth < 4:
            _route(out, source, child, depth + 1)


def without(index: Index, digests: Sequence[Digest], platforms: Sequence[Platform]) -> list[Descriptor]:
    """The entries of an index that remain, attestations of removed ones left out, too.

    Raises:
        NotFound: something that is to be removed is not there.
    """
    gone = set()
    for digest in digests:
        if all(m.digest != digest for m in index.manifests):
            raise NotFound(f"the index does not list {digest}")
        gone.add(digest)
    for platform in platforms:
        found = [m.digest for m in index.manifests if m.platform == platform]
        if not found:
            raise NotFound(f"the index lists nothing for {platform}")
        gone.update(found)
    named = {str(d) for d in gone}
    return [m for m in index.manifests if m.digest not in gone and m.about not in named]
