"""attach and referrers: files attached to an image, and what is attached to it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagesmith.cli.common import (
    add_session_flags,
    add_transfer_flags,
    opened,
    platform_of,
    print_descriptor,
    print_json,
    say,
    source_at,
)
from imagesmith.cli.edit import pairs
from imagesmith.cli.flags import add_platform
from imagesmith.errors import UsageError
from imagesmith.oci.model import Descriptor
from imagesmith.values import replace

if TYPE_CHECKING:
    from imagesmith.interfaces import ImageSource
    from imagesmith.transports.names import PlaceName
    from imagesmith.transports.transfer import Session

__all__ = ["configure"]

Handler = Callable[[argparse.Namespace], int]


def configure(name: str, parser: argparse.ArgumentParser) -> Handler:
    """Declare a verb's flags and return its handler."""
    return _VERBS[name](parser)


def _attach(parser: argparse.ArgumentParser) -> Handler:
    parser.add_argument("ref", help="the image, in a registry or a layout")
    parser.add_argument("files", nargs="*", metavar="FILE[:TYPE]", help="files and their media types")
    parser.add_argument(
        "--artifact-type", required=True, metavar="TYPE", help="what is attached, a media type"
    )
    parser.add_argument(
        "-a", "--annotation", action="append", default=[], metavar="K=V", help="of the manifest"
    )
    add_platform(parser, "attach to this platform's manifest, not to the index")
    add_transfer_flags(parser)

    def run(args: argparse.Namespace) -> int:
        from imagesmith.image.artifact import artifact
        from imagesmith.transports.names import PlaceName, open_source

        place = PlaceName.parse(args.ref)
        if place.kind not in ("registry", "oci"):
            raise UsageError(f"{place.kind}: things are attached to images of registries and layouts")
        if "/" not in args.artifact_type:
            raise UsageError(
                f"{args.artifact_type!r} is no media type", hint="for instance application/spdx+json"
            )
        files = [_typed(text) for text in args.files]
        with opened(args) as (session, store), open_source(place, session, store) as source:
            subject = _subject(args, source)
            made = artifact(
                files,
                store.blobs,
                artifact_type=args.artifact_type,
                subject=subject,
                annotations=pairs(args.annotation, "--annotation"),
            )
            found = _write(place, made, session)
        print_descriptor(args, found, str(place))
        return 0

    return run


def _write(place: PlaceName, made: ImageSource, session: Session) -> Descriptor:
    """Write an artifact beside its subject, without a name of its own."""
    from imagesmith.transports.layout import LayoutFolder

    if place.image is not None:
        ref = replace(place.image, tag=None, digest=made.root().digest)
        return session.copy(made, session.repository(ref))
    return session.copy(made, LayoutFolder(Path(place.path), create=True))


def _typed(text: str) -> tuple[str, str]:
    """`FILE:TYPE` as a path and a media type; a colon without a slash behind it belongs to the path."""
    path, colon, kind = text.rpartition(":")
    return (path, kind) if colon and "/" in kind and not Path(text).exists() else (text, "")


def _subject(args: argparse.Namespace, source: ImageSource) -> Descriptor:
    from imagesmith.transports.copier import choose

    root = source.root()
    return choose(source, root, platform_of(args))[0] if args.platform else root


def _referrers(parser: argparse.ArgumentParser) -> Handler:
    parser.add_argument("ref", help="an image, in any place")
    parser.add_argument("--artifact-type", default="", metavar="TYPE", help="of this type alone")
    parser.add_argument("--json", action="store_true", help="an OCI index")
    add_platform(parser, "of this platform's manifest, not of the index")
    add_session_flags(parser)

    def run(args: argparse.Namespace) -> int:
        from imagesmith.transports.cosigntags import COMPANION, companions, described
        from imagesmith.transports.layout import REF

        with opened(args) as (session, store), source_at(args.ref, session, store) as source:
            subject = _subject(args, source)
            beside = companions(source, subject.digest)
            known = [
                *source.referrers(subject.digest),
                *(described(source, tag, d) for tag, d in beside),
            ]
        found = [d for d in known if args.artifact_type in ("", d.artifact_type)]
        if args.json:
            print_json(_index(found))
        else:
            for d in found:
                tag = d.annotations.get(REF, "")
                beside_as = f" {tag}" if COMPANION.fullmatch(tag) else ""
                say(f"{d.digest} {d.artifact_type or d.media_type}{beside_as}")
        return 0

    return run


def _index(found: Sequence[Descriptor]) -> dict[str, Any]:
    from imagesmith.oci.mediatype import OCI_INDEX

    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [d.to_json() for d in found]}


_VERBS: dict[str, Callable[[argparse.ArgumentParser], Handler]] = {"attach": _attach, "referrers": _referrers}
