"""OCI layouts and docker archives of a finished image, as BuildKit's exporters write them.

The tar's members are in BuildKit's order with its modes and no times, so the same image makes the same tar:
`blobs/`, `blobs/sha256/`, blobs sorted by digest, `index.json`, (`manifest.json`,) `oci-layout`.
Spec: OCI image-spec 1.1, image-layout.md; Docker's image archive format.
Trust: the destination is the user's own word; an index that is there already comes through the strict door.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from imagesmith.errors import StoreError, UsageError, cannot_write
from imagesmith.fs.entry import Entry
from imagesmith.layer.tarwrite import header
from imagesmith.oci.codec import dumps, parse_object
from imagesmith.oci.digest import Digest
from imagesmith.oci.mediatype import OCI_INDEX
from imagesmith.oci.model import Descriptor, Index, Manifest, parse_document
from imagesmith.oci.names import ImageRef
from imagesmith.store.blobs import BlobStore
from imagesmith.transports.layout import LAYOUT, NAME, REF, alone, put_file

__all__ = ["layout_index", "reachable", "write_docker_archive", "write_layout_dir", "write_layout_tar"]

_CHUNK = 1 << 20


def reachable(root: Descriptor, blobs: BlobStore) -> list[Digest]:
    """The digests of a manifest or index and of all it names, each once."""
    seen: dict[Digest, None] = {}

    def visit(d: Descriptor) -> None:
        if d.digest in seen:
            return
        seen[d.digest] = None
        document = parse_document(blobs.read(d.digest), d.media_type)
        if isinstance(document, Index):
            for child in document.manifests:
                visit(child)
        else:
            seen.update(dict.fromkeys([document.config.digest, *(layer.digest for layer in document.layers)]))

    visit(root)
    return list(seen)


def layout_index(root: Descriptor, names: Sequence[ImageRef], created: str) -> bytes:
    """The index.json of an export: an entry a name, or one without a name."""
    entries = []
    for name in names or (None,):
        annotations = {"org.opencontainers.image.created": created}
        if name is not None:
            annotations[NAME] = str(name)
            annotations[REF] = name.tag or "latest"
        entry = root.to_json()
        entry["annotations"] = dict(sorted({**root.annotations, **annotations}.items()))
        order = ("mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType")
        entries.append({k: entry[k] for k in order if k in entry})
    return dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})


def _member(out: BinaryIO, name: str, mode: int, data: bytes) -> None:
    out.write(header(Entry(name, "f", mode, size=len(data))))
    out.write(data + bytes(-len(data) % 512))


def _blobs(out: BinaryIO, digests: Iterable[Digest], blobs: BlobStore) -> None:
    out.write(header(Entry("blobs", "d", 0o755)))
    out.write(header(Entry("blobs/sha256", "d", 0o755)))
    for digest in sorted(digests):
        size = blobs.size(digest)
        out.write(header(Entry(f"blobs/{digest.algorithm}/{digest.hex}", "f", 0o444, size=size)))
        with blobs.open(digest) as f:
            shutil.copyfileobj(f, out, _CHUNK)
        out.write(bytes(-size % 512))


def write_layout_tar(
    out: BinaryIO, root: Descriptor, blobs: BlobStore, names: Sequence[ImageRef], created: str
) -> None:
    """Write an OCI layout as a tar."""
    _blobs(out, reachable(root, blobs), blobs)
    _member(out, "index.json", 0o644, layout_index(root, names, created))
    _member(out, "oci-layout", 0o444, LAYOUT)
    out.write(bytes(1024))


def write_docker_archive(
    out: BinaryIO, root: Descriptor, blobs: BlobStore, names: Sequence[ImageRef], created: str
) -> None:
    """Write an archive that `docker load` reads: a layout with a manifest.json beside it.

    Raises:
        UsageError: the image is an index of several platforms.
    """
    document = parse_document(blobs.read(root.digest), root.media_type)
    if not isinstance(document, Manifest):
        raise UsageError("docker exporter does not currently support exporting manifest lists")
    entry = {
        "Config": f"blobs/sha256/{document.config.digest.hex}",
        "RepoTags": [n.familiar for n in names] or None,
        "Layers": [f"blobs/sha256/{d.digest.hex}" for d in document.layers],
    }
    _blobs(out, reachable(root, blobs), blobs)
    _member(out, "index.json", 0o644, layout_index(root, names, created))
    _member(out, "manifest.json", 0o644, dumps([entry]))
    _member(out, "oci-layout", 0o444, LAYOUT)
    out.write(bytes(1024))


def write_layout_dir(
    folder: Path, root: Descriptor, blobs: BlobStore, names: Sequence[ImageRef], created: str
) -> None:
    """Write an OCI layout as a folder; entries of other names in its index stay.

    Raises:
        ImagesmithError: the folder cannot be written.
        InvalidDocument: its index is damaged.
    """
    digests = reachable(root, blobs)
    fresh = json.loads(layout_index(root, names, created))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = BlobStore(folder)
        for digest in digests:
            if not there.has(digest):
                with blobs.open(digest) as f, there.writer(digest.algorithm) as out:
                    while data := f.read(_CHUNK):
                        out.write(data)
                    out.commit(digest)
        there.settle()
        with alone(folder):
            put_file(folder / "oci-layout", LAYOUT)
            put_file(folder / "index.json", _merged(folder / "index.json", fresh))
    except (OSError, StoreError) as e:
        raise cannot_write(e, folder) from e


def _merged(index: Path, fresh: dict[str, Any]) -> bytes:
    """An index.json with the entries that are there, but for those whose name, or lack of one, is taken."""
    if index.exists():
        names = {_title(m["annotations"]) for m in fresh["manifests"]}
        digests = {m["digest"] for m in fresh["manifests"]}
        old = [
            (m, _title(m.text_map("annotations")), m.need_text("digest"))
            for m in parse_object(index.read_bytes(), str(index)).objects("manifests")
        ]
        kept = [m.data for m, title, digest in old if title not in names and (title or digest not in digests)]
        fresh["manifests"] = [*kept, *fresh["manifests"]]
    return dumps(fresh)


def _title(annotations: Mapping[str, str]) -> str:
    return annotations.get(NAME) or annotations.get(REF) or ""
