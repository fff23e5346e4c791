"""`imagesmith copy`: from any place to any other."""

from __future__ import annotations

import argparse

from imagesmith.cli.common import add_transfer_flags, opened, print_descriptor
from imagesmith.cli.copying import add_choice_flags, copied, platforms_of
from imagesmith.cli.flags import add_policy
from imagesmith.errors import UsageError
from imagesmith.oci.names import host_platform

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_transfer_flags(parser)
    add_policy(parser)
    parser.add_argument(
        "source", help="an image: REF, store:REF, oci:DIR[:REF], oci-archive:FILE, docker-archive:FILE"
    )
    parser.add_argument("target", help="where to, in the same forms")
    add_choice_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.transports.names import PlaceName

    source, target = PlaceName.parse(args.source), PlaceName.parse(args.target)
    platforms = platforms_of(args.platform)
    if args.referrers and target.kind == "docker-archive":
        raise UsageError(
            "--referrers: a docker archive holds images only",
            hint="oci-archive:FILE holds what refers to them",
        )
    one = target.kind == "docker-archive" and not platforms and not args.all  # it can hold one only
    with opened(args) as (session, store):
        found = copied(
            session, store, source, target, platforms,
            default=host_platform() if one else None, whole=args.all,
            referrers=args.referrers, family=args.format,
        )  # fmt: skip
    print_descriptor(args, found, str(target))
    return 0
