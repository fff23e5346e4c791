"""`index create|add|remove`: indexes of images for several platforms."""

from __future__ import annotations

import argparse
import contextlib

from imagesmith.cli.common import add_transfer_flags, opened, print_descriptor, source_at
from imagesmith.cli.flags import add_platform, pairs
from imagesmith.errors import InvalidDocument, UsageError
from imagesmith.oci.digest import Digest
from imagesmith.oci.names import Platform

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `index`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="create|add|remove")
    create = verbs.add_parser("create", help="make an index of images, which are copied beside it")
    create.add_argument("--docker", action="store_true", help="a manifest list of Docker's type")
    add = verbs.add_parser("add", help="put images into an index")
    remove = verbs.add_parser("remove", help="take images out of an index")
    for sub in (create, add, remove):
        sub.add_argument("ref", help="the index, in any place but archives")
        add_transfer_flags(sub, registries="several")
        sub.add_argument(
            "-a", "--annotation", action="append", default=[], metavar="K=V", help="of the index"
        )
    for sub in (create, add):
        sub.add_argument(
            "images", nargs="*" if sub is create else "+", metavar="IMAGE", help="images, in any place"
        )
        add_platform(sub, "list a single image under this one")
    remove.add_argument(
        "--digest", action="append", default=[], metavar="DIGEST", help="a manifest to take out"
    )
    remove.add_argument(
        "--platform", action="append", default=[], metavar="OS/ARCH", help="a platform to take out"
    )


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.image.edits import edit_index
    from imagesmith.transports.names import PlaceName, open_source, open_target

    target = PlaceName.parse(args.ref)
    annotations = pairs(args.annotation, "--annotation")
    platform = args.platform if args.verb != "remove" else ""
    with contextlib.ExitStack() as stack:
        session, store = stack.enter_context(opened(args))
        index = stack.enter_context(open_source(target, session, store)) if args.verb != "create" else None
        images = [stack.enter_context(source_at(t, session, store)) for t in getattr(args, "images", ())]
        edited = edit_index(
            args.ref, index, images, store,
            platform=Platform.parse(platform) if platform else None,
            annotations=annotations,
            digests=_digests(args.digest) if args.verb == "remove" else (),
            platforms=[Platform.parse(p) for p in args.platform] if args.verb == "remove" else (),
            docker=bool(getattr(args, "docker", False)),
        )  # fmt: skip
        with open_target(target, session, store) as place:
            found = session.copy(edited, place)
    print_descriptor(args, found, str(target))
    return 0


def _digests(texts: list[str]) -> list[Digest]:
    try:
        return [Digest.parse(t) for t in texts]
    except InvalidDocument as e:
        raise UsageError(e.message) from e
