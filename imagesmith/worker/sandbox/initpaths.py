"""Paths inside a step's root: links followed within it, places made for mounts and taken away again.

Imports the standard library only: the step's process uses it.
Spec: BuildKit's executor/stubs.go: what had to be made for a mount is gone afterwards, with the folders above
it that were missing, unless something else is in them by then. The folder that a place was made in has the
time of that making afterwards, as in BuildKit.
Trust: the root's content is hostile, and while places are made another step may change what is below a mount
that both have. A target is walked to from the root's descriptor, one name at a time; links are followed by
their text, so neither a race nor a link of /proc leads out, and what was found is held. `unmake` works while
nothing of the step is alive, one directory at a time, and through no link.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

__all__ = ["FOLDER", "Places", "Spot", "opened", "resolve", "unmake"]

#: How a folder is opened that must be one, and no link.
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LINKS = 255
_HOLD = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def opened(path: str, above: int | None = None) -> Iterator[int]:
    """A folder's descriptor, for as long as the context lasts; no link is followed at its end."""
    fd = os.open(path, FOLDER, dir_fd=above)
    try:
        yield fd
    finally:
        os.close(fd)


def resolve(base: str, path: str) -> str:
    """The path with its links followed as if `base` were `/`; what is missing stays as it is.

    It is text, true as long as nobody changes what it was read from.
    """
    todo = [p for p in reversed(path.split("/")) if p not in ("", ".")]
    at: list[str] = []
    links = 0
    while todo:
        name = todo.pop()
        if name == "..":
            del at[-1:]
            continue
        try:
            link = os.readlink(f"{base}/{'/'.join([*at, name])}")
        except OSError:
            at.append(name)
            continue
        links += 1
        if links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        if link.startswith("/"):
            at = []
        todo += [p for p in reversed(link.split("/")) if p not in ("", ".")]
    return "/" + "/".join(at)


class Spot:
    """A place for a mount: descriptors of it and of the folder above, its path from the base, if it is new.

    To be closed, or used in a `with`.
    """

    def __init__(self, above: int, fd: int, path: str, *, new: bool) -> None:
        self.above, self.fd, self.path, self.new = above, fd, path, new
        self.name = path.rpartition("/")[2]

    def close(self) -> None:
        """Let the descriptors go."""
        os.close(self.above)
        os.close(self.fd)

    def __enter__(self) -> Spot:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Places:
    """Makes places for mounts below the folder `base`, and remembers them."""

    def __init__(self, base: str = "") -> None:
        self.base = base
        #: What was made and has to go again, as paths from the base, in order.
        self.made: list[str] = []
        self._covered: list[str] = []

    def covers(self, target: str) -> bool:
        """True if a target lies inside one that a place was made for."""
        path = resolve(self.base, target)
        return any(path.startswith(c + "/") for c in self._covered)

    def make(self, target: str, *, folder: bool, stays: bool = False) -> Spot:
        """Make what is missing of a target, links followed."""
        try:
            spot = self._walk(target, folder=folder, stays=stays)
        except OSError as e:
            raise OSError(e.errno, e.strerror, target) from e
        self._covered.append(spot.path)
        return spot

    def _walk(self, target: str, *, folder: bool, stays: bool) -> Spot:
        """Go to the target from the base, making what is missing."""
        way = [("", os.open(self.base or "/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))]
        todo = [p for p in reversed(target.split("/")) if p not in ("", ".")]
        links, new = 0, False
        try:
            while todo:
                name = todo.pop()
                if name == "..":
                    if len(way) > 1:
                        os.close(way.pop()[1])
                    continue
                above = way[-1][1]
                try:
                    fd = os.open(name, _HOLD, dir_fd=above)
                except FileNotFoundError:
                    fd, new = _create(above, name, folder=folder or bool(todo)), True
                    self._note("/".join(n for n, _ in way), name, stays=stays)
                if not stat.S_ISLNK(os.fstat(fd).st_mode):
                    way.append((name, fd))
                    continue
                try:
                    link = os.readlink("", dir_fd=fd)
                finally:
                    os.close(fd)
                links += 1
                if links > _MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                while link.startswith("/") and len(way) > 1:
                    os.close(way.pop()[1])
                todo += [p for p in reversed(link.split("/")) if p not in ("", ".")]
            if len(way) == 1:
                raise OSError(errno.EINVAL, "nothing can be mounted on the root")
            path = "/".join(n for n, _ in way)
            _, fd = way.pop()
            return Spot(way.pop()[1], fd, path, new=new)
        finally:
            for _, fd in way:
                os.close(fd)

    def _note(self, folder: str, name: str, *, stays: bool) -> None:
        """Remember what was made, unless it lies in a mount: that keeps it."""
        if not stays and not any(folder == c or folder.startswith(f"{c}/") for c in self._covered):
            self.made.append(f"{folder}/{name}")


def _create(above: int, name: str, *, folder: bool) -> int:
    """An empty file or folder, of these permissions whatever the umask is."""
    if folder:
        os.mkdir(name, 0o755, dir_fd=above)
        fd = os.open(name, FOLDER, dir_fd=above)
        os.fchmod(fd, 0o755)  # whatever the umask is
        return fd
    os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=above))
    return os.open(name, _HOLD, dir_fd=above)


def unmake(root: str, made: list[str]) -> None:
    """Take places away that nobody used, innermost first; the folders above keep their times."""
    for path in reversed(made):
        *parents, name = path.strip("/").split("/")
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in parents:
                below = os.open(part, FOLDER, dir_fd=fd)
                os.close(fd)
                fd = below
            st, above = os.stat(name, dir_fd=fd, follow_symlinks=False), os.fstat(fd)
            if stat.S_ISDIR(st.st_mode):
                os.rmdir(name, dir_fd=fd)
            elif st.st_size:
                continue
            else:
                os.unlink(name, dir_fd=fd)
            os.utime(fd, ns=(above.st_atime_ns, above.st_mtime_ns))
        except OSError as e:
            if e.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENOTEMPTY):
                raise
        finally:
            os.close(fd)
