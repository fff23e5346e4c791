"""`imagesmith sign`: signatures of an image, as cosign makes them with a key."""

from __future__ import annotations

import argparse

from imagesmith.cli.common import add_transfer_flags
from imagesmith.cli.flags import pairs
from imagesmith.cli.keyflags import add_private_key
from imagesmith.cli.signflags import add_signing_flags, print_made, signing_at, signing_of

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("ref", help="the image, by its digest: in a registry, a layout or the store")
    add_private_key(parser)
    parser.add_argument(
        "-a", "--annotations", action="append", default=[], metavar="K=V", help="said in the signature"
    )
    parser.add_argument(
        "-r", "--recursive", action=argparse.BooleanOptionalAction, default=True,
        help="of an index, sign each image too (default)",
    )  # fmt: skip
    add_signing_flags(parser)
    add_transfer_flags(parser, one=False)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.trust.desk import sign_at

    signing = signing_of(args, pairs(args.annotations, "--annotations"))
    with signing_at(args) as desk:
        made = sign_at(desk, signing, recursive=args.recursive)
    print_made(args, made)
    return 0
