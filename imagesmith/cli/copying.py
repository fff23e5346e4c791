"""What the verbs that copy between places share: their flags, what these mean, and how outcomes are told."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from imagesmith.cli.common import human, print_descriptor, print_json, say
from imagesmith.errors import RegistryError, UsageError
from imagesmith.oci.model import Descriptor
from imagesmith.oci.names import Platform, host_platform

if TYPE_CHECKING:
    from imagesmith.copying.copies import How
    from imagesmith.copying.looking import Look
    from imagesmith.copying.many import Outcome
    from imagesmith.store.store import Store
    from imagesmith.transports.names import PlaceName
    from imagesmith.transports.transfer import Session

__all__ = [
    "add_attestations",
    "add_choice_flags",
    "add_many_flags",
    "copied",
    "how_of",
    "platforms_of",
    "tell",
    "tell_look",
]


def add_attestations(parser: argparse._ActionsContainer) -> None:
    """Whether what an index says of its images goes along."""
    parser.add_argument(
        "--attestations", action=argparse.BooleanOptionalAction, default=True,
        help="--no-attestations leaves out what an index says of its images (provenance, SBOMs); an index of"
        " one image becomes that image",
    )  # fmt: skip


def add_choice_flags(parser: argparse.ArgumentParser) -> None:
    """Which parts of an image are copied, and as what."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "-a", "--all", action="store_true", help="all platforms, or none where one is not there"
    )
    which.add_argument(
        "--platform", action="append", default=[], metavar="OS/ARCH", help="this one alone; may be repeated"
    )
    which.add_argument(
        "--multi-arch", default=None, type=_multi_arch, metavar="all|system",
        help="skopeo's words: all is --all, system this machine's platform alone",
    )  # fmt: skip
    parser.add_argument("--referrers", action="store_true", help="signatures, attestations and the like, too")
    add_attestations(parser)
    parser.add_argument(
        "-f", "--format", default="", choices=("oci", "docker", "v2s2"),
        help="rewrite manifests to these media types; v2s2 is docker",
    )  # fmt: skip
    parser.add_argument(
        "--preserve-digests", action="store_true", help="fail where a manifest would become another one"
    )
    group = parser.add_argument_group("compression")
    group.add_argument(
        "--compression", "--dest-compress-format", dest="compression", default="",
        choices=("gzip", "zstd", "estargz", "uncompressed"),
        help="compress layers so that are compressed otherwise; digests change, diff_ids do not",
    )  # fmt: skip
    group.add_argument(
        "--compression-level", "--dest-compress-level", dest="compression_level", default="", metavar="N",
        help="of the compression",
    )  # fmt: skip
    group.add_argument(
        "--force-compression", "--dest-force-compress-format", dest="force_compression", action="store_true",
        help="also layers that are compressed so",
    )  # fmt: skip


def add_many_flags(parser: argparse.ArgumentParser) -> None:
    """Of verbs that copy several images."""
    parser.add_argument(
        "-j", "--jobs", type=_at_once, default=4, metavar="N", help="images at the same time (default: 4)"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="copy nothing; tell what would be, and what of it is there",
    )


def _at_once(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to 64")
    return int(text)


def _multi_arch(text: str) -> str:
    if text == "index-only":
        raise argparse.ArgumentTypeError(
            "index-only: registries refuse an index without its images; `imagesmith manifest get` and `put`"
            " move it to one that does not"
        )
    if text not in ("all", "system"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither all nor system")
    return text


def platforms_of(texts: Iterable[str]) -> tuple[Platform, ...]:
    """The platforms of some flags' values, each of which may name several with commas."""
    return tuple(Platform.parse(t) for text in texts for t in text.split(",") if t)


def how_of(args: argparse.Namespace, *, one: bool = False) -> How:
    """What the flags of add_choice_flags say; for a target that can hold `one` platform only, this machine's.

    Raises:
        UsageError: they exclude each other.
    """
    from imagesmith.copying.copies import How
    from imagesmith.layer.codecs import Codec
    from imagesmith.transports.choice import Choice

    platforms = platforms_of(args.platform)
    whole = args.all or args.multi_arch == "all"
    alone = args.multi_arch == "system" or (one and not platforms and not whole)
    choice = Choice(
        platforms=platforms,
        default=host_platform() if alone else None,
        whole=whole,
        referrers=args.referrers,
        family="docker" if args.format == "v2s2" else args.format,
        attestations=args.attestations,
        exact=args.preserve_digests,
    )
    if args.compression_level and not args.compression:
        raise UsageError("--compression-level without --compression")
    codec = Codec.parse(args.compression, args.compression_level) if args.compression else None
    return How(choice=choice, codec=codec, force=args.force_compression).checked()


def copied(
    session: Session,
    store: Store,
    source: PlaceName,
    target: PlaceName,
    platforms: tuple[Platform, ...] = (),
    *,
    attestations: bool = True,
    verb: str = "copy",
) -> Descriptor:
    """Copy an image from a place to a place; returns what is there now."""
    from imagesmith.transports.choice import Choice
    from imagesmith.transports.names import open_source, open_target

    choice = Choice(platforms=platforms, attestations=attestations)
    with open_source(source, session, store) as a, open_target(target, session, store) as b:
        return session.copy(a, b, choice, verb=verb)


def tell(args: argparse.Namespace, outcomes: Iterator[Outcome], count: int, verb: str) -> int:
    """A line for each copy of several, as it is done, and the status of all.

    Args:
        args: --json and --dry-run count.
        outcomes: of `copies`.
        count: how many there are.
        verb: what was not done to those that failed.

    Raises:
        RegistryError: some failed; each was told.
    """
    failed = 0
    for one in outcomes:
        if one.error is not None:
            from imagesmith.cli.errors import show_error

            failed += 1
            show_error(one.error, sys.stderr)
            continue
        assert one.descriptor is not None
        if args.dry_run:
            assert one.look is not None
            tell_look(args, one.source, one.target, one.look)
        elif args.json:
            print_descriptor(args, one.descriptor, str(one.target))
        else:
            say(f"{one.descriptor.digest} {one.target}")
    if failed:
        raise RegistryError(f"{failed} of {count} images were not {verb}")
    return 0


def tell_look(args: argparse.Namespace, source: PlaceName, target: PlaceName, look: Look) -> None:
    """What would be done for one image."""
    if args.json:
        more = {
            "source": str(source), "there": look.there, "blobs": look.blobs,
            "missing": look.missing, "missingBytes": look.missing_bytes,
        }  # fmt: skip
        print_json({"name": str(target), **look.descriptor.to_json(), **more})
        return
    what = "is there" if look.there else f"{look.missing} of {look.blobs} blobs, {human(look.missing_bytes)}"
    say(f"{look.descriptor.digest} {target} ({what})")
