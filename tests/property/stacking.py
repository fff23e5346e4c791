"""Stacks layers on a disk in every way there is, and tells what each shows; rows of JSON in and out.

It is a program, for mounts are made in a mount namespace of its own: `python -m tests.property.stacking DIR`.
"""

from __future__ import annotations

import io
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any, BinaryIO

from imagesmith.errors import UnsafeArchive
from imagesmith.fs.entry import Entry
from imagesmith.fs.jail import remove_tree
from imagesmith.fs.materialise import materialise
from imagesmith.fs.view import LayerIndex, View, flat
from imagesmith.layer.erofs import TAR_AT, NotRepresentable, write_erofs
from imagesmith.worker.sandbox import kernel as k
from imagesmith.worker.snapshot.mountapi import mount_overlay
from imagesmith.worker.snapshot.trees import hidden_layers

_OPTIONS = ("redirect_dir=off", "metacopy=off", "index=off", "volatile")
Shown = list[list[Any]]


class Bytes:
    """Content in memory, which is also at a place of a tar."""

    def __init__(self, data: bytes, offset: int) -> None:
        self.data, self.offset = data, offset

    def open(self) -> BinaryIO:
        """Open it."""
        return io.BytesIO(self.data)


def layer(rows: list[dict[str, Any]]) -> tuple[LayerIndex, bytes]:
    """A layer, and the bytes of its files one after the other."""
    entries, tar = [], b""
    for row in rows:
        data = row.pop("data", "").encode()
        e = Entry(**row)
        e.rdev = (e.rdev[0], e.rdev[1])
        if e.kind == "f":
            e.size, e.content = len(data), Bytes(data, len(tar))
            tar += data.ljust(512, b"\0")
        entries.append(e)
    return LayerIndex(entries), tar


def shown_by(view: View) -> Shown:
    """What a view shows."""
    out = []
    for e in view.walk():
        data = e.content.open().read().decode() if e.kind == "f" and e.content is not None else ""
        out.append(_row(e.path, e.kind, e.mode, e.uid, e.gid, e.mtime_ns, data or e.link * (e.kind == "l")))
    return sorted(out)


def shown_at(root: Path) -> Shown:
    """What a folder shows."""
    out = []
    for folder, names, files in os.walk(root):
        for name in names + files:
            path = os.path.join(folder, name)
            try:
                st = os.lstat(path)
            except FileNotFoundError:  # overlayfs lists a deletion in a folder that only one layer has
                continue
            e = Entry.from_stat(os.path.relpath(path, root), st)
            assert e is not None
            text = Path(path).read_text() if stat.S_ISREG(st.st_mode) else ""
            text = os.readlink(path) if stat.S_ISLNK(st.st_mode) else text
            out.append(_row(e.path, e.kind, e.mode, e.uid, e.gid, e.mtime_ns, text))
    return sorted(out)


def _row(path: str, kind: str, mode: int, uid: int, gid: int, mtime_ns: int, text: str) -> list[Any]:
    return [path, kind, oct(mode) if kind != "l" else "", uid, gid, mtime_ns, text]


def stacked(base: Path, layers: list[LayerIndex], tars: list[bytes], *, mounted: bool) -> Shown:
    """What an overlay of extracted layers, or of mounted ones, shows."""
    lowers = []
    try:
        for n, index in enumerate(layers):
            if n < hidden_layers(View(layers)):
                continue
            lower = base / f"lower{n}"
            lower.mkdir()
            lowers.append(lower)
            if mounted and index.stands_alone and _mount(base / f"image{n}", index, tars[n], lower):
                continue
            below = View(layers[: n + 1])
            materialise(index.placed(), lower, form="overlay", below=below.get)
        for name in ("upper", "work", "root"):
            (base / name).mkdir()
        mount_overlay(lowers[::-1], base / "upper", base / "work", base / "root", _OPTIONS)
        try:
            return shown_at(base / "root")
        finally:
            k.umount(str(base / "root"), k.MNT_DETACH)
    finally:
        for lower in lowers:
            if os.path.ismount(lower):
                k.umount(str(lower), k.MNT_DETACH)


def _mount(file: Path, index: LayerIndex, tar: bytes, at: Path) -> bool:
    with file.open("w+b") as f:
        f.seek(TAR_AT)
        f.write(tar)
        try:
            write_erofs(index, f, len(tar), os.urandom(16))
        except NotRepresentable:
            return False
    k.mount(str(file), str(at), "erofs", k.MS_RDONLY)
    return True


def main() -> None:
    """Answer each row of layers."""
    if os.geteuid() == 0:
        k.unshare(k.CLONE_NEWNS)
        k.mount(None, "/", flags=k.MS_REC | k.MS_PRIVATE)
    for line in sys.stdin:
        base = Path(sys.argv[1]) / "case"
        base.mkdir()
        answer: dict[str, Any] = {}
        try:
            layers, tars = [], []
            for rows in json.loads(line):
                index, tar = layer(rows)
                layers.append(index)
                tars.append(tar)
            view = View(layers)
            answer["view"] = shown_by(view)
            for name in ("flat", "merged"):
                (base / name).mkdir()
            materialise(flat(view), base / "flat")
            answer["flat"] = shown_at(base / "flat")
            for n, index in enumerate(layers):
                materialise(index.placed(), base / "merged", below=View(layers[: n + 1]).get)
            answer["merged"] = shown_at(base / "merged")
            for name in ("overlay", "erofs"):
                (base / name).mkdir()
                answer[name] = stacked(base / name, layers, tars, mounted=name == "erofs")
        except UnsafeArchive as e:
            answer = {"refused": e.message}
        except Exception as e:
            answer = {"failed": repr(e)}
        remove_tree(base)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
