"""`imagesmith export`: the file system of an image as a tar."""

from __future__ import annotations

import argparse

from imagesmith.cli.common import add_session_flags, opened, platform_of, source_at
from imagesmith.cli.flags import add_platform, new_file

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_session_flags(parser)
    add_platform(parser)
    parser.add_argument("ref", help="an image, in any place")
    parser.add_argument(
        "file", nargs="?", default="-", type=new_file, help="the tar (default: standard output)"
    )


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.export.rootfs import Root, write_tar
    from imagesmith.fs.results import output_file
    from imagesmith.image.contents import contents_of

    with opened(args) as (session, store):
        with source_at(args.ref, session, store) as source:
            found = contents_of(source, platform_of(args), store)
        with output_file(args.file) as out:
            write_tar([Root(found.files)], out)
    return 0
