"""`imagesmith rmi`: names are taken away; what nothing else needs goes with `prune`."""

from __future__ import annotations

import argparse
import sys

from imagesmith.cli.flags import add_root, settings_of
from imagesmith.oci.names import ImageRef
from imagesmith.store.store import Store

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_root(parser)
    parser.add_argument("ref", nargs="+", help="names in the store")


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    with Store(settings_of(args.root).root) as store:
        for text in args.ref:
            store.unname(ImageRef.parse(text))
            sys.stdout.write(f"untagged: {ImageRef.parse(text).familiar}\n")
    return 0
