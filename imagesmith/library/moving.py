"""Images brought from place to place: copied, pushed, pulled, saved to archives and loaded from them.

Trust: what is read is verified on the way; a policy is asked about what comes from elsewhere.
Threads: any, several at a time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from imagesmith.copying.copies import How, copy_image
from imagesmith.copying.ends import Ends, open_ends
from imagesmith.copying.many import copies
from imagesmith.copying.patterns import Tags
from imagesmith.copying.tagging import repository_of, with_tags
from imagesmith.errors import UsageError
from imagesmith.events import EventSink, nobody
from imagesmith.layer.codecs import Codec
from imagesmith.library.credentials import Insecure, Logins, access_by, registries_of
from imagesmith.library.documented import documented
from imagesmith.library.opening import admission_by, opened, platform_or_none
from imagesmith.library.several import several
from imagesmith.library.values import Image
from imagesmith.oci.names import ImageRef, Platform, host_platform
from imagesmith.options import parse_platforms
from imagesmith.settings import Access, Settings
from imagesmith.store.store import Store
from imagesmith.transports.choice import Choice
from imagesmith.transports.names import PlaceName, open_source, open_target
from imagesmith.transports.saving import load_images, save_images
from imagesmith.transports.stored import StorePlace

__all__ = ["copy", "copy_tags", "load", "pull", "push", "save"]


@documented
def copy(
    source: str,
    target: str,
    *,
    platform: str | Iterable[str] = (),
    whole: bool = False,
    referrers: bool = False,
    attestations: bool = True,
    media_types: Literal["", "oci", "docker"] = "",
    compression: Literal["", "gzip", "zstd", "estargz", "uncompressed"] = "",
    compression_level: str = "",
    exact: bool = False,
    credentials: Logins | None = None,
    source_credentials: Logins | None = None,
    target_credentials: Logins | None = None,
    insecure: Insecure = False,
    policy: str | Path = "",
    root: str | Path = "",
    events: EventSink = nobody,
) -> Image:
    """Copy an image between registries, the store, layouts and archives; what is there already is not sent.

    Args:
        source: the image: `REF`, `store:REF`, `oci:DIR[:REF]`, `oci-archive:FILE[:REF]` or
            `docker-archive:FILE[:REF]`. A reference alone is one in its registry.
        target: where to, in the same forms.
        platform: of an index, these alone; by default all that are there.
        whole: refuse an index of which something is not there.
        referrers: signatures, attestations and the like, too.
        attestations: take along what an index says of its images; without, an index of one image becomes
            that image.
        media_types: rewrite manifests to those of OCI or Docker.
        compression: compress layers so that are compressed otherwise; their digests change.
        compression_level: of that.
        exact: fail where a manifest would become another one.
        source_credentials, target_credentials: for one side, over `credentials`, which are for both.

    Returns:
        What the target has now, with its `digest`.

    Raises:
        UsageError: a place of a kind that is not known.
        NotFound: the source has no such image.
        Untrusted: the policy refuses it.
        RegistryError: a registry refused or failed; Unauthorized and Denied are such.

    Example:
        >>> imagesmith.copy("registry.example/team/app:1", "oci:layout")
        Image(oci:layout, sha256:...…)
        >>> imagesmith.copy("oci:layout", "registry.example/team/copied:1",
        ...                 target_credentials=imagesmith.Credentials("ada", "secret")).digest.algorithm
        'sha256'
    """
    from_, to = PlaceName.parse(source), PlaceName.parse(target)
    if referrers and to.kind == "docker-archive":
        raise UsageError("referrers: a docker archive holds images only")
    platforms = parse_platforms(several(platform))
    one = to.kind == "docker-archive" and not platforms and not whole  # it can hold one only
    choice = Choice(
        platforms=platforms, default=host_platform() if one else None, whole=whole, referrers=referrers,
        family=media_types, attestations=attestations, exact=exact,
    )  # fmt: skip
    codec = Codec.parse(compression, compression_level) if compression else None
    reads = access_by(insecure, _first(source_credentials, credentials), registries_of([source]))
    writes = access_by(insecure, _first(target_credentials, credentials), registries_of([target]))
    with _ends(reads, writes, policy, root, events) as ends:
        return Image(name=str(to), descriptor=copy_image(ends, from_, to, How(choice=choice, codec=codec)))


@documented
def copy_tags(
    source: str,
    target: str,
    *patterns: str,
    exclude: Iterable[str] = (),
    referrers: bool = False,
    at_once: int = 4,
    credentials: Logins | None = None,
    source_credentials: Logins | None = None,
    target_credentials: Logins | None = None,
    insecure: Insecure = False,
    policy: str | Path = "",
    root: str | Path = "",
    events: EventSink = nobody,
) -> dict[str, Image]:
    """Copy the tags of a repository that match, several at a time; one that fails does not stop the others.

    Args:
        source: a repository, `oci:DIR` or `store:NAME`.
        target: another one, where they have the same tags.
        patterns: which tags, as `1.*` or `regex:v[0-9]+`; by default all.
        exclude: but none of these.
        referrers: signatures, attestations and the like, too.
        at_once: so many at the same time.
        source_credentials, target_credentials: for one side, over `credentials`, which are for both.

    Returns:
        What the target has now, by tag.

    Raises:
        NotFound: there is no such repository, or no tag matches.
        ImagesmithError: of the first that failed, when all others were tried.

    Example:
        >>> imagesmith.copy_tags("registry.example/team/app", "registry.example/mirror/app", "1*")
        {'1': Image(registry.example/mirror/app:1, sha256:...…), '1.1': Image(...)}
    """
    reads = access_by(insecure, _first(source_credentials, credentials), registries_of([source]))
    writes = access_by(insecure, _first(target_credentials, credentials), registries_of([target]))
    with _ends(reads, writes, policy, root, events) as ends:
        chosen = Tags(patterns or ("*",), several(exclude))
        jobs = with_tags(ends, repository_of(source), repository_of(target), chosen)
        outcomes = list(copies(ends, jobs, How(choice=Choice(referrers=referrers)), at_once=at_once))
    for outcome in outcomes:
        if outcome.error is not None:
            raise outcome.error
    return {
        (one.target.image.tag or "" if one.target.image is not None else one.target.ref): Image(
            name=str(one.target), descriptor=one.descriptor
        )
        for one in outcomes
        if one.descriptor is not None
    }


@contextlib.contextmanager
def _ends(
    reads: Access, writes: Access, policy: str | Path, root: str | Path, events: EventSink
) -> Iterator[Ends]:
    """The two sides of copies, with the store between them."""
    settings = Settings.load(str(root))
    with (
        Store(settings.root) as store,
        open_ends(
            store, source=reads, target=writes, events=events, transfers=settings.transfers,
            admission=admission_by(policy, settings),
        ) as ends,
    ):  # fmt: skip
        yield ends


def _first(own: Logins | None, both: Logins | None) -> Logins | None:
    return both if own is None else own


@documented
def push(
    ref: str,
    to: str = "",
    *,
    platform: str = "",
    credentials: Logins | None = None,
    insecure: Insecure = False,
    root: str | Path = "",
    events: EventSink = nobody,
) -> Image:
    """Send an image of the store to the registry of its name, or to another name.

    Args:
        ref: its name in the store.
        to: another name, or another place as `copy` takes it.
        platform: of an index, this platform's image alone; by default all of it that is there.

    Raises:
        NotFound: the store has no image of that name.
        RegistryError: the registry refused or failed.

    Example:
        >>> imagesmith.push("other:1", "registry.example/team/other:1")
        Image(registry.example/team/other:1, sha256:...…)
    """
    source, target = PlaceName.parse(ref, "store"), PlaceName.parse(to or ref.removeprefix("store:"))
    chosen = platform_or_none(platform)
    with opened(
        str(target), insecure=insecure, credentials=credentials, root=root, events=events
    ) as (session, store):  # fmt: skip
        if source.kind == "store" and target.kind == "registry" and chosen is None:
            assert source.image is not None
            assert target.image is not None
            found = session.push(target.image, StorePlace(store, source.image).root())
        else:
            choice = Choice(platforms=() if chosen is None else (chosen,))
            with open_source(source, session, store) as a, open_target(target, session, store) as b:
                found = session.copy(a, b, choice, verb="push")
    return Image(name=str(target), descriptor=found)


@documented
def pull(
    ref: str,
    *,
    platform: str = "",
    credentials: Logins | None = None,
    insecure: Insecure = False,
    policy: str | Path = "",
    root: str | Path = "",
    events: EventSink = nobody,
) -> Image:
    """Bring an image into the store, under the same name.

    Args:
        ref: its name in a registry.
        platform: of an index, this platform's image alone; by default all platforms.

    Raises:
        NotFound: there is no such image.
        Untrusted: the policy refuses it.
        RegistryError: the registry refused or failed.

    Example:
        >>> imagesmith.pull("registry.example/team/app:1")
        Image(registry.example/team/app:1, sha256:...…)
    """
    name = ImageRef.parse(ref.removeprefix("docker://"))
    with opened(
        str(name), insecure=insecure, credentials=credentials, root=root, events=events, policy=policy
    ) as (session, store):  # fmt: skip
        found = session.pull(name, platform_or_none(platform))
        store.name(name.with_tag(name.tag) if name.tag else name, found)
    return Image(name=str(name), descriptor=found)


@documented
def save(
    *refs: str,
    output: str | Path,
    kind: Literal["docker", "oci"] = "docker",
    platform: str = "",
    credentials: Logins | None = None,
    insecure: Insecure = False,
    root: str | Path = "",
    events: EventSink = nobody,
) -> list[Image]:
    """Write images to one archive.

    Args:
        refs: names in the store, or other places as `copy` takes them.
        output: the archive's file.
        kind: `docker` for `docker load`, or `oci` for an OCI layout in a tar.
        platform: of an index; by default this machine's for docker, all that are there for oci.

    Raises:
        NotFound: there is no such image.

    Example:
        >>> imagesmith.save("other:1", output="other.tar")
        [Image(docker.io/library/other:1, sha256:...…)]
    """
    names = [PlaceName.parse(ref, "store") for ref in refs]
    platforms = _only(platform)
    with opened(
        *map(str, names), insecure=insecure, credentials=credentials, root=root, events=events
    ) as (session, store):  # fmt: skip
        saved = save_images(
            names, str(output), session, store, docker=kind == "docker", platforms=platforms
        )  # fmt: skip
        return [Image(name=str(name.image or name), descriptor=d) for name, d in saved]


@documented
def load(
    archive: str | Path,
    *,
    platform: str = "",
    policy: str | Path = "",
    root: str | Path = "",
    events: EventSink = nobody,
) -> list[Image]:
    """Bring the images of an archive, of either kind, into the store, each under its name there.

    Args:
        archive: the file.
        platform: of an index, this platform's image alone; by default all that are there.

    Raises:
        UsageError: the file cannot be read.
        InvalidDocument: it is no archive of images.
        Untrusted: the policy refuses an image.

    Example:
        >>> imagesmith.load("saved.tar")
        [Image(registry.example/team/app:1, sha256:...…)]
    """
    with opened(
        insecure=False, credentials=None, root=root, events=events, policy=policy
    ) as (session, store):  # fmt: skip
        loaded = load_images(str(archive), session, store, platform_or_none(platform))
        return [Image(name=name, descriptor=d) for name, d in loaded]


def _only(platform: str) -> tuple[Platform, ...]:
    found = platform_or_none(platform)
    return () if found is None else (found,)
