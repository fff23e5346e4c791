"""Images written to an archive, and the images of an archive brought into the store.

Why: an archive may hold many images; each goes by its own name, and what belongs to an image comes with it.
Spec: Docker's image archive format; OCI image-spec 1.1, image-layout.md.
Trust: archives are others': names that cannot stand in the store are none, and documents and layers come
through the strict doors of layout.py and dockerarchive.py.
Threads: one for each archive.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from imagesmith.errors import InvalidReference
from imagesmith.oci.identity import Identity
from imagesmith.oci.names import ImageRef, Platform, host_platform
from imagesmith.transports.archive import archive_target
from imagesmith.transports.choice import Choice
from imagesmith.transports.dockerarchive import docker_image, docker_names
from imagesmith.transports.files import TarFiles
from imagesmith.transports.layout import NAME, REF, LayoutSource, is_companion, is_layout
from imagesmith.transports.names import PlaceName, open_source
from imagesmith.transports.stored import StorePlace

if TYPE_CHECKING:
    from imagesmith.oci.model import Descriptor
    from imagesmith.store.store import Store
    from imagesmith.transports.transfer import Session

__all__ = ["load_images", "save_images"]


def save_images(
    names: Iterable[PlaceName],
    output: str,
    session: Session,
    store: Store,
    *,
    docker: bool = True,
    platforms: tuple[Platform, ...] = (),
    attestations: bool = True,
) -> Iterator[tuple[PlaceName, Descriptor]]:
    """Write images to one archive, which is complete when this ends; tells each as it is written.

    Args:
        names: the images.
        output: the file, or `-` for standard output.
        session, store: where they are.
        docker: for `docker load`, which takes one platform: by default this machine's.
        platforms: of indexes; by default all that are there.
        attestations: take along what an index says of its images.
    """
    default = host_platform() if docker and not platforms else None
    choice = Choice(platforms=platforms, default=default, attestations=attestations)
    with archive_target(output, docker=docker) as target:
        for name in names:
            label = str(name.image) if name.image is not None else name.ref
            target.labels = (label,) if label else ()
            with open_source(name, session, store) as source:
                found = session.copy(source, target, choice)
            yield name, found


def load_images(
    file: str, session: Session, store: Store, platform: Platform | None = None
) -> Iterator[tuple[str, Descriptor]]:
    """Bring the images of an archive of either kind into the store; tells each, with its name if it has one.

    Args:
        file: the archive, or `-` for standard input.
        session: that is told, and whose policy is asked.
        store: where they go.
        platform: of an index, this platform's image alone; by default all that are there.

    Raises:
        UsageError: the file cannot be read.
        InvalidDocument: it is no archive of images.
        Untrusted: the policy refuses an image.
    """
    with contextlib.closing(TarFiles(file, store.blobs.ingest)) as files:
        load = _load_layout if is_layout(files) else _load_docker
        yield from load(files, session, store, platform)


def _load_layout(
    files: TarFiles, session: Session, store: Store, platform: Platform | None
) -> Iterator[tuple[str, Descriptor]]:
    """Load a layout's images; an index stays as it is, also where some of its platforms are not there."""
    source = LayoutSource(files)
    beside = any(map(is_companion, source.entries()))
    choice = Choice(platforms=(platform,) if platform else (), sparse=platform is not None, referrers=beside)
    for entry in source.entries():
        if is_companion(entry):
            continue  # comes with what it belongs to
        label = entry.annotations.get(NAME) or entry.annotations.get(REF, "")
        ref = _reference(label)
        yield (
            (ref.familiar if ref else ""),
            session.copy(source, StorePlace(store, ref), choice, root=entry, verb="load"),
        )


def _load_docker(
    files: TarFiles, session: Session, store: Store, platform: Platform | None
) -> Iterator[tuple[str, Descriptor]]:
    for n, names in enumerate(docker_names(files)):
        d = docker_image(files, f"@{n}", store, platform)
        if session.admission is not None:
            identity = Identity(transport="docker-archive", path=files.path)
            session.admission.admit(StorePlace(store, root=d, identity=identity), d)
        for text in names or ("",):
            ref = _reference(text)
            if ref is not None:
                store.name(ref, d)
            yield (ref.familiar if ref else ""), d


def _reference(label: str) -> ImageRef | None:
    """The name of an image of an archive; None where it has none that can stand in the store."""
    try:
        return ImageRef.parse(label) if label else None
    except InvalidReference:
        return None
