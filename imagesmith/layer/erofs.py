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
from collections.abc import Iterator
from typing import BinaryIO

from imagesmith.fs.entry import Entry
from imagesmith.fs.view import LayerIndex

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


class _Node:
    """An inode: the entry that it is made of, its place in units of 32 bytes, and how many names it has."""

    __slots__ = ("entry", "links", "nid", "xattrs")

    def __init__(self, entry: Entry, xattrs: bytes = b"") -> None:
        self.entry, self.xattrs, self.nid, self.links = entry, xattrs, 0, 1


class _Folder(_Node):
    """A directory: what is in it, name by name, where it is cut into blocks, and where those are."""

    __slots__ = ("block", "ends", "names", "nodes", "parent", "size")

    def __init__(self, entry: Entry, xattrs: bytes, parent: _Folder | None) -> None:
        super().__init__(entry, xattrs)
        self.parent, self.links = parent or self, 2
        self.names: list[bytes] = []
        self.nodes: list[_Node] = []
        self.ends: list[int] = []
        self.block = self.size = 0

    def fill(self, found: dict[bytes, _Node]) -> None:
        """Take what is in it, and divide it into blocks."""
        self.names = sorted(found)
        self.nodes = [found[name] for name in self.names]
        used = 0
        for at, name in enumerate(self.names):
            need = _DIRENT.size + len(name)
            if used + need > _BLOCK:
                self.ends.append(at)
                used = 0
            used += need
        self.size = len(self.ends) * _BLOCK + used
        self.ends.append(len(self.names))


