"""Whether an image is all there, and the lines on what does not go along with one.

Why: archives and stores keep an index, and the blobs of some platforms only: `docker save`, `ctr images
export` and a pull for one platform leave the index as it is, for its digest.
Trust: indexes are others', and may name the same thing many times; each is looked at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from imagesmith.interfaces import ImageSource
from imagesmith.oci import mediatype as mt
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor, Index
from imagesmith.transports.documents import document_of

__all__ = ["lacks", "left_behind", "left_out"]

_DEPTH = 5


def lacks(source: ImageSource, d: Descriptor, holds: Callable[[Descriptor], bool]) -> bool:
    """True if a manifest or one of its blobs is missing, or all that an index names.

    Args:
        source: the place.
        d: the manifest or index.
        holds: true for a blob that is there.
    """
    return _Search(source, holds).lacks(d, 0)


class _Search:
    def __init__(self, source: ImageSource, holds: Callable[[Descriptor], bool]) -> None:
        self._source, self._holds = source, holds
        self._seen: dict[Digest, bool] = {}

    def lacks(self, d: Descriptor, depth: int) -> bool:
        if d.digest not in self._seen:
            self._seen[d.digest] = self._look(d, depth)
        return self._seen[d.digest]

    def _look(self, d: Descriptor, depth: int) -> bool:
        if not self._holds(d):
            return True
        if depth > _DEPTH or d.media_type not in mt.MANIFEST_TYPES | mt.INDEX_TYPES:
            return False
        document = document_of(self._source, d)
        if isinstance(document, Index):
            named = document.manifests
            return bool(named) and all(self.lacks(m, depth + 1) for m in named)
        return any(
            not self._holds(blob)
            for blob in document.parts
            if not (blob.urls and mt.is_nondistributable(blob.media_type))
        )


def left_out(name: str, absent: Sequence[Descriptor]) -> str:
    """The line on what an image's place lacks: its platforms; attestations of those go without saying."""
    images = {str(m.platform or m.digest): None for m in absent if not m.is_attestation}
    what = f"{', '.join(images)}: not there" if images else "attestations that are not there"
    return f"{name}: left out {what}"


def left_behind(
    name: str,
    *,
    absent: Sequence[Descriptor] = (),
    unsaid: Sequence[Descriptor] = (),
    outdated: Sequence[Descriptor] = (),
) -> list[str]:
    """The lines on all that does not go along; see Plan."""
    lines = [left_out(name, absent)] if absent else []
    if unsaid:
        kept = "a copy of the whole index keeps it, copy --referrers takes it along"
        lines.append(f"{name}: left out what is attested of the image: {kept}")
    if outdated:
        lines.append(f"{name}: left out what is attested of it, which is about the images as they were")
    return lines
