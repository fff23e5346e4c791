"""What came out of a build: its images by platform, and what goes with them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from imagesmith.image.commit import Image
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor
from imagesmith.oci.names import ImageRef
from imagesmith.values import field, frozen, printable

__all__ = ["BuildResult"]


@frozen(kw_only=True)
class BuildResult:
    """The images of a build.

    images        by platform, in the order in which they were asked for
    attestations  of each platform: the manifests of statements about its image
    index         of all of them; None where there is one image and no attestation
    tags          the names that it was given
    exported      False where no output holds an image, but files or nothing
    cache         the manifest of the cache that was written
    provenance    how each image was built, by platform, for the metadata file
    pushed        what registries have now, each with its digest, and the tag if it has one
    """

    images: Mapping[str, Image]
    attestations: Mapping[str, tuple[Descriptor, ...]] = field(default_factory=dict)
    index: Descriptor | None = None
    tags: tuple[ImageRef, ...] = ()
    exported: bool = True
    cache: Descriptor | None = None
    provenance: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    pushed: tuple[ImageRef, ...] = ()

    def __repr__(self) -> str:
        names = [ref.familiar for ref in self.tags[:2]] + (["…"] if len(self.tags) > 2 else [])
        shown = [*names, self.digest.short, *list(self.images)[:4], *(["…"] if len(self.images) > 4 else [])]
        return printable(f"BuildResult({', '.join(shown)})")

    @property
    def image(self) -> Image:
        """The image, or of several the first."""
        return next(iter(self.images.values()))

    @property
    def digest(self) -> Digest:
        """The digest of what has the names: a manifest, or an index."""
        return self.descriptor.digest

    @property
    def image_id(self) -> Digest:
        """What Docker calls the image's ID: the digest of its config, or of the index."""
        return self.image.manifest.config.digest if self.index is None else self.index.digest

    @property
    def descriptor(self) -> Descriptor:
        """The descriptor of the manifest, with its platform, or of the index."""
        return self.image.entry if self.index is None else self.index

    def metadata(self, warnings: Sequence[Mapping[str, object]] = ()) -> bytes:
        """The file of --metadata-file, as buildx writes it."""
        return json.dumps(self.document(warnings), indent=2).encode()

    def document(self, warnings: Sequence[Mapping[str, object]] = ()) -> dict[str, object]:
        """What --metadata-file tells of it: the image, if one was exported."""
        document: dict[str, object] = {}
        if self.exported:
            document["containerimage.descriptor"] = self.descriptor.to_json()
            document["containerimage.digest"] = str(self.digest)
            if self.index is None:
                document["containerimage.config.digest"] = str(self.image_id)
            if self.tags:
                document["image.name"] = ",".join(map(str, self.tags))
        for platform, predicate in self.provenance.items():
            alone = len(self.provenance) == 1
            document[f"buildx.build.provenance{'' if alone else f'/{platform}'}"] = predicate
        if warnings:
            document["buildx.build.warnings"] = list(warnings)
        if self.cache is not None:
            document["cache.manifest"] = self.cache.to_json()
        return dict(sorted(document.items()))
