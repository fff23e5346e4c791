"""`imagesmith prune`: the store without what no image and no cached step needs."""

from __future__ import annotations

import argparse
import sys

from imagesmith.cli.common import human
from imagesmith.cli.flags import add_root, settings_of
from imagesmith.store.store import Store

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_root(parser)
    parser.add_argument("-a", "--all", action="store_true", help="forget cached steps and cache mounts too")
    parser.add_argument(
        "--older-than", default="60d", metavar="AGE", help="forget steps that were of no use for so long"
    )


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.options import parse_age
    from imagesmith.worker.sandbox import world

    world.enter("auto")  # trees of a user's builds belong to ids that only its namespace may touch
    with Store(settings_of(args.root).root) as store:
        gone = store.prune(everything=args.all, unused_s=parse_age(args.older_than, "--older-than"))
    sys.stdout.write(
        f"deleted {gone.blobs} blobs, {gone.layers} layers and {gone.steps} cached steps; "
        f"freed {human(gone.freed_bytes)}\n"
    )
    return 0
