"""The bytes of headers are those of Go's archive/tar as BuildKit uses it."""

from __future__ import annotations

import io
import tarfile

import pytest

from imagesmith.errors import ContextError
from imagesmith.fs.entry import Entry
from imagesmith.layer.tarwrite import BLOCK_BYTES, header, write_layer


class Bytes:
    """Content in memory; `open` may give less or more than the entry says."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def open(self) -> io.BytesIO:
        return io.BytesIO(self.data)


def checksum_holds(head: bytes) -> bool:
    block = head[-512:]
    return int(block[148:154], 8) == sum(block[:148] + b" " * 8 + block[156:])


def test_plain_header_is_gnu_free_ustar_without_names() -> None:
    head = header(Entry("usr/bin/x", "f", 0o4755, 1, 2, 3, 1_700_000_000_999_999_999))
    assert len(head) == 512
    assert head[:100].rstrip(b"\0") == b"usr/bin/x"
    assert head[100:148] == b"0004755\x000000001\x000000002\x0000000000003\x0014524770400\x00"
    assert head[154:157] == b"\0 0"
    assert head[257:265] == b"ustar\x0000"
    assert head[265:329] == bytes(64)
    assert head[329:345] == b"0000000\x000000000\x00"
    assert checksum_holds(head)


def test_short_way_and_long_way_give_the_same_header() -> None:
    """A link takes the long way; apart from type and target a file's header is made of the same fields."""
    file = header(Entry("a", "f", 0o777, 5, 6, 0, 10**18))
    link = header(Entry("a", "l", 0o777, 5, 6, 0, 10**18, link="x"))
    assert link[:148] == file[:148]
    assert link[156:158] == b"2x"
    assert link[257:] == file[257:]
    assert checksum_holds(link)


@pytest.mark.parametrize(
    ("entry", "record"),
    [
        (Entry("ü", "f"), b"11 path=\xc3\xbc\n"),
        (Entry("\udcff", "f"), b"9 path=\xff\n"),
        (Entry("a", "l", link="ü"), b"15 linkpath=\xc3\xbc\n"),
        (Entry("a", "l", link="x" * 101), b"115 linkpath=" + b"x" * 101 + b"\n"),
        (Entry("a", "f", uid=2097152), b"15 uid=2097152\n"),
        (Entry("a", "f", gid=4294967294), b"18 gid=4294967294\n"),
        (Entry("a", "f", size=8 << 30), b"19 size=8589934592\n"),
        (Entry("a", "f", mtime_ns=-5 * 10**9), b"12 mtime=-5\n"),
        (Entry("a", "f", mtime_ns=8**11 * 10**9), b"20 mtime=8589934592\n"),
        (Entry("x" * 101, "f"), b"111 path=" + b"x" * 101 + b"\n"),
        (Entry("a", "f", capability=bytes(20)), b"57 SCHILY.xattr.security.capability=" + bytes(20) + b"\n"),
    ],
    ids=["name", "bytes", "target", "long-target", "uid", "gid", "size", "early", "late", "long", "xattr"],
)
def test_record_is_written_for_what_ustar_cannot_hold_and_for_nothing_else(
    entry: Entry, record: bytes
) -> None:
    head = header(entry)
    assert len(head) == 512 * 3
    assert head[156:157] == b"x"
    assert head[512:1024].rstrip(b"\0") == record.rstrip(b"\0")
    assert checksum_holds(head[:512])
    assert checksum_holds(head)


@pytest.mark.parametrize(
    ("entry", "is_plain"),
    [
        (Entry("a", "f", uid=2097151, gid=2097151), True),
        (Entry("a", "f", size=(8 << 30) - 1), True),
        (Entry("x" * 100, "f"), True),
        (Entry("x" * 99, "d"), True),
        (Entry("x" * 100, "d"), False),
        (Entry("p" * 155 + "/" + "n" * 100, "f"), True),
        (Entry("p" * 156 + "/" + "n" * 100, "f"), False),
        (Entry("p" * 155 + "/" + "n" * 101, "f"), False),
        (Entry("a", "l", link="x" * 100), True),
    ],
)
def test_border_between_ustar_and_a_record(entry: Entry, is_plain: bool) -> None:
    assert (len(header(entry)) == 512) == is_plain


def test_extended_header_is_named_as_go_names_it() -> None:
    head = header(Entry("dir/ü.txt", "f", 0o644, 1, 2, 0, 10**18))
    assert head[:100].rstrip(b"\0") == b"dir/PaxHeaders.0/.txt"
    assert head[100:108] == b"0000000\0"
    assert head[329:345] == bytes(16)
    assert head[1024:1124].rstrip(b"\0") == b"dir/.txt"


def test_whiteouts_are_empty_files_of_nobody_at_the_beginning_of_time() -> None:
    for e, name in (
        (Entry("d/x", "w", 0o7, 8, 9, 10, 11), b"d/.wh.x"), (Entry("x", "w"), b".wh.x"),
        (Entry("d", "o"), b"d/.wh..wh..opq"), (Entry("", "o"), b".wh..wh..opq"),
    ):  # fmt: skip
        head = header(e)
        assert head[:100].rstrip(b"\0") == name
        assert head[100:148] == b"0000000\x00" * 3 + b"00000000000\x00" * 2


def test_late_times_become_the_clamp_and_early_ones_stay() -> None:
    for seconds, expected in ((50, 50), (100, 100), (101, 100)):
        head = header(Entry("a", "f", mtime_ns=seconds * 10**9), clamp_s=100)
        assert int(head[136:147], 8) == expected


def test_tar_ends_with_two_blocks_and_is_given_in_equal_pieces() -> None:
    pieces: list[bytes] = []
    data = b"z" * (5 * BLOCK_BYTES // 2)
    offsets: list[tuple[str, int]] = []
    entries = [Entry("a", "f", size=len(data), content=Bytes(data)), Entry("b", "d", 0o755)]
    write_layer(entries, pieces.append, on_offset=lambda e, n: offsets.append((e.path, n)), digests=True)
    whole = b"".join(pieces)
    assert [len(p) for p in pieces[:-1]] == [BLOCK_BYTES] * (len(pieces) - 1)
    assert len(whole) == 512 + len(data) + 512 + 1024
    assert offsets == [("a", 512), ("b", 512 + len(data) + 512)]
    assert len(entries[0].digest) == 64
    assert tarfile.open(fileobj=io.BytesIO(whole)).getnames() == ["a", "b"]


def test_file_that_became_shorter_is_told_and_one_that_grew_is_cut() -> None:
    with pytest.raises(ContextError, match="/a: became shorter"):
        write_layer([Entry("a", "f", size=4, content=Bytes(b"123"))], lambda _: None)
    out: list[bytes] = []
    write_layer([Entry("a", "f", size=2, content=Bytes(b"123"))], out.append)
    assert b"".join(out)[512:515] == b"12\0"
