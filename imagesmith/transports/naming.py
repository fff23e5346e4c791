"""Names of images, given and taken away: in the store, in registries, in layouts.

Trust: names are the user's own; manifests are read and written as they are stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.errors import NotFound, UsageError
from imagesmith.oci.names import ImageRef
from imagesmith.transports.layout import LayoutFolder
from imagesmith.transports.names import PlaceName

if TYPE_CHECKING:
    from imagesmith.store.store import Store
    from imagesmith.transports.transfer import Session

__all__ = ["delete_at", "tag_remote", "tag_stored"]


def tag_stored(name: str, new: Sequence[str], store: Store) -> None:
    """Give an image of the store further names.

    Raises:
        NotFound: the store has no image of that name.
    """
    ref = ImageRef.parse(name.removeprefix("store:"))
    found = store.find(ref)
    if found is None:
        raise NotFound(
            f"no image named {ref.familiar} in the store",
            hint="`imagesmith images` lists them; docker://REF means one in a registry",
        )
    for text in new:
        store.name(ImageRef.parse(text), found)


def tag_remote(name: str, new: Sequence[str], session: Session) -> Iterator[ImageRef]:
    """Store a registry's manifest again under other tags, or copy it to other names; tells each.

    Raises:
        NotFound: there is no such image.
        RegistryError: the registry refused or failed.
    """
    ref = ImageRef.parse(name.removeprefix("docker://"))
    source = session.repository(ref)
    root = source.root()
    raw = source.document(root)
    for text in new:
        bare = "/" not in text and ":" not in text
        target = ref.with_tag(text) if bare else ImageRef.parse(text.removeprefix("docker://"))
        if target.name != ref.name:
            session.copy(source, session.repository(target))
        else:
            session.repository(target).finish(root, raw)
        yield target


def delete_at(text: str, session: Session, store: Store) -> PlaceName:
    """Delete a tag, or by its digest an image, from a registry, a layout or the store; returns the place.

    Raises:
        UsageError: it is in an archive, which cannot be changed.
        NotFound: it is not there.
        RegistryError: the registry refused or failed.
    """
    place = PlaceName.parse(text)
    if place.kind == "oci":
        LayoutFolder(Path(place.path), place.ref).unname()
    elif place.image is None:
        raise UsageError(f"{text}: an archive cannot be changed")
    elif place.kind == "store":
        store.unname(place.image)
    else:
        session.repository(place.image).delete()
    return place
