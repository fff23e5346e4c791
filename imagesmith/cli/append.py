"""`imagesmith append`: tar files as layers on top of an image, or of nothing."""

from __future__ import annotations

import argparse

from imagesmith.cli.common import add_transfer_flags, opened, source_at
from imagesmith.cli.edits import add_target_flags, created_now, write_edited
from imagesmith.cli.flags import add_platform
from imagesmith.errors import UsageError
from imagesmith.oci.model import Manifest
from imagesmith.oci.names import Platform, host_platform

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_transfer_flags(parser, registries="several")
    parser.add_argument(
        "layers", nargs="+", metavar="LAYER", help="tar files, plain or compressed, bottom first"
    )
    parser.add_argument(
        "-b", "--base", default="", metavar="REF", help="what they are put on (default: nothing)"
    )
    add_platform(parser, "of an image without a base")
    add_target_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.image.edited import Edited, edit_image
    from imagesmith.image.layers import appended, layer_of_file, scratch

    if not args.base and not args.tag:
        raise UsageError("the result needs a name", hint="give --tag TARGET")
    if args.base and args.platform:
        raise UsageError("--platform is for an image without a base")
    created = created_now()
    with opened(args) as (session, store):
        layers = [layer_of_file(file, store) for file in args.layers]
        by = f"imagesmith append {' '.join(args.layers)}"

        def change(manifest: Manifest, config: bytes) -> tuple[Manifest, bytes]:
            return appended(manifest, config, layers, by, created)

        if args.base:
            with source_at(args.base, session, store) as source:
                edited = edit_image(source, source.root(), store.blobs, change)
                write_edited(args, args.base, edited, session, store)
            return 0
        platform = Platform.parse(args.platform) if args.platform else host_platform()
        manifest, config = change(*scratch(platform))
        edited = Edited("scratch", store.blobs)
        edited.add(config)
        edited.add(manifest.raw)
        edited.set_root(manifest.descriptor())
        write_edited(args, "", edited, session, store)
    return 0
