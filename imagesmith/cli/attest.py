"""`imagesmith attest`: what is said of an image, signed, as cosign does it with a key."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from imagesmith.attest.predicates import TYPES, claim_of, type_of
from imagesmith.cli.common import add_transfer_flags, input_file, platform_of
from imagesmith.cli.flags import add_platform
from imagesmith.cli.keyflags import add_private_key
from imagesmith.cli.signflags import add_signing_flags, print_made, signing_at, signing_of

if TYPE_CHECKING:
    from imagesmith.attest.statement import Claim

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("ref", help="the image, by its digest: in a registry, a layout or the store")
    add_private_key(parser)
    parser.add_argument(
        "--predicate", required=True, metavar="FILE", help="what is said, as JSON; - for standard input"
    )
    parser.add_argument(
        "--type", default="custom", metavar="TYPE", help=f"of the predicate: {', '.join(TYPES)}, or a URI"
    )
    add_platform(parser, "say it of this platform's image, not of the index")
    add_signing_flags(parser)
    add_transfer_flags(parser, one=False)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.transports.copier import choose
    from imagesmith.trust.signing import attest

    signing = signing_of(args)
    claim = _claim(args, signing.time_s)
    with signing_at(args) as desk:
        d = choose(desk.source, desk.root, platform_of(args))[0] if args.platform else desk.root
        made = attest(desk.signatures, d, desk.beside, desk.store.blobs, signing, claim)
    print_made(args, made)
    return 0


def _claim(args: argparse.Namespace, time_s: int) -> Claim:
    """What is said."""
    from imagesmith.attest.reading import MAX_STATEMENT_BYTES
    from imagesmith.fs.results import input_name

    type_of(args.type)  # before the file is read
    with input_file(args.predicate) as f:
        raw = f.read(MAX_STATEMENT_BYTES + 1)
    return claim_of(args.type, raw, input_name(args.predicate), time_s)
