"""`imagesmith referrers`: what is attached to an image, also by cosign's tags."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from imagesmith.cli.common import add_session_flags, descriptor_at, opened, print_json, say, source_at
from imagesmith.cli.flags import add_platform
from imagesmith.oci.model import Descriptor

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("ref", help="an image, in any place")
    parser.add_argument("--artifact-type", default="", metavar="TYPE", help="of this type alone")
    parser.add_argument("--json", action="store_true", help="an OCI index")
    add_platform(parser, "of this platform's manifest, not of the index")
    add_session_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.transports.cosigntags import COMPANION, companions, described
    from imagesmith.transports.layout import REF

    with opened(args) as (session, store), source_at(args.ref, session, store) as source:
        subject = descriptor_at(args, source)
        beside = companions(source, subject.digest)
        known = [
            *source.referrers(subject.digest),
            *(described(source, tag, d) for tag, d in beside),
        ]
    found = [d for d in known if args.artifact_type in ("", d.artifact_type)]
    if args.json:
        print_json(_index(found))
    else:
        for d in found:
            tag = d.annotations.get(REF, "")
            beside_as = f" {tag}" if COMPANION.fullmatch(tag) else ""
            say(f"{d.digest} {d.artifact_type or d.media_type}{beside_as}")
    return 0


def _index(found: Sequence[Descriptor]) -> dict[str, Any]:
    from imagesmith.oci.mediatype import OCI_INDEX

    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [d.to_json() for d in found]}
