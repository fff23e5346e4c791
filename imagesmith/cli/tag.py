"""`imagesmith tag`: further names for an image, in the store or in its registry."""

from __future__ import annotations

import argparse
import sys

from imagesmith.cli.common import add_session_flags, opened
from imagesmith.cli.flags import settings_of
from imagesmith.store.store import Store

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_session_flags(parser)
    parser.add_argument("ref", help="a name in the store, or docker://REF for one in a registry")
    parser.add_argument("new", nargs="+", help="further names; in a registry, tags of the same repository")


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.transports.naming import tag_remote, tag_stored

    if not args.ref.startswith("docker://"):
        with Store(settings_of(args.root).root) as store:
            tag_stored(args.ref, args.new, store)
        return 0
    with opened(args) as (session, _):
        for target in tag_remote(args.ref, args.new, session):
            sys.stdout.write(f"{target}\n")
    return 0
