"""What differs between the file systems of two images, each a folder in the layout of OCI.

The layers are applied in memory, in their order, by the rules of the image specification and without any code
of the builder. Of each path: kind, mode, owners, target of a link, numbers of a device, the first name of the
same file, extended attributes and the hash of its contents; times are not looked at.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
import tarfile
from pathlib import Path
from typing import IO, Any

#: What a path is, all but its contents; and the hash of those.
File = tuple[tuple[Any, ...], str]

_KINDS = {
    tarfile.REGTYPE: "file", tarfile.AREGTYPE: "file", tarfile.DIRTYPE: "folder", tarfile.SYMTYPE: "link",
    tarfile.CHRTYPE: "char", tarfile.BLKTYPE: "block", tarfile.FIFOTYPE: "fifo",
}  # fmt: skip


@functools.lru_cache(maxsize=2)
def files_of(layout: Path) -> dict[str, File]:
    """The paths of the image's file system."""
    manifest = _document(layout, json.loads((layout / "index.json").read_text())["manifests"][0])
    while "manifests" in manifest:
        manifest = _document(layout, manifest["manifests"][0])
    files: dict[str, File] = {}
    for layer in manifest["layers"]:
        with _blob(layout, layer).open("rb") as raw:
            packed = layer["mediaType"].endswith("gzip")
            _apply(files, gzip.open(raw) if packed else raw)
    first: dict[int, str] = {}  # hard links are one object here
    names = {path: first.setdefault(id(file), path) for path, file in sorted(files.items())}
    return {path: ((*facts, f"={names[path]}"), content) for path, (facts, content) in files.items()}


def config_of(layout: Path) -> dict[str, Any]:
    """What the image's config says of how it runs."""
    manifest = _document(layout, json.loads((layout / "index.json").read_text())["manifests"][0])
    while "manifests" in manifest:
        manifest = _document(layout, manifest["manifests"][0])
    runtime: dict[str, Any] = _document(layout, manifest["config"])["config"]
    return runtime


def _blob(layout: Path, descriptor: dict[str, Any]) -> Path:
    return layout / "blobs" / "sha256" / descriptor["digest"].removeprefix("sha256:")


def _document(layout: Path, descriptor: dict[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(_blob(layout, descriptor).read_bytes())
    return document


def _apply(files: dict[str, File], stream: IO[bytes]) -> None:
    new: dict[str, File] = {}
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            path = member.name.strip("/").removeprefix("./")
            folder, _, name = path.rpartition("/")
            if name == ".wh..wh..opq":
                _remove(files, folder, itself=False)
            elif name.startswith(".wh."):
                _remove(files, f"{folder}/{name[4:]}".lstrip("/"), itself=True)
            elif member.islnk():
                target = member.linkname.strip("/").removeprefix("./")
                new[path] = new[target] if target in new else files[target]
            else:
                new[path] = _file(archive, member)
    for path, file in new.items():
        if file[0][0] != "folder":
            _remove(files, path, itself=True)
        files[path] = file


def _remove(files: dict[str, File], path: str, *, itself: bool) -> None:
    if itself and files.pop(path, (("file",), ""))[0][0] != "folder":
        return
    for below in [p for p in files if p.startswith(f"{path}/")]:
        del files[below]


def _file(archive: tarfile.TarFile, member: tarfile.TarInfo) -> File:
    kind = _KINDS[member.type]
    content = archive.extractfile(member) if kind == "file" else None
    attributes = sorted((k, v) for k, v in member.pax_headers.items() if k.startswith("SCHILY.xattr."))
    said = [f"{k[13:]}={v.encode(errors='surrogateescape').hex()}" for k, v in attributes]
    number = f"{member.devmajor}:{member.devminor}" if kind in ("char", "block") else ""
    facts = (kind, f"{member.mode & 0o7777:04o}", member.uid, member.gid, member.linkname, number, *said)
    return facts, hashlib.file_digest(content, "sha256").hexdigest()[:16] if content else ""


def differences(first: dict[str, File], second: dict[str, File]) -> dict[str, str]:
    """Paths of which the two say different things, and what each says."""
    found = {}
    for path in sorted(first.keys() | second.keys()):
        one, other = first.get(path), second.get(path)
        if one is None or other is None:
            found[path] = "only there" if one is None else "only here"
        elif one[0] != other[0]:
            found[path] = " ".join(map(str, one[0])) + " -> " + " ".join(map(str, other[0]))
        elif one[1] != other[1]:
            found[path] = "contents"
    return found
