"""An EROFS index behind a layer's raw tar: the kernel mounts the file, and nothing has to be extracted.

    0      4096 bytes, the superblock at 1024
    4096   the uncompressed tar as it is; the bytes of a file begin at a multiple of 512 in it
    then   inodes, directories and targets of links, which point into the tar

Why: fifty thousand files cost seconds to make and to delete; writing their inodes side by side costs some
tenths of one. Whiteouts become devices 0:0 and opaque directories get overlayfs's xattr, so the mount is a
lower directory as an extracted tree is. An inode's number is its place: the first one is left empty, for
programs that list a directory take the number 0 for a name that was deleted. The uuid tells overlayfs layers
apart: what it copies up keeps its number only if they differ.
Spec: Linux fs/erofs/erofs_fs.h: blocks of 512 bytes, extended inodes, flat data, inline xattrs. Mounting
from a file needs Linux 6.12.
Trust: the entries come from layers, checked by layer/tarread.py. No byte of a layer is taken for structure:
what the kernel reads as such is written here, from numbers of entries; a layer's bytes are files' content.
"""

from __future__ import annotations

import os
import stat
import struct
from typing import BinaryIO

from imagesmith.fs.entry import Entry
from imagesmith.fs.view import LayerIndex
from imagesmith.values import record

__all__ = ["TAR_AT", "NotRepresentable", "outdated", "write_erofs"]

#: Where the tar begins in the file.
TAR_AT = 4096
_BLOCK, _SLOT = 512, 32
_SUPER_AT, _SUPER = 1024, struct.Struct("<IIIBBHQQIIII16s16sI")
_MAGIC = 0xE0F5E1E2
#: The volume's name, which tells files of this format from what older versions wrote.
_NAME = b"imagesmith 2".ljust(16, b"\0")
_INODE = struct.Struct("<HHHHQIIIIqII16x")
_DIRENT = struct.Struct("<QHBx")
_EXTENDED_FLAT = 1
#: Kind to type in the mode, and to type in a directory.
_TYPES = {
    "f": (stat.S_IFREG, 1), "h": (stat.S_IFREG, 1), "d": (stat.S_IFDIR, 2), "c": (stat.S_IFCHR, 3),
    "b": (stat.S_IFBLK, 4), "p": (stat.S_IFIFO, 5), "l": (stat.S_IFLNK, 7),
}  # fmt: skip
_REGULAR = stat.S_IFREG
_PREFIXES = {"trusted": 4, "security": 6}


class NotRepresentable(Exception):
    """A layer that has to be extracted: a hard link to a file of another layer."""


def write_erofs(index: LayerIndex, out: BinaryIO, tar_bytes: int, uuid: bytes) -> None:
    """Write the index behind the tar, which `out` holds from TAR_AT on, and the superblock before it.

    Args:
        index: the layer's entries.
        out: the file.
        tar_bytes: the size of the tar.
        uuid: sixteen bytes that no other layer has.

    Raises:
        NotRepresentable: the layer must be extracted.
    """
    _Image(index, TAR_AT + tar_bytes + -tar_bytes % _BLOCK, uuid).write(out)


def outdated(f: BinaryIO) -> int | None:
    """None if a file is of this format, else the size of the tar in it; 0 where that cannot be told."""
    f.seek(_SUPER_AT)
    head = f.read(_SUPER.size)
    if len(head) < _SUPER.size:
        return 0
    fields = _SUPER.unpack(head)
    if fields[0] == _MAGIC and fields[13] == _NAME:
        return None
    return max(0, int(fields[10]) * _BLOCK - TAR_AT) if fields[0] == _MAGIC else 0


class _Folder:
    """A directory whose inode has its place, and waits for what is in it to be known."""

    __slots__ = ("entry", "links", "nid", "number", "parent", "xattrs")

    def __init__(self, entry: Entry, xattrs: bytes, nid: int, number: int, parent: int) -> None:
        self.entry, self.xattrs, self.nid, self.number, self.parent = entry, xattrs, nid, number, parent
        self.links = 2


@record
class _Shared:
    """An inode that has several names."""

    entry: Entry
    nid: int
    number: int
    block: int = 0
    size: int = 0
    links: int = 1


