"""`imagesmith catalog`: the repositories of a registry."""

from __future__ import annotations

import argparse

from imagesmith.cli.common import add_session_flags, opened, print_list
from imagesmith.oci.names import ImageRef

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("registry", help="host[:port]")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    add_session_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.registry.client import catalog

    host = args.registry.removeprefix("https://").removeprefix("http://").rstrip("/")
    ImageRef.parse(f"{host}/a")  # a name that is no host is refused here
    with opened(args, spare=True) as (session, _):
        names = catalog(session.transport(host))
    print_list(args, {"Registry": host, "Repositories": names}, names)
    return 0
