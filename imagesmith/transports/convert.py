"""Manifests from one family of media types to the other, and indexes whose children changed.

Why: old registries take Docker's types only, zot OCI's only. The config's bytes stay, so the image ID stays;
the manifest's digest changes.
Spec: OCI image-spec 1.1, media-types.md (compatibility matrix).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from imagesmith.errors import Unsupported
from imagesmith.oci import mediatype as mt
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor, Index, Manifest
from imagesmith.values import replace

__all__ = ["Family", "converted"]

#: The types to write: as they are, OCI's, or Docker's.
Family = Literal["", "oci", "docker"]


def converted(
    document: Manifest | Index, family: Family, children: Mapping[Digest, Descriptor]
) -> Manifest | Index:
    """The document in a family's types; itself, to the byte, where nothing changes.

    Args:
        document: what was read.
        family: the types to write.
        children: for an index, what its manifests have become.

    Raises:
        Unsupported: Docker's types cannot say what it holds.
    """
    if isinstance(document, Index):
        return _index(document, family, children)
    if family == "" or document.media_type == _type(family, document.media_type):
        return document
    if family == "docker":
        _check_docker(document)
    rename = mt.to_docker if family == "docker" else mt.to_oci
    layers = [_renamed(d, rename(d.media_type), family) for d in document.layers]
    return Manifest.build(
        _renamed(document.config, rename(document.config.media_type), family),
        layers,
        media_type=rename(document.media_type),
        subject=document.subject if family == "oci" else None,
        artifact_type=document.artifact_type if family == "oci" else "",
        annotations=document.annotations if family == "oci" else None,
    )


def _type(family: Family, media_type: str) -> str:
    return mt.to_docker(media_type) if family == "docker" else mt.to_oci(media_type)


def _renamed(d: Descriptor, media_type: str, family: Family) -> Descriptor:
    if family == "docker":
        return Descriptor(media_type=media_type, digest=d.digest, size=d.size, urls=d.urls)
    return replace(d, media_type=media_type)


def _check_docker(document: Manifest) -> None:
    if not mt.is_image_config(document.config.media_type):
        raise Unsupported(f"an artifact of type {document.config.media_type} has no form in Docker's types")
    for d in document.layers:
        if mt.to_docker(d.media_type) == d.media_type and not d.media_type.startswith(mt.DOCKER_LAYER):
            raise Unsupported(f"layer {d.digest} of type {d.media_type} has no form in Docker's types")


def _index(document: Index, family: Family, children: Mapping[Digest, Descriptor]) -> Index:
    kind = _type(family, document.media_type) if family else document.media_type
    entries = []
    for m in document.manifests:
        now = children.get(m.digest, m)
        changed = now.digest != m.digest
        entry = replace(m, media_type=now.media_type, digest=now.digest, size=now.size) if changed else m
        entries.append(replace(entry, annotations={}, artifact_type="") if family == "docker" else entry)
    if kind == document.media_type and tuple(entries) == document.manifests:
        return document
    if family == "docker" and any(e.media_type not in (mt.DOCKER_MANIFEST, mt.DOCKER_INDEX) for e in entries):
        raise Unsupported("an index with artifacts has no form in Docker's types")
    oci = family != "docker"
    return Index.build(
        entries,
        media_type=kind,
        subject=document.subject if oci else None,
        artifact_type=document.artifact_type if oci else "",
        annotations=document.annotations if oci else None,
    )
