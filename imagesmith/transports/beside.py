"""The place of an image as a place for what belongs to it: referrers, and companions under tags.

Why: a referrer has no name of its own, and a companion another one than the image; every kind of place spells
that differently.
Threads: any.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.errors import UsageError
from imagesmith.interfaces import ImageSource, ImageTarget
from imagesmith.oci.model import Descriptor
from imagesmith.transports.layout import LayoutFolder
from imagesmith.transports.names import PlaceName
from imagesmith.transports.stored import StorePlace
from imagesmith.values import replace

if TYPE_CHECKING:
    from imagesmith.store.store import Store
    from imagesmith.transports.transfer import Session

__all__ = ["Beside"]


class Beside:
    """What is beside an image."""

    def __init__(self, place: PlaceName, session: Session, store: Store) -> None:
        """Bind the place of an image.

        Raises:
            UsageError: it is an archive, beside whose image nothing can be written.
        """
        if place.kind not in ("registry", "oci", "store"):
            raise UsageError(
                f"{place.kind}: things stand beside images of registries, layouts and the store",
                hint="`imagesmith copy` brings the image to one of these",
            )
        self._place, self._session, self._store = place, session, store

    def put(self, made: ImageSource, tag: str = "") -> Descriptor:
        """Write a referrer, or under a tag a companion; returns its descriptor.

        Raises:
            RegistryError, StoreError: it cannot be written.
        """
        return self._session.copy(made, self._target(made.root(), tag))

    def _target(self, d: Descriptor, tag: str) -> ImageTarget:
        if self._place.image is None:
            return LayoutFolder(Path(self._place.path), tag, create=True)
        name = replace(self._place.image, tag=tag or None, digest=None if tag else d.digest)
        if self._place.kind == "store":
            return StorePlace(self._store, name)
        return self._session.repository(name)
