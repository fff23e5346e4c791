"""Images for tests of transfers: small, made on the spot, the same on every machine."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping

from imagesmith.oci import mediatype as mt
from imagesmith.oci.codec import dumps
from imagesmith.oci.digest import digest_bytes
from imagesmith.oci.model import Descriptor, Index, Manifest
from imagesmith.oci.names import ImageRef, Platform
from imagesmith.store.store import Store

__all__ = ["layer_tar", "make_image", "make_index"]


def layer_tar(files: Mapping[str, bytes]) -> bytes:
    """A tar with these files; a name that ends with a slash is a directory."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if name.endswith("/"):
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def make_image(
    store: Store,
    name: str = "",
    layers: tuple[Mapping[str, bytes], ...] = ({"a": b"one"}, {"b": b"two" * 1000}),
    architecture: str = "amd64",
) -> Descriptor:
    """An image in the store, named if a name is given."""
    tars = [layer_tar(files) for files in layers]
    blobs = [gzip.compress(tar, mtime=0) for tar in tars]
    config = dumps(
        {
            "architecture": architecture,
            "config": {"Env": ["A=b"], "Cmd": ["/a"]},
            "history": [{"created_by": f"layer {n}"} for n in range(len(tars))],
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [str(digest_bytes(t)) for t in tars]},
        }
    )
    for blob in (config, *blobs):
        store.blobs.put(blob)
    manifest = Manifest.build(
        Descriptor(media_type=mt.OCI_CONFIG, digest=digest_bytes(config), size=len(config)),
        [Descriptor(media_type=mt.OCI_LAYER_GZIP, digest=digest_bytes(b), size=len(b)) for b in blobs],
    )
    store.blobs.put(manifest.raw)
    d = manifest.descriptor(Platform("linux", architecture))
    if name:
        store.name(ImageRef.parse(name), d)
    return d


def make_index(store: Store, name: str = "") -> Descriptor:
    """An index of two images in the store."""
    index = Index.build([make_image(store), make_image(store, layers=({"c": b"arm"},), architecture="arm64")])
    store.blobs.put(index.raw)
    if name:
        store.name(ImageRef.parse(name), index.descriptor())
    return index.descriptor()
