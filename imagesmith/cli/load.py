"""`imagesmith load`: the images of an archive, of either kind, into the store."""

from __future__ import annotations

import argparse

from imagesmith.cli.common import add_transfer_flags, opened, print_descriptor, say
from imagesmith.cli.flags import add_platform, add_policy
from imagesmith.oci.names import Platform

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
    from imagesmith.transports.saving import load_images

    platform = Platform.parse(args.platform) if args.platform else None
    with opened(args) as (session, store):
        loaded = list(load_images(args.input, session, store, platform))
    for name, d in loaded:
        if args.json:
            print_descriptor(args, d, name)
        else:
            say(str(d.digest) if args.quiet else f"loaded {name or d.digest}")
    return 0
