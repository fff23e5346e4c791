"""Layers put on top (append), merged into one (flatten), or moved onto another base (rebase).

Spec: OCI image-spec 1.1: layer.md, config.md (history, diff_ids).
Trust: layers from files and registries are read by layer/tarread.py; what is merged goes through views only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imagesmith.errors import InvalidDocument, NotFound, UnsafeArchive, UsageError
from imagesmith.fs.view import View, flat
from imagesmith.image.edited import layers_of
from imagesmith.image.mutate import rebuilt
from imagesmith.interfaces import ImageSource
from imagesmith.layer.decompress import decompressed, sniff
from imagesmith.layer.tarread import Limits, read_archive
from imagesmith.layer.tarwrite import write_layer
from imagesmith.oci import mediatype as mt
from imagesmith.oci.codec import Object, dumps
from imagesmith.oci.config import config_object
from imagesmith.oci.digest import Digest, digest_bytes
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.oci.names import Platform
from imagesmith.quotas import threads
from imagesmith.store.store import Store
from imagesmith.transports.files import FolderFiles
from imagesmith.transports.layerfile import bring_layer, new_layer
from imagesmith.transports.stored import write_blob

__all__ = ["appended", "flattened", "layer_of_file", "rebased", "scratch", "view_of"]

Layer = tuple[Digest, Descriptor]


def scratch(platform: Platform) -> tuple[Manifest, bytes]:
    """An image without layers."""
    config = dumps(
        {
            **dict(sorted(platform.to_json().items())),
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": []},
        }
    )
    d = Descriptor(media_type=mt.OCI_CONFIG, digest=digest_bytes(config), size=len(config))
    return Manifest.build(d, []), config


def layer_of_file(file: str, store: Store) -> Layer:
    """Bring a tar into the store as a layer: compressed ones as they are, a plain one as gzip.

    Raises:
        UsageError: it cannot be read.
        InvalidDocument: it is no tar, or compressed in a way that layers are not.
    """
    path = Path(file).absolute()
    try:
        with path.open("rb") as source:
            kind = sniff(source.read(6))
    except OSError as e:
        raise UsageError(f"cannot read {file}: {e.strerror}") from e
    if kind not in ("", "gzip", "zstd"):
        raise InvalidDocument(f"{file}: layers are not compressed with {kind}", hint="gzip, zstd or plain")
    _check_tar(file, path, kind)
    return bring_layer(lambda: FolderFiles(path.parent).pieces(path.name), store)


def _check_tar(file: str, path: Path, kind: str) -> None:
    """Read all of a tar: what is stored as a layer without one would fail wherever it is unpacked."""
    try:
        with path.open("rb") as source:
            read = sum(1 for _ in read_archive(decompressed(source, kind), Limits(), sparse=True))
        if not read and not path.stat().st_size:
            raise InvalidDocument("it is empty")
    except (InvalidDocument, UnsafeArchive) as e:
        raise InvalidDocument(f"{file}: not a readable tar: {e.message}") from e


def _of_family(d: Descriptor, manifest: Manifest) -> Descriptor:
    """A layer in the media types that a manifest uses."""
    family = mt.to_docker if manifest.media_type == mt.DOCKER_MANIFEST else mt.to_oci
    return Descriptor(media_type=family(d.media_type), digest=d.digest, size=d.size, urls=d.urls)


def appended(
    manifest: Manifest, config: bytes, layers: Sequence[Layer], created_by: str, created: str
) -> tuple[Manifest, bytes]:
    """An image with layers on top, each with a line of history."""
    found = config_object(config)
    document = found.data
    _rootfs(found)["diff_ids"] += [str(diff_id) for diff_id, _ in layers]
    document["history"] = [
        *_history(document),
        *({"created": created, "created_by": created_by} for _ in layers),
    ]
    document["created"] = created
    raw = dumps(document)
    return rebuilt(
        manifest, raw, layers=[*manifest.layers, *(_of_family(d, manifest) for _, d in layers)]
    ), raw


def view_of(source: ImageSource, manifest: Manifest, store: Store, *, contents: bool = False) -> View:
    """The file system of an image; its layers are brought into the store where they are missing.

    With `contents` files will be read: a layer that is new is unpacked at once, not when the first one is.
    """
    indexes = []
    for diff_id, d in layers_of(source, manifest):
        if not store.blobs.has(d.digest):
            write_blob(store.blobs, d, source, lambda _current: None)
        layer = store.layers.layer(diff_id, d.digest)
        if contents:
            layer.unpack("tar")
        indexes.append(layer.index())
    return View(indexes)


def flattened(
    source: ImageSource, manifest: Manifest, config: bytes, store: Store, created: str
) -> tuple[Manifest, bytes]:
    """An image with the same files in one layer."""
    view = view_of(source, manifest, store)
    diff_id, layer = new_layer(lambda sink: write_layer(flat(view), sink), store, workers=threads())
    found = config_object(config)
    document = found.data
    _rootfs(found)["diff_ids"] = [str(diff_id)]
    document["history"] = [{"created": created, "created_by": f"imagesmith flatten {manifest.digest}"}]
    raw = dumps(document)
    return rebuilt(manifest, raw, layers=[_of_family(layer, manifest)]), raw


def rebased(
    image: tuple[Manifest, bytes],
    old: tuple[Manifest, bytes],
    new: tuple[Manifest, bytes],
    annotations: Mapping[str, str],
) -> tuple[Manifest, bytes]:
    """An image with the layers of its old base exchanged for those of a new one; its config stays.

    Args:
        image: the image's manifest and config.
        old: those of the base that it was made on.
        new: those of the base that it is to be on.
        annotations: of the new manifest, beside the image's own.

    Raises:
        NotFound: the image was not made on the old base.
    """
    configs = [config_object(c) for _, c in (image, old, new)]
    document, old_document, new_document = (o.data for o in configs)
    ids, old_ids, new_ids = (_rootfs(o)["diff_ids"] for o in configs)
    if ids[: len(old_ids)] != old_ids:
        raise NotFound("the image does not begin with the layers of the old base", hint="see --old-base")
    for key in ("os", "architecture"):
        if document.get(key) != new_document.get(key):
            raise UsageError(
                f"the new base is for {new_document.get(key)}, the image for {document.get(key)}"
            )
    manifest, own = image[0], image[0].layers[len(old_ids) :]
    _rootfs(configs[0])["diff_ids"] = [*new_ids, *ids[len(old_ids) :]]
    document["history"] = [*_history(new_document), *_history(document)[len(_history(old_document)) :]]
    raw = dumps(document)
    layers = [*(_of_family(d, manifest) for d in new[0].layers), *own]
    notes = {**manifest.annotations, **(annotations if manifest.media_type == mt.OCI_MANIFEST else {})}
    return rebuilt(manifest, raw, layers=layers, annotations=notes), raw


def _rootfs(o: Object) -> dict[str, Any]:
    found = o.data.setdefault("rootfs", {"type": "layers", "diff_ids": []})
    if not isinstance(found, dict) or not isinstance(found.setdefault("diff_ids", []), list):
        raise InvalidDocument(f"{o.path}: rootfs.diff_ids must be a list")
    return found


def _history(document: dict[str, Any]) -> list[Any]:
    found = document.get("history")
    return found if isinstance(found, list) else []
