"""`imagesmith manifest get|put|delete`: manifests and indexes of a repository, as bytes."""

from __future__ import annotations

import argparse
import sys

from imagesmith.cli.common import add_session_flags, input_file, opened, platform_of, source_at
from imagesmith.cli.flags import add_platform
from imagesmith.errors import InvalidDocument, UsageError
from imagesmith.fs.results import input_name
from imagesmith.oci.model import MAX_MANIFEST_BYTES, Index, Manifest, parse_document
from imagesmith.oci.names import ImageRef

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="get|put|delete")
    get = verbs.add_parser("get", help="write a manifest or index to standard output, as it is stored")
    get.add_argument("ref", help="an image, in any place")
    add_platform(get, "the manifest for this platform, within an index")
    put = verbs.add_parser("put", help="store a manifest under a reference, print its digest")
    put.add_argument("ref", help="an image in a registry")
    put.add_argument("file", nargs="?", default="-", help="the JSON; `-` for standard input")
    put.add_argument("--media-type", default="", metavar="TYPE", help="where the document does not say it")
    delete = verbs.add_parser("delete", help="delete a manifest by tag or digest")
    delete.add_argument("ref", help="an image in a registry")
    for sub in (get, put, delete):
        add_session_flags(sub)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    if args.verb == "get":
        from imagesmith.transports.copier import chosen

        with opened(args) as (session, store), source_at(args.ref, session, store) as source:
            root = source.root()
            raw = chosen(source, root, platform_of(args)).raw if args.platform else source.document(root)
        sys.stdout.buffer.write(raw)
        sys.stdout.buffer.flush()
        return 0
    ref = ImageRef.parse(args.ref.removeprefix("docker://"))
    with opened(args) as (session, _):
        place = session.repository(ref)
        if args.verb == "delete":
            place.delete()
            sys.stdout.write(f"deleted {ref}\n")
            return 0
        raw = _read(args.file)
        document = _document(args.file, raw, args.media_type)
        d = document.descriptor()
        place.finish(d, raw)
    sys.stdout.write(f"{d.digest}\n")
    return 0


def _document(file: str, raw: bytes, media_type: str) -> Manifest | Index:
    try:
        return parse_document(raw, media_type)
    except InvalidDocument as e:
        raise e.of(input_name(file)) from e.__cause__


def _read(file: str) -> bytes:
    with input_file(file) as f:
        raw = f.read(MAX_MANIFEST_BYTES + 1)
    if len(raw) > MAX_MANIFEST_BYTES:
        raise UsageError(f"{file}: longer than a manifest may be ({MAX_MANIFEST_BYTES} bytes)")
    return raw
