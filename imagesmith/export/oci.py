"""`-o type=oci`: an OCI layout, as a tar, or with tar=false as a folder."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from imagesmith.export.job import Export
from imagesmith.export.options import IMAGE, Options
from imagesmith.interfaces import ImageTarget
from imagesmith.request import Output
from imagesmith.transports.archive import ArchiveTarget, archive_target
from imagesmith.transports.layout import LayoutFolder

__all__ = ["HOLDS_INDEX", "OPTIONS", "complete", "names_of", "send", "write", "write_archive"]

OPTIONS: Options = {**IMAGE, "tar": bool}
HOLDS_INDEX = True


def write(output: Output, export: Export, *, docker: bool = False) -> None:
    """Write the layout; a tar is there whole or not at all, and `docker load` reads it with `docker`."""
    complete(export)
    names = names_of(output, export)
    if output.flag("tar", True):
        with (
            export.vertex.part("sending tarball"),
            archive_target(output.dest, docker=docker, exported=export.created) as archive,
        ):
            archive.labels = names
            send(export, archive)
    else:
        folder = Path(output.dest)
        send(export, LayoutFolder(folder, create=True, names=names, exported=export.created))


def complete(export: Export) -> None:
    """Bring all that the image consists of into the store."""
    export.bring_foreign()
    export.complete()


def names_of(output: Output, export: Export) -> list[str]:
    """What the image is called in the index of an export."""
    names = [str(ref) for ref in export.tags]
    if output.flag("name-canonical"):
        digest = export.built.descriptor.digest
        names += dict.fromkeys(str(ref.with_tag(None).with_digest(digest)) for ref in export.tags)
    return names


def write_archive(out: BinaryIO, name: str, output: Output, export: Export, *, docker: bool) -> None:
    """Write the archive on a stream, which is called so."""
    archive = ArchiveTarget(out, name, docker=docker, exported=export.created)
    archive.labels = names_of(output, export)
    send(export, archive)
    archive.close()


def send(export: Export, target: ImageTarget) -> None:
    """Send what was built from the store, which has all of it."""
    from imagesmith.events import nobody
    from imagesmith.transports.copier import Choice, plan_copy
    from imagesmith.transports.sender import copy_image
    from imagesmith.transports.stored import StorePlace

    source = StorePlace(export.store, root=export.built.descriptor)
    plan = plan_copy(source, Choice(whole=True))
    plan.root = export.built.descriptor  # with the platform and the annotations that an index has of it
    copy_image(source, target, plan, step=export.vertex.number, events=nobody)
