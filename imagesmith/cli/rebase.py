"""`imagesmith rebase`: an image's own layers on another base."""

from __future__ import annotations

import argparse
import contextlib

from imagesmith.cli.common import add_transfer_flags, opened, source_at
from imagesmith.cli.edits import add_target_flags, write_edited
from imagesmith.cli.flags import add_platform
from imagesmith.errors import NotFound
from imagesmith.interfaces import ImageSource
from imagesmith.oci.model import Manifest
from imagesmith.oci.names import ImageRef, Platform, host_platform

__all__ = ["configure", "run"]

_BASE_NAME, _BASE_DIGEST = "org.opencontainers.image.base.name", "org.opencontainers.image.base.digest"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_transfer_flags(parser, registries="several")
    parser.add_argument("ref", help="an image")
    parser.add_argument(
        "--old-base", default="", metavar="REF", help="what it was made on (default: by its annotations)"
    )
    parser.add_argument(
        "--new-base", default="", metavar="REF", help="what it is to be on (default: the newest of the old)"
    )
    add_platform(parser, "platform within indexes")
    add_target_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Do what the flags say, and return the exit status."""
    from imagesmith.image.edited import Edited
    from imagesmith.image.layers import rebased
    from imagesmith.transports.copier import attested, chosen
    from imagesmith.transports.documents import document_of

    platform = Platform.parse(args.platform) if args.platform else host_platform()
    with contextlib.ExitStack() as stack:
        session, store = stack.enter_context(opened(args))

        def image(text: str) -> tuple[ImageSource, Manifest, bytes]:
            source = stack.enter_context(source_at(text, session, store))
            manifest = chosen(source, source.root(), platform)
            return source, manifest, source.document(manifest.config)

        source, manifest, config = image(args.ref)
        old_name, new_name = _bases(args, manifest)
        old, new = image(old_name), image(new_name)
        notes = {_BASE_NAME: new_name, _BASE_DIGEST: str(new[1].digest)}
        made, raw = rebased((manifest, config), old[1:], new[1:], notes)
        edited = Edited(args.ref, store.blobs)
        edited.rest(source)
        edited.outdated += attested([document_of(source, source.root())], manifest.digest)
        for d in new[1].layers:
            edited.found_at(d.digest, new[0])
        edited.add(raw)
        edited.add(made.raw)
        edited.set_root(made.descriptor())
        write_edited(args, args.ref, edited, session, store)
    return 0


def _bases(args: argparse.Namespace, manifest: Manifest) -> tuple[str, str]:
    """The names of the old and the new base."""
    name, digest = manifest.annotations.get(_BASE_NAME, ""), manifest.annotations.get(_BASE_DIGEST, "")
    new = args.new_base or name
    old = args.old_base or (f"{ImageRef.parse(name).name}@{digest}" if name and digest else "")
    if not old or not new:
        raise NotFound("the image does not say what it was made on", hint="give --old-base and --new-base")
    return old, new