class _Image:
    """What is written behind the tar: inodes side by side, then what directories and links hold.

    Directory by directory, each as soon as it is known: there may be millions of inodes.
    """

    def __init__(self, index: LayerIndex, meta_at: int, uuid: bytes) -> None:
        self._index, self._meta_at, self._uuid = index, meta_at, uuid
        #: The first names of what has several, and the inodes of these.
        self._linked = {index.entries[path].link for path in index.further}
        self._linked.update(e.path for e in index.one_as.values())
        self._shared: dict[str, _Shared] = {}
        self._place, self._count = _INODE.size, 0
        self._deleted = _Shared(Entry("", "c", 0), 0, 0, links=0)
        self._block = 0

    def write(self, out: BinaryIO) -> None:
        """Write it from directory to directory, then what was counted on the way, then the superblock."""
        index = self._index
        self._block = (self._meta_at + self._inode_bytes() + _BLOCK - 1) // _BLOCK
        top = index.entries.get("") or Entry("", "d", 0o755)
        root = self._folder(top, self._xattrs(top), None)
        if index.whiteouts:
            self._deleted.nid, self._deleted.number = self._next(b"")
            self._shared[""] = self._deleted
        todo = [root]
        while todo:
            todo += self._fill(todo.pop(), out)
        for one in self._shared.values():
            out.seek(self._meta_at + one.nid * _SLOT)
            out.write(
                self._inode(one.entry, self._xattrs(one.entry), one.number, one.links, one.block, one.size)
            )
        out.seek(_SUPER_AT)
        out.write(
            _SUPER.pack(
                _MAGIC, 0, 0, 9, 0, root.nid, self._count, 0, 0, self._block, self._meta_at // _BLOCK, 0,
                self._uuid, _NAME, 0,
            )
        )  # fmt: skip
        out.seek(0, os.SEEK_END)

    def _inode_bytes(self) -> int:
        """At most so many bytes have all inodes: the names of one file have one."""
        index = self._index
        count = len(index.entries) + len(index.implied) + 3
        xattrs = sum(_room(self._xattrs(e)) for e in index.entries.values() if e.capability or e.kind == "d")
        return count * _INODE.size + xattrs

    def _next(self, xattrs: bytes) -> tuple[int, int]:
        """The place of the next inode and its number."""
        nid = self._place // _SLOT
        self._place += _INODE.size + _room(xattrs)
        self._count += 1
        return nid, self._count

    def _folder(self, e: Entry, xattrs: bytes, parent: _Folder | None) -> _Folder:
        nid, number = self._next(xattrs)
        return _Folder(e, xattrs, nid, number, nid if parent is None else parent.nid)

    def _fill(self, folder: _Folder, out: BinaryIO) -> list[_Folder]:
        """Write a directory and the inodes of what is in it; the directories among that are returned."""
        index, here, at, begin = self._index, folder.entry.path, self._place, self._block
        prefix = f"{here}/" if here else ""
        names = {b".": (folder.nid, 2), b"..": (folder.parent, 2)}
        inodes: list[bytes] = []
        data: list[bytes] = []
        below: list[_Folder] = []
        for name in index.children(here):
            path = prefix + name
            e = index.entries.get(path) or Entry(path, "d", 0o755)
            names[os.fsencode(name)] = self._node(e, folder, inodes, data, below), _TYPES[e.kind][1]
        for gone in map(os.fsencode, index.deleted(here)):
            if gone not in names:
                names[gone] = self._deleted.nid, _TYPES["c"][1]
                self._deleted.links += 1
        blocks, size = _blocks(names)
        out.seek(begin * _BLOCK)
        out.writelines(data + blocks)
        out.seek(self._meta_at + at)
        out.writelines(inodes)
        out.seek(self._meta_at + folder.nid * _SLOT)
        links = folder.links + len(below)
        out.write(self._inode(folder.entry, folder.xattrs, folder.number, links, self._block, size))
        self._block += len(blocks)
        return below

    def _node(
        self, e: Entry, folder: _Folder, inodes: list[bytes], data: list[bytes], below: list[_Folder]
    ) -> int:
        """The number by which a directory knows an entry in it; what is new of it is added to the lists."""
        if e.kind == "f" and e.capability is None and not self._linked:  # what there are thousands of
            nid = self._place // _SLOT
            self._place += _INODE.size
            self._count += 1
            block = _first_block(e) if e.size else 0
            seconds, nanoseconds = divmod(e.mtime_ns, 1_000_000_000)
            inodes.append(
                _INODE.pack(
                    _EXTENDED_FLAT, 0, _REGULAR | e.mode & 0o7777, 0, e.size, block, self._count,
                    e.uid, e.gid, seconds, nanoseconds, 1,
                )
            )  # fmt: skip
            return nid
        if e.kind == "h" and e.content is None:
            raise NotRepresentable(e.path)
        xattrs = self._xattrs(e)
        if e.kind == "d":
            below.append(self._folder(e, xattrs, folder))
            inodes.append(bytes(_INODE.size + _room(xattrs)))
            return below[-1].nid
        first = e.path
        if self._linked:
            first = e.link if e.kind == "h" else (self._index.one_as.get(e.path) or e).path
            known = self._shared.get(first)
            if known is not None:
                known.links += 1
                return known.nid
        size = e.size if e.kind in "fh" else 0
        block = _first_block(e) if size else 0
        if e.kind == "l" and e.link:
            target = os.fsencode(e.link)
            size, block = len(target), self._block
            data.append(_filled(target))
            self._block += len(data[-1]) // _BLOCK
        nid, number = self._next(xattrs)
        if first in self._linked:
            self._shared[first] = _Shared(e, nid, number, block, size)
        inodes.append(self._inode(e, xattrs, number, 1, block, size))
        return nid

    def _xattrs(self, e: Entry) -> bytes:
        if e.kind == "d" and (e.path in self._index.opaques or e.path in self._index.whiteouts):
            return _xattr("trusted.overlay.opaque", b"y")
        return b"" if e.capability is None else _xattr("security.capability", e.capability)

    def _inode(self, e: Entry, xattrs: bytes, number: int, links: int, block: int, size: int) -> bytes:
        """An inode with what is attached to it."""
        seconds, nanoseconds = divmod(e.mtime_ns, 1_000_000_000)
        if e.kind in "cb":
            major, minor = e.rdev
            block = (minor & 0xFF) | (major << 8) | ((minor & ~0xFF) << 12)
        mode = _TYPES[e.kind][0] | e.mode & 0o7777
        raw = _INODE.pack(
            _EXTENDED_FLAT, (len(xattrs) - 12) // 4 + 1 if xattrs else 0, mode, 0, size, block, number,
            e.uid, e.gid, seconds, nanoseconds, links,
        )  # fmt: skip
        return raw + xattrs + bytes(-len(xattrs) % _SLOT) if xattrs else raw


