"""What `docker save` wrote in its own form: an image of it is brought into the store.

Why: its layers are plain tars, and registries and manifests want them compressed; all else then works with it
as with any image.
Spec: Docker's image archive format (manifest.json).
Trust: archives come from anywhere: see files.py; layers are checked against the config's diff_ids.
Threads: any.
"""

from __future__ import annotations

from imagesmith.errors import DigestMismatch, InvalidDocument, NotFound
from imagesmith.oci import mediatype as mt
from imagesmith.oci.codec import Object, parse_json
from imagesmith.oci.config import ImageConfig
from imagesmith.oci.digest import Digest, digest_bytes
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.oci.names import ImageRef, Platform, choose_platform
from imagesmith.store.store import Store
from imagesmith.transports.files import Files
from imagesmith.transports.layerfile import bring_layer

__all__ = ["docker_image", "docker_names"]

_MOST_JSON_BYTES = 16 << 20


def _docker_rows(files: Files) -> list[Object]:
    rows = parse_json(files.read("manifest.json", _MOST_JSON_BYTES), f"{files.name}: manifest.json")
    if not isinstance(rows, list) or not all(isinstance(r, dict) for r in rows):
        raise InvalidDocument(f"{files.name}: manifest.json must be a list of images")
    return [Object(r, f"{files.name}: manifest.json[{n}]") for n, r in enumerate(rows)]


def docker_names(files: Files) -> list[tuple[str, ...]]:
    """The names of each image of a docker archive."""
    return [row.texts("RepoTags") or () for row in _docker_rows(files)]


def docker_image(files: Files, ref: str, store: Store, platform: Platform | None = None) -> Descriptor:
    """Bring an image of a docker archive into the store, its layers compressed; return its manifest.

    Args:
        files: the archive.
        ref: its name there, `@N` for the Nth image, or empty for the only one.
        store: takes blobs and manifest; nothing is named.
        platform: what it must be for.

    Raises:
        NotFound: no such image, or for another platform.
        DigestMismatch: a layer is not what the config says.
    """
    row = _docker_row(files, ref)
    raw = files.read(row.need_text("Config"), _MOST_JSON_BYTES)
    config = ImageConfig.parse(raw)
    if platform is not None and choose_platform(platform, [config.platform]) is None:
        raise NotFound(f"{row.path}: the image is for {config.platform}, not for {platform}")
    names = row.texts("Layers") or ()
    if len(names) != len(config.diff_ids):
        raise InvalidDocument(f"{row.path}: {len(names)} layers but {len(config.diff_ids)} diff_ids")
    layers = [_layer(files, n, diff_id, store) for n, diff_id in zip(names, config.diff_ids, strict=True)]
    manifest = Manifest.build(
        Descriptor(media_type=mt.OCI_CONFIG, digest=digest_bytes(raw), size=len(raw)), layers
    )
    store.blobs.put(raw)
    store.blobs.put(manifest.raw)
    return manifest.descriptor(config.platform)


def _docker_row(files: Files, ref: str) -> Object:
    rows = _docker_rows(files)
    if ref.startswith("@") and ref[1:].isdigit():
        if int(ref[1:]) < len(rows):
            return rows[int(ref[1:])]
    elif ref:
        wanted = str(ImageRef.parse(ref))
        for row in rows:
            if any(str(ImageRef.parse(t)) == wanted for t in row.texts("RepoTags") or ()):
                return row
    elif len(rows) == 1:
        return rows[0]
    have = ", ".join(t for row in rows for t in row.texts("RepoTags") or ()) or f"{len(rows)} without names"
    what = f"no image {ref}" if ref else f"{len(rows)} images; name one"
    raise NotFound(f"{files.name}: {what}", hint=f"it has {have}")


def _layer(files: Files, name: str, diff_id: Digest, store: Store) -> Descriptor:
    def check(found: Digest) -> None:
        if found != diff_id:
            raise DigestMismatch(f"{files.name}: {name}: its diff_id is {found}, not {diff_id}")

    return bring_layer(lambda: files.pieces(name), store, check)[1]
