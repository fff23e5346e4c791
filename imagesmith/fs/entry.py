"""One entry of a file system or of a layer.

Why: COPY, RUN's diff, tar reading and writing, exports and the snapshotters all speak of the same thing. An
Entry is a plain mutable record because there may be hundreds of thousands of them; treat it as frozen once
it is shared and use `replace`.

Paths are relative to the root, without leading or trailing slash, "" being the root itself; they are `str`
as os.fsdecode makes them (bytes that are not UTF-8 are surrogates). `sort_key` gives the order of layers:
component by component, by bytes.
"""

from __future__ import annotations

import io
import os
import stat
import sys
from operator import attrgetter
from typing import Any, BinaryIO, Protocol

__all__ = [
    "KINDS",
    "NAMES",
    "BytesContent",
    "Content",
    "Entry",
    "Packed",
    "Whole",
    "name_in_tar",
    "replace",
    "sort_key",
]

#: The kinds of entry. `h` is a further name of a file (`link` names the first one), `w` a whiteout (a
#: deletion of `path` in lower layers), `o` marks
#: the directory `path` opaque (all that lower layers have in it is gone).
KINDS = "fdlcbphwo"


class Content(Protocol):
    """Where the bytes of a regular file are."""

    def open(self) -> BinaryIO:
        """Open for reading from the first byte; the caller closes it.

        A file's content of `Entry.size` bytes follows; there may be more behind it that is not the file's.
        """


class Whole(Content, Protocol):
    """Content of which a small file is read in one go, as hundreds of thousands are."""

    def whole(self, size: int) -> bytes:
        """At most so many bytes from the first one on; fewer where one reading gives fewer."""


class Packed(Content, Protocol):
    """Content that can be written down, as that of hundreds of thousands of files is (fs/table.py).

    Two that were made of the same parts are equal.
    """

    def packed(self) -> tuple[object, *tuple[object, ...]]:
        """What it is of, an object that many share; then numbers, text, None, and tuples of these."""

    @classmethod
    def unpacked(cls, *parts: Any) -> Content:  # noqa: ANN401 - what `packed` gave
        """Make it of its parts, with lists for tuples."""


class BytesContent:
    """Content that is in memory."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def open(self) -> BinaryIO:
        """Open the bytes."""
        return io.BytesIO(self.data)


#: How os.fsencode encodes, for who has a hundred thousand names: that one looks at what it is given.
NAMES = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()


class Entry:
    """A file, directory, link, device, fifo or whiteout. See the module's docstring for `path` and `kind`.

    mode        permission, set-id and sticky bits only (0o7777)
    size        bytes, 0 for all but regular files
    mtime_ns    nanoseconds since 1970, may be negative
    link        target of a symbolic link as written, or path of a hard link's first name
    rdev        (major, minor) of a device, else (0, 0)
    capability  the value of security.capability (20 bytes, revision 2), else None
    digest      sha256 of the content as hex where it is known, else ""
    content     where the bytes are, for kind `f`; None for empty files and where only metadata matter
    """

    __slots__ = (
        "capability", "content", "digest", "gid", "kind", "link", "mode", "mtime_ns", "path", "rdev",
        "size", "uid",
    )  # fmt: skip

    def __init__(
        self,
        path: str,
        kind: str,
        mode: int = 0o644,
        uid: int = 0,
        gid: int = 0,
        size: int = 0,
        mtime_ns: int = 0,
        link: str = "",
        rdev: tuple[int, int] = (0, 0),
        capability: bytes | None = None,
        digest: str = "",
        content: Content | None = None,
    ) -> None:
        self.path = path  # one by one: this is done some times for each of 100,000 files
        self.kind = kind
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.size = size
        self.mtime_ns = mtime_ns
        self.link = link
        self.rdev = rdev
        self.capability = capability
        self.digest = digest
        self.content = content

    @classmethod
    def from_stat(cls, path: str, st: os.stat_result, link: str = "") -> Entry | None:
        """The entry that an lstat describes; None for a socket, which no layer holds."""
        kind = _KIND_OF.get(stat.S_IFMT(st.st_mode))
        if kind is None:
            return None
        return cls(
            path,
            kind,
            stat.S_IMODE(st.st_mode),
            st.st_uid,
            st.st_gid,
            st.st_size if kind == "f" else 0,
            st.st_mtime_ns,
            link,
            (os.major(st.st_rdev), os.minor(st.st_rdev)) if kind in "cb" else (0, 0),
        )

    def __repr__(self) -> str:
        link = f" -> {self.link}" if self.link else ""
        return f"<{self.kind} {self.mode:04o} {self.uid}:{self.gid} {self.size} {self.path!r}{link}>"


_KIND_OF = {
    stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l", stat.S_IFCHR: "c", stat.S_IFBLK: "b",
    stat.S_IFIFO: "p",
}  # fmt: skip


#: The fields in the order of Entry's arguments.
_FIELDS = attrgetter(
    "path",
    "kind",
    "mode",
    "uid",
    "gid",
    "size",
    "mtime_ns",
    "link",
    "rdev",
    "capability",
    "digest",
    "content",
)


def replace(entry: Entry, **changes: object) -> Entry:
    """A copy of an entry with some fields changed."""
    new = Entry(*_FIELDS(entry))
    for name, value in changes.items():
        setattr(new, name, value)
    return new


def sort_key(path: str) -> bytes:
    """The key by which BuildKit orders a layer: parents first, then names compared as bytes."""
    return path.encode(*NAMES).replace(b"/", b"\0")


def name_in_tar(path: str, kind: str) -> str:
    """The name of an entry in a layer's tar, where whiteouts and opaque marks are files of their own."""
    folder, slash, name = path.rpartition("/")
    if kind == "w":
        return f"{folder}{slash}.wh.{name}"
    if kind == "o":
        return f"{path}/.wh..wh..opq" if path else ".wh..wh..opq"
    return path