def _room(xattrs: bytes) -> int:
    """How much an inode's xattrs take."""
    return len(xattrs) + -len(xattrs) % _SLOT


def _filled(data: bytes) -> bytes:
    """Data in whole blocks."""
    return data + bytes(-len(data) % _BLOCK)


def _first_block(e: Entry) -> int:
    """The block in which a file's bytes begin, in the tar."""
    offset: int = getattr(e.content, "offset", -1)
    if offset < 0 or offset % _BLOCK:
        raise NotRepresentable(e.path)
    return (TAR_AT + offset) // _BLOCK


def _blocks(names: dict[bytes, tuple[int, int]]) -> tuple[list[bytes], int]:
    """A directory's blocks, in each the fixed parts of its entries, then their names; and its size.

    Args:
        names: to the place and the type of each.
    """
    blocks: list[bytes] = []
    block: list[bytes] = []
    used = 0
    for name in sorted(names):
        need = _DIRENT.size + len(name)
        if used + need > _BLOCK:
            blocks.append(_filled(_block(block, names)))
            block, used = [], 0
        block.append(name)
        used += need
    blocks.append(_filled(_block(block, names)))
    return blocks, (len(blocks) - 1) * _BLOCK + used


def _block(some: list[bytes], names: dict[bytes, tuple[int, int]]) -> bytes:
    """A block of a directory."""
    place, heads = len(some) * _DIRENT.size, []
    for name in some:
        nid, kind = names[name]
        heads.append(_DIRENT.pack(nid, place, kind))
        place += len(name)
    return b"".join(heads + some)


def _xattr(full: str, value: bytes) -> bytes:
    """One inline xattr: a header, then prefix, name and value, padded to four bytes."""
    prefix, _, name = full.partition(".")
    raw = struct.pack("<BBH", len(name), _PREFIXES[prefix], len(value)) + name.encode() + value
    return bytes(12) + raw + bytes(-len(raw) % 4)
