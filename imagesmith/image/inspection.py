"""What an image is, read from its documents: names, digest, config, layers; no layer is read.

Spec: `skopeo inspect`'s and `docker inspect`'s names for the fields of the report.
Trust: the documents are others', and come through the strict door; nothing here is fit for a terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagesmith.interfaces import ImageSource
from imagesmith.oci.config import config_object
from imagesmith.oci.digest import Digest
from imagesmith.oci.mediatype import MANIFEST_TYPES, is_image_config
from imagesmith.oci.model import Descriptor, Index, Manifest
from imagesmith.oci.names import ImageRef, Platform, host_platform
from imagesmith.transports.copier import chosen
from imagesmith.transports.documents import config_of, parsed
from imagesmith.values import field, frozen, printable, replace

__all__ = ["Inspection", "inspect_image", "manifest_of"]


@frozen(kw_only=True)
class Inspection:
    """What an image is.

    name        as it was asked for
    descriptor  what the name stands for: a manifest, or an index
    document    that, read
    manifest    of the platform that was asked for
    platform    that it is for, by its config; None for what is no image
    config      its config as the JSON that it is; empty for what is no image
    """

    name: str
    descriptor: Descriptor
    document: Manifest | Index
    manifest: Manifest
    platform: Platform | None = None
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> Digest:
        """The digest of what the name stands for."""
        return self.descriptor.digest

    @property
    def image_id(self) -> Digest:
        """The digest of the config."""
        return self.manifest.config.digest

    @property
    def index(self) -> Index | None:
        """The index, if the name stands for one."""
        return self.document if isinstance(self.document, Index) else None

    @property
    def platforms(self) -> tuple[Platform, ...]:
        """The platforms of its images, in the order of the index."""
        if isinstance(self.document, Index):
            listed = [d.platform for d in self.document.manifests if not d.is_attestation]
            return tuple(dict.fromkeys(p for p in listed if p is not None))
        return () if self.platform is None else (self.platform,)

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the config."""
        return {str(key): str(value) for key, value in (self.runtime.get("Labels") or {}).items()}

    @property
    def env(self) -> list[str]:
        """The variables of the config, as NAME=VALUE."""
        return [str(word) for word in self.runtime.get("Env") or ()]

    @property
    def runtime(self) -> Mapping[str, Any]:
        """How a container is to be started: `config` within the config."""
        return self.config.get("config") or {}

    @property
    def layers(self) -> tuple[Descriptor, ...]:
        """The layers of the platform's image, bottom first."""
        return self.manifest.layers

    @property
    def size(self) -> int:
        """What the config and the layers of the platform's image take (bytes), compressed as they are."""
        return self.manifest.config.size + sum(d.size for d in self.manifest.layers)

    def __repr__(self) -> str:
        platforms = "".join(f", {platform}" for platform in self.platforms[:4])
        more = ", …" * (len(self.platforms) > 4)
        return printable(f"Inspection({self.name}, {self.digest.short}{platforms}{more})")

    def report(self) -> dict[str, Any]:
        """All of it as a document, as `imagesmith inspect` prints it."""
        name, tag = self.name, None
        if not name.startswith(("oci:", "oci-archive:", "docker-archive:")):
            ref = ImageRef.parse(name.removeprefix("docker://").removeprefix("store:"))
            name, tag = ref.name, ref.tag
        config, runtime, manifest = self.config, self.runtime, self.manifest
        diff_ids = (config.get("rootfs") or {}).get("diff_ids") or []
        out: dict[str, Any] = {
            "Name": name,
            "Tag": tag,
            "Digest": str(self.digest),
            "MediaType": self.descriptor.media_type,
            "ImageID": str(self.image_id),
            "Created": config.get("created"),
            "Os": config.get("os"),
            "Architecture": config.get("architecture"),
            "Variant": config.get("variant"),
            "Author": config.get("author"),
            "Config": runtime,
            "Env": runtime.get("Env") or [],
            "Labels": runtime.get("Labels") or {},
            "Annotations": dict(manifest.annotations),
            "Size": self.size,
            "Layers": [
                {"Digest": str(d.digest), "Size": d.size, "MediaType": d.media_type}
                | ({"DiffID": diff_ids[n]} if n < len(diff_ids) else {})
                | ({"Annotations": dict(d.annotations)} if d.annotations else {})
                for n, d in enumerate(manifest.layers)
            ],
            "History": [h.get("created_by", "") for h in config.get("history") or []],
        }
        if manifest.artifact_type:
            out["ArtifactType"] = manifest.artifact_type
        if manifest.subject:
            out["Subject"] = manifest.subject.to_json()
        if isinstance(self.document, Index):
            out["Manifests"] = [d.to_json() for d in self.document.manifests]
        return {k: v for k, v in out.items() if v is not None or k == "Tag"}


def inspect_image(source: ImageSource, name: str, platform: Platform | None = None) -> Inspection:
    """What an image is.

    Args:
        source: the image.
        name: what it is called.
        platform: of an index; by default this machine's, or that of the only image there.

    Raises:
        NotFound: there is none, or none for the platform.
        InvalidDocument: its documents are not what they should be.
    """
    root, document, manifest = manifest_of(source, platform)
    found = Inspection(name=name, descriptor=root, document=document, manifest=manifest)
    if not is_image_config(manifest.config.media_type):
        return found
    is_for = config_of(source, manifest).platform  # refuses what could not be shown
    return replace(found, platform=is_for, config=config_object(source.document(manifest.config)).data)


def manifest_of(
    source: ImageSource, platform: Platform | None = None
) -> tuple[Descriptor, Manifest | Index, Manifest]:
    """What a name stands for, that document, and the manifest for a platform; see inspect_image."""
    root = source.root()
    document = parsed(source, root, source.document(root))
    only = None if platform is not None else _only_image(source, document)
    return root, document, chosen(source, only or root, platform or host_platform())


def _only_image(source: ImageSource, document: Manifest | Index) -> Descriptor | None:
    """The one image of an index that holds nothing else but attestations, whatever its platform."""
    images = [d for d in document.manifests if not d.is_attestation] if isinstance(document, Index) else []
    is_image = len(images) == 1 and images[0].media_type in MANIFEST_TYPES
    return images[0] if is_image and not source.lacks(images[0]) else None
