"""Entries become files below a folder: a layer's tree for overlayfs, or the whole file system of an image.

Why two forms: as an overlay's lower directory a layer keeps its deletions (a device 0:0, an opaque mark) for
the kernel to apply; merged, they are applied here. Files are made in the order of the entries with their
final mode and one call for the times; nothing is synced, for a tree can be made again from its blob.
Trust: hostile entries: everything happens through fs/jail.py, never through a link that leads out. A hard
link names a file inside the root only.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

from imagesmith.errors import UnsafeArchive
from imagesmith.fs.entry import Entry
from imagesmith.fs.jail import Jail

__all__ = ["extract_entries"]

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 20
_CAPABILITY = "security.capability"


def extract_entries(
    entries: Iterable[Entry],
    folder: Path,
    *,
    form: Literal["merged", "overlay"] = "merged",
    owners: bool = True,
    opaque: str = "trusted.overlay.opaque",
    keep: Callable[[int, str, Entry], bool] | None = None,
) -> None:
    """Make the entries below a folder; what is there is replaced, directories stay directories.

    Args:
        entries: parents before their children; a missing parent is made 0755.
        folder: an existing folder.
        form: what becomes of whiteouts and opaque marks.
        owners: give files their owners; without, they belong to whoever runs.
        opaque: the xattr that marks an opaque directory, in the overlay form.
        keep: told of each entry (its parent's descriptor and its name) that is made, before times are set; it
            returns True if it keeps owner, mode and device numbers beside the file, which is then made plain.

    Raises:
        UnsafeArchive: a hard link to nothing, or to what is no file.
        OSError: the machine refuses.
    """
    mask = os.umask(0)
    try:
        with Jail(folder) as jail:
            _Extraction(jail, form, owners, opaque, keep).run(entries)
    finally:
        os.umask(mask)


class _Extraction:
    def __init__(
        self,
        jail: Jail,
        form: str,
        owners: bool,
        opaque: str,
        keep: Callable[[int, str, Entry], bool] | None,
    ) -> None:
        self.jail, self.form, self.owners, self.opaque, self.keep = jail, form, owners, opaque, keep
        self.me = os.geteuid(), os.getegid()
        self.folders: list[Entry] = []
        self.names: set[str] = set()

    def run(self, entries: Iterable[Entry]) -> None:
        for e in entries:
            if not e.path:
                continue
            self._entry(e)
        for e in reversed(self.folders):  # children first: a child's making moves its parent's time
            parent, _, name = e.path.rpartition("/")
            fd = self.jail.folder(parent)
            if not self._kept(fd, name, e):
                os.chmod(name, e.mode, dir_fd=fd)
            os.utime(name, ns=(e.mtime_ns, e.mtime_ns), dir_fd=fd, follow_symlinks=False)

    def _kept(self, fd: int, name: str, e: Entry) -> bool:
        return self.keep is not None and self.keep(fd, name, e)

    def _entry(self, e: Entry) -> None:
        parent, _, name = e.path.rpartition("/")
        try:
            fd = self.jail.folder(parent)
        except (FileNotFoundError, NotADirectoryError):
            self.jail.make_dirs(parent)
            fd = self.jail.folder(parent)
        if e.kind == "d":
            self._directory(fd, name, e)
        elif e.kind == "w":
            self._whiteout(fd, name, e)
        elif e.kind == "o":
            self._opaque(fd, name, e)
        else:
            self._leaf(fd, name, e)

    def _directory(self, fd: int, name: str, e: Entry) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=fd)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(name, dir_fd=fd).st_mode):
                self.jail.remove(e.path)
                os.mkdir(name, 0o700, dir_fd=fd)
        self._own(fd, name, e)
        self.folders.append(e)

    def _whiteout(self, fd: int, name: str, e: Entry) -> None:
        self.jail.remove(e.path)
        if self.form == "overlay":
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=fd)

    def _opaque(self, fd: int, name: str, e: Entry) -> None:
        if self.form == "overlay":
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=fd)
            at = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
            try:
                os.setxattr(at, self.opaque, b"y")
            finally:
                os.close(at)
            return
        prefix = f"{e.path}/"
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            for child in os.listdir(self.jail.folder(e.path)):
                if prefix + child not in self.names:
                    self.jail.remove(prefix + child)

    def _leaf(self, fd: int, name: str, e: Entry) -> None:
        try:
            made = self._make(fd, name, e)
        except FileExistsError:
            self.jail.remove(e.path)
            fd = self.jail.folder(e.path.rpartition("/")[0])
            made = self._make(fd, name, e)
        if self.form == "merged":
            self.names.add(e.path)
        if e.kind == "h" or made:
            return
        if e.kind == "l":
            self._own(fd, name, e)
            self._kept(fd, name, e)
        else:
            self._own(fd, name, e)
            if not self._kept(fd, name, e):
                os.chmod(name, e.mode, dir_fd=fd)
        os.utime(name, ns=(e.mtime_ns, e.mtime_ns), dir_fd=fd, follow_symlinks=False)

    def _make(self, fd: int, name: str, e: Entry) -> bool:
        """Make anything but a directory; True if nothing is left to be done to it."""
        if e.kind == "f":
            return self._file(fd, name, e)
        if e.kind == "l":
            os.symlink(e.link, name, dir_fd=fd)
        elif e.kind == "h":
            self._hard_link(fd, name, e)
        elif e.kind == "p":
            os.mkfifo(name, e.mode, dir_fd=fd)
        elif self.keep is not None:
            os.close(os.open(name, _CREATE, 0o600, dir_fd=fd))  # stands for a device; `keep` says which
        else:
            kind = stat.S_IFCHR if e.kind == "c" else stat.S_IFBLK
            os.mknod(name, kind | e.mode, os.makedev(*e.rdev), dir_fd=fd)
        return False

    def _file(self, fd: int, name: str, e: Entry) -> bool:
        plain = self.keep is None and e.capability is None and not e.mode & 0o7000
        out = os.open(name, _CREATE, e.mode if plain else 0o600, dir_fd=fd)
        try:
            if e.size and e.content is not None:
                self._fill(out, e)
            if self.owners and self.keep is None and (e.uid, e.gid) != self.me:
                os.fchown(out, e.uid, e.gid)
            if not plain and not self._kept(fd, name, e):
                os.fchmod(out, e.mode)
            if e.capability is not None:
                with contextlib.suppress(OSError):  # a file system or a user that may not have it
                    os.setxattr(out, _CAPABILITY, e.capability)
            os.utime(out, ns=(e.mtime_ns, e.mtime_ns))
        finally:
            os.close(out)
        return True

    def _fill(self, out: int, e: Entry) -> None:
        assert e.content is not None
        left = e.size
        with e.content.open() as source:
            while left:
                data = source.read(min(left, _CHUNK))
                if not data:
                    raise UnsafeArchive(f"/{e.path}: its content ends early")
                left -= len(data)
                view = memoryview(data)
                while view:
                    view = view[os.write(out, view) :]

    def _hard_link(self, fd: int, name: str, e: Entry) -> None:
        parent, _, first = e.link.rpartition("/")
        try:
            at = self.jail.open(parent, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise UnsafeArchive(f"/{e.path}: hard link to /{e.link}, which is not there") from error
        try:
            os.link(first, name, src_dir_fd=at, dst_dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError as error:
            raise UnsafeArchive(f"/{e.path}: hard link to /{e.link}, which is not there") from error
        finally:
            os.close(at)

    def _own(self, fd: int, name: str, e: Entry) -> None:
        if self.owners and self.keep is None and (e.uid, e.gid) != self.me:
            os.chown(name, e.uid, e.gid, dir_fd=fd, follow_symlinks=False)
