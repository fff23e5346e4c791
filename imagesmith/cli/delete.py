"""`imagesmith delete`: a tag or an image goes from a registry, a layout or the store."""

from __future__ import annotations

import argparse
import sys

from imagesmith.cli.common import add_session_flags, opened

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("ref", nargs="+", help="a tag alone, or REF@DIGEST with all its tags; or oci:DIR:REF")
    add_session_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.transports.naming import delete_at

    with opened(args) as (session, store):
        for text in args.ref:
            sys.stdout.write(f"deleted {delete_at(text, session, store)}\n")
    return 0
