"""`imagesmith reproduce IMAGE CONTEXT`: is it what its sources make? If not, what differs, and where."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from typing import TYPE_CHECKING

from imagesmith.cli.build import request_of
from imagesmith.cli.buildflags import add_rebuild_flags
from imagesmith.cli.common import add_session_flags, opened, platform_of, print_json, source_at
from imagesmith.cli.fronts import make_front
from imagesmith.cli.lines import harmless, one_line
from imagesmith.errors import Different, UsageError
from imagesmith.settings import Settings

if TYPE_CHECKING:
    from imagesmith.image.reproduce import Report

__all__ = ["configure", "run"]

#: How many differences of a layer are printed; --json has more.
_SHOWN = 20


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "image",
        help="a name in a registry or the store, oci:DIR, oci-archive:FILE, docker-archive:FILE, or a path",
    )
    parser.add_argument("context", help="what `imagesmith build` takes: folder, URL, git address, or -")
    add_rebuild_flags(parser)
    add_session_flags(parser, root=False)
    parser.add_argument("--json", action="store_true", help="the report as one JSON document")


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.image.reproduce import Original, reproduce
    from imagesmith.oci.config import check_image
    from imagesmith.session import run_build
    from imagesmith.transports.copier import chosen
    from imagesmith.worker.sandbox import world

    given = any(word.partition("=")[0] == "SOURCE_DATE_EPOCH" for word in args.build_arg)
    if not given:
        os.environ.pop("SOURCE_DATE_EPOCH", None)  # the image's own epoch counts
    request = request_of(args)
    if len(request.platforms) > 1:  # those of the environment
        raise UsageError(f"--platform {','.join(map(str, request.platforms))}: one platform at a time")
    here = world.enter(args.isolation)  # before any thread: the process changes its namespaces
    settings = Settings.load(args.root)
    front = make_front("quiet" if args.quiet else args.progress)
    with (
        contextlib.closing(front),
        opened(args) as (session, store),
        source_at(_place(args.image), session, store) as source,
    ):
        manifest = chosen(source, source.root(), platform_of(args))
        check_image(manifest)
        original = Original(source, manifest, source.document(manifest.config))
        report = reproduce(
            original, request, store, lambda wanted: run_build(wanted, settings, here, front).image
        )
    if args.json:
        print_json(report.to_json())
    else:
        sys.stdout.write("".join(f"{harmless(one_line(line))}\n" for line in _lines(args.image, report)))
    if not report.equal:
        count = len(report.layers)
        layers = f"{count} of {report.count} layers" if count else "the config"
        raise Different(f"{args.image}: {layers}{' and the config' if count and report.config else ''} differ"
                        + ("" if count else "s"))  # fmt: skip
    return 0


def _place(text: str) -> str:
    """A path of a layout or an archive in the form that names its kind."""
    if not os.path.exists(text):
        return text
    if os.path.isdir(text):
        return f"oci:{text}"
    return f"oci-archive:{text}"  # a docker archive is told by its content


def _lines(name: str, report: Report) -> list[str]:
    if report.equal:
        return [f"{name}: equal: image ID {report.here}, {report.count} layers"]
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
