"""Snapshots as plain folders, where nothing can be mounted: layers extracted into one, changes by scanning.

Why: in an ordinary container chroot is all there is. What a step changed is told by comparing a scan before
it with one after it; layer/diff.py then decides as it does for an upper directory. The folder that a step
leaves is the one that the next step begins with, and the scan after a step is the scan before the next: after
what the layer does not hold was put back (times, attributes), or in a new folder where that cannot be done.
What counts as touched: inode number, mode, size, times, owner, device, number of links; ctime moves with
every change and cannot be set back. Names are compared, too, for a renamed directory moves no time below it.
A directory that was deleted and made again is told by its inode and its time of birth.
One thing differs from overlayfs: a write to one of several names of a file of a lower layer changes all.
Trust: what a step leaves is hostile: it is walked by descriptors and through no link, and no file is opened
but regular ones.
Threads: may be shared; each workspace belongs to one.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Literal

from imagesmith.errors import SandboxError, disk_fault
from imagesmith.fs.entry import Entry, sort_key
from imagesmith.fs.jail import Jail, remove_tree
from imagesmith.fs.materialise import materialise
from imagesmith.fs.table import Table
from imagesmith.fs.tree import Tree
from imagesmith.fs.view import LayerIndex, flat, parent_of
from imagesmith.interfaces import LayerTree, Place
from imagesmith.oci.digest import Digest
from imagesmith.store.store import Store
from imagesmith.values import field, record
from imagesmith.worker.snapshot.births import born_ns, keeps_ctime
from imagesmith.worker.snapshot.ownership import table_of
from imagesmith.worker.snapshot.ownertable import note_below
from imagesmith.worker.snapshot.settle import first_name, settle_entry
from imagesmith.worker.snapshot.trees import become_root, on_disk, owners_of, up_to
from imagesmith.worker.snapshot.upper import FileContent, read_capability
from imagesmith.worker.snapshot.work import WorkFolder

__all__ = ["CopyingSnapshotter", "CopyingWorkspace"]

#: What tells that a path was not touched, 56 bytes of it: a scan holds one for every path.
_MARK = struct.Struct("=QIQQqIIQI")
#: So much of a file's time (nanoseconds) is in a mark: it may be of any year.
_BITS = (1 << 64) - 1
#: CLOCK_REALTIME_COARSE, the one that file systems read; Python has no name for it.
_COARSE_CLOCK = 5


@record
class _Folder:
    """A root directory that nobody uses, the layers in it, and its scan.

    touched: what the step of the last layer touched, with the marks before it; empty once it is settled.
    """

    base: Path
    chain: tuple[Digest, ...]
    marks: dict[str, bytes]
    touched: dict[str, bytes | None] = field(default_factory=dict)


class CopyingSnapshotter:
    """Makes workspaces for one process."""

    def __init__(self, place: Place, store: Store, work: WorkFolder) -> None:
        """Use a work folder, which is closed with this."""
        self.place, self.store, self._work = place, store, work
        self._lock = threading.Lock()
        self._idle: list[_Folder] = []

    def close(self) -> None:
        """Delete the process's work folder."""
        with self._lock:
            self._idle.clear()
            self._work.close()

    def form(self) -> Literal["tar", "erofs"]:
        """See interfaces.Snapshotter."""
        return "tar"

    def prepare(self, layers: Sequence[LayerTree], view: Tree) -> CopyingWorkspace:
        """See interfaces.Snapshotter.

        Raises:
            SandboxError: the layers cannot be extracted.
        """
        chain = tuple(layer.diff_id for layer in layers)
        folder = self._take(chain)
        try:
            if folder is not None and folder.touched:
                folder = self._settled(folder, up_to(view, len(folder.chain)))
            if folder is None:
                folder = self._extract(chain, view)
            elif folder.chain != chain:
                self._add(folder, layers[len(folder.chain) :], chain, view)
            become_root(folder.base / "root", view, self.place)
            if self.place.ids != "root":
                note_below(table_of(folder.base / "root"), view)
            _wait_for_next_tick(folder.marks)
        except OSError as e:
            doing = f"copy {len(layers)} layers into a root file system"
            raise disk_fault(e, doing, self._work.path) or SandboxError(
                f"cannot {doing}: {e.strerror} ({e.filename})"
            ) from e
        return CopyingWorkspace(folder, self, view)

    def keep(self, folder: _Folder) -> None:
        """Take back what a step is done with, for the step that builds on it."""
        with self._lock:
            self._idle.append(folder)

    def _take(self, chain: tuple[Digest, ...]) -> _Folder | None:
        """The idle folder that has most of these layers, and no others."""
        with self._lock:
            fitting = [f for f in self._idle if f.chain and chain[: len(f.chain)] == f.chain]
            best = max(fitting, key=lambda f: len(f.chain), default=None)
            if best is not None:
                self._idle.remove(best)
            return best

    def _extract(self, chain: tuple[Digest, ...], view: Tree) -> _Folder:
        base = self._work.new()
        root = base / "root"
        root.mkdir()
        materialise(flat(view), root, **on_disk(self.place))
        return _Folder(base, chain, _scan(root))

    def _settled(self, folder: _Folder, view: Tree) -> _Folder | None:
        """A folder as its layers make it; None, and the folder is gone, where that takes a new one."""
        index = self.store.layers.layer(folder.chain[-1], None).index()
        with contextlib.suppress(OSError):  # a file that may not be touched
            if _settle(folder, index, view):
                return folder
        with contextlib.suppress(OSError):  # what is left goes with the work folder
            remove_tree(folder.base)
        return None

    def _add(
        self, folder: _Folder, layers: Sequence[LayerTree], chain: tuple[Digest, ...], view: Tree
    ) -> None:
        """Put further layers over what a folder has."""
        root = folder.base / "root"
        for n, layer in enumerate(layers, len(folder.chain) + 1):
            materialise(layer.placed(), root, below=up_to(view, n).get, **on_disk(self.place))
        folder.chain, folder.marks = chain, _scan(root)


