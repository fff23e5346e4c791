"""`imagesmith push`: from the store, or another place, to a registry."""

from __future__ import annotations

import argparse

from imagesmith.cli.common import add_transfer_flags, opened, print_descriptor
from imagesmith.cli.copying import add_attestations, copied, platforms_of
from imagesmith.cli.flags import add_platform

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_transfer_flags(parser)
    parser.add_argument("ref", help="a name in the store")
    parser.add_argument("to", nargs="?", help="another name, or place, to push it to")
    add_platform(parser, "of an index, push this platform's image alone")
    add_attestations(parser)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.transports.names import PlaceName
    from imagesmith.transports.stored import StorePlace

    source = PlaceName.parse(args.ref, "store")
    target = PlaceName.parse(args.to or args.ref.removeprefix("store:"))
    platforms = platforms_of([args.platform])
    with opened(args) as (session, store):
        if source.kind == "store" and target.kind == "registry" and not platforms and args.attestations:
            assert source.image is not None
            assert target.image is not None
            found = session.push(target.image, StorePlace(store, source.image).root())
        else:
            found = copied(
                session, store, source, target, platforms, attestations=args.attestations, verb="push"
            )
    print_descriptor(args, found, str(target))
    return 0
