"""`imagesmith append`: tar files as layers on top of an image, or of nothing."""

from __future__ import annotations

import argparse
import contextlib

from imagesmith.cli.common import add_transfer_flags, opened, platform_of, source_at
from imagesmith.cli.edits import add_target_flags, created_now, write_edited
from imagesmith.cli.flags import add_platform, many
from imagesmith.errors import UsageError

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_transfer_flags(parser, registries="several")
    parser.add_argument(
        "layers", nargs="*", metavar="LAYER", help="tar files, plain or compressed, bottom first"
    )
    many(parser, "-f", "--new_layer", metavar="LAYER", text="the same, upon those")
    parser.add_argument(
        "-b", "--base", default="", metavar="REF", help="what they are put on (default: nothing)"
    )
    add_platform(parser, "of an image without a base")
    add_target_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.image.edits import append_layers

    files = [*args.layers, *args.new_layer]
    if not files:
        raise UsageError("no layer is given", hint="`imagesmith append -b REF -t REF layer.tar`")
    if not args.base and not args.tag:
        raise UsageError("the result needs a name", hint="give --tag TARGET")
    if args.base and args.platform:
        raise UsageError("--platform is for an image without a base")
    created, platform = created_now(), platform_of(args)
    with opened(args) as (session, store), contextlib.ExitStack() as stack:
        base = stack.enter_context(source_at(args.base, session, store)) if args.base else None
        edited = append_layers(base, files, store, platform=platform, created=created)
        write_edited(args, args.base, edited, session, store)
    return 0
