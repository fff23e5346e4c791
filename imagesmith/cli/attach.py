"""`imagesmith attach`: files beside an image, which refer to it."""

from __future__ import annotations

import argparse

from imagesmith.cli.common import add_transfer_flags, descriptor_at, opened, print_descriptor
from imagesmith.cli.flags import add_platform, pairs
from imagesmith.errors import UsageError

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("ref", help="the image, in a registry or a layout")
    parser.add_argument("files", nargs="*", metavar="FILE[:TYPE]", help="files and their media types")
    parser.add_argument(
        "--artifact-type", required=True, metavar="TYPE", help="what is attached, a media type"
    )
    parser.add_argument(
        "-a", "--annotation", action="append", default=[], metavar="K=V", help="of the manifest"
    )
    add_platform(parser, "attach to this platform's manifest, not to the index")
    add_transfer_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.copying.packing import typed
    from imagesmith.image.artifact import artifact
    from imagesmith.transports.beside import Beside
    from imagesmith.transports.names import PlaceName, open_source

    place = PlaceName.parse(args.ref)
    if place.kind not in ("registry", "oci"):
        raise UsageError(f"{place.kind}: things are attached to images of registries and layouts")
    if "/" not in args.artifact_type:
        raise UsageError(
            f"{args.artifact_type!r} is no media type", hint="for instance application/spdx+json"
        )
    files = [typed(text) for text in args.files]
    with opened(args) as (session, store), open_source(place, session, store) as source:
        subject = descriptor_at(args, source)
        made = artifact(
            files,
            store.blobs,
            artifact_type=args.artifact_type,
            subject=subject,
            annotations=pairs(args.annotation, "--annotation"),
        )
        found = Beside(place, session, store).put(made)
    print_descriptor(args, found, str(place))
    return 0
