"""A tag moved to a manifest of nothing: how a registry that deletes no tags loses one.

Why: registries of Docker's old kind delete manifests alone, with all their tags; the other tags of an image
shall stay. The manifest is unlike any other, so that no tag but this one stands for it.
"""

from __future__ import annotations

import os

from imagesmith.oci import mediatype as mt
from imagesmith.oci.digest import Digest, digest_bytes
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.registry.client import Client
from imagesmith.registry.upload import upload

__all__ = ["move_to_nothing"]


def move_to_nothing(client: Client, tag: str) -> Digest:
    """Let a tag stand for a manifest that no other tag can stand for, and return that."""
    empty = b"{}"
    config = Descriptor(media_type=mt.OCI_CONFIG, digest=digest_bytes(empty), size=len(empty))
    if client.head_blob(config.digest) is None:
        upload(client, config.digest, len(empty), lambda offset: [empty[offset:]])
    manifest = Manifest.build(config, [], annotations={"imagesmith.deleted": os.urandom(16).hex()})
    client.put_manifest(tag, manifest.raw, manifest.media_type)
    return manifest.digest
