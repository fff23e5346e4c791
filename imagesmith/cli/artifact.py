"""`imagesmith artifact push|pull|ls`: files and folders in a registry, as oras keeps them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.cli.common import (
    add_session_flags,
    add_transfer_flags,
    human,
    opened,
    platform_of,
    print_descriptor,
    print_json,
    say,
    source_at,
    table,
)
from imagesmith.cli.flags import add_platform, add_policy, pairs
from imagesmith.errors import UsageError

if TYPE_CHECKING:
    from imagesmith.copying.unpacking import File
    from imagesmith.interfaces import ImageSource
    from imagesmith.oci.model import Manifest

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="push|pull|ls")
    push = verbs.add_parser("push", help="push files and folders, print the artifact's digest")
    push.add_argument("ref", help="where to: a registry, oci:DIR[:NAME] or store:REF")
    push.add_argument(
        "files", nargs="*", metavar="FILE[:TYPE]", help="files or folders, and their media types"
    )
    push.add_argument("--artifact-type", default="", metavar="TYPE", help="what it is, a media type")
    push.add_argument(
        "--config", default="", metavar="FILE[:TYPE]", help="its config (default: the empty one)"
    )
    push.add_argument("--subject", default="", metavar="REF", help="what it is attached to")
    push.add_argument(
        "-a", "--annotation", action="append", default=[], metavar="K=V", help="of the manifest"
    )
    push.add_argument(
        "--annotation-file", default="", metavar="FILE",
        help="annotations in JSON: an object for each file, `$manifest` and `$config`",
    )  # fmt: skip
    add_transfer_flags(push)
    pull = verbs.add_parser("pull", help="write the files of an artifact to a folder")
    pull.add_argument("ref", help="the artifact, in any place")
    pull.add_argument("-o", "--output", default=".", metavar="DIR", help="the folder (default: this one)")
    pull.add_argument(
        "-k", "--keep-old-files", action="store_true", help="fail where a file is there already"
    )
    add_platform(pull, "of an index, the artifact for this platform (default: this machine's)")
    add_policy(pull)
    ls = verbs.add_parser("ls", help="list the files of an artifact")
    ls.add_argument("ref", help="the artifact, in any place")
    add_platform(ls, "of an index, the artifact for this platform (default: this machine's)")
    for sub in (pull, ls):
        sub.add_argument("--json", action="store_true", help="one JSON document")
        add_session_flags(sub)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    if args.verb == "push":
        return _push(args)
    if args.verb == "pull":
        return _pull(args)
    from imagesmith.copying.unpacking import files_in

    with opened(args, spare=True) as (session, store), source_at(args.ref, session, store) as source:
        files = files_in(_manifest(source, args), source.name)
    if args.json:
        return _documents(files)
    table(
        ["NAME", "SIZE", "TYPE", "DIGEST"],
        [
            [f"{file.path}{'/' * file.is_folder}", human(file.blob.size), file.blob.media_type,
             str(file.blob.digest)]
            for file in files
        ],
    )  # fmt: skip
    return 0


def _manifest(source: ImageSource, args: argparse.Namespace) -> Manifest:
    from imagesmith.transports.copier import chosen

    return chosen(source, source.root(), platform_of(args))


def _documents(files: list[File]) -> int:
    print_json([{"path": file.path, "folder": file.is_folder, **file.blob.to_json()} for file in files])
    return 0


def _push(args: argparse.Namespace) -> int:
    from imagesmith.copying.packing import Parts, pack, read_annotations, typed
    from imagesmith.transports.names import PlaceName, open_target

    place = PlaceName.parse(args.ref)
    if place.kind not in ("registry", "oci", "store"):
        raise UsageError(f"{place.kind}: artifacts go to registries, layouts and the store")
    if args.artifact_type and "/" not in args.artifact_type:
        raise UsageError(
            f"{args.artifact_type!r} is no media type", hint="for instance application/spdx+json"
        )
    if not args.files and not args.artifact_type:
        raise UsageError("nothing is pushed", hint="name files, or what it is by --artifact-type")
    parts = Parts(
        files=tuple(typed(text) for text in args.files),
        artifact_type=args.artifact_type,
        config=typed(args.config) if args.config else None,
        annotations=pairs(args.annotation, "--annotation"),
        notes=read_annotations(args.annotation_file) if args.annotation_file else {},
    )
    with opened(args) as (session, store):
        if args.subject:
            from imagesmith.values import replace

            with source_at(args.subject, session, store) as subject:
                parts = replace(parts, subject=subject.root())
        made = pack(parts, store)
        with open_target(place, session, store) as target:
            found = session.copy(made, target)
    print_descriptor(args, found, str(place))
    return 0


def _pull(args: argparse.Namespace) -> int:
    from imagesmith.copying.unpacking import unpack

    with opened(args) as (session, store), source_at(args.ref, session, store) as source:
        manifest = _manifest(source, args)
        if session.admission is not None:
            session.admission.admit(source, manifest.descriptor())
        files = unpack(source, manifest, Path(args.output), store, keep=args.keep_old_files)
    if args.json:
        return _documents(files)
    say(*(file.path for file in files))
    return 0
