"""Whole edits of images: from what is named to an image that can be copied; and where it goes.

Why: commands and programs ask for the same edits; only how they are asked differs.
Trust: documents and layers of images are others'; see edited.py and layers.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack

from imagesmith.errors import NotFound, UsageError
from imagesmith.image.edited import Change, Edited, edit_image
from imagesmith.image.indexes import entries_of, index_of, without
from imagesmith.image.layers import appended, flattened, layer_of_file, rebased, scratch
from imagesmith.image.mutate import Changes
from imagesmith.interfaces import ImageSource
from imagesmith.oci import mediatype as mt
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor, Index, Manifest
from imagesmith.oci.names import ImageRef, Platform
from imagesmith.store.store import Store
from imagesmith.transports.copier import attested, chosen
from imagesmith.transports.documents import document_of
from imagesmith.transports.names import PlaceName, place_at

__all__ = ["append_layers", "edit_index", "flatten_image", "mutate_image", "rebase_image", "target_of"]

_BASE_NAME, _BASE_DIGEST = "org.opencontainers.image.base.name", "org.opencontainers.image.base.digest"
#: Opens the image that a word names.
Opener = Callable[[str], AbstractContextManager[ImageSource]]


def mutate_image(source: ImageSource, store: Store, changes: Changes) -> Edited:
    """An image with another config, other labels or annotations; of an index, all that are there."""
    return edit_image(
        source, source.root(), store.blobs, changes.apply, index_annotations=changes.annotations
    )


def flatten_image(source: ImageSource, store: Store, created: str) -> Edited:
    """An image with one layer in the place of its own; `created` as configs have it."""
    change: Change = lambda m, c: flattened(source, m, c, store, created)  # noqa: E731 - it has a type here
    return edit_image(source, source.root(), store.blobs, change)


def append_layers(
    base: ImageSource | None, files: Sequence[str], store: Store, *, platform: Platform, created: str
) -> Edited:
    """An image with tar files as layers on top, or made of nothing else.

    Args:
        base: what they are put on; None for nothing.
        files: tars, plain or compressed, bottom first.
        store: takes the layers.
        platform: of an image without a base.
        created: as configs have it.

    Raises:
        UsageError: a file cannot be read.
        InvalidDocument: it is no tar.
    """
    layers = [layer_of_file(file, store) for file in files]
    by = f"imagesmith append {' '.join(files)}"

    def change(manifest: Manifest, config: bytes) -> tuple[Manifest, bytes]:
        return appended(manifest, config, layers, by, created)

    if base is not None:
        return edit_image(base, base.root(), store.blobs, change)
    manifest, config = change(*scratch(platform))
    edited = Edited("scratch", store.blobs)
    edited.add(config)
    edited.add(manifest.raw)
    edited.set_root(manifest.descriptor())
    return edited


def rebase_image(
    name: str, opener: Opener, stack: ExitStack, store: Store, *, platform: Platform, old: str, new: str
) -> Edited:
    """An image's own layers on another base.

    Args:
        name: the image.
        opener: opens it and its bases.
        stack: closes them when the result has been copied.
        store: where new documents are.
        platform: of indexes.
        old: what it was made on; empty for what its annotations say.
        new: what it is to be on; empty for what the name of the old one stands for now.

    Raises:
        NotFound: it does not say what it was made on, or was not made on that.
    """

    def image(text: str) -> tuple[ImageSource, Manifest, bytes]:
        source = stack.enter_context(opener(text))
        manifest = chosen(source, source.root(), platform)
        return source, manifest, source.document(manifest.config)

    source, manifest, config = image(name)
    old_name, new_name = _bases(manifest, old, new)
    below, above = image(old_name), image(new_name)
    notes = {_BASE_NAME: new_name, _BASE_DIGEST: str(above[1].digest)}
    made, raw = rebased((manifest, config), below[1:], above[1:], notes)
    edited = Edited(name, store.blobs)
    edited.rest(source)
    edited.outdated += attested([document_of(source, source.root())], manifest.digest)
    for d in above[1].layers:
        edited.found_at(d.digest, above[0])
    edited.add(raw)
    edited.add(made.raw)
    edited.set_root(made.descriptor())
    return edited


def _bases(manifest: Manifest, old: str, new: str) -> tuple[str, str]:
    """The names of the old and the new base."""
    name, digest = manifest.annotations.get(_BASE_NAME, ""), manifest.annotations.get(_BASE_DIGEST, "")
    new = new or name
    old = old or (f"{ImageRef.parse(name).name}@{digest}" if name and digest else "")
    if not old or not new:
        raise NotFound("the image does not say what it was made on", hint="give --old-base and --new-base")
    return old, new


def edit_index(
    name: str,
    index: ImageSource | None,
    images: Sequence[ImageSource],
    store: Store,
    *,
    platform: Platform | None = None,
    annotations: Mapping[str, str] | None = None,
    digests: Sequence[Digest] = (),
    platforms: Sequence[Platform] = (),
    docker: bool = False,
) -> Edited:
    """An index of images, made anew or of one that is there.

    Args:
        name: what it is called.
        index: the one that is changed; None to make one.
        images: what is put into it.
        store: where new documents are.
        platform: to list a single image under.
        annotations: of the index; an empty value takes one away.
        digests, platforms: what is taken out of it.
        docker: a new one is of Docker's type.

    Raises:
        UsageError: what is to be changed is a single image.
        NotFound: something that is to be taken out is not there.
    """
    parts: list[tuple[ImageSource, list[Descriptor]]] = []
    notes = dict(annotations or {})
    if index is not None:
        there = _index(index)
        parts.append((index, without(there, digests, platforms)))
        notes = {k: v for k, v in {**there.annotations, **notes}.items() if v}
        docker = there.media_type == mt.DOCKER_INDEX
    parts += [(image, entries_of(image, platform)) for image in images]
    return index_of(name, parts, store.blobs, annotations=notes, docker=docker)


def _index(source: ImageSource) -> Index:
    document = document_of(source, source.root())
    if not isinstance(document, Index):
        raise UsageError(
            f"{source.name} is a single image, not an index", hint="`imagesmith index create` makes one"
        )
    return document


def target_of(name: str, tag: str, digest: Digest, store: Store, *, push: bool = False) -> PlaceName:
    """Where a new image goes: to `tag`, or beside the one that it was made of.

    What was found in the store stays there under a bare name, unless it is to be pushed.

    Args:
        name: of the image that it was made of; empty for none.
        tag: where to; empty for its repository, by digest.
        digest: of the new image.
        store: where the image may have been found.
        push: it goes to a registry.

    Raises:
        UsageError: nothing says where to, or it is to be pushed to what is no registry.
    """
    source = place_at(name, store) if name else None
    here = source is not None and source.kind == "store"
    if tag:
        target = PlaceName.parse(tag)
        if push and target.kind != "registry":
            raise UsageError(f"--push: {tag} is in no registry")
        bare = target.kind == "registry" and not tag.startswith("docker://")
        return PlaceName(kind="store", image=target.image) if here and bare and not push else target
    if source is None or source.image is None or (here and not push):
        hint = "give --tag NEW for the store, with --push for its registry" if here else "give --tag TARGET"
        raise UsageError("the result needs a name", hint=hint)
    beside = ImageRef(source.image.registry, source.image.repository, None, digest)
    return PlaceName(kind="registry", image=beside)
