"""`imagesmith pull`: from a registry into the store, under the same name."""

from __future__ import annotations

import argparse

from imagesmith.cli.common import add_transfer_flags, opened, print_descriptor
from imagesmith.cli.copying import add_attestations
from imagesmith.cli.flags import add_platform, add_policy
from imagesmith.oci.names import ImageRef, Platform, host_platform

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_transfer_flags(parser)
    add_policy(parser)
    parser.add_argument("ref", help="an image reference")
    which = parser.add_mutually_exclusive_group()
    add_platform(which, "platform to pull (default: this machine's)")
    which.add_argument("-a", "--all", action="store_true", help="all platforms")
    add_attestations(parser)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    ref = ImageRef.parse(args.ref.removeprefix("docker://"))
    with opened(args) as (session, store):
        named = Platform.parse(args.platform) if args.platform else None
        default = None if named or args.all else host_platform()
        descriptor = session.pull(ref, named, default=default, attestations=args.attestations)
        store.name(ref.with_tag(ref.tag) if ref.tag else ref, descriptor)
    print_descriptor(args, descriptor, str(ref))
    return 0
