"""`imagesmith flatten`: an image with one layer in the place of its own."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from imagesmith.cli.common import add_transfer_flags
from imagesmith.cli.edits import add_target_flags, created_now, opened_image, write_edited

if TYPE_CHECKING:
    from imagesmith.image.edited import Change

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_transfer_flags(parser)
    parser.add_argument("ref", help="an image, in any place; of an index, every image is flattened")
    add_target_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.image.edited import edit_image
    from imagesmith.image.layers import flattened

    created = created_now()
    with opened_image(args, args.ref) as (source, session, store):
        change: Change = lambda m, c: flattened(source, m, c, store, created)  # noqa: E731 - it has a type here
        edited = edit_image(source, source.root(), store.blobs, change)
        write_edited(args, args.ref, edited, session, store)
    return 0
