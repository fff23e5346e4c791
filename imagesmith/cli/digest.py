"""`imagesmith digest`: the digest that a reference stands for."""

from __future__ import annotations

import argparse
import sys

from imagesmith.cli.common import add_session_flags, opened, platform_of
from imagesmith.cli.flags import add_platform

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("ref", help="an image in a registry, or another place")
    add_platform(parser, "the manifest for this platform, within an index")
    add_session_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.transports.listing import digest_at

    with opened(args, spare=True) as (session, store):
        found = digest_at(args.ref, session, store, platform_of(args) if args.platform else None)
    sys.stdout.write(f"{found.digest}\n")
    return 0
