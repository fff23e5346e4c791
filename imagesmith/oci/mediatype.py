"""The media types of images, Docker's and OCI's, and how the two families map onto each other.

Spec: OCI image-spec 1.1, media-types.md; Docker image manifest v2, schema 2.
"""

from __future__ import annotations

__all__ = [
    "DOCKER_CONFIG",
    "DOCKER_INDEX",
    "DOCKER_LAYER",
    "DOCKER_LAYER_GZIP",
    "DOCKER_LAYER_ZSTD",
    "DOCKER_MANIFEST",
    "INDEX_TYPES",
    "MANIFEST_TYPES",
    "OCI_ARTIFACT",
    "OCI_CONFIG",
    "OCI_EMPTY",
    "OCI_INDEX",
    "OCI_LAYER",
    "OCI_LAYER_GZIP",
    "OCI_LAYER_ZSTD",
    "OCI_MANIFEST",
    "SCHEMA1_TYPES",
    "is_image_config",
    "is_layer",
    "is_nondistributable",
    "to_distributable",
    "to_docker",
    "to_oci",
]

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
#: Of the release candidates of image-spec 1.1: ORAS 0.16 and Notation 1.0 pushed their artifacts so.
OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = OCI_LAYER + "+gzip"
OCI_LAYER_ZSTD = OCI_LAYER + "+zstd"
OCI_FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = DOCKER_LAYER + ".gzip"
DOCKER_LAYER_ZSTD = DOCKER_LAYER + ".zstd"
DOCKER_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar"

MANIFEST_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST, OCI_ARTIFACT})
INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_INDEX})
SCHEMA1_TYPES = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    }
)

_TO_DOCKER = {
    OCI_INDEX: DOCKER_INDEX,
    OCI_MANIFEST: DOCKER_MANIFEST,
    OCI_CONFIG: DOCKER_CONFIG,
    OCI_LAYER: DOCKER_LAYER,
    OCI_LAYER_GZIP: DOCKER_LAYER_GZIP,
    OCI_LAYER_ZSTD: DOCKER_LAYER_ZSTD,
    OCI_FOREIGN: DOCKER_FOREIGN,
    OCI_FOREIGN + "+gzip": DOCKER_FOREIGN + ".gzip",
}
_TO_OCI = {docker: oci for oci, docker in _TO_DOCKER.items()}


def to_docker(media_type: str) -> str:
    """Docker's name of an OCI type; other types stay."""
    return _TO_DOCKER.get(media_type, media_type)


def to_oci(media_type: str) -> str:
    """The OCI name of one of Docker's types; other types stay."""
    return _TO_OCI.get(media_type, media_type)


def is_nondistributable(media_type: str) -> bool:
    """True for the deprecated types of layers that a registry may not hold (foreign layers)."""
    return media_type.startswith((OCI_FOREIGN, DOCKER_FOREIGN))


def to_distributable(media_type: str) -> str:
    """The usual type of a layer of a deprecated one."""
    return media_type.replace(OCI_FOREIGN, OCI_LAYER, 1).replace(DOCKER_FOREIGN, DOCKER_LAYER, 1)


def is_layer(media_type: str) -> bool:
    """True for the types of filesystem layers."""
    return media_type.startswith((OCI_LAYER, DOCKER_LAYER)) or is_nondistributable(media_type)


def is_image_config(media_type: str) -> bool:
    """True for the types of image configs, which have a platform and diff_ids."""
    return media_type in (OCI_CONFIG, DOCKER_CONFIG)
