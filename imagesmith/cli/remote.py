"""The verbs that look at what a place holds: inspect, digest, tags, catalog, validate; and that change it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from imagesmith.cli.common import add_session_flags, opened, platform_of, print_json, say, source_at
from imagesmith.cli.flags import add_platform
from imagesmith.errors import UsageError
from imagesmith.oci.names import ImageRef

__all__ = ["configure"]

Handler = Callable[[argparse.Namespace], int]


def configure(name: str, parser: argparse.ArgumentParser) -> Handler:
    """Declare a verb's flags and return its handler."""
    return _VERBS[name](parser)


def _ref(text: str) -> ImageRef:
    return ImageRef.parse(text.removeprefix("docker://"))


def _digest(parser: argparse.ArgumentParser) -> Handler:
    parser.add_argument("ref", help="an image in a registry, or another place")
    add_platform(parser, "the manifest for this platform, within an index")
    add_session_flags(parser)

    def run(args: argparse.Namespace) -> int:
        from imagesmith.registry.repository import Repository
        from imagesmith.transports.copier import choose
        from imagesmith.transports.names import PlaceName, open_source

        with (
            opened(args, spare=True) as (session, store),
            open_source(PlaceName.parse(args.ref), session, store) as source,
        ):
            if args.platform:
                found = choose(source, source.root(), platform_of(args))[0]
            else:
                found = source.digest() if isinstance(source, Repository) else source.root()
        sys.stdout.write(f"{found.digest}\n")
        return 0

    return run


# --- listings ------------------------------------------------------------------------------------


def _tags(parser: argparse.ArgumentParser) -> Handler:
    parser.add_argument("repository", help="host[:port]/path, or oci:DIR")
    _list_flags(parser)

    def run(args: argparse.Namespace) -> int:
        from imagesmith.transports.layout import LayoutFolder

        with opened(args, spare=True) as (session, _):
            if args.repository.startswith("oci:"):
                name = args.repository
                tags = LayoutFolder(Path(name.removeprefix("oci:"))).names()
            else:
                ref = _ref(args.repository)
                name, tags = ref.name, session.repository(ref).tags()
        _list(args, {"Repository": name, "Tags": tags}, tags)
        return 0

    return run


def _catalog(parser: argparse.ArgumentParser) -> Handler:
    parser.add_argument("registry", help="host[:port]")
    _list_flags(parser)

    def run(args: argparse.Namespace) -> int:
        from imagesmith.registry.client import catalog

        host = args.registry.removeprefix("https://").removeprefix("http://").rstrip("/")
        ImageRef.parse(f"{host}/a")  # a name that is no host is refused here
        with opened(args, spare=True) as (session, _):
            names = catalog(session.transport(host))
        _list(args, {"Registry": host, "Repositories": names}, names)
        return 0

    return run


def _list_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON document")
    add_session_flags(parser)


def _list(args: argparse.Namespace, document: dict[str, Any], lines: list[str]) -> None:
    if args.json:
        print_json(document)
    else:
        say(*lines)


# --- changes -------------------------------------------------------------------------------------


def _delete(parser: argparse.ArgumentParser) -> Handler:
    parser.add_argument("ref", nargs="+", help="a tag alone, or REF@DIGEST with all its tags; or oci:DIR:REF")
    add_session_flags(parser)

    def run(args: argparse.Namespace) -> int:
        from imagesmith.transports.layout import LayoutFolder
        from imagesmith.transports.names import PlaceName

        with opened(args) as (session, store):
            for text in args.ref:
                place = PlaceName.parse(text)
                if place.kind == "oci":
                    LayoutFolder(Path(place.path), place.ref).unname()
                elif place.kind == "store":
                    assert place.image is not None
                    store.unname(place.image)
                elif place.image is not None:
                    session.repository(place.image).delete()
                else:
                    raise UsageError(f"{text}: an archive cannot be changed")
                sys.stdout.write(f"deleted {place}\n")
        return 0

    return run


def _blob(parser: argparse.ArgumentParser) -> Handler:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="get|put|head|delete")
    for verb, help_ in (("get", "write a blob to standard output"), ("head", "print a blob's size"),
                        ("put", "upload a file, print its digest"), ("delete", "delete a blob")):  # fmt: skip
        sub = verbs.add_parser(verb, help=help_)
        sub.add_argument("repository", help="host[:port]/path, or with get and head REPOSITORY@DIGEST")
        if verb == "put":
            sub.add_argument("file", nargs="?", default="-", help="`-` for standard input")
        else:
            sub.add_argument("digest", nargs="?", default="", help="sha256:…")
        add_session_flags(sub)

    def run(args: argparse.Namespace) -> int:
        from imagesmith.cli import blobs

        return blobs.run(args)

    return run


def _manifest(parser: argparse.ArgumentParser) -> Handler:
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
        from imagesmith.cli import blobs

        return blobs.run_manifest(args)

    return run


def _validate(parser: argparse.ArgumentParser) -> Handler:
    parser.add_argument("ref", help="an image, in any place")
    parser.add_argument("--fast", action="store_true", help="documents only: layers are not read")
    add_session_flags(parser)

    def run(args: argparse.Namespace) -> int:
        from imagesmith.transports.stored import StorePlace
        from imagesmith.transports.validate import validate

        with opened(args, spare=True) as (session, store), source_at(args.ref, session, store) as source:
            sparse = isinstance(source, StorePlace)
            summary = validate(source, layers=not args.fast, sparse=sparse)
        sys.stdout.write(f"valid: {summary}\n")
        return 0

    return run


_VERBS: dict[str, Callable[[argparse.ArgumentParser], Handler]] = {
    "digest": _digest,
    "tags": _tags,
    "catalog": _catalog,
    "delete": _delete,
    "blob": _blob,
    "manifest": _manifest,
    "validate": _validate,
}
