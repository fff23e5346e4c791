"""Local folders as artifacts: a client packs a context once, and every worker unpacks it.

Why a layer in the registry: workers need no folder in common with the client, and what the registry has
already is not sent again. A folder is packed as its ignore file leaves it, along with its Dockerfile and the
ignore files themselves, by which a worker leaves out the very same when it builds. No owner, no clock and no
order of the machine's is in the bytes: the same files have the same digest, and so have the units.
Trust: a folder is anybody's: links are packed as links, files are opened through none. An artifact is
another's: it has one layer, of at most MOST_BYTES, and its files stay below the folder (context/archive.py).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from imagesmith.context.archive import unpack_context
from imagesmith.context.ignore import read_ignore
from imagesmith.context.local import LocalTree
from imagesmith.errors import InvalidDocument, LimitExceeded
from imagesmith.fleet.artifacts import layers_in, put_artifact
from imagesmith.fs.entry import Entry
from imagesmith.image.edited import Edited
from imagesmith.layer.codecs import Codec
from imagesmith.layer.stream import LayerStream
from imagesmith.layer.tarwrite import write_layer
from imagesmith.oci.model import Descriptor
from imagesmith.oci.names import ImageRef
from imagesmith.store.disk import on_disk_fault
from imagesmith.transports.stored import write_blob

if TYPE_CHECKING:
    from imagesmith.store.store import Store
    from imagesmith.transports.transfer import Session

__all__ = ["ARTIFACT_TYPE", "MOST_BYTES", "bring_folder", "packed", "send_folder"]

ARTIFACT_TYPE = "application/vnd.imagesmith.context.v1"
#: A folder that travels is no larger, packed.
MOST_BYTES = 64 << 30
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_IGNORE = ".dockerignore"
#: What a Dockerfile may be called where nobody says it.
_DOCKERFILES = ("Dockerfile", "dockerfile", "Containerfile")


def packed(folder: Path, uses: Collection[str], store: Store) -> Descriptor:
    """Pack a folder into a blob of the store.

    Args:
        folder: the folder.
        uses: for whom: the names of Dockerfiles in it whose context it is, and the empty text where it is a
            named context. What all of them ignore by the same file is left out.
        store: where it goes.

    Raises:
        ContextError: the folder, or something in it, cannot be read.
    """
    ignoring = {f"{name}.dockerignore" for name in uses if os.path.lexists(folder / f"{name}.dockerignore")}
    one = ignoring.pop() if len(ignoring) == 1 and len(set(uses)) == 1 else ""
    own = (folder, one.removesuffix(_IGNORE)) if one else None
    ignore = None if ignoring else read_ignore(folder, own)[0]
    always = {_IGNORE, *_DOCKERFILES, *uses, *(f"{name}{_IGNORE}" for name in uses)} - {""}
    with (
        closing(LocalTree(folder, ignore)) as tree,
        closing(LocalTree(folder)) as whole,
        store.blobs.writer() as blob,
    ):
        stream = LayerStream(Codec.parse("gzip", ""), blob)
        try:
            write_layer(_entries(tree, whole, always), stream.write)
            done = stream.finish()
        except BaseException:
            stream.abort()
            raise
        blob.commit(done.digest, done.size)
    return Descriptor(media_type=_LAYER, digest=done.digest, size=done.size)


def _entries(tree: LocalTree, whole: LocalTree, always: set[str]) -> Iterator[Entry]:
    """What is packed, folders before what is in them."""
    seen: set[str] = set()
    for entry in tree.walk():
        seen.add(entry.path)
        yield entry
    for path in sorted(always - seen):
        wanted = whole.get(path)
        if wanted is None:
            continue
        parts = path.split("/")
        for depth in range(1, len(parts)):
            above = "/".join(parts[:depth])
            found = None if above in seen else whole.get(above)
            if found is not None:
                seen.add(above)
                yield found
        yield wanted


def send_folder(folder: Path, uses: Collection[str], repository: str, session: Session, store: Store) -> str:
    """Pack a folder, and push it by digest to a repository; returns its reference.

    Raises:
        ContextError: the folder, or something in it, cannot be read.
        RegistryError: the registry refused or failed.
    """
    layer = packed(folder, uses, store)
    out = Edited(ARTIFACT_TYPE, store.blobs)
    ref = ImageRef.parse(repository, default_tag=False)
    return str(put_artifact(out, [layer], ARTIFACT_TYPE, ref, session))


def bring_folder(ref: str, folder: Path, session: Session, store: Store) -> None:
    """Unpack a folder that was sent, below one that is not there yet.

    Raises:
        NotFound: there is no such artifact.
        InvalidDocument: it is something else.
        UnsafeArchive: it is damaged, or leads elsewhere.
    """
    source = session.repository(ImageRef.parse(ref))
    layers = layers_in(source, ARTIFACT_TYPE)
    if len(layers) != 1 or layers[0].media_type != _LAYER:
        raise InvalidDocument(f"{source.name}: a folder has one layer of the type {_LAYER}")
    layer = layers[0]
    if layer.size > MOST_BYTES:
        raise LimitExceeded(f"{source.name}: a folder of {layer.size} bytes is too large")
    if not store.blobs.has(layer.digest):
        write_blob(store.blobs, layer, source, lambda _current: None)
    try:
        with store.blobs.open(layer.digest) as packed_:
            unpack_context(packed_, folder)
    except BaseException:
        with on_disk_fault("remove what was unpacked", folder):
            shutil.rmtree(folder, ignore_errors=True)
        raise
