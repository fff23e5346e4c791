"""A folder of this machine as a tree of a build: what the ignore file leaves of it, owned by 0:0.

Why: Docker's client sends a context without its owners, so the image does not depend on who builds.
Trust: the folder's content may be anybody's (a pull request). Links are followed in values only, files are
opened from their folder's descriptor and never through a link.
Threads: may be shared; the descriptor cache has a lock.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Protocol

from imagesmith.context.localfile import LocalContent
from imagesmith.context.patterns import Matcher
from imagesmith.errors import ContextError
from imagesmith.fs.entry import Entry, replace
from imagesmith.fs.tree import resolve
from imagesmith.store.cachedb import FileStamp

__all__ = ["FirstState", "LocalContent", "LocalTree"]

#: So much of a path is shown in messages.
_SHOWN = 200
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class FirstState(Protocol):
    """What a folder was like, of which all steps of a build are to see one state."""

    def get(self, path: str) -> Entry | None:
        """The entry that was at a path; None if it is not known."""

    def names(self, folder: str) -> list[str] | None:
        """What was in a folder; None if it is not known."""


class LocalTree:
    """A folder, less what the matcher ignores. See fs.tree.Tree."""

    def __init__(self, root: Path, ignore: Matcher | None = None) -> None:
        """Open the folder.

        Raises:
            ContextError: it is not there or no folder.
        """
        self.root = root
        self.ignore = ignore or Matcher(())
        try:
            self._fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as e:
            raise ContextError(f'unable to prepare context: path "{root}": {e.strerror}') from e
        self._lock = threading.Lock()
        self._folder: tuple[str, int] = ("", self._fd)
        #: What goes before the folder as it is now.
        self.first: FirstState | None = None

    def close(self) -> None:
        """Close the descriptors."""
        with self._lock:
            if self._folder[1] != self._fd:
                os.close(self._folder[1])
            os.close(self._fd)
            self._folder = "", -1

    # --- Tree ----------------------------------------------------------------------------------

    def get(self, path: str, /) -> Entry | None:
        """The entry at a path; None if it is ignored or not there.

        The root has no time: it is made anew wherever a context is used, and what is sent is in it.
        """
        was = self._was(path)
        if was is not None:
            return was
        try:
            st = os.lstat(self._host(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as e:
            raise _refused("look at", path, e) from e
        if path and self.ignore and self.ignore.matches(path):
            shown = (
                stat.S_ISDIR(st.st_mode) and self.ignore.has_exclusions and any(True for _ in self.walk(path))
            )
            if not shown:
                return None
        found = self._entry(path, st)
        if found is not None and not path:
            found.mtime_ns = 0
        return found

    def children(self, path: str, /) -> list[str]:
        """The names in a folder that are not ignored."""
        names = self.names(path)
        if not self.ignore:
            return names
        prefix = f"{path}/" if path else ""
        return [n for n in names if self.get(prefix + n) is not None]

    def resolve(self, path: str, follow_last: bool = True) -> str:
        """The path with every link followed inside the folder."""
        return resolve(self, path, follow_last)

    def walk(self, path: str = "") -> Iterator[Entry]:
        """Everything below a folder that is not ignored; further names of a file come as `h`."""
        slow = self.ignore or self.first is not None
        yield from self._walk(path) if slow else self._walk_all(path)

    def _walk_all(self, path: str) -> Iterator[Entry]:
        """`_walk` where nothing is ignored: contexts may be large, and this is half of reading them."""
        inodes: dict[tuple[int, int], str] = {}
        stack = [(path, iter(self.names(path)))]
        while stack:
            folder, names = stack[-1]
            prefix = f"{folder}/" if folder else ""
            host = f"{self._host(folder)}/"
            for name in names:
                try:
                    st = os.lstat(host + name)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    raise _refused("look at", prefix + name, error) from error
                e = self._entry(prefix + name, st)
                if e is None:
                    continue
                if e.kind == "f" and st.st_nlink > 1:
                    first = inodes.setdefault((st.st_dev, st.st_ino), e.path)
                    if first != e.path:
                        e.kind, e.link = "h", first
                yield e
                if e.kind == "d":
                    stack.append((e.path, iter(self.names(e.path))))
                    break
            else:
                stack.pop()

    def _walk(self, path: str) -> Iterator[Entry]:
        """Walk with an ignore file: a folder that it hides comes before what it shows in it."""
        inodes: dict[tuple[int, int], str] = {}
        hidden: list[Entry] = []  # the folders on the way that were not told yet
        stack = [(path, iter(self.names(path)), False)]
        while stack:
            folder, names, is_hidden = stack[-1]
            for name in names:
                child = f"{folder}/{name}" if folder else name
                ignored = self.ignore.matches(child)
                if ignored and not self.ignore.has_exclusions:
                    continue  # nobody looks at it: it may be unreadable, too
                e = self._was(child) or self._seen(child)
                if e is None or (ignored and e.kind != "d"):
                    continue
                if ignored:
                    hidden.append(e)
                else:
                    yield from hidden
                    hidden.clear()
                    yield self._linked(e, inodes)
                if e.kind == "d":
                    stack.append((child, iter(self.names(child)), ignored))
                    break
            else:
                stack.pop()
                if is_hidden and hidden:  # nothing in it was told
                    hidden.pop()

    def _seen(self, path: str) -> Entry | None:
        """What is at a path now, ignored or not."""
        try:
            st = os.lstat(self._host(path))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _refused("look at", path, error) from error
        return self._entry(path, st)

    def _linked(self, e: Entry, inodes: dict[tuple[int, int], str]) -> Entry:
        """An entry; as a hard link where its file came under another name before."""
        file = e.content.file if isinstance(e.content, LocalContent) else None
        if file is not None:
            first = inodes.setdefault(file, e.path)
            if first != e.path:
                e.kind, e.link = "h", first
        return e

    def leaves_out(self, path: str) -> bool:
        """True if something is at a path that only the ignore file hides."""
        return os.path.lexists(self._host(path)) and self.ignore.matches(path)

    # --- the machine's side --------------------------------------------------------------------

    def _host(self, path: str) -> str:
        return os.path.join(self.root, path) if path else str(self.root)

    def _was(self, path: str) -> Entry | None:
        """What is known to have been at a path."""
        known = self.first.get(path) if self.first is not None else None
        return replace(known) if known is not None else None

    def names(self, path: str) -> list[str]:
        """The names in a folder, also of what is ignored, sorted by bytes."""
        known = self.first.names(path) if self.first is not None else None
        if known is not None:
            return known
        try:
            names = os.listdir(self._host(path))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as e:
            raise _refused("read the folder", path, e) from e
        names.sort(key=None if all(map(str.isascii, names)) else os.fsencode)
        return names

    def _entry(self, path: str, st: os.stat_result) -> Entry | None:
        if stat.S_ISREG(st.st_mode):
            stamp = FileStamp(st.st_dev, st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns)
            file = (st.st_dev, st.st_ino) if st.st_nlink > 1 else None
            return Entry(
                path, "f", stat.S_IMODE(st.st_mode), 0, 0, st.st_size, st.st_mtime_ns,
                content=LocalContent(self, path, stamp, file),
            )  # fmt: skip
        e = Entry.from_stat(path, st)
        if e is None:
            if not stat.S_ISSOCK(st.st_mode):
                return None
            # As BuildKit's client sends it: an empty file.
            return Entry(path, "f", stat.S_IMODE(st.st_mode), mtime_ns=st.st_mtime_ns)
        e.uid = e.gid = 0
        if e.kind == "l":
            try:
                e.link = os.readlink(self._host(path))
            except FileNotFoundError:
                return None
            except OSError as error:
                raise _refused("read", path, error) from error
        return e

    def open(self, path: str, stamp: FileStamp | None = None) -> BinaryIO:
        """Open a regular file by its folder's descriptor, following no link.

        Raises:
            ContextError: it cannot be read, or is another than the stamp says.
        """
        fd = self._open(path)
        st = os.fstat(fd)
        if stat.S_ISREG(st.st_mode) and (stamp is None or stamp.is_of(st)):
            return FileIO(fd) if stamp is None else _Same(fd, path, stamp)
        os.close(fd)
        return self._kept(path, stamp).open()

    def whole(self, path: str, stamp: FileStamp) -> bytes:
        """What one reading gives of a regular file that is not large; see `open`."""
        fd = self._open(path)
        try:
            st = os.fstat(fd)
            if stat.S_ISREG(st.st_mode) and stamp.is_of(st):
                data = os.read(fd, stamp.size)
                if stamp.is_of(os.fstat(fd)):
                    return data
        finally:
            os.close(fd)
        return self._kept(path, stamp).whole(stamp.size)

    def _open(self, path: str) -> int:
        folder, _, name = path.rpartition("/")
        try:
            with self._lock:
                known, above = self._folder
                return os.open(name, _OPEN, dir_fd=above if folder == known else self._descend(folder))
        except OSError as e:
            raise _refused("read", path, e) from e

    def _kept(self, path: str, stamp: FileStamp | None) -> LocalContent:
        """What is kept of a file that is another now."""
        was = self._was(path)
        content = was.content if was is not None else None
        if isinstance(content, LocalContent) and content.kept and content.stamp == stamp:
            return content
        raise _changed(path)

    def _descend(self, folder: str) -> int:
        """The descriptor of another folder, which is kept, since files come in order."""
        fd = os.dup(self._fd)
        for part in filter(None, folder.split("/")):
            try:
                below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
            finally:
                os.close(fd)
            fd = below
        if self._folder[1] != self._fd:
            os.close(self._folder[1])
        self._folder = folder, fd
        return fd


class _Same(FileIO):
    """A file that is read: what was written to it since is told with what is read of it then."""

    def __init__(self, fd: int, path: str, stamp: FileStamp) -> None:
        super().__init__(fd)
        self._path, self._stamp = path, stamp

    def read(self, size: int | None = -1, /) -> bytes:
        """See FileIO.

        Raises:
            ContextError: the file is not what it was.
        """
        data = super().read(-1 if size is None else size)
        if not self._stamp.is_of(os.fstat(self.fileno())):
            raise _changed(self._path)
        return data


def _changed(path: str) -> ContextError:
    return ContextError(
        f"/{path} of the context changed while it was read",
        hint="build again when nothing writes to it, or leave it out with .dockerignore",
    )


def _refused(what: str, path: str, error: OSError) -> ContextError:
    """What the machine said to looking at or reading a path, as an error with its place."""
    shown = path if len(path) <= _SHOWN else f"{path[:_SHOWN]}…"
    hint = ""
    if error.errno in (errno.EACCES, errno.EPERM):
        hint = "let the user who builds read it, or leave it out with .dockerignore"
    return ContextError(f"cannot {what} /{shown} of the context: {error.strerror}", hint=hint)
