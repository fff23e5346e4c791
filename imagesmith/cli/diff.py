"""`imagesmith diff`: what differs between two images: config, files, sizes."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from imagesmith.cli.common import add_session_flags, human, opened, platform_of, print_json, say, source_at
from imagesmith.cli.flags import add_platform
from imagesmith.errors import Different, UsageError

if TYPE_CHECKING:
    from imagesmith.image.compare import Comparison

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_session_flags(parser, registries="several")
    add_platform(parser)
    parser.add_argument("a", help="an image, in any place")
    parser.add_argument("b", help="another one")
    parser.add_argument(
        "--only", default="", choices=("config", "files", "sizes"), help="compare these alone"
    )
    parser.add_argument("--times", action="store_true", help="modification times of files count as well")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.image.compare import compare_images
    from imagesmith.image.contents import Contents, contents_of

    if args.times and args.only not in ("", "files"):
        raise UsageError("--times is for files")
    files, config = args.only in ("", "files"), args.only in ("", "config")
    with opened(args) as (session, store):

        def looked_at(text: str) -> Contents:
            with source_at(text, session, store) as source:
                return contents_of(source, platform_of(args), store, files=files)

        a, b = looked_at(args.a), looked_at(args.b)
        found = compare_images(a, b, config=config, files=files, times=args.times)
    _show(args, found)
    if found or (args.only == "sizes" and found.sizes[0] != found.sizes[1]):
        raise Different(f"{args.a} and {args.b} differ")
    return 0


def _show(args: argparse.Namespace, comparison: Comparison) -> None:
    found = {"config": comparison.config, "files": comparison.files}
    sizes, counts = list(comparison.sizes), list(comparison.layers)
    if args.json:
        document: dict[str, Any] = {
            part: [{"sign": d.sign, "where": d.where, "detail": d.detail} for d in items]
            for part, items in found.items()
            if items is not None
        }
        print_json({**document, "sizes": sizes, "layers": counts})
        return
    for part, items in found.items():
        if items:
            say(f"{part}:", *(f"  {d}" for d in items))
    if args.only in ("", "sizes") and (sizes[0] != sizes[1] or args.only):
        change = sizes[1] - sizes[0]
        sign = "+" if change >= 0 else "-"
        sys.stdout.write(
            f"layers: {counts[0]} -> {counts[1]}, {human(sizes[0])} -> {human(sizes[1])} "
            f"({sign}{human(abs(change))})\n"
        )