class _Image:
    """The nodes of a layer in the order of their inodes; there may be hundreds of thousands."""

    def __init__(self, index: LayerIndex, meta_at: int, uuid: bytes) -> None:
        self._index, self._meta_at, self._uuid = index, meta_at, uuid
        self._linked = {id(e.content) for e in index.entries.values() if e.kind == "h"}
        self._linked.discard(id(None))
        self._linked.update(map(id, index.one_as.values()))
        self._shared: dict[int, _Node] = {}
        self._deleted = _Node(Entry("", "c", 0))
        self._deleted.links = 0
        self._nodes: list[_Node] = []
        self._targets: dict[_Node, int] = {}

    def write(self, out: BinaryIO) -> None:
        """Lay all out, then write it from front to back."""
        root = self._tree()
        place = _INODE.size
        for node in self._nodes:
            node.nid = place // _SLOT
            place += _INODE.size + len(node.xattrs)
            place += -place % _SLOT
        block = (self._meta_at + place + _BLOCK - 1) // _BLOCK
        for node in self._nodes:
            size = node.size if isinstance(node, _Folder) else _link_size(node.entry)
            if isinstance(node, _Folder):
                node.block = block
            elif size:
                self._targets[node] = block
            block += (size + _BLOCK - 1) // _BLOCK
        out.seek(self._meta_at)
        out.write(bytes(_INODE.size))
        for number, node in enumerate(self._nodes, 1):
            raw = self._inode(node, number)
            if node.xattrs:
                raw += node.xattrs
                raw += bytes(-len(raw) % _SLOT)
            out.write(raw)
        out.write(bytes(-out.tell() % _BLOCK))
        for node in self._nodes:
            if isinstance(node, _Folder):
                out.writelines(data + bytes(-len(data) % _BLOCK) for data in _blocks(node))
            elif node in self._targets:
                data = os.fsencode(node.entry.link)
                out.write(data + bytes(-len(data) % _BLOCK))
        end = out.tell()
        out.seek(_SUPER_AT)
        out.write(
            _SUPER.pack(
                _MAGIC, 0, 0, 9, 0, root.nid, len(self._nodes), 0, 0, end // _BLOCK,
                self._meta_at // _BLOCK, 0, self._uuid, _NAME, 0,
            )
        )  # fmt: skip
        out.seek(end)
        for node in self._nodes:
            if isinstance(node, _Folder):
                node.nodes.clear()  # parents and children hold each other

    # --- the tree ------------------------------------------------------------------------------

    def _tree(self) -> _Folder:
        """The node of the root, and those of all below it."""
        index = self._index
        top = index.entries.get("") or Entry("", "d", 0o755)
        root = _Folder(top, self._xattrs(top), None)
        self._nodes.append(root)
        todo = [root]
        while todo:
            folder = todo.pop()
            here = folder.entry.path
            prefix = f"{here}/" if here else ""
            found: dict[bytes, _Node] = {b".": folder, b"..": folder.parent}
            for name in index.children(here):
                child = found[os.fsencode(name)] = self._node(prefix + name, folder)
                if isinstance(child, _Folder):
                    folder.links += 1
                    todo.append(child)
            for gone in map(os.fsencode, index.deleted(here)):
                if gone not in found:
                    found[gone] = self._deleted
                    self._deleted.links += 1
            folder.fill(found)
        if self._deleted.links:
            self._nodes.append(self._deleted)
        return root

    def _node(self, path: str, folder: _Folder) -> _Node:
        e = self._index.entries.get(path) or Entry(path, "d", 0o755)
        if e.kind == "h" and e.content is None:
            raise NotRepresentable(path)
        key = id(e.content) if e.kind in "fh" else id(self._index.one_as.get(path, e))
        first = self._shared.get(key) if key in self._linked else None
        if first is not None:
            first.links += 1
            return first
        xattrs = self._xattrs(e)
        node = _Folder(e, xattrs, folder) if e.kind == "d" else _Node(e, xattrs)
        if key in self._linked:
            self._shared[key] = node
        self._nodes.append(node)
        return node

    def _xattrs(self, e: Entry) -> bytes:
        if e.kind == "d" and (e.path in self._index.opaques or e.path in self._index.whiteouts):
            return _xattr("trusted.overlay.opaque", b"y")
        return b"" if e.capability is None else _xattr("security.capability", e.capability)

    # --- bytes ---------------------------------------------------------------------------------

    def _inode(self, node: _Node, number: int) -> bytes:
        e = node.entry
        seconds, nanoseconds = divmod(e.mtime_ns, 1_000_000_000)
        xattrs = len(node.xattrs)
        size, block = 0, 0
        if e.kind in "fh":
            size = e.size
            block = _first_block(e) if size else 0
        elif isinstance(node, _Folder):
            size, block = node.size, node.block
        elif e.kind == "l":
            size, block = _link_size(e), self._targets.get(node, 0)
        elif e.kind in "cb":
            major, minor = e.rdev
            block = (minor & 0xFF) | (major << 8) | ((minor & ~0xFF) << 12)
        mode = _TYPES[e.kind][0] | e.mode & 0o7777
        return _INODE.pack(
            _EXTENDED_FLAT, (xattrs - 12) // 4 + 1 if xattrs else 0, mode, 0, size, block, number,
            e.uid, e.gid, seconds, nanoseconds, node.links,
        )  # fmt: skip


def _link_size(e: Entry) -> int:
    return len(os.fsencode(e.link)) if e.kind == "l" else 0


def _first_block(e: Entry) -> int:
    """The block in which a file's bytes begin, in the tar."""
    offset: int = getattr(e.content, "offset", -1)
    if offset < 0 or offset % _BLOCK:
        raise NotRepresentable(e.path)
    return (TAR_AT + offset) // _BLOCK


def _blocks(folder: _Folder) -> Iterator[bytes]:
    """A directory's blocks: in each the fixed parts of its entries, then their names."""
    names, at = folder.names, 0
    for end in folder.ends:
        place = (end - at) * _DIRENT.size
        heads = []
        for name, node in zip(names[at:end], folder.nodes[at:end], strict=True):
            heads.append(_DIRENT.pack(node.nid, place, _TYPES[node.entry.kind][1]))
            place += len(name)
        block = b"".join(heads + names[at:end])
        yield block if end == len(names) else block.ljust(_BLOCK, b"\0")
        at = end


def _xattr(full: str, value: bytes) -> bytes:
    """One inline xattr: a header, then prefix, name and value, padded to four bytes."""
    prefix, _, name = full.partition(".")
    raw = struct.pack("<BBH", len(name), _PREFIXES[prefix], len(value)) + name.encode() + value
    return bytes(12) + raw + bytes(-len(raw) % 4)
