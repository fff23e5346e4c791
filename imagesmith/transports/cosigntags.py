"""What stands beside an image under tags made of its digest: cosign's signatures, attestations and SBOMs.

Why: cosign signed so before there were referrers, and does still; `--referrers` is meant for these as well.
Spec: cosign, specs/SIGNATURE_SPEC.md: `sha256-<hex>.sig`; `.att` and `.sbom` alike.
Trust: who can write a tag decides what it stands for; whether a signature is good is for cosign to say.
Threads: tags are asked for at the same time, on a pool.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from imagesmith.interfaces import ImageSource
from imagesmith.oci import mediatype as mt
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.transports.documents import document_of
from imagesmith.values import replace

__all__ = ["COMPANION", "companion_tag", "companions", "described"]

_SUFFIXES = (".sig", ".att", ".sbom")
#: The tags of companions.
COMPANION = re.compile(r"sha(?:256|384|512)-[0-9a-f]{64,128}\.(?:sig|att|sbom)")
_NAME = "org.opencontainers.image.ref.name"


def companion_tag(digest: Digest, suffix: str) -> str:
    """The tag of a companion, by what follows: `.sig`, `.att` or `.sbom`."""
    return f"{digest.algorithm}-{digest.hex}{suffix}"


def companions(source: ImageSource, digest: Digest) -> list[tuple[str, Descriptor]]:
    """What stands beside a manifest, each with its tag."""
    tags = [companion_tag(digest, suffix) for suffix in _SUFFIXES]
    ask: Callable[[str], Descriptor | None] = source.tagged
    with ThreadPoolExecutor(len(tags), thread_name_prefix="companions") as pool:
        found = list(pool.map(ask, tags))
    return [(tag, d) for tag, d in zip(tags, found, strict=True) if d is not None]


def described(source: ImageSource, tag: str, d: Descriptor) -> Descriptor:
    """A companion as referrers are listed: with the type of what it holds, and with its tag."""
    document = document_of(source, d)
    kind = document.artifact_type
    if not kind and isinstance(document, Manifest):
        plain = mt.is_image_config(document.config.media_type) and document.layers
        kind = (document.layers[0] if plain else document.config).media_type
    return replace(d, artifact_type=kind, annotations={_NAME: tag})
