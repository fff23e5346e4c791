"""`index create|add|remove`: indexes of images for several platforms."""

from __future__ import annotations

import argparse
import contextlib

from imagesmith.cli.common import add_transfer_flags, opened, print_descriptor, source_at
from imagesmith.cli.flags import add_platform, pairs
from imagesmith.errors import InvalidDocument, UsageError
from imagesmith.interfaces import ImageSource
from imagesmith.oci import mediatype as mt
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor, Index
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
    from imagesmith.image.indexes import entries_of, index_of, without
    from imagesmith.transports.names import PlaceName, open_source, open_target

    target = PlaceName.parse(args.ref)
    annotations = pairs(args.annotation, "--annotation")
    parts: list[tuple[ImageSource, list[Descriptor]]] = []
    docker = bool(getattr(args, "docker", False))
    with contextlib.ExitStack() as stack:
        session, store = stack.enter_context(opened(args))
        if args.verb != "create":
            source = stack.enter_context(open_source(target, session, store))
            index = _index(source)
            entries = list(index.manifests)
            if args.verb == "remove":
                entries = without(index, _digests(args.digest), [Platform.parse(p) for p in args.platform])
            parts.append((source, entries))
            annotations = {k: v for k, v in {**index.annotations, **annotations}.items() if v}
            docker = index.media_type == mt.DOCKER_INDEX
        for text in getattr(args, "images", ()):
            image = stack.enter_context(source_at(text, session, store))
            parts.append((image, entries_of(image, Platform.parse(args.platform) if args.platform else None)))
        edited = index_of(args.ref, parts, store.blobs, annotations=annotations, docker=docker)
        with open_target(target, session, store) as place:
            found = session.copy(edited, place)
    print_descriptor(args, found, str(target))
    return 0


def _index(source: ImageSource) -> Index:
    from imagesmith.transports.documents import document_of

    document = document_of(source, source.root())
    if not isinstance(document, Index):
        raise UsageError(
            f"{source.name} is a single image, not an index", hint="`imagesmith index create` makes one"
        )
    return document


def _digests(texts: list[str]) -> list[Digest]:
    try:
        return [Digest.parse(t) for t in texts]
    except InvalidDocument as e:
        raise UsageError(e.message) from e
