"""`imagesmith tags`: the tags of a repository, or the names of a layout."""

from __future__ import annotations

import argparse

from imagesmith.cli.common import add_session_flags, opened, print_list

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("repository", help="host[:port]/path, or oci:DIR")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    add_session_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.transports.listing import tags_at

    with opened(args, spare=True) as (session, _):
        name, tags = tags_at(args.repository, session)
    print_list(args, {"Repository": name, "Tags": tags}, tags)
    return 0
