"""`imagesmith attach`: files beside an image, which refer to it."""

from __future__ import annotations

import argparse

from imagesmith.cli.common import add_transfer_flags, opened, platform_of, print_descriptor
from imagesmith.cli.flags import add_platform, pairs

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
    from imagesmith.image.artifact import attach_files
    from imagesmith.transports.names import PlaceName

    place = PlaceName.parse(args.ref)
    with opened(args) as (session, store):
        found = attach_files(
            place, [typed(text) for text in args.files], session, store,
            artifact_type=args.artifact_type,
            annotations=pairs(args.annotation, "--annotation"),
            platform=platform_of(args) if args.platform else None,
        )  # fmt: skip
    print_descriptor(args, found, str(place))
    return 0
