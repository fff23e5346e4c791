"""Images as bytes: manifests and blobs as they are stored, and whether all of an image is as it should be.

Trust: bytes are a registry's; they are held against their digests before they are returned.
Threads: any, several at a time.
"""

from __future__ import annotations

from pathlib import Path

from imagesmith.errors import LimitExceeded, NotFound
from imagesmith.events import EventSink, nobody
from imagesmith.library.credentials import Insecure, Logins
from imagesmith.library.documented import documented
from imagesmith.library.opening import opened, platform_or_none
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor
from imagesmith.oci.names import ImageRef
from imagesmith.transports.listing import descriptor_of
from imagesmith.transports.names import image_at

__all__ = ["read_blob", "read_manifest", "validate"]


@documented
def read_manifest(
    ref: str,
    *,
    platform: str = "",
    credentials: Logins | None = None,
    insecure: Insecure = False,
    root: str | Path = "",
    events: EventSink = nobody,
) -> bytes:
    """A manifest or index as it is stored.

    Args:
        ref: an image, in any place that `inspect` takes.
        platform: the manifest for this platform, within an index; by default the index.

    Raises:
        NotFound: there is no such image.

    Example:
        >>> imagesmith.read_manifest("registry.example/team/app:1").startswith(b'{')
        True
    """
    with (
        opened(
            ref, insecure=insecure, credentials=credentials, root=root, events=events, spare=True
        ) as (session, store),
        image_at(ref, session, store) as source,
    ):  # fmt: skip
        return source.document(descriptor_of(source, platform_or_none(platform)))


@documented
def read_blob(
    repository: str,
    digest: str | Digest,
    *,
    most_bytes: int = 1 << 30,
    credentials: Logins | None = None,
    insecure: Insecure = False,
    root: str | Path = "",
    events: EventSink = nobody,
) -> bytes:
    """A blob of a repository: a config, or a layer as it is stored.

    Args:
        repository: as `registry.example/team/app`.
        digest: of the blob.
        most_bytes: refuse a larger one.

    Raises:
        NotFound: there is no such blob.
        LimitExceeded: it is larger than `most_bytes`.

    Example:
        >>> config = imagesmith.inspect("registry.example/team/app:1").image_id
        >>> imagesmith.read_blob("registry.example/team/app", config).startswith(b'{')
        True
    """
    ref, wanted = ImageRef.parse(repository.removeprefix("docker://")), Digest.parse(str(digest))
    with opened(
        repository, insecure=insecure, credentials=credentials, root=root, events=events, spare=True
    ) as (session, _):  # fmt: skip
        place = session.repository(ref.with_tag(None))
        size = place.writer.head_blob(wanted)
        if size is None:
            raise NotFound(f"{ref.name}: no blob {wanted}")
        if size > most_bytes:
            raise LimitExceeded(f"{wanted} has {size} bytes, more than {most_bytes}")
        return b"".join(place.pieces(Descriptor(media_type="", digest=wanted, size=size)))


@documented
def validate(
    ref: str,
    *,
    fast: bool = False,
    credentials: Logins | None = None,
    insecure: Insecure = False,
    root: str | Path = "",
    events: EventSink = nobody,
) -> str:
    """Check an image to its last byte.

    Args:
        ref: an image, in any place that `inspect` takes.
        fast: documents only; layers are not read.

    Returns:
        What was looked at, in words.

    Raises:
        IntegrityError: something is not what it should be.
        NotFound: something is missing.

    Example:
        >>> imagesmith.validate("registry.example/team/app:1")
        '1 manifests, 1 blobs, ... bytes'
    """
    from imagesmith.transports.stored import StorePlace
    from imagesmith.transports.validate import validate as checked

    with (
        opened(
            ref, insecure=insecure, credentials=credentials, root=root, events=events, spare=True
        ) as (session, store),
        image_at(ref, session, store) as source,
    ):  # fmt: skip
        return checked(source, layers=not fast, sparse=isinstance(source, StorePlace))
