"""`imagesmith sign`: signatures of an image, as cosign makes them with a key."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from imagesmith.cli.common import add_transfer_flags, opened
from imagesmith.cli.flags import pairs
from imagesmith.cli.keyflags import add_private_key, open_key
from imagesmith.cli.signflags import (
    add_signing_flags,
    forms_of,
    place_of_signatures,
    print_made,
    reference_of,
    time_now,
)
from imagesmith.errors import UsageError
from imagesmith.transports.names import PlaceName

if TYPE_CHECKING:
    from imagesmith.interfaces import ImageSource
    from imagesmith.oci.model import Descriptor

__all__ = ["configure", "resolved", "run"]


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
    from imagesmith.transports.beside import Beside
    from imagesmith.transports.names import open_source
    from imagesmith.trust.signing import Signing, sign, signed_parts

    place = PlaceName.parse(args.ref)
    signing = Signing(
        reference=reference_of(args, place),
        forms=forms_of(args),
        annotations=pairs(args.annotations, "--annotations"),
        time_s=time_now(),
        key=open_key(args.key, args.password_file),
    )
    there = place_of_signatures(place)
    with (
        opened(args) as (session, store),
        open_source(place, session, store) as source,
        open_source(there, session, store) as signatures,
    ):
        beside = Beside(there, session, store)
        root = resolved(args, place, source)
        parts = signed_parts(source, root) if args.recursive else [root]
        made = [m for d in parts for m in sign(signatures, d, beside, store.blobs, signing)]
    print_made(args, made)
    return 0


def resolved(args: argparse.Namespace, place: PlaceName, source: ImageSource) -> Descriptor:
    """What the name stands for, which is asked for once.

    Raises:
        UsageError: it is a tag in a registry, which may have been moved by others.
    """
    root = source.root()
    if place.kind == "registry" and place.image is not None and place.image.digest is None and not args.tag:
        raise UsageError(
            f"{place} is a tag, which others may move: sign what it should stand for by its digest",
            hint=f"now that is {place.image.name}@{root.digest}; --tag signs what it stands for now",
        )
    return root
