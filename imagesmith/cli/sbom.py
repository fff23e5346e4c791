"""`imagesmith sbom`: the packages of an image, as SPDX or CycloneDX."""

from __future__ import annotations

import argparse
import sys

from imagesmith.cli.common import add_session_flags, opened, place_of
from imagesmith.cli.contents import contents_of
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
    from imagesmith.oci.config import ImageConfig
    from imagesmith.sbom.making import sbom_of

    with opened(args) as (session, store):
        place = place_of(args.ref, store)
        manifest, config, view = contents_of(args, args.ref, session, store, files=True, contents=True)
        assert view is not None
        document = sbom_of(
            view,
            name=place.image.familiar if place.image else place.path.rstrip("/").rpartition("/")[2],
            format_=args.format,
            reference=place.image,
            digest=manifest.digest,
            config=ImageConfig.parse(config),
            annotations=manifest.annotations,
            supplier=args.supplier,
            folder=store.blobs.ingest,
            warn=lambda text: sys.stderr.write(f"warning: {text}\n"),
        )
    with output_file(args.output) as out:
        out.write(document + b"\n")
    return 0
