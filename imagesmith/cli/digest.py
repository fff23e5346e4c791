"""`imagesmith digest`: the digest that a reference stands for."""

from __future__ import annotations

import argparse
import sys

from imagesmith.cli.common import add_session_flags, descriptor_at, opened
from imagesmith.cli.flags import add_platform

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("ref", help="an image in a registry, or another place")
    add_platform(parser, "the manifest for this platform, within an index")
    add_session_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.registry.repository import Repository
    from imagesmith.transports.names import PlaceName, open_source

    with (
        opened(args, spare=True) as (session, store),
        open_source(PlaceName.parse(args.ref), session, store) as source,
    ):
        if isinstance(source, Repository) and not args.platform:
            found = source.digest()  # one request, and no manifest is read
        else:
            found = descriptor_at(args, source)
    sys.stdout.write(f"{found.digest}\n")
    return 0
