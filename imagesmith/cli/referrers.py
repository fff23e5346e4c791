"""`imagesmith referrers`: what is attached to an image, also by cosign's tags, and where that was found."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from imagesmith.cli.common import add_session_flags, descriptor_at, opened, print_json, say, source_at
from imagesmith.cli.flags import add_platform
from imagesmith.cli.lines import one_line
from imagesmith.interfaces import ImageSource
from imagesmith.oci.model import Descriptor, Index

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
    from imagesmith.transports.attached import attached_things
    from imagesmith.transports.cosigntags import COMPANION
    from imagesmith.transports.layout import REF

    with opened(args) as (session, store), source_at(args.ref, session, store) as source:
        subject = descriptor_at(args, source)
        found = attached_things(source, subject, args.artifact_type)
        looked = _looked_at(source, subject)
    if args.json:
        print_json(_index(found))
    else:
        for d in found:
            tag = d.annotations.get(REF, "")
            beside_as = f" {tag}" if COMPANION.fullmatch(tag) else ""
            say(f"{d.digest} {d.artifact_type or d.media_type}{beside_as}")
    sys.stderr.write("".join(f"{one_line(line)}\n" for line in looked))
    return 0


def _looked_at(source: ImageSource, subject: Descriptor) -> list[str]:
    """Where was looked, and what is attached in another way: attestations that an index lists."""
    from imagesmith.registry.repository import Repository, fallback_tag
    from imagesmith.transports.documents import document_of

    if isinstance(source, Repository):
        host = source.ref.registry
        tag = f"tag {fallback_tag(subject.digest)}, for {host} has no referrers API"
        where = f"the referrers API of {host}" if source.has_referrers(subject.digest) else tag
    else:
        where = source.name
    out = [f"looked at {where}, and at tags of cosign"]
    root = source.root()
    document = document_of(source, root)
    if isinstance(document, Index):
        about = [
            d for d in document.manifests
            if d.is_attestation
            and (root.digest == subject.digest or d.about == str(subject.digest))
        ]  # fmt: skip
        if about:
            many = f"{len(about)} attestation manifest{'s' * (len(about) != 1)}"
            out.append(f"the index lists {many} besides: see inspect --format '{{{{json .Provenance}}}}'")
    return out


def _index(found: Sequence[Descriptor]) -> dict[str, Any]:
    from imagesmith.oci.mediatype import OCI_INDEX

    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [d.to_json() for d in found]}
