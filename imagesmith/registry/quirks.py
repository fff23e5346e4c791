"""What single registries do otherwise than the specification says: each oddity in one place, with its reason.

Why: a rule is keyed on what a registry answers wherever that can be seen, on its host only where it cannot.
Hosted services change; every rule here degrades to the specification's way.
"""

from __future__ import annotations

from collections.abc import Mapping

from imagesmith.oci.names import is_tag

__all__ = [
    "is_dummy_scope",
    "is_immutable_tag",
    "least_chunk",
    "patch_accepted",
    "same_scheme",
    "smaller_chunk",
    "usable_tags",
]

#: The least size of a piece: ECR refuses smaller ones but the last (LayerPartTooSmall).
LEAST_CHUNK_BYTES = 5 << 20
#: What is tried where even that is too much for a proxy on the way.
_CHUNKS = (1 << 20, 256 << 10, 64 << 10)


def is_dummy_scope(scope: str) -> bool:
    """GHCR's challenge on /v2/ names a repository that does not exist; a token for it is of no use."""
    return scope == "repository:user/image:pull"


def patch_accepted(status: int) -> bool:
    """202 by the specification; ECR answers 201, some proxies 204."""
    return status in (201, 202, 204)


def smaller_chunk(status: int, said: str, sent: int, least: int) -> int:
    """The length of pieces to send where a request of `sent` bytes was too long; 0 where that is not it.

    413: ACR above some 20 MB, Cloudflare and other proxies above 100 MB, nginx above 1 MiB unless it is told
    otherwise. GHCR takes PATCH bodies of 4 MiB at most, and answers 416 with `the maximum permissible limit
    of 4.00MiB`.
    """
    if "maximum permissible limit of 4.00MiB" in said:
        sizes: tuple[int, ...] = (4 << 20,)
    else:
        sizes = (least, *_CHUNKS) if status == 413 else ()
    return next((size for size in sizes if size < sent), 0)


def least_chunk(headers: Mapping[str, str]) -> int:
    """OCI-Chunk-Min-Length, or what every registry takes."""
    text = headers.get("OCI-Chunk-Min-Length", "")
    told = int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0
    return max(told, LEAST_CHUNK_BYTES)


def usable_tags(items: object) -> list[str]:
    """The tags of a listing: GHCR sends null for none, Nexus has null among them, Artifactory digests.

    What is no tag is left out: `../x` would lead elsewhere, and a line break to other lines.
    """
    if not isinstance(items, list):
        return []
    return [t for t in items if isinstance(t, str) and is_tag(t)]


def is_immutable_tag(said: str) -> bool:
    """ECR, Harbor and GAR refuse to move an immutable tag; trying again is of no use."""
    return "immutable" in said.lower()


def same_scheme(location: str, base: str) -> str:
    """A registry behind a proxy that ends TLS may call itself http, not told better: https is meant."""
    host = base.partition("://")[2].partition("/")[0]
    if base.startswith("https://") and location.startswith(f"http://{host}/"):
        return "https://" + location.removeprefix("http://")
    return location
