"""What a place says of itself: its tags, its repositories, what a name stands for there.

Trust: names and digests are a registry's word; lists are read page by page under limits (registry/paging.py).
Threads: any.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.oci.names import ImageRef
from imagesmith.registry.client import catalog
from imagesmith.registry.repository import Repository
from imagesmith.transports.copier import choose
from imagesmith.transports.layout import LayoutFolder
from imagesmith.transports.names import PlaceName, open_source

if TYPE_CHECKING:
    from imagesmith.interfaces import ImageSource
    from imagesmith.oci.model import Descriptor
    from imagesmith.oci.names import Platform
    from imagesmith.store.store import Store
    from imagesmith.transports.transfer import Session

__all__ = ["catalog_at", "descriptor_of", "digest_at", "host_of", "tags_at"]


def tags_at(text: str, session: Session) -> tuple[str, list[str]]:
    """The full name of a repository, or of a layout `oci:DIR`, and the tags there.

    Raises:
        InvalidReference: it is no repository's name.
        RegistryError: the registry refused or failed.
    """
    if text.startswith("oci:"):
        return text, LayoutFolder(Path(text.removeprefix("oci:"))).names()
    ref = ImageRef.parse(text.removeprefix("docker://"))
    return ref.name, session.repository(ref).tags()


def host_of(text: str) -> str:
    """The registry that a word names, perhaps as a URL.

    Raises:
        InvalidReference: it is no host.
    """
    host = text.removeprefix("https://").removeprefix("http://").rstrip("/")
    ImageRef.parse(f"{host}/a")  # a name that is no host is refused here
    return host


def catalog_at(host: str, session: Session) -> list[str]:
    """The repositories of a registry.

    Raises:
        RegistryError: the registry refused or failed, or does not list them.
    """
    return catalog(session.transport(host))


def digest_at(text: str, session: Session, store: Store, platform: Platform | None) -> Descriptor:
    """What a name of any place stands for; without a platform a registry is asked by one HEAD.

    Raises:
        NotFound: it stands for nothing there.
    """
    with open_source(PlaceName.parse(text), session, store) as source:
        if isinstance(source, Repository) and platform is None:
            return source.digest()  # one request, and no manifest is read
        return descriptor_of(source, platform)


def descriptor_of(source: ImageSource, platform: Platform | None) -> Descriptor:
    """The manifest for a platform, or without one what the source's name stands for."""
    root = source.root()
    return root if platform is None else choose(source, root, platform)[0]
