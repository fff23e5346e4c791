"""`imagesmith catalog`: the repositories of a registry."""

from __future__ import annotations

import argparse

from imagesmith.cli.common import add_session_flags, opened, print_list

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("registry", help="host[:port]")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    add_session_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.transports.listing import catalog_at, host_of

    host = host_of(args.registry)
    with opened(args, spare=True) as (session, _):
        names = catalog_at(host, session)
    print_list(args, {"Registry": host, "Repositories": names}, names)
    return 0
