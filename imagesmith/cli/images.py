"""`imagesmith images`: what has a name in the store, with its platforms and its size."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from imagesmith.cli.common import human, print_json, table
from imagesmith.cli.flags import add_root, settings_of
from imagesmith.cli.lines import one_line
from imagesmith.store.store import Store
from imagesmith.store.weighing import StoredImage, stored_images

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_root(parser)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("-q", "--quiet", action="store_true", help="digests only")


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    with Store(settings_of(args.root).root) as store:
        rows = [_row(found) for found in stored_images(store, _warn)]
    if args.json:
        print_json(rows)
    elif args.quiet:
        sys.stdout.write("".join(f"{r['digest']}\n" for r in rows))
    else:
        table(
            ["NAME", "DIGEST", "PLATFORM", "SIZE"],
            [[r["name"], r["digest"][:19], r["platform"], human(r["size"])] for r in rows],
        )
    return 0


def _warn(text: str) -> None:
    sys.stderr.write(f"warning: {one_line(text)}\n")


def _row(found: StoredImage) -> dict[str, Any]:
    return {
        "name": found.ref.familiar,
        "digest": str(found.descriptor.digest),
        "platform": ",".join(found.platforms),
        "size": found.size,
    }
