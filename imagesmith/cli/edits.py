"""What the verbs that make an image of another share: what is worked on, where the result goes, its time."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from imagesmith.cli.common import opened, place_of, print_descriptor, source_at
from imagesmith.cli.lines import one_line
from imagesmith.errors import UsageError
from imagesmith.oci.names import ImageRef
from imagesmith.oci.times import format_ns, parse_epoch

if TYPE_CHECKING:
    from imagesmith.image.edited import Edited
    from imagesmith.interfaces import ImageSource
    from imagesmith.oci.digest import Digest
    from imagesmith.store.store import Store
    from imagesmith.transports.names import PlaceName
    from imagesmith.transports.transfer import Session

__all__ = ["add_target_flags", "created_now", "opened_image", "write_edited"]


def add_target_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that say where the result goes."""
    parser.add_argument(
        "-t", "--tag", default="", metavar="TARGET", help="where to (default: the same repository, by digest)"
    )
    parser.add_argument(
        "--push", action="store_true", help="what was found in the store goes to the registry of its name"
    )


@contextlib.contextmanager
def opened_image(args: argparse.Namespace, text: str) -> Iterator[tuple[ImageSource, Session, Store]]:
    """An image, and what it is worked on with."""
    with opened(args) as (session, store), source_at(text, session, store) as source:
        yield source, session, store


def write_edited(args: argparse.Namespace, text: str, edited: Edited, session: Session, store: Store) -> None:
    """Copy a new image to where it goes, and print what came of it."""
    from imagesmith.transports.names import open_target

    target = _target_of(args, text, edited.root().digest, store)
    if edited.absent or edited.outdated:
        from imagesmith.transports.lacking import left_behind

        for line in left_behind(edited.name, absent=edited.absent, outdated=edited.outdated):
            sys.stderr.write(f"warning: {one_line(line)}\n")
    with open_target(target, session, store) as place:
        found = session.copy(edited, place)
    print_descriptor(args, found, str(target), beside=not args.tag)


def _target_of(args: argparse.Namespace, text: str, digest: Digest, store: Store) -> PlaceName:
    """Where a new image goes: to --tag, or beside the one that it was made of.

    What was found in the store stays there under a bare name, unless --push says otherwise.
    """
    from imagesmith.transports.names import PlaceName

    source = place_of(text, store) if text else None
    here = source is not None and source.kind == "store"
    if args.tag:
        target = PlaceName.parse(args.tag)
        if args.push and target.kind != "registry":
            raise UsageError(f"--push: {args.tag} is in no registry")
        bare = target.kind == "registry" and not args.tag.startswith("docker://")
        return PlaceName(kind="store", image=target.image) if here and bare and not args.push else target
    if source is None or source.image is None or (here and not args.push):
        hint = "give --tag NEW for the store, with --push for its registry" if here else "give --tag TARGET"
        raise UsageError("the result needs a name", hint=hint)
    beside = ImageRef(source.image.registry, source.image.repository, None, digest)
    return PlaceName(kind="registry", image=beside)


def created_now() -> str:
    """The time for configs and history: SOURCE_DATE_EPOCH, or now."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    epoch = parse_epoch(text)
    if text and epoch is None:
        raise UsageError(f"invalid SOURCE_DATE_EPOCH: {text}")
    return format_ns((int(time.time()) if epoch is None else epoch) * 1_000_000_000)
