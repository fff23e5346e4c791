"""`imagesmith delete`: a tag or an image goes from a registry, a layout or the store."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from imagesmith.cli.common import add_session_flags, opened
from imagesmith.errors import UsageError

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("ref", nargs="+", help="a tag alone, or REF@DIGEST with all its tags; or oci:DIR:REF")
    add_session_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.transports.layout import LayoutFolder
    from imagesmith.transports.names import PlaceName

    with opened(args) as (session, store):
        for text in args.ref:
            place = PlaceName.parse(text)
            if place.kind == "oci":
                LayoutFolder(Path(place.path), place.ref).unname()
            elif place.kind == "store":
                assert place.image is not None
                store.unname(place.image)
            elif place.image is not None:
                session.repository(place.image).delete()
            else:
                raise UsageError(f"{text}: an archive cannot be changed")
            sys.stdout.write(f"deleted {place}\n")
    return 0
