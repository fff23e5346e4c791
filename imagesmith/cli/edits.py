"""What the verbs that make an image of another share: what is worked on, where the result goes, its time."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from imagesmith.cli.common import opened, print_descriptor, source_at
from imagesmith.cli.lines import one_line
from imagesmith.errors import UsageError
from imagesmith.oci.times import format_ns, parse_epoch

if TYPE_CHECKING:
    from imagesmith.image.edited import Edited
    from imagesmith.interfaces import ImageSource
    from imagesmith.store.store import Store
    from imagesmith.transports.transfer import Session

__all__ = ["add_target_flags", "created_now", "opened_image", "write_edited"]


def add_target_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that say where the result goes."""
    parser.add_argument(
        "-t", "--tag", "--new_tag", default="", metavar="TARGET",
        help="where to (default: the same repository, by digest)",
    )  # fmt: skip
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
    from imagesmith.image.edits import target_of
    from imagesmith.transports.names import open_target

    target = target_of(text, args.tag, edited.root().digest, store, push=args.push)
    if edited.absent or edited.outdated:
        from imagesmith.transports.lacking import left_behind

        for line in left_behind(edited.name, absent=edited.absent, outdated=edited.outdated):
            sys.stderr.write(f"warning: {one_line(line)}\n")
    with open_target(target, session, store) as place:
        found = session.copy(edited, place)
    print_descriptor(args, found, str(target), beside=not args.tag)


def created_now() -> str:
    """The time for configs and history: SOURCE_DATE_EPOCH, or now."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    epoch = parse_epoch(text)
    if text and epoch is None:
        raise UsageError(f"invalid SOURCE_DATE_EPOCH: {text}")
    return format_ns((int(time.time()) if epoch is None else epoch) * 1_000_000_000)
