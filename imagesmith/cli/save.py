"""`imagesmith save`: images as an archive, as `docker load` or an OCI layout has it."""

from __future__ import annotations

import argparse

from imagesmith.cli.common import add_transfer_flags, opened, print_descriptor
from imagesmith.cli.copying import add_attestations, platforms_of
from imagesmith.cli.flags import add_platform, new_file

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_transfer_flags(parser, one=False)
    parser.add_argument("ref", nargs="+", help="images: names in the store, or any place")
    parser.add_argument(
        "-o",
        "--output",
        default="-",
        metavar="FILE",
        type=new_file,
        help="the archive (default: standard output)",
    )
    parser.add_argument(
        "--format", default="docker", choices=("docker", "oci"), help="docker: for `docker load`"
    )
    add_attestations(parser)
    add_platform(parser, "of an index (default: this machine's for docker, all that is there for oci)")


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.transports.names import PlaceName
    from imagesmith.transports.saving import save_images

    docker, platforms = args.format == "docker", platforms_of([args.platform])
    names = [PlaceName.parse(text, "store") for text in args.ref]
    with opened(args) as (session, store):
        saved = save_images(
            names, args.output, session, store,
            docker=docker, platforms=platforms, attestations=args.attestations,
        )  # fmt: skip
        for name, found in saved:
            if args.output != "-":
                print_descriptor(args, found, str(name))
    return 0
