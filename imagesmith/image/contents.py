"""An image's documents together with its file system, for those who look into images.

Trust: documents and layers are others'; files are read through the doors of the trees that they are in.
"""

from __future__ import annotations

from imagesmith.fs.view import View
from imagesmith.image.layers import view_of
from imagesmith.interfaces import ImageSource
from imagesmith.oci.model import Manifest
from imagesmith.oci.names import Platform
from imagesmith.store.store import Store
from imagesmith.transports.copier import chosen
from imagesmith.values import frozen

__all__ = ["Contents", "contents_of"]


@frozen(eq=False)
class Contents:
    """A platform's manifest and config of an image, and, if it was asked for, its file system."""

    manifest: Manifest
    config: bytes
    view: View | None

    @property
    def files(self) -> View:
        """The file system, which was asked for."""
        assert self.view is not None
        return self.view


def contents_of(
    source: ImageSource, platform: Platform, store: Store, *, files: bool = True, contents: bool = False
) -> Contents:
    """An image's manifest, config and, with `files`, file system; see view_of for `contents`.

    Raises:
        NotFound: there is no image for the platform.
    """
    manifest = chosen(source, source.root(), platform)
    config = source.document(manifest.config)
    view = view_of(source, manifest, store, contents=contents) if files else None
    return Contents(manifest, config, view)
