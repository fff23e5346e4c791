"""ADD of an archive: its entries below the destination, as Docker's chrooted untar puts them.

Why: the destination is the archive's root: `..` and absolute links stay inside it, whiteouts are files like
any other, a folder that exists takes the entry's mode and owner, what is in the way is replaced. Whether a
file is an archive is told by its content alone; what cannot be read as one is copied as it is.
Trust: archives are hostile; layer/tarread.py reads and measures them, and entries only ever reach a draft.
Folders that they imply and do not list are counted.
Spec: BuildKit's solver/llbsolver/file/unpack.go, moby/pkg/archive.
"""

from __future__ import annotations

import os
import shutil
from typing import BinaryIO

from imagesmith.context.sources import Match
from imagesmith.errors import ContextError, InvalidDocument, LimitExceeded, UnsafeArchive
from imagesmith.fs.draft import Draft
from imagesmith.fs.entry import Content, Entry, replace
from imagesmith.fs.limits import IMPLIED_BYTES, check_path, too_much_implied
from imagesmith.fs.tree import resolve
from imagesmith.fs.view import parent_of
from imagesmith.layer.sparse import Pieces
from imagesmith.layer.tarread import decompressed, is_tar, read_archive
from imagesmith.ops.target import Target
from imagesmith.store.disk import Spooled, on_disk_fault, spool

__all__ = ["is_archive", "unpack"]

_HEAD = 512
#: The last time that Docker's untar sets; one after it, or before 1970, becomes 1970.
_LAST_NS = (1 << 63) - 1


class _Limited:
    """The first bytes of a stream, as a stream."""

    def __init__(self, source: BinaryIO, size: int) -> None:
        self._source, self._left = source, size

    def read(self, size: int, /) -> bytes:
        data = self._source.read(min(size, self._left)) if self._left else b""
        self._left -= len(data)
        return data


def is_archive(content: Content | None, size: int) -> bool:
    """True for a tar, perhaps compressed, whose first header reads well."""
    if content is None or size == 0:
        return False
    try:
        with content.open() as raw:
            return is_tar(decompressed(_Limited(raw, size)).read(_HEAD))
    except InvalidDocument:
        return False


def unpack(target: Target, match: Match) -> bool:
    """Put an archive's entries below the destination; False if the match is no archive.

    Raises:
        ContextError: the destination is a file, or the archive is damaged.
    """
    e = match.entry
    if e.kind not in "fh" or not is_archive(e.content, e.size):
        return False
    assert e.content is not None
    doing = f"unpack {match.name}"
    tar = spool(target.work, doing)  # lives as long as the contents that are in it
    with e.content.open() as raw:
        try:
            shutil.copyfileobj(decompressed(_Limited(raw, e.size)), tar, 1 << 20)
        except InvalidDocument as error:
            raise ContextError(f"cannot unpack {match.name}: {error.message}") from error
    tar.flush()
    target.make_dirs(target.dest, mode=0o755)
    with on_disk_fault(doing, target.work):
        _Unpacker(target, tar).run(match.name)
    return True


class _Root:
    """The destination as a tree of its own: links of the archive are resolved inside it."""

    def __init__(self, draft: Draft, base: str) -> None:
        self._draft, self._base = draft, base

    def get(self, path: str, /) -> Entry | None:
        return self._draft.get(f"{self._base}/{path}" if self._base else path)


class _Unpacker:
    """An archive on its way below the destination."""

    def __init__(self, target: Target, tar: BinaryIO) -> None:
        self.target, self.tar, self.draft = target, tar, target.draft
        self.base = target.draft.resolve(target.dest)
        self.root = _Root(target.draft, self.base)
        self.folders: list[tuple[str, int]] = []
        self.room = IMPLIED_BYTES
        self.whole: BinaryIO | None = None  # sparse files with their holes

    def run(self, name: str) -> None:
        """Put every entry, then give folders their times."""
        self.tar.seek(0)
        try:
            for e, offset in read_archive(self.tar, sparse=True):
                if e.path:
                    self._entry(e, offset)
        except (UnsafeArchive, LimitExceeded) as error:
            raise ContextError(f"cannot unpack {name}: {error.message}") from error
        for path, mtime_ns in self.folders:
            now = self.draft.get(path)
            if now is not None and now.kind == "d":
                self.draft.change(replace(now, mtime_ns=mtime_ns))

    def _at(self, path: str, *, follow_last: bool) -> str:
        inside = resolve(self.root, path, follow_last)
        at = f"{self.base}/{inside}" if self.base else inside
        check_path(at)
        return at

    def _stored(self, e: Entry, offset: int) -> tuple[BinaryIO, int]:
        """Where a file's bytes are, all of them."""
        if not isinstance(e.content, Pieces):
            return self.tar, offset
        if self.whole is None:
            self.whole = spool(self.target.work, "unpack a sparse file")
        at = os.fstat(self.whole.fileno()).st_size
        e.content.expand(self.tar.fileno(), offset, self.whole.fileno(), at)
        return self.whole, at

    def _entry(self, e: Entry, offset: int) -> None:
        draft = self.draft
        parent = parent_of(e.path)
        if parent and draft.get(self._at(parent, follow_last=True)) is None:
            self.room -= sum(map(len, draft.make_dirs(self._at(parent, follow_last=True))))
            if self.room < 0:
                raise too_much_implied(e.path)
        at = self._at(e.path, follow_last=False)
        old = draft.get(at)
        if old is not None and not (old.kind == "d" and e.kind == "d"):
            draft.remove(at)
        uid, gid = self.target.owner or (e.uid, e.gid)
        new = replace(e, path=at, uid=uid, gid=gid)
        if not 0 <= e.mtime_ns <= _LAST_NS:
            new.mtime_ns = 0
        if e.kind == "f":
            new.content = Spooled(*self._stored(e, offset))
        elif e.kind == "h":
            new.link = self._at(e.link, follow_last=False)
            first = draft.get(new.link)
            if first is None:
                raise ContextError(
                    f"cannot unpack: the hard link {e.path} names {e.link}, which is not there"
                )
            draft.change(first)  # a link brings the file up, as in an overlay
        elif e.kind == "l":
            new.mode = 0o777  # what the kernel makes of any link
        elif e.kind == "d":
            self.folders.append((at, new.mtime_ns))
        draft.put(new)
