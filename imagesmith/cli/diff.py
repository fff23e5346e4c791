"""`imagesmith diff`: what differs between two images: config, files, sizes."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from imagesmith.cli.common import add_session_flags, human, opened, print_json, say
from imagesmith.cli.contents import contents_of
from imagesmith.cli.flags import add_platform
from imagesmith.errors import Different, UsageError

if TYPE_CHECKING:
    from imagesmith.image.compare import Difference

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
    from imagesmith.image.compare import compare_configs, compare_files

    if args.times and args.only not in ("", "files"):
        raise UsageError("--times is for files")
    files = args.only in ("", "files")
    with opened(args) as (session, store):
        a, config_a, view_a = contents_of(args, args.a, session, store, files=files)
        b, config_b, view_b = contents_of(args, args.b, session, store, files=files)
        found: dict[str, list[Difference]] = {}
        if args.only in ("", "config"):
            found["config"] = compare_configs(config_a, config_b)
        if view_a is not None and view_b is not None:
            found["files"] = compare_files(view_a, view_b, times=args.times)
    sizes = [sum(d.size for d in m.layers) for m in (a, b)]
    _show(args, found, sizes, [len(a.layers), len(b.layers)])
    if any(found.values()) or (args.only == "sizes" and sizes[0] != sizes[1]):
        raise Different(f"{args.a} and {args.b} differ")
    return 0


def _show(
    args: argparse.Namespace, found: dict[str, list[Difference]], sizes: list[int], counts: list[int]
) -> None:
    if args.json:
        document: dict[str, Any] = {
            part: [{"sign": d.sign, "where": d.where, "detail": d.detail} for d in items]
            for part, items in found.items()
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
