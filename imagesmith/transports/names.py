"""What users write for a place: `REF`, `docker://REF`, `store:REF`, `oci:DIR[:REF]`, and of archives.

Why: every verb takes every place, so the spelling is read once, here. skopeo's forms are kept.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.errors import UsageError
from imagesmith.interfaces import ImageSource, ImageTarget
from imagesmith.oci.identity import Identity
from imagesmith.oci.names import ImageRef
from imagesmith.values import frozen

if TYPE_CHECKING:
    from imagesmith.store.store import Store
    from imagesmith.transports.transfer import Session

__all__ = ["PlaceName", "image_at", "open_source", "open_target", "place_at"]

_KINDS = ("oci", "oci-archive", "docker-archive")
_FOREIGN = ("containers-storage:", "dir:", "docker-daemon:", "ostree:", "sif:", "tarball:")


@frozen(kw_only=True)
class PlaceName:
    """A place's name: `kind` is registry, store, oci, oci-archive or docker-archive.

    path and ref are for the last three; image for the first two.
    """

    kind: str
    image: ImageRef | None = None
    path: str = ""
    ref: str = ""

    @classmethod
    def parse(cls, text: str, default: str = "registry") -> PlaceName:
        """Read a name; a bare reference is of the `default` kind.

        Raises:
            InvalidReference: it is none.
            UsageError: it is of a kind that we do not have.
        """
        kind, colon, rest = text.partition(":")
        if colon and kind in _KINDS:
            path, _, ref = rest.partition(":")
            if "@sha256" in path:  # oci:DIR@sha256:HEX
                path, _, algorithm = path.partition("@")
                ref = f"@{algorithm}:{ref}"
            if not path:
                raise UsageError(f"{text!r} names no path")
            return cls(kind=kind, path=path, ref=ref)
        if text.startswith(_FOREIGN):
            raise UsageError(
                f"places of the kind {kind} are not known",
                hint="docker://REF, store:REF, oci:DIR, oci-archive:FILE, docker-archive:FILE",
            )
        if kind == "store" and colon:
            return cls(kind="store", image=ImageRef.parse(rest))
        if text.startswith("docker://"):
            return cls(kind="registry", image=ImageRef.parse(text.removeprefix("docker://")))
        return cls(kind=default, image=ImageRef.parse(text))

    def __str__(self) -> str:
        if self.image is not None:
            return f"store:{self.image}" if self.kind == "store" else str(self.image)
        return f"{self.kind}:{self.path}" + (f":{self.ref}" if self.ref else "")


@contextlib.contextmanager
def open_source(place: PlaceName, session: Session, store: Store) -> Iterator[ImageSource]:
    """An image to read.

    Raises:
        UsageError: there is no such file.
        NotFound: the folder is no layout; a missing image shows when it is read.
    """
    if place.kind == "registry":
        assert place.image is not None
        yield session.repository(place.image)
        return
    from imagesmith.transports.layout import LayoutFolder, LayoutSource, is_layout
    from imagesmith.transports.stored import StorePlace

    if place.kind == "store":
        yield StorePlace(store, place.image)
    elif place.kind == "oci":
        yield LayoutFolder(Path(place.path), place.ref)
    else:
        from imagesmith.transports.dockerarchive import docker_image
        from imagesmith.transports.files import TarFiles

        with contextlib.closing(TarFiles(place.path, store.blobs.ingest)) as files:
            identity = Identity(transport=place.kind, path=files.path)
            if is_layout(files):
                yield LayoutSource(files, place.ref, identity)
            else:
                yield StorePlace(store, root=docker_image(files, place.ref, store), identity=identity)


def place_at(text: str, store: Store) -> PlaceName:
    """The place that a word names; a bare reference is the store's if the store has it, else a registry's."""
    name = PlaceName.parse(text)
    if name.kind == "registry" and not text.startswith("docker://"):
        assert name.image is not None
        if store.find(name.image) is not None:
            return PlaceName(kind="store", image=name.image)
    return name


@contextlib.contextmanager
def image_at(text: str, session: Session, store: Store) -> Iterator[ImageSource]:
    """The image that a word names; see place_at and open_source."""
    with open_source(place_at(text, store), session, store) as source:
        yield source


@contextlib.contextmanager
def open_target(place: PlaceName, session: Session, store: Store) -> Iterator[ImageTarget]:
    """A place to write an image to; complete when the `with` ends."""
    if place.kind == "registry":
        assert place.image is not None
        yield session.repository(place.image)
    elif place.kind == "store":
        from imagesmith.transports.stored import StorePlace

        yield StorePlace(store, place.image)
    elif place.kind == "oci":
        from imagesmith.transports.layout import LayoutFolder

        yield LayoutFolder(Path(place.path), place.ref, create=True)
    else:
        from imagesmith.transports.archive import archive_target

        with archive_target(place.path, docker=place.kind == "docker-archive") as target:
            target.labels = (place.ref,) if place.ref else ()
            yield target
