"""What the verbs that look into images share: an image's documents, and its file system."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from imagesmith.cli.common import platform_of, source_at
from imagesmith.oci.model import Manifest

if TYPE_CHECKING:
    from imagesmith.fs.view import View
    from imagesmith.store.store import Store
    from imagesmith.transports.transfer import Session

__all__ = ["contents_of"]


def contents_of(
    args: argparse.Namespace,
    text: str,
    session: Session,
    store: Store,
    *,
    files: bool,
    contents: bool = False,
) -> tuple[Manifest, bytes, View | None]:
    """An image's manifest, config and, if asked for, file system; see view_of for `contents`."""
    from imagesmith.image.layers import view_of
    from imagesmith.transports.copier import chosen

    with source_at(text, session, store) as source:
        manifest = chosen(source, source.root(), platform_of(args))
        config = source.document(manifest.config)
        view = view_of(source, manifest, store, contents=contents) if files else None
        return manifest, config, view
