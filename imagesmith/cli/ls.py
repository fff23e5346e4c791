"""`imagesmith ls`: what is in a folder of an image, in any place.

Spec: the lines of `ls -l` as POSIX has them, with numbers for owners, UTC for times, and the layer.
Trust: names are the image's; what a terminal would take for a command is shown as its bytes (lines.py).
"""

from __future__ import annotations

import argparse
import datetime
import stat
from typing import TYPE_CHECKING, Any

from imagesmith.cli.common import add_session_flags, opened, platform_of, print_json_list, say, source_at
from imagesmith.cli.flags import add_platform
from imagesmith.cli.lines import visible

if TYPE_CHECKING:
    from imagesmith.explore.files import ImageFile

__all__ = ["configure", "run"]

_TYPES = {
    "file": stat.S_IFREG, "directory": stat.S_IFDIR, "symlink": stat.S_IFLNK, "chardev": stat.S_IFCHR,
    "blockdev": stat.S_IFBLK, "fifo": stat.S_IFIFO,
}  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_session_flags(parser)
    add_platform(parser)
    parser.add_argument(
        "-l", dest="long", action="store_true", help="with mode, owner, size, time (UTC) and layer"
    )
    parser.add_argument("-R", "--recursive", action="store_true", help="all that is below, by its whole path")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("ref", help="an image, in any place")
    parser.add_argument("path", nargs="?", default="/", help="a folder or file of it (default: /)")


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.explore.files import list_files, open_files

    with opened(args, spare=True) as (session, store), source_at(args.ref, session, store) as source:
        files = open_files(source, store, platform_of(args))
        found = list_files(files, args.path, recursive=args.recursive)
        if args.json:
            print_json_list(_document(f) for f in found)
        elif args.long:
            for f in found:
                say(_long(f, _name(f, args)))
        else:
            for f in found:
                say(_name(f, args))
    return 0


def _name(f: ImageFile, args: argparse.Namespace) -> str:
    """The whole path, or the last name of it."""
    return visible(f.path if args.recursive else f.path.rpartition("/")[2] or "/")


def _long(f: ImageFile, name: str) -> str:
    """A line in columns that stay in place up to ids of five digits and sizes of eleven."""
    mode = stat.filemode(_TYPES[f.kind] | f.mode)
    size = f"{f.device[0]},{f.device[1]}" if f.kind in ("chardev", "blockdev") else str(f.size)
    layer = str(f.layer or "-")
    link = f" -> {visible(f.target)}" if f.kind == "symlink" else ""
    return f"{mode} {f'{f.uid}:{f.gid}':>11} {size:>11} {_time(f.mtime_ns)} {layer:>3} {name}{link}"


def _time(ns: int) -> str:
    """A time to the second; one that no calendar has as its number of seconds."""
    try:
        moment = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(seconds=ns // 10**9)
    except OverflowError:
        return f"{ns // 10**9:>19}"
    return f"{moment:%Y-%m-%d %H:%M:%S}".rjust(19, "0")


def _document(f: ImageFile) -> dict[str, Any]:
    """The fields of a file; bytes of names that are not UTF-8 are lone surrogates, as Python reads them."""
    more: dict[str, Any] = {}
    if f.kind == "symlink":
        more["target"] = f.target
    if f.hardlink:
        more["hardlink"] = f.hardlink
    if f.kind in ("chardev", "blockdev"):
        more["device"] = list(f.device)
    return {
        "path": f.path,
        "kind": f.kind,
        "mode": f"{f.mode:04o}",
        "uid": f.uid,
        "gid": f.gid,
        "size": f.size,
        "mtime_ns": f.mtime_ns,
        "layer": f.layer,
        **more,
    }
