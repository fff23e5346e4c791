"""What the verbs that copy between places share: which parts are meant, and the copy itself."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING

from imagesmith.oci.model import Descriptor
from imagesmith.oci.names import Platform

if TYPE_CHECKING:
    from imagesmith.store.store import Store
    from imagesmith.transports.names import PlaceName
    from imagesmith.transports.transfer import Session

__all__ = ["add_choice_flags", "copied", "platforms_of"]


def add_choice_flags(parser: argparse.ArgumentParser) -> None:
    """Which parts of an image are copied, and as what."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "-a", "--all", action="store_true", help="all platforms, or none where one is not there"
    )
    which.add_argument(
        "--platform", action="append", default=[], metavar="OS/ARCH", help="this one alone; may be repeated"
    )
    parser.add_argument("--referrers", action="store_true", help="signatures, attestations and the like, too")
    parser.add_argument(
        "-f", "--format", default="", choices=("oci", "docker"), help="rewrite manifests to these media types"
    )


def platforms_of(texts: Iterable[str]) -> tuple[Platform, ...]:
    """The platforms of some flags' values, each of which may name several with commas."""
    return tuple(Platform.parse(t) for text in texts for t in text.split(",") if t)


def copied(
    session: Session,
    store: Store,
    source: PlaceName,
    target: PlaceName,
    platforms: tuple[Platform, ...] = (),
    *,
    default: Platform | None = None,
    whole: bool = False,
    referrers: bool = False,
    family: str = "",
    verb: str = "copy",
) -> Descriptor:
    """Copy an image from a place to a place; returns what is there now."""
    from imagesmith.transports.copier import Choice
    from imagesmith.transports.names import open_source, open_target

    choice = Choice(
        platforms=platforms,
        default=default,
        whole=whole,
        referrers=referrers,
        family=family,  # type: ignore[arg-type]  # argparse checked it
    )
    with open_source(source, session, store) as a, open_target(target, session, store) as b:
        return session.copy(a, b, choice, verb=verb)
