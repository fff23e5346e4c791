"""Reading an OCI image layout that somebody else wrote: a folder with index.json and blobs.

Why: `--build-context name=oci-layout://DIR` and the `oci:` references read images from such folders; their
blobs are verified when they are copied into the store.
Spec: OCI image-spec 1.1, image-layout.md.
Trust: the folder is input like any other: documents are parsed strictly, sizes and digests checked.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from imagesmith.errors import InvalidDocument, NotAnImage, NotFound
from imagesmith.oci.codec import parse_object
from imagesmith.oci.config import ImageConfig
from imagesmith.oci.digest import Digest, VerifyingReader
from imagesmith.oci.model import MAX_MANIFEST_BYTES, Descriptor, Manifest, parse_document
from imagesmith.oci.names import Platform, choose_platform

__all__ = ["Layout"]

_REF = "org.opencontainers.image.ref.name"
_NAME = "io.containerd.image.name"


class Layout:
    """An image layout folder, read only."""

    def __init__(self, folder: Path) -> None:
        """Open a layout.

        Raises:
            NotFound: there is none.
            InvalidDocument: it is of an unknown version.
        """
        self.folder = folder
        try:
            raw = (folder / "oci-layout").read_bytes()
        except OSError as e:
            raise NotFound(f"{folder} is not an OCI layout: no oci-layout file ({e.strerror})") from e
        version = parse_object(raw, f"{folder}/oci-layout").text("imageLayoutVersion")
        if version != "1.0.0":
            raise InvalidDocument(f"{folder}/oci-layout: version {version[:20]!r} is not 1.0.0")

    def entries(self) -> list[Descriptor]:
        """The descriptors of index.json."""
        try:
            raw = (self.folder / "index.json").read_bytes()
        except OSError as e:
            raise NotFound(f"{self.folder}/index.json: {e.strerror}") from e
        return [
            Descriptor.from_json(o)
            for o in parse_object(raw, f"{self.folder}/index.json").objects("manifests")
        ]

    def find(self, tag: str = "", digest: Digest | None = None) -> Descriptor:
        """The entry of a tag or digest; without either, `latest` or the only one.

        Raises:
            NotFound: no such entry, or several and no name.
        """
        entries = self.entries()
        if digest is not None:
            found = next((d for d in entries if d.digest == digest), None)
            if found is None and self.path(digest).is_file():
                size = self.path(digest).stat().st_size
                raw = self.document(Descriptor(media_type="", digest=digest, size=size))
                found = parse_document(raw).descriptor()
        else:
            wanted = tag or "latest"
            found = next(
                (d for d in entries if wanted in (d.annotations.get(_REF), d.annotations.get(_NAME))), None
            )
            if found is None and not tag and len(entries) == 1:
                found = entries[0]
        if found is None:
            raise NotFound(f"{self.folder}: no image {digest or tag or 'latest'!s} in the layout")
        return found

    def path(self, digest: Digest) -> Path:
        """Where a blob is, or would be."""
        return self.folder / "blobs" / digest.algorithm / digest.hex

    def document(self, descriptor: Descriptor) -> bytes:
        """A manifest, index or config, verified."""
        if descriptor.size > MAX_MANIFEST_BYTES:
            raise InvalidDocument(f"{descriptor.digest}: a document of {descriptor.size} bytes is too large")
        with self.open(descriptor) as f:
            return f.read(-1)

    def open(self, descriptor: Descriptor) -> BinaryIO:
        """A blob, verified while it is read.

        Raises:
            NotFound: the layout lacks it.
        """
        try:
            raw = self.path(descriptor.digest).open("rb")
        except OSError as e:
            raise NotFound(f"{self.folder}: blob {descriptor.digest}: {e.strerror}") from e
        return VerifyingReader(raw, descriptor.digest, descriptor.size)  # type: ignore[return-value]  # RawIOBase

    def manifest(
        self, descriptor: Descriptor, platform: Platform, depth: int = 0
    ) -> tuple[Descriptor, Manifest]:
        """The manifest for a platform behind an entry, and its descriptor.

        Raises:
            NotFound: no such platform.
        """
        if depth > 4:
            raise InvalidDocument(f"{self.folder}: indexes nested too deeply")
        document = parse_document(self.document(descriptor), descriptor.media_type)
        if isinstance(document, Manifest):
            return descriptor, document
        offers = [d for d in document.manifests if not d.is_attestation]
        known = [d.platform or self._platform_of(d) for d in offers]
        n = choose_platform(platform, known)
        if n is None:
            raise NotFound(f"no match for platform in manifest {descriptor.digest}: not found")
        return self.manifest(offers[n], platform, depth + 1)

    def _platform_of(self, d: Descriptor) -> Platform | None:
        """The platform of an entry that does not say it: its config's."""
        document = parse_document(self.document(d), d.media_type)
        try:
            return self.config(document).platform if isinstance(document, Manifest) else None
        except NotAnImage:
            return None

    def config(self, manifest: Manifest) -> ImageConfig:
        """A manifest's image config; see `ImageConfig.of`."""
        return ImageConfig.of(manifest, self.document)
