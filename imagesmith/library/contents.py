"""Looking into images where they are: files, packages, what differs between two.

Trust: whatever is returned was written by others: paths, contents and links are theirs.
Threads: any, several at a time.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from imagesmith.events import EventSink, Warned, nobody
from imagesmith.library.credentials import Insecure, Logins
from imagesmith.library.documented import documented
from imagesmith.library.opening import opened, platform_or_host
from imagesmith.transports.names import image_at, place_at

if TYPE_CHECKING:
    from imagesmith.explore.files import ImageFile
    from imagesmith.image.compare import Comparison

__all__ = ["diff", "export", "ls", "read", "sbom"]


@documented
def ls(
    ref: str,
    path: str = "/",
    *,
    recursive: bool = False,
    platform: str = "",
    credentials: Logins | None = None,
    insecure: Insecure = False,
    root: str | Path = "",
    events: EventSink = nobody,
) -> list[ImageFile]:
    """What is in a folder of an image; layers are read from the top down, as far as is needed.

    Args:
        ref: an image, in any place that `inspect` takes.
        path: the folder; of anything else itself is told. Links are followed within the image.
        recursive: with all that is below.

    Returns:
        Entries with `path`, `kind`, `mode`, `uid`, `gid`, `size`, `mtime_ns`, `target`, `layer`.

    Raises:
        NotFound: there is no such image, or nothing at the path.

    Example:
        >>> [(f.path, f.kind, f.size) for f in imagesmith.ls("registry.example/team/app:1", "/etc")]
        [('/etc/greeting', 'file', 6)]
    """
    from imagesmith.explore.files import list_files, open_files

    with (
        opened(ref, insecure=insecure, credentials=credentials, root=root, events=events) as (session, store),
        image_at(ref, session, store) as source,
    ):
        files = open_files(source, store, platform_or_host(platform))
        return list(list_files(files, path, recursive=recursive))


@documented
def read(
    ref: str,
    path: str,
    *,
    most_bytes: int = 1 << 30,
    platform: str = "",
    credentials: Logins | None = None,
    insecure: Insecure = False,
    root: str | Path = "",
    events: EventSink = nobody,
) -> bytes:
    r"""The bytes of a file of an image; of layers no more are read than have to do with it.

    Args:
        ref: an image, in any place that `inspect` takes.
        path: the file; links are followed within the image.
        most_bytes: refuse a larger one.

    Raises:
        NotFound: there is no such image, or nothing at the path; the message says which layer removed it.
        UsageError: it is not a file.
        LimitExceeded: it is larger than `most_bytes`.

    Example:
        >>> imagesmith.read("registry.example/team/app:1", "/etc/greeting")
        b'hello\n'
    """
    from imagesmith.explore.files import open_files, read_file

    with (
        opened(ref, insecure=insecure, credentials=credentials, root=root, events=events) as (session, store),
        image_at(ref, session, store) as source,
    ):
        return read_file(open_files(source, store, platform_or_host(platform)), path, most_bytes=most_bytes)


@documented
def export(
    ref: str,
    output: str | Path,
    *,
    platform: str = "",
    credentials: Logins | None = None,
    insecure: Insecure = False,
    root: str | Path = "",
    events: EventSink = nobody,
) -> None:
    """Write the file system of an image as a tar.

    Args:
        ref: an image, in any place that `inspect` takes.
        output: the tar, which appears when it is complete.

    Raises:
        NotFound: there is no such image, or none for the platform.

    Example:
        >>> imagesmith.export("registry.example/team/app:1", "files.tar")
        >>> tarfile.open("files.tar").getnames()
        ['etc', 'etc/greeting']
    """
    from imagesmith.export.rootfs import Root, write_tar
    from imagesmith.fs.results import output_file
    from imagesmith.image.contents import contents_of

    with (
        opened(ref, insecure=insecure, credentials=credentials, root=root, events=events) as (session, store),
        image_at(ref, session, store) as source,
    ):
        found = contents_of(source, platform_or_host(platform), store)
        with output_file(str(output)) as out:
            write_tar([Root(found.files)], out)


@documented
def diff(
    a: str,
    b: str,
    *,
    only: Literal["", "config", "files"] = "",
    times: bool = False,
    platform: str = "",
    credentials: Logins | None = None,
    insecure: Insecure = False,
    root: str | Path = "",
    events: EventSink = nobody,
) -> Comparison:
    """What differs between two images: config, files, sizes.

    Args:
        a: an image, in any place that `inspect` takes.
        b: another one.
        only: compare the configs or the files alone.
        times: modification times of files count as well.

    Returns:
        True if they differ, as a condition; with `config` and `files`, lists of differences that have `sign`
        (+, - or ~), `where` and `detail`, and with `sizes` and `layers`, pairs.

    Raises:
        NotFound: there is no such image, or none for the platform.

    Example:
        >>> found = imagesmith.diff("registry.example/team/app:1", "registry.example/team/app:1.1")
        >>> bool(found), [str(d) for d in found.files]
        (True, ['~ /etc/greeting  size 6 -> 8'])
    """
    from imagesmith.image.compare import compare_images
    from imagesmith.image.contents import Contents, contents_of

    is_for, files = platform_or_host(platform), only != "config"
    with opened(
        a, b, insecure=insecure, credentials=credentials, root=root, events=events
    ) as (session, store):  # fmt: skip

        def looked_at(text: str) -> Contents:
            with image_at(text, session, store) as source:
                return contents_of(source, is_for, store, files=files)

        return compare_images(looked_at(a), looked_at(b), config=only != "files", files=files, times=times)


@documented
def sbom(
    ref: str,
    *,
    format_: Literal["spdx", "cyclonedx"] = "spdx",
    supplier: str = "",
    platform: str = "",
    credentials: Logins | None = None,
    insecure: Insecure = False,
    root: str | Path = "",
    events: EventSink = nobody,
) -> dict[str, Any]:
    """The packages of an image, as an SBOM: SPDX 2.3 or CycloneDX 1.6.

    Args:
        ref: an image, in any place that `inspect` takes.
        format_: spdx or cyclonedx.
        supplier: who supplies the image; by default by its label org.opencontainers.image.vendor.

    Returns:
        The JSON document.

    Raises:
        NotFound: there is no such image, or none for the platform.

    Example:
        >>> imagesmith.sbom("registry.example/team/app:1")["spdxVersion"]
        'SPDX-2.3'
    """
    from imagesmith.image.contents import contents_of
    from imagesmith.sbom.making import sbom_of_image

    with opened(ref, insecure=insecure, credentials=credentials, root=root, events=events) as (
        session,
        store,
    ):
        with image_at(ref, session, store) as source:
            found = contents_of(source, platform_or_host(platform), store, contents=True)
        document: dict[str, Any] = json.loads(
            sbom_of_image(
                found.files, found.manifest, found.config, place_at(ref, store),
                format_=format_, supplier=supplier, folder=store.blobs.ingest,
                warn=lambda text: events(Warned(rule="", text=text)),
            )
        )  # fmt: skip
        return document
