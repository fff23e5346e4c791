"""`imagesmith sbom`: the packages of an image, as SPDX or CycloneDX."""

from __future__ import annotations

import argparse
import sys

from imagesmith.cli.common import add_session_flags, opened, place_of, platform_of, source_at
from imagesmith.cli.flags import add_platform, new_file

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_session_flags(parser)
    add_platform(parser)
    parser.add_argument(
        "--format", default="spdx", choices=("spdx", "cyclonedx"),
        help="spdx: SPDX 2.3 (default); cyclonedx: CycloneDX 1.6; both as JSON",
    )  # fmt: skip
    parser.add_argument(
        "--supplier", default="", metavar="NAME",
        help="who supplies the image (default: its label org.opencontainers.image.vendor)",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", default="-", metavar="FILE", type=new_file,
        help="the document (default: standard output)",
    )  # fmt: skip
    parser.add_argument("ref", help="an image, in any place")


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.fs.results import output_file
    from imagesmith.image.contents import contents_of
    from imagesmith.sbom.making import sbom_of_image

    with opened(args) as (session, store):
        with source_at(args.ref, session, store) as source:
            found = contents_of(source, platform_of(args), store, contents=True)
        document = sbom_of_image(
            found.files, found.manifest, found.config, place_of(args.ref, store),
            format_=args.format, supplier=args.supplier, folder=store.blobs.ingest,
            warn=lambda text: sys.stderr.write(f"warning: {text}\n"),
        )  # fmt: skip
    with output_file(args.output) as out:
        out.write(document + b"\n")
    return 0
