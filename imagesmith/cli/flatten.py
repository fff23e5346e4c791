"""`imagesmith flatten`: an image with one layer in the place of its own."""

from __future__ import annotations

import argparse

from imagesmith.cli.common import add_transfer_flags
from imagesmith.cli.edits import add_target_flags, created_now, opened_image, write_edited

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_transfer_flags(parser)
    parser.add_argument("ref", help="an image, in any place; of an index, every image is flattened")
    add_target_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.image.edits import flatten_image

    created = created_now()
    with opened_image(args, args.ref) as (source, session, store):
        write_edited(args, args.ref, flatten_image(source, store, created), session, store)
    return 0
