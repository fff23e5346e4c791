"""Runs snapshotters in a process of its own, which enters namespaces; a job as JSON in, what they did out.

It is a program, not a module of tests: `python -m tests.worker.snapshot.driver PLACE KIND STORE < job`.
"""

from __future__ import annotations

import base64
import ctypes
import io
import json
import os
import stat
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO

from imagesmith.concurrency import Cancel
from imagesmith.fs.entry import Entry
from imagesmith.fs.view import View
from imagesmith.interfaces import Place
from imagesmith.layer.codecs import Codec
from imagesmith.layer.diff import layer_entries
from imagesmith.solve.layerwriter import LayerWriter
from imagesmith.store.store import Store
from imagesmith.worker.sandbox import kernel as k
from imagesmith.worker.sandbox import world
from imagesmith.worker.snapshot.choose import why_not_files, why_not_overlay
from imagesmith.worker.snapshot.copying import CopyingSnapshotter
from imagesmith.worker.snapshot.overlay import OverlaySnapshotter
from imagesmith.worker.snapshot.ownership import Owners, table_of
from imagesmith.worker.snapshot.work import WorkFolder


class Bytes:
    """Content in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def open(self) -> BinaryIO:
        """Open it."""
        return io.BytesIO(self.data)


def entry(row: dict[str, Any]) -> Entry:
    """An entry of a job."""
    data = row.pop("data", "").encode()
    mode = row.pop("mode", 0o755 if row["kind"] == "d" else 0o777 if row["kind"] == "l" else 0o644)
    capability = base64.b64decode(row.pop("capability", "")) or None
    e = Entry(row.pop("path"), row.pop("kind"), mode, mtime_ns=row.pop("mtime_ns", 10**18), **row)
    if e.kind == "f":
        e.size, e.content = len(data), Bytes(data) if data else None
    e.rdev = (e.rdev[0], e.rdev[1])
    e.capability = capability
    return e


def enter(ids: str) -> Place:
    """Enter the place of a test.

    Raises:
        OSError: this machine does not let it.
    """
    if ids == "own":
        return Place(ids="own", mounts=False)
    if ids == "single":
        uid, gid = os.geteuid(), os.getegid()
        k.unshare(k.CLONE_NEWUSER)
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            Path(f"/proc/self/{name}").write_text(text)
        k.unshare(k.CLONE_NEWNS)
        k.mount(None, "/", flags=k.MS_REC | k.MS_PRIVATE)
        return Place(ids="single", mounts=True)
    place = world.enter().place
    if place.ids != ids or not place.mounts:
        raise OSError(f"this is no place of kind {ids}")
    return place


def chown(owners: Owners, root: Path, path: str, uid: int, gid: int) -> None:
    """What the supervisor of one-id steps does for a step."""
    fd = os.open(root / path, os.O_PATH | os.O_NOFOLLOW)
    owners.chown(fd, path, uid, gid)
    os.close(fd)


def listing(root: Path) -> list[list[object]]:
    """Path, type and mode of all below a root."""
    out: list[list[object]] = []
    for path in sorted(root.rglob("*")):
        st = path.lstat()
        shown = stat.filemode(st.st_mode) if not path.is_symlink() else f"-> {path.readlink()}"
        out.append([str(path.relative_to(root)), shown, st.st_size if path.is_file() else 0])
    return out


def numbers(root: Path) -> list[list[object]]:
    """Path, type, names, device and number by stat(2), and number by readdir(3), of all below a root."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer, out, todo = ctypes.create_string_buffer(1 << 16), [], [root]
    while todo:
        folder = todo.pop()
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        while (size := libc.syscall(217 if os.uname().machine == "x86_64" else 61, fd, buffer, 1 << 16)) > 0:
            at = 0
            while at < size:
                number, length = struct.unpack_from("=Q8xH", buffer.raw, at)
                name = os.fsdecode(buffer.raw[at + 19 : at + length].partition(b"\0")[0])
                at += length
                if folder == root and name == "..":  # which leads out, here
                    continue
                st = os.lstat(folder / name)
                dots = name in (".", "..")
                if not dots and stat.S_ISDIR(st.st_mode):
                    todo.append(folder / name)
                shown = "" if dots else str((folder / name).relative_to(root))
                out.append([shown, stat.filemode(st.st_mode)[0], st.st_nlink, st.st_dev, st.st_ino, number])
        os.close(fd)
    return out


