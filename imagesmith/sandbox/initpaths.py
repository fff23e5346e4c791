"""Paths inside a step's root: links followed within it, places made for mounts and taken away again.

Imports the standard library only: the step's process uses it.
Spec: BuildKit's executor/stubs.go: what had to be made for a mount is gone afterwards, with the folders above
it that were missing, unless something else is in them by then. The folder that a place was made in has the
time of that making afterwards, as in BuildKit.
Trust: the root's content is hostile; `unmake` works while nothing of the step is alive, one directory at a
time, and through no link.
"""

from __future__ import annotations

import errno
import os
import stat

__all__ = ["Places", "resolve", "unmake"]

_MAX_LINKS = 255


def resolve(base: str, path: str) -> str:
    """The path with its links followed as if `base` were `/`; what is missing stays as it is."""
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


class Places:
    """Makes places for mounts below `base`, and remembers them."""

    def __init__(self, base: str = "") -> None:
        self.base = base
        #: What was made and has to go again, as paths from the base, in order.
        self.made: list[str] = []
        self._covered: list[str] = []

    def covers(self, target: str) -> bool:
        """True if a target lies inside one that a place was made for."""
        path = resolve(self.base, target)
        return any(path.startswith(c + "/") for c in self._covered)

    def make(self, target: str, *, folder: bool, stays: bool = False) -> str:
        """Make what is missing of a target; returns its path from the base, links followed."""
        path = resolve(self.base, target)
        if path == "/":
            raise OSError(errno.EINVAL, "nothing can be mounted on the root", target)
        missing: list[str] = []
        at = path
        while at != "/" and not os.path.lexists(self.base + at):
            missing.append(at)
            at = os.path.dirname(at)
        covered = any(at == c or at.startswith(c + "/") for c in self._covered)
        for at in reversed(missing):
            here = self.base + at
            if folder or at != path:
                os.mkdir(here, 0o755)
                os.chmod(here, 0o755)  # noqa: S103 - whatever the umask is
            else:
                os.close(os.open(here, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644))
            if not covered and not stays:
                self.made.append(at)
        self._covered.append(path)
        return path


def unmake(root: str, made: list[str]) -> None:
    """Take places away that nobody used, innermost first; the folders above keep their times."""
    for path in reversed(made):
        *parents, name = path.strip("/").split("/")
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in parents:
                below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
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
