"""The look-up of a path by a thread of the step, component by component, as the kernel does it for its ids.

Why not the kernel's own (unotify_task.py): it takes everybody for root, and finds what a user may not search
for. And what does not exist yet has no descriptor: its folder and name are wanted, and the last component
may be a link that leads elsewhere.
Imports the standard library only: the supervisor uses it.
Spec: path_resolution(7); link_path_walk, acl_permission_check and may_follow_link of Linux.
Trust: paths and links are the step's, hostile. Each step of the way is opened below the one before, links by
their text below the step's root, and of the links of /proc that have no text only those of the caller itself.
Threads: one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from imagesmith.worker.sandbox.unotify_ids import Ids
from imagesmith.worker.sandbox.unotify_task import Tasks
from imagesmith.worker.snapshot.ownership import Owners

__all__ = ["READ", "SEARCH", "WRITE", "Elsewhere", "Paths", "Place", "protected"]

READ, WRITE, SEARCH = 4, 2, 1
_LOOK = os.O_PATH | os.O_CLOEXEC
_HERE = _LOOK | os.O_NOFOLLOW
_MAX_LINKS = 40
_DOTS = (b"/", b"/.", b"/..")
#: A folder that hands its group on, and one like /tmp.
_MARKS = stat.S_ISGID | stat.S_ISVTX
#: How many folders are remembered.
_REMEMBERED = 10_000
#: File systems that are no layer's, and know the rights of their files themselves.
_FOREIGN = ("/proc/", "/sys/")
_PROC_SELF = re.compile(r"/proc/(self|thread-self)")
#: The links of /proc that lead to files, not by a text.
_PROC_LINK = re.compile(r"/proc/([0-9]+)/(?:task/[0-9]+/)?(?:(fd)/([0-9]+)|(cwd|root|exe))|/proc/[0-9]+/.+")


class Elsewhere(Exception):
    """A path leads where only the caller itself can follow: let the kernel do it."""


class Place(NamedTuple):
    """Where a path ends.

    folder   a descriptor of the folder
    name     the last component; b"." or b".." where it is that, or the root
    fd       a descriptor of what is there, -1 if nothing is
    slash    the path says that it is a folder
    """

    folder: int
    name: bytes
    fd: int
    slash: bool

    @property
    def named(self) -> bool:
        """True if the last component is a name."""
        return self.name not in (b".", b"..")


class Paths:
    """Looks up paths, and tells who may do what to what is found."""

    def __init__(self, tasks: Tasks, owners: Owners) -> None:
        self._tasks, self._owners = tasks, owners
        #: Folders that everybody may search, by paths from the step's root in which there is no link.
        self._public: set[bytes] = set()
        #: Folders without marks that count for what is made in them, likewise.
        self._unmarked: set[bytes] = set()

    def changed(self, tid: int, mode: int = stat.S_ISGID) -> None:
        """The mode, to this one, or the name of some folder is to be changed by a thread.

        The kernel does it later: until then nothing is remembered.
        """
        self._tasks.changing.begin(tid)
        if self._public:
            self._public.clear()
        if mode & _MARKS:
            self._unmarked.clear()

    # --- rights --------------------------------------------------------------------------------

    def check(self, ids: Ids, fd: int, wanted: int) -> None:
        """Raise EACCES unless a process may read, write or search (execute) what `fd` refers to."""
        mode = os.fstat(fd).st_mode
        if not ids.ordinary or not wanted * 0o111 & ~mode:
            return  # everybody may
        if stat.S_ISLNK(mode) or stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            return
        kept = self._owners.kept(fd)
        if kept is None:
            path = os.readlink(f"/proc/self/fd/{fd}")
            if not path.startswith("/") or path.startswith(_FOREIGN):
                return
            kept = self._owners.stat(fd, path)
        uid, gid = kept
        shift = 6 if uid == ids.uids[3] else 3 if gid in ids.all_groups else 0
        if wanted & ~(mode >> shift):
            raise PermissionError(errno.EACCES, "not allowed")

    def check_owner(self, ids: Ids, fd: int) -> None:
        """Raise EPERM unless a process owns what `fd` refers to; what is in no layer is the kernel's."""
        if not ids.ordinary:
            return
        kept = self._owners.kept(fd)
        if kept is not None and kept[0] == ids.uids[3]:
            return
        path = os.readlink(f"/proc/self/fd/{fd}")
        ours = path.startswith("/") and not path.startswith(_FOREIGN)
        if ours and self._owners.stat(fd, path)[0] != ids.uids[3]:
            raise PermissionError(errno.EPERM, "not allowed")

    def owner(self, fd: int) -> tuple[int, int]:
        """The recorded owner of what `fd` refers to."""
        kept = self._owners.kept(fd)
        return kept or self._owners.stat(fd, os.readlink(f"/proc/self/fd/{fd}"))

    # --- paths ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def opened(self, ids: Ids, tid: int, dirfd: int, path: bytes, *, follow: bool) -> Iterator[int]:
        """What a path names, for as long as the context lasts.

        Raises:
            OSError: as the kernel would answer.
            Elsewhere: it cannot be followed from here.
        """
        fd = self.open(ids, tid, dirfd, path, follow=follow)
        try:
            yield fd
        finally:
            os.close(fd)

    def open(self, ids: Ids, tid: int, dirfd: int, path: bytes, *, follow: bool, empty: int = 0) -> int:
        """What a path names, as a bare reference (O_PATH), to be closed; see `opened`.

        empty: true if an empty path means the descriptor itself.
        """
        if empty and not path:
            return self._tasks.open_fd(tid, dirfd)
        if not ids.ordinary:
            return self._tasks.open(tid, dirfd, path, follow=follow)
        if self._is_public(path) and not path.endswith(_DOTS):
            try:
                return self._tasks.open_plainly(tid, path, follow=follow)
            except FileNotFoundError:
                raise
            except OSError:
                pass  # a link
        with self.place(ids, tid, dirfd, path, follow=follow) as place:
            if place.fd < 0:
                raise FileNotFoundError(errno.ENOENT, "not there")
            if place.slash and not stat.S_ISDIR(os.fstat(place.fd).st_mode):
                raise NotADirectoryError(errno.ENOTDIR, "not a folder")
            return os.dup(place.fd)

    @contextlib.contextmanager
    def place(
        self, ids: Ids, tid: int, dirfd: int, path: bytes, *, follow: bool, bare: bool = False
    ) -> Iterator[Place]:
        """Where a path ends, for as long as the context lasts; what it names need not be there.

        Args:
            ids: whose right to search is asked for.
            tid: the thread.
            dirfd: where a relative path begins.
            path: never empty where the kernel takes none.
            follow: also a link that is the last component.
            bare: a last component that says that it is a folder is not looked up.

        Raises:
            OSError: as the kernel would answer.
            Elsewhere: it cannot be followed from here.
        """
        if not path:
            raise FileNotFoundError(errno.ENOENT, "empty path")
        opened: list[int] = []
        try:
            near = self._near(tid, path, opened, follow=follow)
            yield near or self._walk(ids, tid, dirfd, path, opened, follow=follow, bare=bare)
        finally:
            for fd in opened:
                os.close(fd)

    def is_there(self, ids: Ids, tid: int, path: bytes) -> bool:
        """True if something has that name, as far as can be told at once."""
        if not ids.ordinary or not self._is_public(path) or path.endswith(_DOTS):
            return False
        try:
            os.close(self._tasks.open_plainly(tid, path, follow=False))
        except OSError:
            return False
        return True

    def folder(self, tid: int, path: bytes) -> tuple[int, bytes]:
        """The folder of a path, to be closed, and the name in it, where everybody may search that folder.

        The folder is -1 if it is not so plain.
        """
        folder, _, name = path.rpartition(b"/")
        if name in (b"", b".", b"..") or not self._is_public(path):
            return -1, name
        try:
            return self._tasks.open_plainly(tid, folder or b"/", follow=True), name
        except OSError:
            return -1, name

    def marks(self, tid: int, dirfd: int, path: bytes) -> int:
        """The marks of a folder, of its mode: set-gid and sticky.

        Raises:
            OSError: as the kernel would answer.
        """
        if path in self._unmarked and not self._tasks.many_roots:
            return 0
        fd, plain = -1, path[:1] == b"/" and not self._tasks.many_roots and b".." not in path
        plain = plain and self._tasks.changing.settled
        if plain:
            with contextlib.suppress(OSError):  # a link, or nothing
                fd = self._tasks.open_plainly(tid, path, follow=True)
        if fd < 0:
            fd, plain = self._tasks.open(tid, dirfd, path, follow=True), False
        try:
            found = os.fstat(fd).st_mode & _MARKS
        finally:
            os.close(fd)
        if plain and not found and len(self._unmarked) < _REMEMBERED and not self._owners.has_mounts:
            self._unmarked.add(path)
        return found

    def _is_public(self, path: bytes) -> bool:
        """True if it is an absolute path in a folder that everybody may search, as was seen before."""
        known = path[:1] == b"/" and path.rpartition(b"/")[0] in self._public
        return known and not self._tasks.many_roots

    def _near(self, tid: int, path: bytes, opened: list[int], *, follow: bool) -> Place | None:
        """The place in a folder that everybody may search; None if it is not so plain."""
        here, name = self.folder(tid, path)
        if here < 0:
            return None
        opened.append(here)
        try:
            fd = os.open(name, _HERE, dir_fd=here)
        except FileNotFoundError:
            return Place(here, name, -1, False)
        opened.append(fd)
        return None if follow and stat.S_ISLNK(os.fstat(fd).st_mode) else Place(here, name, fd, False)

    def _walk(
        self, ids: Ids, tid: int, dirfd: int, path: bytes, opened: list[int], *, follow: bool, bare: bool
    ) -> Place:
        root = self._tasks.root_of(tid)
        opened.append(root)
        if not path.startswith(b"/"):
            opened.append(self._tasks.open_fd(tid, dirfd))
        known = self._known(tid, path, opened)
        here = opened[-1]
        todo, slash, links = _parts(path[known:]), path.endswith(b"/"), 0
        public = path.startswith(b"/") and self._tasks.changing.settled
        if not todo:
            return Place(root, b".", root, slash)
        while True:
            name, last = todo.pop(), not todo
            public &= self._search(ids, here) and name not in (b".", b"..")
            if name in (b".", b".."):
                if name == b".." and not os.path.sameopenfile(here, root):
                    here = os.open(name, _HERE, dir_fd=here)
                    opened.append(here)
                if last:
                    return Place(here, name, here, slash)
                continue
            if last and public and not links and not slash:
                self._public.add(path.rpartition(b"/")[0])
            if last and slash and bare:
                return Place(here, name, -1, slash)
            try:
                fd = os.open(name, _HERE, dir_fd=here)
            except FileNotFoundError:
                if last:
                    return Place(here, name, -1, slash)
                raise
            opened.append(fd)
            if not stat.S_ISLNK(os.fstat(fd).st_mode):
                if last:
                    return Place(here, name, fd, slash)
                here = fd
                continue
            if last and not (follow or slash):
                return Place(here, name, fd, slash)
            links += 1
            if links > _MAX_LINKS:
                raise OSError(errno.ELOOP, "too many links")
            self._may_follow(ids, here, fd)
            text = self._text(tid, fd)
            if isinstance(text, int):  # a link of /proc leads to a file, not to a name
                opened.append(text)
                if last:
                    return Place(text, b".", text, slash)
                here = text
                continue
            if text.startswith(b"/"):
                here = root
            parts = _parts(text)
            slash |= last and text.endswith(b"/")
            todo += parts
            if not todo:
                return Place(root, b".", root, slash)

    def _known(self, tid: int, path: bytes, opened: list[int]) -> int:
        """How much of a path leads to folders that everybody may search; the last of them is opened."""
        folder = (
            path.rstrip(b"/") if path[:1] == b"/" and self._public and not self._tasks.many_roots else b""
        )
        while folder:
            folder = folder.rpartition(b"/")[0]
            if folder and folder in self._public:
                try:
                    opened.append(self._tasks.open_plainly(tid, folder, follow=True))
                except OSError:
                    break
                return len(folder)
        return 0

    def _search(self, ids: Ids, fd: int) -> bool:
        """Raise EACCES or ENOTDIR for what a process may not look into; true if everybody may."""
        mode = os.fstat(fd).st_mode
        if not stat.S_ISDIR(mode):
            raise NotADirectoryError(errno.ENOTDIR, "not a folder")
        if ids.ordinary and ~mode & 0o111:
            self.check(ids, fd, SEARCH)
        return not ~mode & 0o111

    def _may_follow(self, ids: Ids, folder: int, fd: int) -> None:
        """Links in folders like /tmp are followed by their owners only, where the machine is set up so."""
        mode = os.fstat(folder).st_mode
        if ~mode & (stat.S_ISVTX | stat.S_IWOTH) or not protected("symlinks"):
            return
        mine = self.owner(fd)[0]
        if mine not in (ids.uids[3], self.owner(folder)[0]):
            raise PermissionError(errno.EACCES, "not allowed")

    def _text(self, tid: int, fd: int) -> bytes | int:
        """What a link says; of one of /proc that has no text, what it leads to."""
        name = os.readlink(f"/proc/self/fd/{fd}")
        if name.startswith("/proc/"):
            proc = os.fstat(fd).st_dev
            which = _PROC_SELF.fullmatch(name)
            if which is not None:
                number = self._tasks.number(tid, proc)
                return b"/proc/%d" % number  # the threads of a process share what we look at
            found = _PROC_LINK.fullmatch(name)
            if found is not None:
                if found[1] is None or int(found[1]) != self._tasks.number(tid, proc):
                    raise Elsewhere
                return os.open(f"/proc/{tid}/" + (f"fd/{found[3]}" if found[2] else found[4]), _LOOK)
        return os.readlink(b"", dir_fd=fd)


def _parts(path: bytes) -> list[bytes]:
    """Its components, the first one last."""
    return [part for part in reversed(path.split(b"/")) if part]


@cache
def protected(what: str) -> int:
    """How far the machine protects users from links, pipes or files that others put in their way."""
    try:
        with open(f"/proc/sys/fs/protected_{what}", encoding="ascii") as f:
            return int(f.read())
    except OSError:
        return 0
