"""An artifact becomes files and folders again, below one folder.

Why: each layer with a title is a file; one that oras or `artifact push` made of a folder is unpacked. A file
appears under its name when it is whole and its digest is right; a folder's tar is looked at first.
Spec: OCI image-spec 1.1, annotations.md (title); oras's annotations, see packing.py.
Trust: titles, tars and links in them are hostile. No name leads out of the folder, no link on the way is
followed, and none is made that leads out of the artifact's own folder.
Threads: one a layer.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from imagesmith.copying.packing import CONTENT_DIGEST, UNPACK
from imagesmith.errors import (
    DigestMismatch,
    InvalidDocument,
    NotAnImage,
    UnsafeArchive,
    UsageError,
    cannot_write,
)
from imagesmith.fs.atomic import whole_file
from imagesmith.fs.entry import Entry
from imagesmith.fs.jail import Jail
from imagesmith.fs.limits import check_path
from imagesmith.fs.materialise import materialise
from imagesmith.fs.view import LayerIndex
from imagesmith.image.artifact import TITLE
from imagesmith.interfaces import ImageSource
from imagesmith.layer.tarread import Limits, decompressed, read_archive
from imagesmith.oci.digest import Digest
from imagesmith.oci.model import Descriptor, Manifest
from imagesmith.store.disk import Spooled, spool
from imagesmith.store.store import Store
from imagesmith.transports.files import PieceFile
from imagesmith.values import frozen

__all__ = ["File", "files_in", "unpack"]

_AT_ONCE = 4
_LIMITS = Limits(entries=1_000_000)


@frozen(kw_only=True)
class File:
    """A file of an artifact, or a folder; `path` is below where it is pulled to."""

    path: str
    blob: Descriptor
    is_folder: bool = False


def files_in(manifest: Manifest, name: str = "") -> list[File]:
    """The files and folders of an artifact: its layers with a title.

    Raises:
        UnsafeArchive: a title leads elsewhere.
        InvalidDocument: two layers have one title.
    """
    found: dict[str, File] = {}
    for d in manifest.layers:
        if not (title := d.annotations.get(TITLE, "")):
            continue
        path = _safe(title, name)
        if path in found:
            raise InvalidDocument(f"{name}: two files are called {path!r}")
        found[path] = File(path=path, blob=d, is_folder=d.annotations.get(UNPACK) == "true")
    for path in found:
        above = (path[:n] for n, c in enumerate(path) if c == "/")
        if inside := next((a for a in above if a in found and not found[a].is_folder), ""):
            raise InvalidDocument(f"{name}: {path!r} is below the file {inside!r}")
    return list(found.values())


def _safe(title: str, name: str) -> str:
    parts = [p for p in title.split("/") if p not in ("", ".")]
    if title.startswith("/") or ".." in parts or not parts or "\0" in title:
        raise UnsafeArchive(f"{name}: a file called {title[:200]!r} would lie elsewhere; refused")
    path = "/".join(parts)
    check_path(path, f"{name}: ")
    return path


def unpack(
    source: ImageSource, manifest: Manifest, folder: Path, store: Store, *, keep: bool = False
) -> list[File]:
    """Write the files of an artifact below a folder, which is made; returns them in their order.

    Args:
        source: where its blobs are.
        manifest: the artifact's.
        folder: the one they are written below; links that are in it are not followed.
        store: has room for what is unpacked.
        keep: refuse to replace a file that is there.

    Raises:
        NotAnImage: it has no files, as images have none.
        UsageError: a file is there that is to be kept.
        UnsafeArchive: a name or a link leads elsewhere.
        DigestMismatch: a blob is not what the manifest says.
    """
    files = files_in(manifest, source.name)
    if not files:
        raise NotAnImage(
            f"{source.name}: nothing in it has a file's name",
            hint="`imagesmith export` writes the files of an image, `imagesmith blob get` a layer",
        )
    kept = [file.path for file in files if os.path.lexists(folder / file.path)] if keep else []
    if kept:
        raise UsageError(f"{folder / kept[0]}: is there, and is to be kept")
    from concurrent.futures import ThreadPoolExecutor

    def write(file: File) -> None:
        (_folder if file.is_folder else _file)(source, file, folder, store)

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="files") as pool:
            for _ in pool.map(write, files):
                pass
    except OSError as e:
        raise cannot_write(e, folder) from e
    return files


def _parent(jail: Jail, path: str) -> int:
    """A descriptor of the folder that a path is in, made where it is missing.

    Raises:
        UnsafeArchive: a link or a file is in the way.
    """
    folder = path.rpartition("/")[0]
    parts = folder.split("/") if folder else []
    for n in range(len(parts)):
        with contextlib.suppress(FileExistsError):
            os.mkdir(parts[n], dir_fd=jail.folder("/".join(parts[:n])))
        try:
            jail.folder("/".join(parts[: n + 1]))
        except OSError as e:
            if e.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            text = f"{'/'.join(parts[: n + 1])}: a link or a file, where {path!r} needs a folder"
            raise UnsafeArchive(text, hint="remove it, or pull to another folder") from e
    return jail.folder(folder)


def _file(source: ImageSource, file: File, folder: Path, store: Store) -> None:
    """Write a layer as it is."""
    del store
    with Jail(folder, links=False) as jail:
        at = os.dup(_parent(jail, file.path))
    name = Path(file.path.rpartition("/")[2])
    try:
        with whole_file(name, below=at) as out:
            for piece in source.pieces(file.blob):  # checks the digest at its end
                out.write(piece)
    except IsADirectoryError as e:
        raise UsageError(f"{folder / file.path}: is a folder, and a file is to be there") from e
    finally:
        os.close(at)


def _folder(source: ImageSource, file: File, folder: Path, store: Store) -> None:
    """Unpack a layer that is a folder."""
    wanted = file.blob.annotations.get(CONTENT_DIGEST, "")
    with spool(store.blobs.ingest, "unpack an artifact") as tar:
        pieces = source.pieces(file.blob)
        shutil.copyfileobj(decompressed(PieceFile(pieces)), tar, 1 << 20)
        for _ in pieces:  # what is behind the tar; the digest is checked at its end
            pass
        tar.flush()
        if wanted:
            _check(tar, Digest.parse(wanted), source.name, file.path)
        tar.seek(0)
        entries = LayerIndex(_entries(tar, file.path)).placed()
        with Jail(folder, links=False) as jail:
            _parent(jail, file.path)
        materialise(entries, folder, owners=False)


def _check(tar: BinaryIO, wanted: Digest, name: str, path: str) -> None:
    tar.seek(0)
    seen = hashlib.new(wanted.algorithm)
    while data := tar.read(1 << 20):
        seen.update(data)
    if seen.hexdigest() != wanted.hex:
        raise DigestMismatch(f"{name}: {path!r}: the tar in it is not {wanted}, as its annotation says")


def _entries(tar: BinaryIO, path: str) -> Iterator[Entry]:
    """What becomes files, all below the artifact's own folder."""
    size = os.fstat(tar.fileno()).st_size
    for e, offset in read_archive(tar, _LIMITS):
        if offset + e.size > size:
            raise UnsafeArchive(f"tar: unexpected EOF in {e.path[:200]!r}")
        _inside(e, path)
        e.mode &= 0o777
        if e.kind == "d":
            e.mode |= 0o700
        elif e.kind == "f" and e.size:
            e.content = Spooled(tar, offset)
        if e.kind in "dflh":
            yield e


def _inside(e: Entry, path: str) -> None:
    """Refuse what lies beside the folder, and links out of it.

    `..` of a symbolic link counts at its beginning alone: behind a name it would depend on another link.
    """
    at = "/" if e.path == path and e.kind == "d" else f"{e.path}/"
    if at != "/" and not e.path.startswith(f"{path}/"):
        raise UnsafeArchive(f"tar: {e.path[:200]!r} lies beside the folder {path!r}; refused")
    if e.kind == "h" and not e.link.startswith(f"{path}/"):
        raise UnsafeArchive(f"tar: {e.path[:200]!r} is a link to {e.link[:200]!r}, outside; refused")
    if e.kind == "l" and not _leads_inside(e.link, e.path.count("/") - path.count("/") - 1):
        raise UnsafeArchive(f"tar: {e.path[:200]!r} is a link to {e.link[:200]!r}, outside; refused")


def _leads_inside(link: str, depth: int) -> bool:
    """True if a link of a folder so far below the top stays below it."""
    if link.startswith("/"):
        return False
    parts: Sequence[str] = [p for p in link.split("/") if p not in ("", ".")]
    ups = next((n for n, p in enumerate(parts) if p != ".."), len(parts))
    return ups <= depth and ".." not in parts[ups:]
