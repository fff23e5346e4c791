"""The verbs that look into images: export, diff."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from imagesmith.cli.common import (
    add_session_flags,
    human,
    opened,
    platform_of,
    print_json,
    say,
    source_at,
)
from imagesmith.cli.flags import add_platform, new_file
from imagesmith.errors import Different, UsageError
from imagesmith.oci.model import Manifest

if TYPE_CHECKING:
    from imagesmith.fs.view import View
    from imagesmith.image.compare import Difference
    from imagesmith.store.store import Store
    from imagesmith.transports.transfer import Session

__all__ = ["configure"]

Handler = Callable[[argparse.Namespace], int]


def configure(name: str, parser: argparse.ArgumentParser) -> Handler:
    """Declare a verb's flags and return its handler."""
    add_session_flags(parser)
    add_platform(parser)
    return _VERBS[name](parser)


def _image(
    args: argparse.Namespace, text: str, session: Session, store: Store, *, files: bool
) -> tuple[Manifest, bytes, View | None]:
    """An image's manifest, config and, if asked for, file system."""
    from imagesmith.image.layers import view_of
    from imagesmith.transports.copier import chosen

    with source_at(text, session, store) as source:
        manifest = Manifest.parse(chosen(source, source.root(), platform_of(args)))
        config = source.document(manifest.config)
        return manifest, config, view_of(source, manifest, store) if files else None


def _export(parser: argparse.ArgumentParser) -> Handler:
    parser.add_argument("ref", help="an image, in any place")
    parser.add_argument(
        "file", nargs="?", default="-", type=new_file, help="the tar (default: standard output)"
    )

    def run(args: argparse.Namespace) -> int:
        from imagesmith.export.rootfs import write_tar
        from imagesmith.fs.results import output_file

        with opened(args) as (session, store):
            _, _, view = _image(args, args.ref, session, store, files=True)
            assert view is not None
            with output_file(args.file) as out:
                write_tar(view, out, None)
        return 0

    return run


def _diff(parser: argparse.ArgumentParser) -> Handler:
    parser.add_argument("a", help="an image, in any place")
    parser.add_argument("b", help="another one")
    parser.add_argument(
        "--only", default="", choices=("config", "files", "sizes"), help="compare these alone"
    )
    parser.add_argument("--times", action="store_true", help="modification times of files count as well")
    parser.add_argument("--json", action="store_true", help="one JSON document")

    def run(args: argparse.Namespace) -> int:
        from imagesmith.image.compare import compare_configs, compare_files

        if args.times and args.only not in ("", "files"):
            raise UsageError("--times is for files")
        files = args.only in ("", "files")
        with opened(args) as (session, store):
            a, config_a, view_a = _image(args, args.a, session, store, files=files)
            b, config_b, view_b = _image(args, args.b, session, store, files=files)
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

    return run


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


_VERBS: dict[str, Callable[[argparse.ArgumentParser], Handler]] = {"export": _export, "diff": _diff}
