"""`imagesmith copy`: from any place to any other; one image, or the tags of a repository."""

from __future__ import annotations

import argparse

from imagesmith.cli.common import add_transfer_flags, opened_ends, print_descriptor
from imagesmith.cli.copying import add_choice_flags, add_many_flags, how_of, tell, tell_look
from imagesmith.cli.flags import add_policy
from imagesmith.errors import UsageError

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "source", help="an image: REF, store:REF, oci:DIR[:REF], oci-archive:FILE, docker-archive:FILE"
    )
    parser.add_argument("target", help="where to, in the same forms")
    add_choice_flags(parser)
    tags = parser.add_argument_group("several tags, from repository to repository")
    tags.add_argument("--all-tags", action="store_true", help="all tags of the source")
    tags.add_argument(
        "--tags", action="append", default=[], metavar="PATTERN",
        help="those that this takes: 'v1.*', 'regex:v[0-9]+' or 'semver:>=1.2 <2'; may be repeated",
    )  # fmt: skip
    tags.add_argument(
        "--exclude", action="append", default=[], metavar="PATTERN", help="but not those; may be repeated"
    )
    tags.add_argument(
        "-n", "--no-clobber", action="store_true", help="leave out tags that the target has already"
    )
    add_many_flags(parser)
    add_policy(parser)
    add_transfer_flags(parser, registries="sides")


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.copying.copies import copy_image, look
    from imagesmith.transports.names import PlaceName

    if args.all_tags or args.tags or args.exclude:
        return _several(args)
    if args.no_clobber:
        raise UsageError("--no-clobber is for several tags", hint="--all-tags, or --tags PATTERN")
    source, target = PlaceName.parse(args.source), PlaceName.parse(args.target)
    if args.referrers and target.kind == "docker-archive":
        raise UsageError(
            "--referrers: a docker archive holds images only",
            hint="oci-archive:FILE holds what refers to them",
        )
    how = how_of(args, one=target.kind == "docker-archive")
    with opened_ends(args) as ends:
        if args.dry_run:
            tell_look(args, source, target, look(ends, source, target, how))
            return 0
        made = copy_image(ends, source, target, how)
    print_descriptor(args, made, str(target))
    return 0


def _several(args: argparse.Namespace) -> int:
    """Copy the tags that are chosen."""
    from imagesmith.copying.many import copies
    from imagesmith.copying.patterns import Tags
    from imagesmith.copying.tagging import repository_of, with_tags

    if args.digest_file:
        raise UsageError("--digest-file: several tags have several digests", hint="--json tells all")
    source, target = repository_of(args.source), repository_of(args.target)
    chosen = Tags(("*",) if args.all_tags or not args.tags else tuple(args.tags), tuple(args.exclude))
    how = how_of(args)
    with opened_ends(args) as ends:
        jobs = with_tags(ends, source, target, chosen, new=args.no_clobber)
        return tell(
            args, copies(ends, jobs, how, at_once=args.jobs, dry_run=args.dry_run), len(jobs), "copied"
        )
