"""Manifests, indexes and configs, read where they are; what is wrong with one is told with its place.

Why: a copy reads documents of two places, and a build those of many images. "not valid JSON" helps nobody who
is not told of which.
Trust: documents are others', and come through the strict door (oci/model.py, oci/config.py).
Threads: any.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from imagesmith.errors import InvalidDocument, Unsupported
from imagesmith.interfaces import ImageSource
from imagesmith.oci.config import ImageConfig
from imagesmith.oci.model import Descriptor, Index, Manifest, parse_document

__all__ = ["config_of", "document_of", "parsed"]


def document_of(source: ImageSource, d: Descriptor) -> Manifest | Index:
    """The manifest or index that a descriptor names.

    Raises:
        NotFound: it is not there.
        DigestMismatch: it is damaged.
        InvalidDocument: it is neither, or breaks its specification.
        Unsupported: Docker's schema 1.
    """
    return parsed(source, d, source.document(d))


def parsed(source: ImageSource, d: Descriptor, raw: bytes) -> Manifest | Index:
    """The same, where its bytes are at hand; see `document_of`."""
    with _at(source):
        return parse_document(raw, d.media_type)


def config_of(source: ImageSource, manifest: Manifest) -> ImageConfig:
    """The config of an image; see `document_of`. That it is one, the caller knows (`is_image_config`)."""
    raw = source.document(manifest.config)
    with _at(source):
        return ImageConfig.parse(raw)


@contextlib.contextmanager
def _at(source: ImageSource) -> Iterator[None]:
    """Name the place in what is wrong with a document."""
    try:
        yield
    except (InvalidDocument, Unsupported) as e:
        raise e.of(source.name) from e.__cause__
