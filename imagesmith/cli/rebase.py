"""`imagesmith rebase`: an image's own layers on another base."""

from __future__ import annotations

import argparse
import contextlib

from imagesmith.cli.common import add_transfer_flags, opened, platform_of, source_at
from imagesmith.cli.edits import add_target_flags, write_edited
from imagesmith.cli.flags import add_platform

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_transfer_flags(parser, registries="several")
    parser.add_argument("ref", help="an image")
    parser.add_argument(
        "--old-base", default="", metavar="REF", help="what it was made on (default: by its annotations)"
    )
    parser.add_argument(
        "--new-base", default="", metavar="REF", help="what it is to be on (default: the newest of the old)"
    )
    add_platform(parser, "platform within indexes")
    add_target_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.image.edits import rebase_image

    with contextlib.ExitStack() as stack:
        session, store = stack.enter_context(opened(args))
        edited = rebase_image(
            args.ref, lambda text: source_at(text, session, store), stack, store,
            platform=platform_of(args), old=args.old_base, new=args.new_base,
        )  # fmt: skip
        write_edited(args, args.ref, edited, session, store)
    return 0