def _mark(st: os.stat_result) -> bytes:
    links = 0 if stat.S_ISDIR(st.st_mode) else st.st_nlink
    return _MARK.pack(
        st.st_ino, st.st_mode, st.st_size, st.st_mtime_ns & _BITS, st.st_ctime_ns, st.st_uid, st.st_gid,
        st.st_rdev, links,
    )  # fmt: skip


def _scan(root: Path) -> dict[str, bytes]:
    """The mark of every path below a root."""
    marks: dict[str, bytes] = {}
    with Jail(root) as jail:
        todo = [""]
        while todo:
            folder = todo.pop()
            fd = jail.folder(folder)
            prefix = f"{folder}/" if folder else ""
            for name in os.listdir(fd):
                st = os.lstat(name, dir_fd=fd)
                marks[prefix + name] = _mark(st)
                if stat.S_ISDIR(st.st_mode):
                    todo.append(prefix + name)
    return marks


def _settle(folder: _Folder, layer: LayerIndex, view: Tree) -> bool:
    """Undo what a step did that its layer, the last of a folder, does not hold; False if that is not enough.

    Args:
        folder: as the step left it.
        layer: its last layer.
        view: its layers.
    """
    further = (layer.entries[path] for path in (*layer.further, *layer.one_as))
    names = Counter(first_name(layer, e) for e in further)  # beside the first one
    folders: list[Entry] = []
    with Jail(folder.base / "root") as jail:
        for path, was in folder.touched.items():
            e, mine = view.get(path), layer.entries.get(path)
            parent, _, name = path.rpartition("/")
            fd = jail.folder(parent)
            st = os.lstat(name, dir_fd=fd)
            if e is None:  # a socket
                return False
            if mine is None:
                if was is None or _MARK.unpack(was)[0] != st.st_ino:  # another file that is the same
                    return False
            elif mine.kind != "d" and st.st_nlink != 1 + names[first_name(layer, mine)]:
                return False
            settle_entry(fd, name, e, st)
            if e.kind == "d":
                folders.append(e)
        for e in folders:
            os.utime(jail.folder(e.path), ns=(e.mtime_ns, e.mtime_ns))
        for path in folder.touched:
            parent, _, name = path.rpartition("/")
            folder.marks[path] = _mark(os.lstat(name, dir_fd=jail.folder(parent)))
    folder.touched = {}
    return True


def _wait_for_next_tick(marks: dict[str, bytes]) -> None:
    """Wait until a change gets another ctime than the newest one in the scan: at most some milliseconds."""
    newest = max((_MARK.unpack(m)[4] for m in marks.values()), default=0)
    until = time.monotonic() + 0.1
    while time.clock_gettime_ns(_COARSE_CLOCK) <= newest and time.monotonic() < until:
        time.sleep(0.001)


