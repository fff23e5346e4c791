"""Images made of others without a build: edits of configs and layers, indexes, and what is attached.

Trust: the images are others'; documents and layers come through the strict doors of image/.
Threads: any, several at a time.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagesmith.events import EventSink, Warned, nobody
from imagesmith.library.credentials import Insecure, Logins
from imagesmith.library.documented import documented
from imagesmith.library.opening import opened, platform_or_host, platform_or_none
from imagesmith.library.several import several, words_of
from imagesmith.library.values import Image
from imagesmith.oci.digest import Digest
from imagesmith.oci.names import Platform
from imagesmith.oci.times import format_ns
from imagesmith.transports.names import PlaceName, image_at, open_source, open_target

if TYPE_CHECKING:
    from imagesmith.image.edited import Edited
    from imagesmith.interfaces import ImageSource
    from imagesmith.store.store import Store
    from imagesmith.transports.transfer import Session

__all__ = ["append", "attach", "flatten", "index", "mutate", "rebase"]


@documented
def mutate(
    ref: str,
    *,
    labels: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    entrypoint: Iterable[str] | None = None,
    cmd: Iterable[str] | None = None,
    user: str | None = None,
    workdir: str | None = None,
    stop_signal: str | None = None,
    author: str | None = None,
    time_created: str | None = None,
    set_platform: str = "",
    ports: Iterable[str] | None = None,
    volumes: Iterable[str] | None = None,
    tag: str = "",
    push: bool = False,
    credentials: Logins | None = None,
    insecure: Insecure = False,
    root: str | Path = "",
    events: EventSink = nobody,
) -> Image:
    """Change an image's config, labels or annotations; layers stay as they are. Of an index, every image.

    Args:
        ref: an image, in any place that `inspect` takes.
        labels, env, annotations: what is set; an empty value removes one.
        entrypoint, cmd: words of a command; none of them removes it.
        user, workdir, stop_signal, author: instead of the image's; empty removes it.
        time_created: when it was made, RFC 3339.
        set_platform: the platform that the config names.
        ports: as `8080` or `53/udp`, instead of the image's.
        volumes: paths, instead of the image's.

    Returns:
        The new image, with its `name` and `digest`.

    Raises:
        NotFound: there is no such image.
        UsageError: nothing says where the result goes, or a value cannot be.

    Example:
        >>> made = imagesmith.mutate("registry.example/team/app:1", labels={"team": "b", "version": ""},
        ...                          tag="registry.example/team/app:labelled")
        >>> imagesmith.inspect(made.name).labels
        {'team': 'b'}
    """
    from imagesmith.image.edits import mutate_image
    from imagesmith.image.mutate import Changes

    changes = Changes(
        entrypoint=None if entrypoint is None else words_of("entrypoint", entrypoint),
        cmd=None if cmd is None else words_of("cmd", cmd),
        user=user,
        workdir=workdir,
        stop_signal=stop_signal,
        created=time_created,
        author=author,
        platform=platform_or_none(set_platform),
        env=dict(env or {}),
        labels=dict(labels or {}),
        annotations=dict(annotations or {}),
        ports=None if ports is None else several(ports),
        volumes=None if volumes is None else several(volumes),
    )
    desk = opened(ref, tag, insecure=insecure, credentials=credentials, root=root, events=events)
    return _edited(desk, ref, lambda s, store: mutate_image(s, store, changes), tag, push, events)


@documented
def flatten(
    ref: str,
    *,
    tag: str = "",
    push: bool = False,
    created: str = "",
    credentials: Logins | None = None,
    insecure: Insecure = False,
    root: str | Path = "",
    events: EventSink = nobody,
) -> Image:
    """Make an image with one layer in the place of its own. Of an index, every image.

    Args:
        ref: an image, in any place that `inspect` takes.

    Returns:
        The new image, with its `name` and `digest`.

    Raises:
        NotFound: there is no such image.
        UsageError: nothing says where the result goes.

    Example:
        >>> imagesmith.flatten("registry.example/team/app:1.1", tag="registry.example/team/app:flat")
        Image(registry.example/team/app:flat, sha256:...…)
    """
    from imagesmith.image.edits import flatten_image

    when = created or _now()
    desk = opened(ref, tag, insecure=insecure, credentials=credentials, root=root, events=events)
    return _edited(desk, ref, lambda s, store: flatten_image(s, store, when), tag, push, events)


@documented
def append(
    *layers: str | Path,
    base: str = "",
    tag: str = "",
    platform: str = "",
    push: bool = False,
    created: str = "",
    credentials: Logins | None = None,
    insecure: Insecure = False,
    root: str | Path = "",
    events: EventSink = nobody,
) -> Image:
    r"""Put tar files as layers on top of an image, or of nothing.

    Args:
        layers: tar files, plain or compressed, bottom first.
        base: what they are put on, in any place that `inspect` takes; by default nothing.
        platform: of an image without a base.

    Returns:
        The new image, with its `name` and `digest`.

    Raises:
        UsageError: a file cannot be read, or nothing says where the result goes.
        InvalidDocument: it is no tar.

    Example:
        >>> imagesmith.append("more.tar", base="registry.example/team/app:1",
        ...                   tag="registry.example/team/app:more")
        Image(registry.example/team/app:more, sha256:...…)
        >>> imagesmith.read("registry.example/team/app:more", "/more")
        b'more\n'
    """
    from imagesmith.image.edits import append_layers

    when, is_for, files = created or _now(), platform_or_host(platform), [str(layer) for layer in layers]
    desk = opened(base, tag, insecure=insecure, credentials=credentials, root=root, events=events)
    return _edited(
        desk, base, lambda s, store: append_layers(s, files, store, platform=is_for, created=when), tag, push,
        events,
    )  # fmt: skip


@documented
def rebase(
    ref: str,
    *,
    old_base: str = "",
    new_base: str = "",
    platform: str = "",
    tag: str = "",
    push: bool = False,
    credentials: Logins | None = None,
    insecure: Insecure = False,
    root: str | Path = "",
    events: EventSink = nobody,
) -> Image:
    """Put an image's own layers onto another base.

    Args:
        ref: an image, in any place that `inspect` takes.
        old_base: what it was made on; by default what its annotations say.
        new_base: what it is to be on; by default what the name of the old one stands for now.

    Returns:
        The new image, with its `name` and `digest`.

    Raises:
        NotFound: it does not say what it was made on, or was not made on that.
        UsageError: nothing says where the result goes.

    Example:
        >>> imagesmith.append("more.tar", base="registry.example/team/app:1",
        ...                   tag="registry.example/team/app:more")
        Image(registry.example/team/app:more, sha256:...…)
        >>> imagesmith.rebase("registry.example/team/app:more", old_base="registry.example/team/app:1",
        ...                   new_base="registry.example/team/app:1.1", tag="registry.example/team/app:moved")
        Image(registry.example/team/app:moved, sha256:...…)
    """
    from imagesmith.image.edits import rebase_image

    names = (ref, tag, old_base, new_base)
    with contextlib.ExitStack() as stack:
        session, store = stack.enter_context(
            opened(*names, insecure=insecure, credentials=credentials, root=root, events=events)
        )
        edited = rebase_image(
            ref, lambda text: image_at(text, session, store), stack, store,
            platform=platform_or_host(platform), old=old_base, new=new_base,
        )  # fmt: skip
        return _placed(edited, ref, tag, push, session, store, events)


@documented
def index(
    ref: str,
    *images: str,
    change: bool = False,
    remove: Iterable[str] = (),
    platform: str = "",
    annotations: Mapping[str, str] | None = None,
    docker: bool = False,
    credentials: Logins | None = None,
    insecure: Insecure = False,
    root: str | Path = "",
    events: EventSink = nobody,
) -> Image:
    """Make an index of images for several platforms, or change one; images are copied beside it.

    Args:
        ref: the index, in any place but archives.
        images: what is put into it, in any place that `inspect` takes.
        change: put them into the index that is there; by default it is made anew.
        remove: digests or platforms to take out of the index that is there.
        platform: list a single image under this one; by default what its config says.
        annotations: of the index; an empty value removes one.
        docker: make a manifest list of Docker's type.

    Returns:
        The index, with its `name` and `digest`.

    Raises:
        NotFound: an image is not there, or what is to be taken out is not.
        UsageError: what is to be changed is a single image.

    Example:
        >>> made = imagesmith.index("registry.example/team/app:all", "registry.example/team/app:1")
        >>> [str(platform) for platform in imagesmith.inspect(made.name).platforms]
        ['linux/amd64']
    """
    from imagesmith.image.edits import edit_index

    gone, names = list(several(remove)), (ref, *images)
    target = PlaceName.parse(ref)
    with contextlib.ExitStack() as stack:
        session, store = stack.enter_context(
            opened(*names, insecure=insecure, credentials=credentials, root=root, events=events)
        )
        there = stack.enter_context(open_source(target, session, store)) if change or gone else None
        parts = [stack.enter_context(image_at(text, session, store)) for text in images]
        edited = edit_index(
            ref, there, parts, store,
            platform=platform_or_none(platform),
            annotations=annotations,
            digests=[Digest.parse(text) for text in gone if ":" in text],
            platforms=[Platform.parse(text) for text in gone if ":" not in text],
            docker=docker,
        )  # fmt: skip
        with open_target(target, session, store) as place:
            found = session.copy(edited, place)
    return Image(name=str(target), descriptor=found)


@documented
def attach(
    ref: str,
    *files: str | Path,
    artifact_type: str,
    media_type: str = "",
    annotations: Mapping[str, str] | None = None,
    platform: str = "",
    credentials: Logins | None = None,
    insecure: Insecure = False,
    root: str | Path = "",
    events: EventSink = nobody,
) -> Image:
    """Attach files to an image, as an artifact that refers to it; see `referrers`.

    Args:
        ref: the image, in a registry or a layout.
        files: what is attached.
        artifact_type: what it is, a media type.
        media_type: of the files; by default bytes of any kind.
        annotations: of the artifact's manifest.
        platform: attach to this platform's manifest; by default to the index.

    Returns:
        The artifact.

    Raises:
        UsageError: a file cannot be read, or nothing can be attached there.
        NotFound: there is no such image.

    Example:
        >>> made = imagesmith.attach("registry.example/team/base:1", "notes.txt",
        ...                          artifact_type="text/x-notes")
        >>> made.digest in [d.digest for d in imagesmith.referrers("registry.example/team/base:1")]
        True
    """
    from imagesmith.image.artifact import attach_files

    place = PlaceName.parse(ref)
    with opened(ref, insecure=insecure, credentials=credentials, root=root, events=events) as (
        session,
        store,
    ):
        found = attach_files(
            place, [(str(file), media_type) for file in files], session, store,
            artifact_type=artifact_type, annotations=dict(annotations or {}),
            platform=platform_or_none(platform),
        )  # fmt: skip
    name = f"{place.image.name}@{found.digest}" if place.image is not None else str(place)
    return Image(name=name, descriptor=found)


def _edited(
    desk: contextlib.AbstractContextManager[tuple[Session, Store]],
    ref: str,
    edit: Callable[[Any, Store], Edited],
    tag: str,
    push: bool,
    events: EventSink,
) -> Image:
    """Edit an image, and bring the new one to where it goes."""
    with desk as (session, store), _image_or_none(ref, session, store) as source:
        return _placed(edit(source, store), ref, tag, push, session, store, events)


@contextlib.contextmanager
def _image_or_none(ref: str, session: Session, store: Store) -> Iterator[ImageSource | None]:
    if not ref:
        yield None
        return
    with image_at(ref, session, store) as source:
        yield source


def _placed(
    edited: Edited, ref: str, tag: str, push: bool, session: Session, store: Store, events: EventSink
) -> Image:
    """Bring a new image to where it goes; what is left behind is told."""
    from imagesmith.image.edits import target_of
    from imagesmith.transports.lacking import left_behind

    target = target_of(ref, tag, edited.root().digest, store, push=push)
    for line in left_behind(edited.name, absent=edited.absent, outdated=edited.outdated):
        events(Warned(rule="", text=line))
    with open_target(target, session, store) as place:
        found = session.copy(edited, place)
    return Image(name=str(target), descriptor=found)


def _now() -> str:
    return format_ns(int(time.time()) * 1_000_000_000)
