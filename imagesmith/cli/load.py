"""`imagesmith load`: the images of an archive, of either kind, into the store."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from imagesmith.cli.common import add_transfer_flags, opened, print_descriptor, say
from imagesmith.cli.flags import add_platform, add_policy
from imagesmith.errors import InvalidReference
from imagesmith.oci.model import Descriptor
from imagesmith.oci.names import ImageRef, Platform

if TYPE_CHECKING:
    from imagesmith.store.store import Store
    from imagesmith.transports.files import TarFiles
    from imagesmith.transports.transfer import Session

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_transfer_flags(parser, one=False, registries="several")
    add_policy(parser)
    parser.add_argument(
        "-i", "--input", default="-", metavar="FILE", help="the archive (default: standard input)"
    )
    add_platform(parser, "of an index, load this platform's image alone (default: all that are there)")


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    import contextlib

    from imagesmith.transports.files import TarFiles
    from imagesmith.transports.layout import is_layout

    platform = Platform.parse(args.platform) if args.platform else None
    with (
        opened(args) as (session, store),
        contextlib.closing(TarFiles(args.input, store.blobs.ingest)) as files,
    ):
        if is_layout(files):
            loaded = list(_load_layout(files, session, store, platform))
        else:
            loaded = list(_load_docker(files, session, store, platform))
    for name, d in loaded:
        if args.json:
            print_descriptor(args, d, name)
        else:
            say(str(d.digest) if args.quiet else f"loaded {name or d.digest}")
    return 0


def _load_layout(
    files: TarFiles, session: Session, store: Store, platform: Platform | None
) -> Iterator[tuple[str, Descriptor]]:
    """Load a layout's images; an index stays as it is, also where some of its platforms are not there."""
    from imagesmith.transports.copier import Choice
    from imagesmith.transports.layout import NAME, REF, LayoutSource, is_companion
    from imagesmith.transports.stored import StorePlace

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
    from imagesmith.oci.identity import Identity
    from imagesmith.transports.dockerarchive import docker_image, docker_names
    from imagesmith.transports.stored import StorePlace

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
