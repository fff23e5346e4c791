"""Files and folders in registries: artifacts that are no images, as oras keeps them.

Trust: an artifact's files are others'; none is written outside the folder that is named.
Threads: any, several at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from imagesmith.errors import UsageError
from imagesmith.events import EventSink, nobody
from imagesmith.library.credentials import Insecure, Logins
from imagesmith.library.documented import documented
from imagesmith.library.opening import opened, platform_or_host
from imagesmith.library.values import Image
from imagesmith.transports.names import PlaceName, image_at, open_target

__all__ = ["pull_files", "push_files"]


@documented
def push_files(
    ref: str,
    *files: str | Path,
    artifact_type: str = "",
    media_type: str = "",
    annotations: Mapping[str, str] | None = None,
    credentials: Logins | None = None,
    insecure: Insecure = False,
    root: str | Path = "",
    events: EventSink = nobody,
) -> Image:
    """Push files and folders as an artifact, as `imagesmith artifact push` does.

    Args:
        ref: where to: a registry, `oci:DIR[:NAME]` or `store:REF`.
        files: files, and folders, which whoever pulls has again as folders.
        artifact_type: what it is, a media type.
        media_type: of each file; by default bytes of any kind.
        annotations: of the manifest.

    Returns:
        The artifact, with its `name` and `digest`.

    Raises:
        UsageError: a file cannot be read, or nothing is pushed.
        RegistryError: the registry refused or failed.

    Example:
        >>> imagesmith.push_files("registry.example/team/notes:1", "notes.txt")
        Image(registry.example/team/notes:1, sha256:...…)
    """
    from imagesmith.copying.packing import Parts, pack

    place = PlaceName.parse(ref)
    if place.kind not in ("registry", "oci", "store"):
        raise UsageError(f"{place.kind}: artifacts go to registries, layouts and the store")
    if not files and not artifact_type:
        raise UsageError("nothing is pushed: name files, or what it is by artifact_type")
    parts = Parts(
        files=tuple((str(file), media_type) for file in files),
        artifact_type=artifact_type,
        annotations=dict(annotations or {}),
    )
    with opened(ref, insecure=insecure, credentials=credentials, root=root, events=events) as (
        session,
        store,
    ):
        made = pack(parts, store)
        with open_target(place, session, store) as target:
            found = session.copy(made, target)
    return Image(name=str(place), descriptor=found)


@documented
def pull_files(
    ref: str,
    output: str | Path = ".",
    *,
    keep: bool = False,
    platform: str = "",
    credentials: Logins | None = None,
    insecure: Insecure = False,
    policy: str | Path = "",
    root: str | Path = "",
    events: EventSink = nobody,
) -> list[str]:
    """Write the files of an artifact below a folder.

    Args:
        ref: the artifact, in any place that `inspect` takes.
        output: the folder, which is made; by default the working folder.
        keep: refuse to replace a file that is there.

    Returns:
        The paths below the folder.

    Raises:
        NotFound: there is no such artifact.
        NotAnImage: it has no files, as images have none.
        UnsafeArchive: a name or a link in it leads elsewhere.

    Example:
        >>> made = imagesmith.push_files("registry.example/team/notes:1", "notes.txt")
        >>> imagesmith.pull_files(made.name, "pulled")
        ['notes.txt']
    """
    from imagesmith.copying.unpacking import unpack
    from imagesmith.transports.copier import chosen

    with (
        opened(
            ref, insecure=insecure, credentials=credentials, root=root, events=events, policy=policy
        ) as (session, store),
        image_at(ref, session, store) as source,
    ):  # fmt: skip
        manifest = chosen(source, source.root(), platform_or_host(platform))
        if session.admission is not None:
            session.admission.admit(source, manifest.descriptor())
        return [file.path for file in unpack(source, manifest, Path(output), store, keep=keep)]
