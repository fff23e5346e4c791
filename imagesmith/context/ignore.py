"""The small files of a context: how its Dockerfile is read, which its ignore file is, and the lines of that.

Spec: moby/patternmatcher's ignorefile; BuildKit's rule that `<Dockerfile>.dockerignore` beside the
Dockerfile replaces `.dockerignore` of the context's root.
Trust: the file comes with the context. As a link it leads within the context's folder or is refused, so that
no message quotes a file of the machine's; it is a regular file of at most 16 MiB.
"""

from __future__ import annotations

import os
import posixpath
import stat
from contextlib import closing
from pathlib import Path

from imagesmith.context.local import LocalTree
from imagesmith.context.patterns import Matcher
from imagesmith.errors import ContextError, reason_of
from imagesmith.oci.digest import digest_bytes

__all__ = [
    "MAX_BYTES",
    "bounded",
    "missing_dockerfile",
    "parse_ignore",
    "read_beside",
    "read_ignore",
    "read_pipe",
    "read_small",
]

_MAX_LINE = 64 << 10
#: The most that a Dockerfile or an ignore file may have.
MAX_BYTES = 16 << 20


def parse_ignore(data: bytes) -> list[str]:
    """The patterns of an ignore file's text."""
    out = []
    for line in data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape").split("\n"):
        if len(line) > _MAX_LINE:
            raise ContextError("the ignore file has a line longer than 64 KiB")
        text = line.rstrip("\r")
        if text.startswith("#"):
            continue
        text = text.strip()
        if not text:
            continue
        mark = "!" if text.startswith("!") else ""
        text = text[len(mark) :].strip()
        if text:
            text = posixpath.normpath(text)
            text = text[1:] if text.startswith("//") else text
            if len(text) > 1 and text.startswith("/"):
                text = text[1:]
        out.append(mark + text)
    return out


def read_small(root: Path, name: str) -> bytes:
    """A Dockerfile or an ignore file of a folder; links lead within the folder.

    Raises:
        FileNotFoundError: nothing is there.
        ContextError: it has more than 16 MiB, is no file, cannot be read, or is a link that leads elsewhere.
    """
    try:
        os.lstat(root / name)
    except (FileNotFoundError, NotADirectoryError) as e:
        raise FileNotFoundError(root / name) from e
    except OSError as e:  # a closed folder is not one without the file
        raise ContextError(f"{root / name}: {reason_of(e)}") from e
    with closing(LocalTree(root)) as tree:
        at = tree.resolve(name)
        found = tree.get(at)
        if found is None:
            raise ContextError(
                f"{name} is a link that leads out of its folder, or nowhere",
                hint="links are followed within the folder only",
            )
        if found.kind != "f":
            raise ContextError(f"{name} is not a file")
        with tree.open(at) as f:
            return bounded(f.read(MAX_BYTES + 1), root / name)


def read_beside(folder: Path, name: str, suffix: str) -> bytes | None:
    """What lies beside a Dockerfile under its name and a suffix; see `read_small`."""
    try:
        return read_small(folder, f"{name}{suffix}")
    except FileNotFoundError:
        return None


def read_pipe(path: str, given: str) -> bytes | None:
    """The Dockerfile at a path that is a pipe or a device; None for any other.

    Raises:
        ContextError: there is nothing, or it cannot be read.
    """
    try:
        if not path.startswith(("/dev/", "/proc/")) and not stat.S_ISFIFO(os.lstat(path).st_mode):
            return None
        with open(path, "rb") as f:
            return bounded(f.read(MAX_BYTES + 1), Path(given))
    except FileNotFoundError:
        raise missing_dockerfile(Path(given)) from None
    except OSError as e:
        raise ContextError(f"failed to read dockerfile: open {given}: {os.strerror(e.errno or 0)}") from e


def missing_dockerfile(path: Path) -> ContextError:
    """The error for a Dockerfile that is not there."""
    return ContextError(
        f"failed to read dockerfile: open {path.name}: no such file or directory",
        hint=f"{path} was looked for; -f names another",
    )


def bounded(data: bytes, path: Path) -> bytes:
    """What was read of a Dockerfile or an ignore file, if it is no more than one may have.

    Raises:
        ContextError: it is more than 16 MiB.
    """
    if len(data) > MAX_BYTES:
        raise ContextError(f"{path} has more than {MAX_BYTES >> 20} MiB")
    return data


def read_ignore(root: Path, dockerfile: tuple[Path, str] | None = None) -> tuple[Matcher, str]:
    """The matcher of a context folder's ignore file; one that matches nothing where there is none.

    Args:
        root: the folder.
        dockerfile: the folder and the name of a Dockerfile that may have an ignore file of its own.

    Returns:
        The matcher, and the digest of the Dockerfile's own ignore file, empty if that of the folder counts.

    Raises:
        ContextError: the file cannot be read, or holds a bad pattern.
    """
    own = None if dockerfile is None else (dockerfile[0], f"{dockerfile[1]}.dockerignore")
    for folder, name in filter(None, (own, (root, ".dockerignore"))):
        try:
            data = read_small(folder, name)
        except FileNotFoundError:
            continue
        try:
            found = Matcher(parse_ignore(data))
        except ContextError as e:
            raise ContextError(f"{folder / name}: {e.message}") from e
        return found, digest_bytes(data).hex if (folder, name) == own else ""
    return Matcher(()), ""
