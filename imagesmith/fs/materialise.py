"""Entries become files below a folder: the one place that makes files of a tree.

A layer's tree for overlayfs, the file system of an image, a context that came as a tar, a copy for a mount.

Why two forms: as an overlay's lower directory a layer keeps its deletions (a device 0:0, an opaque mark) for
the kernel to apply; merged, they are applied here. A deletion is one of lower layers, wherever it stands in
the tar. Files get their final mode as they are made and one call for the times; nothing is synced, for a tree
can be made again from its blob.
Nothing comes from the folders on the disk: where they would give a new file their group or an ACL, owner and
mode are set by calls of their own; a folder that is there already becomes what its new entry says.
Trust: hostile entries: everything happens through fs/jail.py, never through a link that leads out. A hard
link names a file inside the root only.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

from imagesmith.errors import UnsafeArchive
from imagesmith.fs.entry import Entry
from imagesmith.fs.folders import DEFAULT_ACL, umask
from imagesmith.fs.jail import Jail

__all__ = ["materialise"]

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 20
_CAPABILITY = "security.capability"
#: There is no folder at a path: nothing, something else, or a link, which is no way to anywhere here.
_NO_FOLDER = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
#: The xattrs that a directory may have of what was there before.
_XATTRS = ("user.", "trusted.overlay.", "system.posix_acl_", _CAPABILITY)


def materialise(
    entries: Iterable[Entry],
    folder: Path,
    *,
    form: Literal["merged", "overlay"] = "merged",
    owners: bool = True,
    opaque: str = "trusted.overlay.opaque",
    keep: Callable[[int, str, Entry], None] | None = None,
    below: Callable[[str], Entry | None] | None = None,
    ids: tuple[int, int] = (1 << 32, 1 << 32),
) -> None:
    """Make the entries below a folder; what is there is replaced, directories stay directories.

    Args:
        entries: a missing parent is made, and so is one in whose place there is something else, a link too
            (fs/placing.py tells where the links of a tar itself lead).
        folder: an existing folder.
        form: what becomes of whiteouts and opaque marks.
        owners: give files their owners; without, they belong to whoever runs.
        opaque: the xattr that marks an opaque directory, in the overlay form.
        keep: keeps beside a file what the disk cannot hold; given the parent's descriptor, the name and the
            entry of each device, for which an empty file is made, and of all whose owner the disk cannot
            have: without `owners` any but 0:0.
        below: what the layers up to this one have at a path: for parents that are not listed, and for hard
            links to files of lower layers.
        ids: the user and the group id that stand on the disk for themselves and all above them.

    Raises:
        UnsafeArchive: a hard link to nothing, or to what is no file.
        OSError: the machine refuses.
    """
    with Jail(folder, links=False) as jail:
        extraction = _Extraction(jail, form, owners, opaque, keep, below, ids)
        for e in entries:
            if e.path:
                extraction.add(e)
            elif e.kind == "o" and form == "merged":
                extraction.clear("")
        extraction.finish()


def _is_whiteout(st: os.stat_result) -> bool:
    return stat.S_ISCHR(st.st_mode) and st.st_rdev == 0


class _Extraction:
    """The state of one extraction; see materialise for the fields."""

    def __init__(
        self,
        jail: Jail,
        form: str,
        owners: bool,
        opaque: str,
        keep: Callable[[int, str, Entry], None] | None,
        below: Callable[[str], Entry | None] | None,
        ids: tuple[int, int],
    ) -> None:
        self.jail, self.owners, self.opaque, self.keep, self.below = jail, owners, opaque, keep, below
        self.overlay = form == "overlay"
        self.uids, self.gids = ids if owners else (1, 1)
        self.me = os.geteuid(), os.getegid()
        self.masked = 0o7000 | umask()
        #: What holds in the folder that was looked at last: who owns what is made there, None if that is not
        #: sure, and the bits of a mode that have to be set by a call.
        self.born: tuple[int, int] | None = None
        self.set_by_call = 0o7777
        self.looked = -1
        self.folders: dict[str, Entry] = {}
        self.times: dict[str, int] = {}  # of folders that were there, and that no entry was for until now
        self.made: set[str] = set()  # merged only: what this layer made, which its own deletions do not touch

    def add(self, e: Entry) -> None:
        """Make one entry."""
        parent, _, name = e.path.rpartition("/")
        fd = self._parent(parent)
        if e.kind == "d":
            self._directory(fd, name, e)
        elif e.kind == "w":
            self._whiteout(fd, name, e)
        elif e.kind == "o":
            self._opaque(fd, name, e)
        else:
            self._leaf(fd, name, e)
        if not self.overlay and e.kind not in "wo":
            self._note(e.path)

    def _note(self, path: str) -> None:
        """What this layer made is not taken by its own deletions."""
        while path and path not in self.made:
            self.made.add(path)
            path = path.rpartition("/")[0]

    def finish(self) -> None:
        """Give directories their modes and times, children first: making a child moves its parent's time."""
        for path, mtime_ns in self.times.items():
            if path and path not in self.folders:
                with contextlib.suppress(OSError):  # it is gone
                    os.utime(self.jail.folder(path), ns=(mtime_ns, mtime_ns))
        for e in reversed(self.folders.values()):
            try:
                fd = self.jail.open(e.path, _FOLDER)
            except OSError as error:
                if error.errno in _NO_FOLDER:  # replaced by a later entry
                    continue
                raise
            try:
                os.fchmod(fd, e.mode)
                os.utime(fd, ns=(e.mtime_ns, e.mtime_ns))
            finally:
                os.close(fd)

    def _folder(self, path: str) -> int:
        """The descriptor of a directory, looked at for what it would hand down."""
        fd = self.jail.folder(path)
        if self.looked != self.jail.opened:
            self.looked = self.jail.opened
            st = os.fstat(fd)
            self.times.setdefault(path, st.st_mtime_ns)
            self.born = self.me if st.st_gid == self.me[1] else None
            try:
                os.getxattr(fd, DEFAULT_ACL)
                self.set_by_call = 0o7777
            except OSError:  # as it should be
                self.set_by_call = self.masked
        return fd

    def _parent(self, path: str) -> int:
        """The descriptor of a parent; made with what the layers below say of it, if it is missing."""
        missing: list[str] = []
        at = path
        while True:
            try:
                fd = self._folder(at)
                break
            except OSError as error:
                if error.errno not in _NO_FOLDER or not at:
                    raise
                missing.append(at)
                at = at.rpartition("/")[0]
        for at in reversed(missing):
            self._directory(fd, at.rpartition("/")[2], self._known(at))
            if not self.overlay:
                self._note(at)
            fd = self._folder(at)
        return fd

    def _known(self, path: str) -> Entry:
        """What the layers below say of a directory that this one does not list."""
        known = self.below(path) if self.below is not None else None
        return known if known is not None and known.kind == "d" else Entry(path, "d", 0o755)

    def _directory(self, fd: int, name: str, e: Entry) -> None:
        self.folders[e.path] = e
        try:
            os.mkdir(name, 0o700, dir_fd=fd)
        except FileExistsError:
            st = os.lstat(name, dir_fd=fd)
            if stat.S_ISDIR(st.st_mode):
                self._change(fd, name, e)
                return
            self.jail.remove(e.path)
            fd = self._folder(e.path.rpartition("/")[0])
            os.mkdir(name, 0o700, dir_fd=fd)
            if self.overlay and _is_whiteout(st):
                self._mark(fd, name)  # deleted below, and made anew
        self._own(fd, name, e)
        self._keep(fd, name, e)

    def _change(self, fd: int, name: str, e: Entry) -> None:
        """A directory that is there gets the owner of its new entry, and loses what that does not have."""
        try:
            at = os.open(name, _FOLDER, dir_fd=fd)
        except PermissionError:
            os.chmod(name, 0o700, dir_fd=fd)
            at = os.open(name, _FOLDER, dir_fd=fd)
        try:
            os.fchmod(at, 0o700)
            if self.owners:
                os.fchown(at, *self._owner(e))
            if self.owners or self.keep is not None:  # a folder that a user exports to keeps what it has
                self._strip(at)
        finally:
            os.close(at)
        self._keep(fd, name, e)

    def _strip(self, at: int) -> None:
        with contextlib.suppress(OSError):  # a file system without
            for xattr in os.listxattr(at):
                if xattr.startswith(_XATTRS) and xattr != self.opaque:
                    os.removexattr(at, xattr)

    def _whiteout(self, fd: int, name: str, e: Entry) -> None:
        if not self.overlay:
            if e.path in self.made:
                self.clear(e.path)
            else:
                self.jail.remove(e.path)
            return
        try:
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=fd)
        except FileExistsError:  # the layer has it too; as a directory it hides what is below
            if stat.S_ISDIR(os.lstat(name, dir_fd=fd).st_mode):
                self._mark(fd, name)

    def _opaque(self, fd: int, name: str, e: Entry) -> None:
        if not self.overlay:
            self.clear(e.path)
            self._parent(e.path)
            self._note(e.path)
            return
        if e.path not in self.folders:
            self._directory(fd, name, self._known(e.path))
            fd = self._folder(e.path.rpartition("/")[0])
        self._mark(fd, name)

    def _mark(self, fd: int, name: str) -> None:
        at = os.open(name, _FOLDER, dir_fd=fd)
        try:
            os.setxattr(at, self.opaque, b"y")
        finally:
            os.close(at)

    def clear(self, path: str) -> None:
        """Take from a directory what lower layers put into it."""
        todo = [path]
        while todo:
            at = todo.pop()
            try:
                names = os.listdir(self._folder(at))
            except OSError as error:
                if error.errno in _NO_FOLDER:
                    continue
                raise
            for name in names:
                below = f"{at}/{name}" if at else name
                todo.append(below) if below in self.made else self.jail.remove(below)

    def _leaf(self, fd: int, name: str, e: Entry) -> None:
        try:
            done = self._make(fd, name, e)
        except FileExistsError:
            self.jail.remove(e.path)
            fd = self._folder(e.path.rpartition("/")[0])
            done = self._make(fd, name, e)
        if done:
            return
        self._own(fd, name, e)
        self._keep(fd, name, e)
        if e.kind != "l":
            os.chmod(name, e.mode, dir_fd=fd)
        os.utime(name, ns=(e.mtime_ns, e.mtime_ns), dir_fd=fd, follow_symlinks=False)

    def _make(self, fd: int, name: str, e: Entry) -> bool:
        """Make anything but a directory; True if nothing is left to be done to it."""
        if e.kind == "f":
            self._file(fd, name, e)
            return True
        if e.kind == "h":
            self._hard_link(fd, name, e)
            return True
        if e.kind == "l":
            os.symlink(e.link, name, dir_fd=fd)
        elif e.kind == "p":
            os.mkfifo(name, 0o600, dir_fd=fd)
        elif self.keep is not None:
            os.close(os.open(name, _CREATE, 0o600, dir_fd=fd))  # stands for the device; `keep` says which
        else:
            kind = stat.S_IFCHR if e.kind == "c" else stat.S_IFBLK
            os.mknod(name, kind | 0o600, os.makedev(*e.rdev), dir_fd=fd)
        return False

    def _file(self, fd: int, name: str, e: Entry) -> None:
        keep = self.keep is not None and (e.uid >= self.uids or e.gid >= self.gids)
        plain = not keep and not e.mode & self.set_by_call
        out = os.open(name, _CREATE, e.mode if plain else 0o600, dir_fd=fd)
        try:
            if e.size:
                self._fill(out, e)
            if self.owners and (owner := self._owner(e)) != self.born:
                os.fchown(out, *owner)
            if keep:
                self._keep(fd, name, e)
            if not plain:
                os.fchmod(out, e.mode)
            if e.capability is not None:
                with contextlib.suppress(OSError):  # a file system or a user that may not have it
                    os.setxattr(out, _CAPABILITY, e.capability)
            os.utime(out, ns=(e.mtime_ns, e.mtime_ns))
        finally:
            os.close(out)

    def _fill(self, out: int, e: Entry) -> None:
        if e.content is None:
            raise UnsafeArchive(f"/{e.path}: its content is missing")
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
            try:
                st = os.lstat(first, dir_fd=at)
                if _is_whiteout(st):
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
                if stat.S_ISDIR(st.st_mode):
                    raise UnsafeArchive(f"/{e.path}: hard link to the directory /{e.link}")
                os.link(first, name, src_dir_fd=at, dst_dir_fd=fd, follow_symlinks=False)
            finally:
                os.close(at)
        except OSError as error:
            if error.errno not in _NO_FOLDER:
                raise
            known = self.below(e.path) if self.below is not None else None
            if known is None or known.kind == "d":
                raise UnsafeArchive(f"/{e.path}: hard link to /{e.link}, which is not there") from error
            self._link_lower(fd, name, e, known)

    def _link_lower(self, fd: int, name: str, e: Entry, known: Entry) -> None:
        """Another name of what lies in a lower layer: both are in this one then, as overlayfs has it."""
        self._leaf(fd, name, known)
        lower = self.below(e.link) if self.below is not None and e.link != e.path else None
        if lower is not None and _same(lower, known):
            parent, _, first = e.link.rpartition("/")
            at = os.dup(fd)
            try:
                os.link(name, first, src_dir_fd=at, dst_dir_fd=self._parent(parent), follow_symlinks=False)
            finally:
                os.close(at)

    def _own(self, fd: int, name: str, e: Entry) -> None:
        if self.owners and (owner := self._owner(e)) != self.born:
            os.chown(name, *owner, dir_fd=fd, follow_symlinks=False)

    def _owner(self, e: Entry) -> tuple[int, int]:
        """Who an entry belongs to on the disk."""
        if e.uid < self.uids and e.gid < self.gids:
            return e.uid, e.gid
        return min(e.uid, self.uids), min(e.gid, self.gids)

    def _keep(self, fd: int, name: str, e: Entry) -> None:
        if self.keep is not None and (e.kind in "cb" or e.uid >= self.uids or e.gid >= self.gids):
            self.keep(fd, name, e)


def _same(a: Entry, b: Entry) -> bool:
    """True for two names of one file: of a view, where no other files share their content."""
    if a.kind == "f":
        return a.content is not None and a.content == b.content
    return all(getattr(a, n) == getattr(b, n) for n in ("kind", "mode", "uid", "gid", "mtime_ns", "rdev"))
