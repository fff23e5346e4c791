"""`imagesmith mirror`: all images of a list, several at the same time."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.cli.common import add_transfer_flags, opened_ends
from imagesmith.cli.copying import add_choice_flags, add_many_flags, how_of, tell
from imagesmith.cli.flags import add_policy
from imagesmith.errors import UsageError

if TYPE_CHECKING:
    from imagesmith.copying.syncfile import Reached

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "list",
        help="a file with a line for each image: SOURCE [TARGET]; a pattern may stand for the tag. Or one of"
        " skopeo's in YAML. `-` for standard input",
    )
    parser.add_argument(
        "--to",
        default="",
        metavar="PREFIX",
        help="host[:port][/path] for lines without a target; paths are kept",
    )
    parser.add_argument(
        "--scoped", action="store_true", help="with --to, keep the source's host as part of the path, too"
    )
    add_choice_flags(parser)
    add_many_flags(parser)
    add_policy(parser)
    add_transfer_flags(parser, one=False, registries="sides")


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.copying.lists import read_list
    from imagesmith.copying.many import copies
    from imagesmith.copying.tagging import wanted_jobs

    text = _text(args.list)
    others: dict[str, Reached] = {}
    if args.list.endswith((".yaml", ".yml")):
        from imagesmith.copying.syncfile import read_sync

        found = read_sync(text, args.list, args.to, scoped=args.scoped)
        wanted, others = list(found.wanted), found.reached
    else:
        wanted = list(read_list(text, args.list, args.to, scoped=args.scoped))
    how = how_of(args)
    with opened_ends(args, others) as ends:
        jobs = wanted_jobs(ends, wanted)
        outcomes = copies(ends, jobs, how, at_once=args.jobs, dry_run=args.dry_run)
        return tell(args, outcomes, len(jobs), "mirrored")


def _text(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except OSError as e:
        raise UsageError(f"cannot read {file}: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise UsageError(f"{file}: not a list: {e}") from e
