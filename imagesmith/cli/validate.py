"""`imagesmith validate`: an image, checked to its last byte."""

from __future__ import annotations

import argparse
import sys

from imagesmith.cli.common import add_session_flags, opened, source_at

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("ref", help="an image, in any place")
    parser.add_argument("--fast", action="store_true", help="documents only: layers are not read")
    add_session_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.transports.stored import StorePlace
    from imagesmith.transports.validate import validate

    with opened(args, spare=True) as (session, store), source_at(args.ref, session, store) as source:
        sparse = isinstance(source, StorePlace)
        summary = validate(source, layers=not args.fast, sparse=sparse)
    sys.stdout.write(f"valid: {summary}\n")
    return 0