class CopyingWorkspace:
    """A folder that a step changes; see interfaces.Workspace."""

    def __init__(self, folder: _Folder, snapshotter: CopyingSnapshotter, view: Tree) -> None:
        self._folder, self._snapshotter, self._view = folder, snapshotter, view
        self.root = folder.base / "root"
        self._began_ns = time.clock_gettime_ns(_COARSE_CLOCK)
        self._after: dict[str, bytes] = {}
        self._touched: list[str] = []
        self._jail: Jail | None = None
        self._done = False

    def changes(self) -> tuple[Table, set[str]]:
        """What an overlay's upper directory would hold: all that the step touched, and what is gone."""
        before, after = self._folder.marks, _scan(self.root)
        self._after, self._jail = after, Jail(self.root)
        touched = [p for p, mark in after.items() if before.get(p) != mark]
        if not keeps_ctime(self._jail.fd):
            touched = self._by_content(after, set(touched))
        self._touched = touched
        entries, opaques = self._entries(touched)
        for path in before:
            if path not in after and (not parent_of(path) or _is_dir(after.get(parent_of(path)))):
                entries[path] = Entry(path, "w")
        return entries, opaques

    def _entries(self, touched: list[str]) -> tuple[Table, set[str]]:
        """The entries of touched paths, and the directories among them that are new in place of others."""
        assert self._jail is not None
        jail, before = self._jail, self._folder.marks
        owners = owners_of(self.root, self._view, self._snapshotter.place)
        entries = Table(self._snapshotter.store.new_spool)
        opaques: set[str] = set()
        inodes: dict[int, str] = {}
        for path in sorted(touched, key=sort_key):
            parent, _, name = path.rpartition("/")
            fd = jail.folder(parent)
            st = os.lstat(name, dir_fd=fd)
            e = Entry.from_stat(path, st, os.readlink(name, dir_fd=fd) if stat.S_ISLNK(st.st_mode) else "")
            if e is None:
                continue
            if st.st_nlink > 1 and e.kind != "d":
                first = inodes.setdefault(st.st_ino, path)
                if first != path:
                    entries[path] = Entry(path, "h", e.mode, e.uid, e.gid, 0, e.mtime_ns, first)
                    continue
            if owners is not None:
                owners.apply(fd, name, e)
            if e.kind == "f":
                e.capability = read_capability(fd, name)
                e.content = FileContent(jail, path)
            elif e.kind == "d" and path in before and self._is_new(before[path], st, fd, name):
                opaques.add(path)
            entries[path] = e
        return entries, opaques

    def _is_new(self, before: bytes, st: os.stat_result, fd: int, name: str) -> bool:
        """True if a directory is not the one that was there before the step."""
        return _MARK.unpack(before)[0] != st.st_ino or born_ns(fd, name) >= self._began_ns

    def _by_content(self, after: dict[str, bytes], touched: set[str]) -> list[str]:
        """The touched paths on a file system whose times prove nothing: all files with other bytes, too."""
        assert self._jail is not None
        out = []
        for path, mark in after.items():
            if path not in touched and stat.S_ISREG(_MARK.unpack(mark)[1]):
                old = self._view.get(path)
                with FileContent(self._jail, path).open() as now:
                    if old is not None and old.content is not None and old.kind == "f":
                        with old.content.open() as then:
                            if _equal(then, now, old.size):
                                continue
            elif path not in touched:
                continue
            out.append(path)
        return out

    def commit(self, diff_id: Digest) -> None:
        """The folder and its scan wait for the step that builds on this one."""
        self._done = True
        if self._jail is not None:
            self._jail.close()
        with contextlib.suppress(FileNotFoundError):
            table_of(self.root).unlink()
        done = self._folder
        touched = {path: done.marks.get(path) for path in self._touched}
        self._snapshotter.keep(_Folder(done.base, (*done.chain, diff_id), self._after, touched))

    def discard(self) -> None:
        """Delete the folder."""
        if not self._done:
            self._done = True
            if self._jail is not None:
                self._jail.close()
            with contextlib.suppress(OSError):  # what is left goes with the work folder
                remove_tree(self._folder.base)


def _is_dir(mark: bytes | None) -> bool:
    return mark is not None and stat.S_ISDIR(_MARK.unpack(mark)[1])


def _equal(a: BinaryIO, b: BinaryIO, size: int) -> bool:
    """True if the second stream is exactly the first `size` bytes of the first."""
    left = size
    while left:
        data = a.read(min(left, 1 << 20))
        if not data or b.read(len(data)) != data:
            return False
        left -= len(data)
    return not b.read(1)
