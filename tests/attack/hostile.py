"""Makers of hostile layers: names, links, marks, nodes, numbers and streams that are made to lead somewhere.

Each is a list of blobs over a base with busybox, the lowest first; what they try lies below `t`, or where
steps get mounts. OUTSIDE is a folder of the machine with a file `canary`, to which links lead.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import zlib
from dataclasses import dataclass
from functools import cache
from typing import Any

import zstandard

from tests.layer.test_tarread import header, pax

__all__ = ["Blob", "extraction", "formats"]

_END = bytes(1024)


@dataclass(frozen=True)
class Blob:
    """A layer as it lies in a registry; `plain` is what its diff_id is made of."""

    data: bytes
    plain: bytes = b""
    diff_id: str = ""

    @property
    def digest_of_plain(self) -> str:
        """The diff_id that the config names."""
        return self.diff_id or hashlib.sha256(self.plain).hexdigest()


def record(key: bytes, value: bytes) -> bytes:
    """One record of an extended header."""
    rest = b" " + key + b"=" + value + b"\n"
    size = len(rest) + 1
    while len(b"%d" % size) + len(rest) != size:
        size = len(b"%d" % size) + len(rest)
    return b"%d" % size + rest


def entry(
    name: bytes,
    kind: bytes = b"0",
    data: bytes = b"",
    more: dict[bytes, bytes] | None = None,
    **fields: bytes,
) -> bytes:
    """An entry; what no header holds of name and target goes into an extended one, with `more` records."""
    records = dict(more or {})
    if len(name) > 99:
        records[b"path"] = name
    if len(fields.get("link", b"")) > 99:
        records[b"linkpath"] = fields.pop("link")
    fields.setdefault("mode", b"0000755" if kind == b"5" else b"0000644")
    head = header(name[:99], kind, b"%o" % len(data), **fields)
    before = pax(b"".join(record(k, v) for k, v in records.items())) if records else b""
    return before + head + data + bytes(-len(data) % 512)


def gz(*parts: bytes, end: bytes = _END) -> Blob:
    """A layer of these entries, compressed as usual."""
    plain = b"".join(parts) + end
    return Blob(gzip.compress(plain, 1, mtime=0), plain)


def folder(name: bytes) -> bytes:
    return entry(name, b"5")


def link(name: bytes, target: bytes) -> bytes:
    return entry(name, b"2", link=target)


def hard(name: bytes, target: bytes) -> bytes:
    return entry(name, b"1", link=target)


def file(name: bytes, data: bytes = b"evil") -> bytes:
    return entry(name, b"0", data)


def xattrs(name: bytes, kind: bytes = b"0", **values: bytes) -> bytes:
    return entry(
        name, kind, more={b"SCHILY.xattr." + k.replace("__", ".").encode(): v for k, v in values.items()}
    )


def _through(target: bytes) -> list[Blob]:
    """A link that leads out, and a layer that writes, links and deletes through it."""
    below = gz(folder(b"t"), link(b"t/l", target))
    return [
        below,
        gz(
            file(b"t/l/canary"),
            file(b"t/l/made"),
            hard(b"t/got", b"t/l/canary"),
            file(b"t/l/.wh.canary", b""),
        ),
    ]


def _links(outside: bytes) -> dict[str, list[Blob]]:
    up = b"../" * 40 + outside.lstrip(b"/")
    chain = (link(b"t/a", b"b"), link(b"t/b", b"c/../c"), link(b"t/c", up))
    return {
        "absolute link": _through(outside),
        "link upwards": _through(up),
        "link by ./ and //": _through(b"/.//../." + outside.replace(b"/", b"//") + b"/./"),
        "link by /proc/self/root": _through(b"/proc/self/root" + outside),
        "link by /proc/1/root": _through(b"/proc/1/root" + outside),
        "link by /proc/self/cwd": _through(b"/proc/self/cwd/" + up),
        "link by descriptors": _through(b"/proc/self/fd/3/" + up),
        "chain of links": [gz(folder(b"t"), *chain), gz(file(b"t/a/canary"), file(b"t/a/.wh.canary", b""))],
        "link and file in one layer": [gz(link(b"t", outside), file(b"t/canary"), file(b"t/made"))],
        "link, then a folder in its place": [gz(link(b"t", outside)), gz(folder(b"t"), file(b"t/canary"))],
        "folder, then a link in its place": [
            gz(folder(b"t"), file(b"t/canary")),
            gz(link(b"t", outside), file(b"t/made")),
        ],
        "loop of links": [
            gz(folder(b"t"), link(b"t/a", b"b"), link(b"t/b", b"a")),
            gz(file(b"t/a/x"), file(b"t/b")),
        ],
        "link to itself": [gz(link(b"t", b"t"), file(b"t/x"))],
        "names with ..": [gz(file(b"t/../../../.." + outside + b"/canary"))],
        "absolute names": [gz(file(outside + b"/canary"), file(outside + b"/made"))],
        "hard link by an absolute name": [gz(folder(b"t"), hard(b"t/h", outside + b"/canary"))],
        "hard link upwards": [gz(folder(b"t"), hard(b"t/h", up + b"/canary"))],
        "hard link to a link": [
            gz(folder(b"t"), link(b"t/l", outside + b"/canary"), hard(b"t/h", b"t/l"), file(b"t/h"))
        ],
        "hard link before its target": [gz(folder(b"t"), hard(b"t/h", b"t/f"), file(b"t/f"))],
        "hard link to itself": [gz(folder(b"t"), hard(b"t/h", b"t/h"))],
        "hard link to a folder": [gz(folder(b"t"), folder(b"t/d"), hard(b"t/h", b"t/d"))],
        "hard link to what is deleted": [gz(file(b"t/f")), gz(file(b"t/.wh.f", b""), hard(b"t/h", b"t/f"))],
        "root is a link": [gz(link(b"./", outside), file(b"canary"))],
        "tmp, bin, etc, dev are links": [
            gz(*(link(n, outside) for n in (b"tmp", b"etc", b"dev", b"proc", b"sys")))
        ],
        "shell is a link out": [gz(link(b"bin/sh", outside + b"/canary"))],
        "files of mounts are links": [
            gz(*(link(b"etc/" + n, outside + b"/canary") for n in (b"hosts", b"hostname", b"resolv.conf")))
        ],
        "files of mounts hang": [
            gz(*(link(b"etc/" + n, outside + b"/made") for n in (b"hosts", b"hostname", b"resolv.conf")))
        ],
        "files of mounts are nodes": [
            gz(
                entry(b"etc/hosts", b"6"),
                folder(b"etc/resolv.conf"),
                entry(b"etc/hostname", b"3", major=b"1", minor=b"3"),
            )
        ],
        "dev is full of links": [
            gz(
                *(
                    link(b"dev/" + n, outside + b"/canary")
                    for n in (b"null", b"zero", b"shm", b"pts", b"ptmx", b"fd", b"stdin")
                )
            )
        ],
        "proc and sys are files": [gz(file(b"proc"), file(b"sys"))],
    }


def _marks(outside: bytes) -> dict[str, list[Blob]]:
    return {
        "whiteout of ..": [gz(folder(b"t"), file(b"t/.wh...", b""))],
        "whiteout of .": [gz(folder(b"t"), file(b"t/.wh..", b""))],
        "whiteout of nothing": [gz(folder(b"t"), file(b"t/.wh.", b""))],
        "whiteout of the root's folders": [
            gz(*(file(b".wh." + n, b"") for n in (b"bin", b"etc", b"dev", b"proc", b"tmp")))
        ],
        "opaque root": [gz(file(b".wh..wh..opq", b""), file(b"t/x"))],
        "opaque mark is a folder": [gz(folder(b"t/.wh..wh..opq"), file(b"t/.wh..wh..opq/x"))],
        "opaque mark is a link": [gz(folder(b"t"), link(b"t/.wh..wh..opq", outside))],
        "whiteout is a folder": [gz(folder(b"t"), folder(b"t/.wh.x"), file(b"t/.wh.x/canary"))],
        "whiteout is a link": [gz(folder(b"t"), link(b"t/.wh.x", outside), hard(b"t/h", b"t/.wh.x"))],
        "names of AUFS": [
            gz(
                folder(b".wh..wh.plnk"),
                link(b".wh..wh.plnk/1.2", outside),
                hard(b"t", b".wh..wh.plnk/1.2"),
                file(b".wh..wh.aufs"),
            )
        ],
        "deleted and made in one layer": [gz(file(b"t/.wh.x", b""), file(b"t/x"), file(b"t/.wh.x", b""))],
        "overlay's own deletion": [gz(file(b"t/x")), gz(entry(b"t/x", b"3", major=b"0", minor=b"0"))],
        "overlay's redirect": [
            gz(xattrs(b"t", b"5", trusted__overlay__redirect=b"/../.." + outside), folder(b"t/d"))
        ],
        "overlay's redirect for users": [
            gz(xattrs(b"t", b"5", user__overlay__redirect=b"/../.." + outside), folder(b"t/d"))
        ],
        "overlay's opaque and metacopy": [
            gz(
                xattrs(b"t", b"5", trusted__overlay__opaque=b"y"),
                xattrs(
                    b"t/f",
                    trusted__overlay__metacopy=b"",
                    trusted__overlay__redirect=outside + b"/canary",
                    trusted__overlay__origin=bytes(40),
                ),
            )
        ],
        "overlay's marks for users": [
            gz(
                xattrs(b"t", b"5", user__overlay__opaque=b"x"),
                xattrs(b"t/f", user__overlay__whiteout=b"y", user__overlay__metacopy=bytes(4)),
            )
        ],
        "capabilities": [
            gz(
                xattrs(
                    b"t/c", security__capability=bytes.fromhex("0100000200040000000000000000000000000000")
                ),
                xattrs(b"t/d", security__capability=b"x"),
            )
        ],
        "other attributes": [
            gz(
                xattrs(
                    b"t/x",
                    security__selinux=b"a:b",
                    system__posix_acl_access=b"\2\0\0\0",
                    trusted__x=b"y",
                    security__ima=bytes(30),
                )
            )
        ],
    }


def _nodes(disk: tuple[int, int]) -> dict[str, list[Blob]]:
    major, minor = b"%o" % disk[0], b"%o" % disk[1]
    every = [
        entry(b"t/disk", b"4", major=major, minor=minor, mode=b"0000666"),
        entry(b"t/mem", b"3", major=b"1", minor=b"1", mode=b"0000666"),
    ]
    in_dev = [
        entry(b"dev/" + n, b"4", major=major, minor=minor, mode=b"0000666")
        for n in (b"null", b"zero", b"disk")
    ]
    return {
        "devices": [
            gz(folder(b"t"), *every, entry(b"t/kmsg", b"3", major=b"1", minor=b"13", mode=b"0000666"))
        ],
        "devices in dev": [gz(*in_dev)],
        "fifos": [gz(folder(b"t"), entry(b"t/p", b"6"), hard(b"t/q", b"t/p"), entry(b"bin/sh", b"6"))],
        "socket": [gz(folder(b"t"), entry(b"t/s", b"s"))],
        "set-uid and set-gid": [
            gz(entry(b"t/su", b"0", b"#!/bin/sh\nid", mode=b"0006755"), entry(b"t/d", b"5", mode=b"0003777"))
        ],
        "mode 0": [
            gz(
                entry(b"t", b"5", mode=b"0"),
                entry(b"t/f", mode=b"0"),
                entry(b"t/d", b"5", mode=b"0"),
                entry(b"t/d/x", mode=b"0"),
            )
        ],
    }


def _names() -> dict[str, list[Blob]]:
    deep = b"/".join([b"d"] * 2000)
    return {
        "name with NUL": [gz(entry(b"x", more={b"path": b"t/a\0b"}))],
        "target with NUL": [gz(entry(b"x", b"2", more={b"linkpath": b"a\0b"}))],
        "names with lines and escapes": [
            gz(
                file(b"t/a\nb"),
                file(b"t/\x1b]0;x\x07\x1b[2J"),
                file(b"t/::error::x"),
                file(b"t/\r\n::set-output"),
            )
        ],
        "slashes": [gz(file(b"t//a///b"), file(b"//t/./c"), folder(b"t/d///"))],
        "not UTF-8": [gz(file(b"t/\xff\xfe"), link(b"t/\xc3(", b"\xa0\xa1"), hard(b"t/\x80", b"t/\xff\xfe"))],
        "no name": [gz(file(b""), file(b"t/x"))],
        "name .": [gz(file(b"."), file(b"t/x"))],
        "name ..": [gz(folder(b"..")), gz(file(b"t/x"))],
        "name of 255 bytes": [gz(file(b"t/" + b"n" * 255))],
        "name of 256 bytes": [gz(file(b"t/" + b"n" * 256))],
        "whiteout of 255 bytes": [gz(file(b"t/.wh." + b"n" * 255, b""))],
        "path of 4095 bytes": [gz(file(b"/".join([b"p" * 127] * 32)[:4095]))],
        "path of 4096 bytes": [gz(file(b"/".join([b"p" * 255] * 16) + b"x"))],
        "2,000 folders": [gz(file(deep + b"/f"))],
        "100,000 folders": [gz(file(b"a/" * 100_000 + b"f"))],
        "name of 900 kB": [gz(file(b"n" * 900_000))],
        "target of 5,000 bytes": [gz(link(b"t", b"x" * 5000))],
        "file over a folder": [gz(file(b"t/d/x")), gz(file(b"t/d")), gz(file(b"t/d/y"))],
        "folder over a file with hard links": [
            gz(file(b"t/f"), hard(b"t/g", b"t/f")),
            gz(folder(b"t/f"), file(b"t/f/x")),
        ],
        "one name many times": [
            gz(file(b"t/x"), folder(b"t/x"), link(b"t/x", b".."), entry(b"t/x", b"6"), file(b"t/x", b"last"))
        ],
        "a file of busybox is a folder": [gz(folder(b"bin/busybox"))],
    }


def extraction(outside: str, disk: tuple[int, int]) -> dict[str, list[Blob]]:
    """Layers whose names, links, marks and nodes are hostile."""
    place = outside.encode()
    return _links(place) | _marks(place) | _nodes(disk) | _names()


# --- numbers, maps and streams ------------------------------------------------------------------------------


def _sparse(records: bytes, data: bytes) -> list[Blob]:
    return [gz(pax(records) + header(b"t", b"0", b"%o" % len(data)) + data + bytes(-len(data) % 512))]


def _old_sparse(pieces: bytes, size: bytes, more: bytes = b"") -> list[Blob]:
    head = header(b"t", b"S", b"2", magic=b"ustar  \0")
    head = (
        head[:386] + pieces.ljust(96, b"\0") + (b"\1" if more else b"\0") + size.ljust(12, b"\0") + head[495:]
    )
    head = head[:148] + b" " * 8 + head[156:]
    return [gz(head[:148] + b"%06o\0 " % sum(head) + head[156:], more, b"hi" + bytes(510))]


def _numbers() -> dict[str, list[Blob]]:
    one = record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.minor", b"0")
    return {
        "size of 8 GiB, no data": [gz(header(b"t", size=b"77777777777"))],
        "size of 2^62": [gz(header(b"t", size=b"\x80\0\0\0\x40" + bytes(7)))],
        "negative size": [gz(header(b"t", size=b"\xff" * 12))],
        "size that is no number": [gz(header(b"t", size=b"0x10"))],
        "size of 5,000 digits": [gz(entry(b"t", more={b"size": b"9" * 5000}))],
        "size of pax and of the header": [
            gz(pax(record(b"size", b"512")) + header(b"t", size=b"0") + b"x" * 512)
        ],
        "old sparse of 2^62": _old_sparse(b"00000000000\000000000002\0", b"\x80\0\0\0\x40" + bytes(7)),
        "old sparse that overlaps": _old_sparse(
            b"00000000005\000000000002\000000000001\000000000002\0", b"00000001000\0"
        ),
        "old sparse without end": _old_sparse(
            b"00000000000\000000000002\0", b"00000001000\0", (bytes(504) + b"\1" + bytes(7)) * 1000
        ),
        "sparse 0.0": _sparse(
            record(b"GNU.sparse.size", b"9")
            + record(b"GNU.sparse.numblocks", b"1")
            + record(b"GNU.sparse.offset", b"0")
            + record(b"GNU.sparse.numbytes", b"9"),
            b"x" * 9,
        ),
        "sparse 0.1": _sparse(
            record(b"GNU.sparse.size", b"99") + record(b"GNU.sparse.map", b"0,1,50,8"), b"x" * 9
        ),
        "sparse 1.0": _sparse(
            one + record(b"GNU.sparse.realsize", b"99"), b"1\n5\n2\n".ljust(512, b"\0") + b"hi"
        ),
        "sparse 1.0 without lines": _sparse(one + record(b"GNU.sparse.realsize", b"99"), b"1" * 200_000),
        "sparse 1.0 of 10^18 pieces": _sparse(
            one + record(b"GNU.sparse.realsize", b"99"), b"9" * 18 + b"\n" + b"0\n" * 500
        ),
        "sparse of 2^63 bytes": _sparse(
            record(b"GNU.sparse.size", b"9223372036854775807") + record(b"GNU.sparse.map", b"0,1"), b"x"
        ),
        "times at the limits": [
            gz(
                header(b"t", mtime=b"\x80" + b"\xff" * 11),
                header(b"u", mtime=b"\xff" * 12),
                header(b"v", mtime=b"\x80\0\0\0\x7f" + b"\xff" * 7),
            )
        ],
        "times of pax": [
            gz(
                entry(b"t", more={b"mtime": b"9" * 30}),
                entry(b"u", more={b"mtime": b"-9999999999.999999999"}),
                entry(b"v", more={b"mtime": b"1." + b"9" * 5000}),
            )
        ],
        "time that is none": [gz(entry(b"t", more={b"mtime": b"nan"}))],
        "owner 2^32 - 2": [gz(entry(b"t", more={b"uid": b"4294967294", b"gid": b"4294967294"}))],
        "owner 2^32 - 1": [gz(entry(b"t", more={b"uid": b"4294967295"}))],
        "owner below 0": [gz(header(b"t", uid=b"\xff" * 8))],
        "owner of 5,000 digits": [gz(entry(b"t", more={b"uid": b"1" * 5000}))],
        "device numbers beyond": [gz(entry(b"t", b"3", major=b"7777777", minor=b"7777777"))],
        "long name of 1 GiB": [gz(header(b"x", b"L", b"10000000000"))],
        "10,000 long names": [
            gz((header(b"x", b"L", b"2") + b"ab".ljust(512, b"\0")) * 10_000 + header(b"t"))
        ],
        "global headers": [
            gz(pax(record(b"path", b"../../x") + record(b"uid", b"0"), b"g") * 1000 + header(b"t"))
        ],
        "record longer than its header": [gz(pax(b"999 path=x\n") + header(b"t"))],
        "attributes of a megabyte": [gz(entry(b"t", more={b"SCHILY.xattr.user.a": bytes(900_000)}))],
        "type that nobody knows": [gz(header(b"t", b"Z"))],
        "checksum of signed bytes": [gz(header(b"t\xff\xfe"))],
    }


def _streams() -> dict[str, list[Blob]]:
    good = gz(folder(b"t"), file(b"t/x"))
    more = gz(file(b"t/y"))
    zst = zstandard.ZstdCompressor().compress
    # A frame of one raw block whose window is 2 GiB: (10 + 21) bits.
    window = (
        b"\x28\xb5\x2f\xfd\0"
        + bytes([21 << 3])
        + (len(good.plain) << 3 | 1).to_bytes(3, "little")
        + good.plain
    )
    big = lzma.compress(good.plain, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}])
    half = len(good.data) // 2
    return {
        "zstd with a window of 2 GiB": [Blob(window, good.plain)],
        "gzip, bit by bit": [
            Blob(
                b"".join(
                    gzip.compress(good.plain[n : n + 64], mtime=0) for n in range(0, len(good.plain), 64)
                ),
                good.plain,
            )
        ],
        "frames of zstd and of skipping": [
            Blob(zst(good.plain[:700]) + b"\x50\x2a\x4d\x18\4\0\0\0abcd" + zst(good.plain[700:]), good.plain)
        ],
        "garbage behind gzip": [Blob(good.data + b"garbage", good.plain)],
        "garbage behind the end": [gz(folder(b"t"), end=_END + b"garbage" * 500)],
        "another tar behind the end": [gz(folder(b"t"), end=_END + more.plain)],
        "no end": [gz(folder(b"t"), file(b"t/x"), end=b"")],
        "half of an end": [gz(folder(b"t"), end=bytes(512))],
        "zeros between entries": [gz(folder(b"t"), bytes(512), file(b"t/x"))],
        "gzip cut off": [Blob(good.data[:half], good.plain)],
        "tar cut off": [gz(file(b"t", b"x" * 2000)[:1000], end=b"")],
        "header cut off": [gz(header(b"t")[:100], end=b"")],
        "wrong sum of gzip": [Blob(good.data[:-8] + bytes(4) + good.data[-4:], good.plain)],
        "gzip within gzip": [Blob(gzip.compress(good.data, mtime=0), good.data)],
        "bzip2": [Blob(bz2.compress(good.plain), good.plain)],
        "xz with a dictionary of 4 GiB": [Blob(_dictionary(big), good.plain)],
        "not compressed": [Blob(good.plain, good.plain)],
        "empty": [Blob(b"", b"")],
        "no tar": [Blob(gzip.compress(b"no tar at all" * 100, mtime=0), b"no tar at all" * 100)],
        "zip": [Blob(b"PK\3\4" + bytes(600), b"PK\3\4" + bytes(600))],
        "wrong diff_id": [Blob(good.data, good.plain, "0" * 64)],
        "diff_id of another layer": [good, Blob(more.data, good.plain)],
    }


def _bombs(head: bytes) -> dict[str, list[Blob]]:
    """A tar with 128 MiB of zeros behind it, in kilobytes."""
    packers: dict[str, Any] = {
        "gzip bomb": zlib.compressobj(1, zlib.DEFLATED, 31),
        "zstd bomb": zstandard.ZstdCompressor().compressobj(),
    }
    out = {name: packer.compress(head) for name, packer in packers.items()}
    digest, zeros = hashlib.sha256(head), bytes(1 << 20)
    for _ in range(128):
        digest.update(zeros)
        for name, packer in packers.items():
            out[name] += packer.compress(zeros)
    whole = digest.hexdigest()
    return {name: [Blob(out[name] + packer.flush(), diff_id=whole)] for name, packer in packers.items()}


def _dictionary(stream: bytes) -> bytes:
    """An xz stream that says that its dictionary has 4 GiB, with right sums."""
    size = (stream[12] + 1) * 4
    block = bytearray(stream[12 : 12 + size])
    at = block.index(b"\x21\x01") + 2
    block[at] = 40
    block[-4:] = zlib.crc32(bytes(block[:-4])).to_bytes(4, "little")
    return stream[:12] + bytes(block) + stream[12 + size :]


@cache
def formats() -> dict[str, list[Blob]]:
    """Layers whose numbers, maps and streams are hostile."""
    return _numbers() | _streams() | _bombs(header(b"t") + _END)
