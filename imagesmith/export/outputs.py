"""The exporters of `-o`: each takes an Output and an Export, writes, and leaves nothing half-written.

Files are written beside their place and renamed; `dest=-` is standard output.
Trust: the destination is the user's own word; what is written in it comes from the image and stays below it
(fs/placing.py).
"""

from __future__ import annotations

import os
from pathlib import Path

from imagesmith.errors import UsageError, cannot_write
from imagesmith.events import Message
from imagesmith.export import layout, rootfs
from imagesmith.fs.jail import remove_tree
from imagesmith.fs.results import output_file
from imagesmith.oci.times import format_ns
from imagesmith.request import Output
from imagesmith.session import Export

__all__ = ["cacheonly", "docker", "image", "local", "oci", "tar"]


def _created(export: Export) -> str:
    epoch = export.image.form.epoch
    if epoch is not None:
        return format_ns(epoch * 1_000_000_000)
    return export.image.config.created or format_ns(0)


def _complete(export: Export, *, base: bool = True) -> None:
    """Fetch the layers that nothing has needed so far: of an imported cache, and of the base image."""
    for layer in export.image.layers:
        if base or layer.created_ns is not None:
            layer.stored.bring(layer.descriptor.digest)


def oci(output: Output, export: Export) -> None:
    """An OCI layout: a tar, or with tar=false a folder."""
    _complete(export)
    root = export.image.entry
    if output.flag("tar", True):
        with export.vertex.part("sending tarball"), output_file(output.dest) as out:
            layout.write_layout_tar(out, root, export.store.blobs, export.tags, _created(export))
    else:
        layout.write_layout_dir(Path(output.dest), root, export.store.blobs, export.tags, _created(export))


def docker(output: Output, export: Export) -> None:
    """An archive for `docker load`; with tar=false a layout folder."""
    if not output.flag("tar", True):
        oci(output, export)
        return
    _complete(export)
    with export.vertex.part("sending tarball"), output_file(output.dest) as out:
        layout.write_docker_archive(
            out, export.image.entry, export.store.blobs, export.tags, _created(export)
        )


def tar(output: Output, export: Export) -> None:
    """The root file system as a tar."""
    with export.vertex.part("sending tarball"), output_file(output.dest) as out:
        rootfs.write_tar(export.result.view, out, export.image.form.epoch)


def local(output: Output, export: Export) -> None:
    """The root file system in a folder."""
    folder = Path(output.dest)
    try:
        if output.options.get("mode") == "delete" and folder.is_dir():
            for child in folder.iterdir():
                if child.is_dir() and not child.is_symlink():
                    remove_tree(child)
                else:
                    child.unlink()
        with export.vertex.part("copying files"):
            rootfs.write_folder(
                export.result.view,
                folder,
                export.image.form.epoch,
                lambda text: export.events(Message(text=f"local: {text}")),
            )
    except OSError as e:
        raise cannot_write(
            e, os.fsdecode(e.filename) if isinstance(e.filename, str | bytes) else folder
        ) from e


def image(output: Output, export: Export) -> None:
    """A name in the store; with push (or type=registry) in the registry of each name, too.

    With push-by-digest the image gets no tag: several builds may later be put together in one index.
    """
    by_digest = output.flag("push-by-digest")
    descriptor = export.image.descriptor
    if not output.pushes and output.flag("store", True):
        _complete(export, base=False)  # a base's registry has its layers; a cache may be gone tomorrow
    for ref in export.tags:
        if by_digest and ref.tag is not None:
            raise UsageError(f"can't push tagged ref {ref} by digest", hint="give the name without a tag")
        canonical = ref.with_tag(None).with_digest(descriptor.digest)
        if output.flag("store", True):
            if not by_digest:
                export.store.name(ref, descriptor)
                export.vertex.did(f"naming to {ref}")
            if output.flag("name-canonical"):
                export.store.name(canonical, descriptor)
        if output.pushes:
            export.images.push(canonical if by_digest else ref, export)


def cacheonly(output: Output, export: Export) -> None:
    """Nothing: the build's steps are in the cache."""
    del output, export
