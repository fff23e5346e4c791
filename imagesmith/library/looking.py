"""Looking at images where they are: their documents, and what has a name.

Trust: whatever is returned was written by others: names, labels, paths and contents are theirs.
Threads: any, several at a time.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.events import EventSink, nobody
from imagesmith.library.credentials import Insecure, Logins
from imagesmith.library.documented import documented
from imagesmith.library.opening import opened, platform_or_none
from imagesmith.transports import listing
from imagesmith.transports.names import image_at

if TYPE_CHECKING:
    from imagesmith.image.inspection import Inspection
    from imagesmith.oci.digest import Digest
    from imagesmith.oci.model import Descriptor

__all__ = ["catalog", "digest", "inspect", "referrers", "tags"]


@documented
def inspect(
    ref: str,
    *,
    platform: str = "",
    credentials: Logins | None = None,
    insecure: Insecure = False,
    root: str | Path = "",
    events: EventSink = nobody,
) -> Inspection:
    """What an image is: its digest, config, manifest, platforms; no layer is read.

    Args:
        ref: a name in the store, or else in its registry; or another place as `copy` takes it.

    Returns:
        With `digest`, `platforms`, `labels`, `env`, `layers`, `size`, `config` (a dict), `manifest`, `index`
        and `report()`, the document that `imagesmith inspect` prints.

    Raises:
        NotFound: there is no such image, or none for the platform.
        RegistryError: the registry refused or failed.

    Example:
        >>> found = imagesmith.inspect("registry.example/team/app:1")
        >>> found
        Inspection(registry.example/team/app:1, sha256:...…, linux/amd64)
        >>> found.labels["version"], len(found.layers), found.config["architecture"]
        ('1', 1, 'amd64')
    """
    from imagesmith.image.inspection import inspect_image

    with (
        opened(
            ref, insecure=insecure, credentials=credentials, root=root, events=events, spare=True
        ) as (session, store),
        image_at(ref, session, store) as source,
    ):  # fmt: skip
        return inspect_image(source, ref, platform_or_none(platform))


@documented
def digest(
    ref: str,
    *,
    platform: str = "",
    credentials: Logins | None = None,
    insecure: Insecure = False,
    root: str | Path = "",
    events: EventSink = nobody,
) -> Digest:
    """The digest that a name stands for, by one request and without reading its manifest.

    Args:
        ref: an image in its registry, or another place as `copy` takes it.
        platform: the manifest for this platform, within an index; by default the index.

    Raises:
        NotFound: there is no such image.

    Example:
        >>> str(imagesmith.digest("registry.example/team/app:1"))
        'sha256:...'
    """
    with opened(
        ref, insecure=insecure, credentials=credentials, root=root, events=events, spare=True
    ) as (session, store):  # fmt: skip
        return listing.digest_at(ref, session, store, platform_or_none(platform)).digest


@documented
def tags(
    repository: str,
    *,
    credentials: Logins | None = None,
    insecure: Insecure = False,
    root: str | Path = "",
    events: EventSink = nobody,
) -> list[str]:
    """The tags of a repository, or the names in a layout.

    Args:
        repository: as `registry.example/team/app`, or `oci:DIR`.

    Raises:
        NotFound: there is no such repository.
        RegistryError: the registry refused or failed.

    Example:
        >>> imagesmith.tags("registry.example/team/app")
        ['1', '1.1', 'old']
    """
    with opened(
        repository, insecure=insecure, credentials=credentials, root=root, events=events, spare=True
    ) as (session, _):  # fmt: skip
        return listing.tags_at(repository, session)[1]


@documented
def catalog(
    registry: str,
    *,
    credentials: Logins | None = None,
    insecure: Insecure = False,
    root: str | Path = "",
    events: EventSink = nobody,
) -> list[str]:
    """The repositories of a registry, as far as it lists them.

    Args:
        registry: its host, perhaps with a port.

    Raises:
        RegistryError: the registry refused or failed, or has no list.

    Example:
        >>> imagesmith.catalog("registry.example")
        ['team/app', 'team/base']
    """
    host = listing.host_of(registry)
    with opened(
        f"{host}/a", insecure=insecure, credentials=credentials, root=root, events=events, spare=True
    ) as (session, _):  # fmt: skip
        return listing.catalog_at(host, session)


@documented
def referrers(
    ref: str,
    *,
    artifact_type: str = "",
    platform: str = "",
    credentials: Logins | None = None,
    insecure: Insecure = False,
    root: str | Path = "",
    events: EventSink = nobody,
) -> list[Descriptor]:
    """What is attached to an image: by the referrers API or its tag, and by cosign's tags.

    Args:
        ref: an image, in any place that `inspect` takes.
        artifact_type: of this type alone.
        platform: of this platform's manifest; by default of the index.

    Returns:
        Descriptors, with `digest`, `artifact_type` and `annotations`.

    Raises:
        NotFound: there is no such image.
        RegistryError: the registry refused or failed.

    Example:
        >>> [d.artifact_type for d in imagesmith.referrers("registry.example/team/app:1")]
        ['text/x-notes']
    """
    from imagesmith.transports.attached import attached_things

    with (
        opened(ref, insecure=insecure, credentials=credentials, root=root, events=events) as (session, store),
        image_at(ref, session, store) as source,
    ):
        subject = listing.descriptor_of(source, platform_or_none(platform))
        return attached_things(source, subject, artifact_type)