def step(snapshotter: Any, layers: list[Any], writer: LayerWriter, job: Any, how: dict[str, Any]) -> Any:
    """Run one step; returns what it was shown and the layer that it made."""
    store = snapshotter.store
    if how.get("renew") == len(layers):
        for diff_id in store.layers.diff_ids():
            store.layers.set_aside(diff_id)
    view = View([layer.index() for layer in layers])
    workspace = snapshotter.prepare(layers, view)
    how.setdefault("folders", []).append(str(workspace.root.parent))
    shown = listing(workspace.root) if how.get("show") else []
    owners = Owners(table_of(workspace.root))
    for order in job if isinstance(job, list) else [job]:
        if isinstance(order, str):
            subprocess.run(["/bin/sh", "-ec", order], cwd=workspace.root, check=True)
        elif snapshotter.place.ids in ("root", "subid"):
            os.chown(workspace.root / order[0], order[1], order[2], follow_symlinks=False)
        else:
            chown(owners, workspace.root, *order)
    if how.get("hang"):
        print("ready", flush=True)
        sys.stdin.read()
        import signal

        signal.pause()
    if how.get("fail"):
        workspace.discard()
        return shown, [], []
    told = numbers(workspace.root) if how.get("numbers") else []
    upper, opaques = workspace.changes()
    entries = layer_entries(upper, opaques, view)
    diff_id, descriptor = writer.write(entries, Cancel())
    workspace.commit(diff_id)
    layers.append(store.layers.layer(diff_id, descriptor.digest))
    rows = [
        [e.kind, oct(e.mode), e.uid, e.gid, e.size, e.path, e.link, list(e.rdev), bool(e.capability)]
        if e.kind != "w"
        else ["w", e.path]
        for e in entries
    ]
    return shown, rows, told


def main() -> None:
    """Read the job, do it, write what came of it."""
    ids, kind, root = sys.argv[1:]
    job = json.loads(sys.stdin.readline())
    try:
        place = enter(ids)
    except OSError as e:
        print(json.dumps({"lacking": str(e)}))
        return
    with Store(Path(root)) as store:
        if kind != "copying" and (reason := why_not_overlay(place, store)):
            print(json.dumps({"lacking": reason}))
            return
        writer = LayerWriter(store, Codec(), 1, None)
        layers = []
        for rows in job["layers"]:
            diff_id, descriptor = writer.write([entry(r) for r in rows], Cancel())
            layers.append(store.layers.layer(diff_id, descriptor.digest))
        work = WorkFolder(store.work)
        files = kind != "extracting" and not why_not_files(place, store)
        snapshotter = (
            CopyingSnapshotter(place, store, work)
            if kind == "copying"
            else OverlaySnapshotter(place, store, work, files=files)
        )
        beside = snapshotter.prepare([], View([])) if job.get("beside") else None
        done = [step(snapshotter, layers, writer, s, job) for s in job["steps"]]
        if beside is not None:
            beside.discard()
        snapshotter.close()
        left = sorted(p.name for p in store.work.iterdir())
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if root in line]
    print(
        json.dumps(
            {
                "shown": [shown for shown, _, _ in done],
                "layers": [rows for _, rows, _ in done],
                "numbers": [told for _, _, told in done],
                "diff_ids": [str(layer.diff_id) for layer in layers],
                "folders": job["folders"],
                "left": left,
                "mounts": mounts,
            }
        )
    )


if __name__ == "__main__":
    main()
