"""`imagesmith reproduce IMAGE [CONTEXT]`: is it what its sources make? If not, what differs, and where."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from imagesmith.cli.buildflags import add_rebuild_flags
from imagesmith.cli.common import add_session_flags, print_json
from imagesmith.cli.lines import harmless, one_line

if TYPE_CHECKING:
    from imagesmith.image.reproduce import Report
    from imagesmith.rebuilding import Rebuilt

__all__ = ["configure", "run"]

#: How many differences of a layer are printed; --json has more.
_SHOWN = 20


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "image",
        help="a name in a registry or the store, oci:DIR, oci-archive:FILE, docker-archive:FILE, or a path",
    )
    parser.add_argument(
        "context",
        nargs="?",
        default="",
        help="what `imagesmith build` takes: folder, URL, git address, or -; by default what the provenance "
        "of the image tells",
    )
    add_rebuild_flags(parser)
    add_session_flags(parser, root=False, registries="several")
    parser.add_argument("--json", action="store_true", help="the report as one JSON document")


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.cli.rebuilding import rebuild
    from imagesmith.rebuilding import judge

    found = rebuild(args)
    if args.json:
        documents = {one.platform: one.to_json() for one in found}
        print_json(documents if len(documents) > 1 else found[0].to_json())
    else:
        lines = [line for one in found for line in _lines(args.image, one, several=len(found) > 1)]
        sys.stdout.write("".join(f"{harmless(one_line(line))}\n" for line in lines))
    judge(args.image, found)
    return 0


def _lines(name: str, one: Rebuilt, *, several: bool) -> list[str]:
    """What was found of one image; of several each line says of which."""
    name = f"{name} {one.platform}" if several else name
    if one.report is None:
        return [f"{name}: not built: {one.failure}"]
    if one.report.equal:
        return [f"{name}: equal: image ID {one.report.here}, {one.report.count} layers"]
    return [f"{name}: {line}" if several else line for line in _differences(one.report)]


def _differences(report: Report) -> list[str]:
    lines = []
    for r in report.layers:
        head = f"layer {r.number} ({r.made_by})"
        if r.there is None or r.here is None:
            lines.append(f"{head}: {'missing there' if r.there is None else 'missing here'}")
            continue
        lines += [f"{head}: {d}" for d in r.differences[:_SHOWN]]
        if len(r.differences) > _SHOWN:
            lines.append(f"{head}: and {len(r.differences) - _SHOWN} more; --json lists them")
    lines += [f"config: {d}" for d in report.config[:_SHOWN]]
    return lines
