"""Tars that lie, break off or ask for too much are refused by name; odd ones that are legal are read."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable

import pytest

from imagesmith.errors import ImagesmithError, LimitExceeded, UnsafeArchive
from imagesmith.fs.entry import Entry
from imagesmith.layer.tarread import Limits, is_tar, read_archive, read_layer

_END = bytes(1024)


def header(name: bytes = b"a", kind: bytes = b"0", size: bytes = b"0", **fields: bytes) -> bytes:
    """One header block with a right checksum; fields by name replace the usual ones."""
    usual = {
        "mode": b"0000644", "uid": b"0", "gid": b"0", "mtime": b"0", "link": b"", "magic": b"ustar\x0000",
        "major": b"0", "minor": b"0", "prefix": b"",
    } | fields  # fmt: skip
    head = (
        name.ljust(100, b"\0") + usual["mode"].ljust(8, b"\0") + usual["uid"].ljust(8, b"\0")
        + usual["gid"].ljust(8, b"\0") + size.ljust(12, b"\0") + usual["mtime"].ljust(12, b"\0") + b" " * 8
        + kind + usual["link"].ljust(100, b"\0") + usual["magic"].ljust(8, b"\0") + bytes(64)
        + usual["major"].ljust(8, b"\0") + usual["minor"].ljust(8, b"\0") + usual["prefix"].ljust(167, b"\0")
    )  # fmt: skip
    return head[:148] + b"%06o\0 " % sum(head) + head[156:]


def pax(records: bytes, kind: bytes = b"x") -> bytes:
    """An extended header with these records."""
    return header(b"x", kind, b"%o" % len(records)) + records + bytes(-len(records) % 512)


def layer(*parts: bytes, end: bytes = _END) -> list[Entry]:
    return [e for e, _ in read_layer(io.BytesIO(b"".join(parts) + end))]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([header(b"../x")], "leaves the root"),
        ([header(b"a/../../x")], "leaves the root"),
        ([header(b"a", b"1", link=b"../../etc/shadow")], "leaves the root"),
        ([header(b"a", b"1", link=b"a")], "hard link to itself"),
        ([header(b"./a", b"1", link=b"/a")], "hard link to itself"),
        ([header(b"", b"2", link=b"x")], "the root is not a directory"),
        ([header(b"a/.wh.")], "deletes nothing"),
        ([header(b".wh...")], "deletes nothing"),
        ([header(b"a/.wh..")], "deletes nothing"),
        ([header(kind=b"S")], "not supported"),
        ([header(kind=b"Z")], "not supported"),
        ([pax(b"28 GNU.sparse.realsize=1234\n"), header()], "not supported"),
        ([header(size=b"\xff" + b"\xff" * 11)], "negative size"),
        ([header(size=b"8")], "is not a number"),
        ([header(size=b"-1")], "is not a number"),
        ([header(size=b"1_0")], "is not a number"),
        ([header(size=b"+1")], "is not a number"),
        ([header(uid=b"\xff" * 8)], "uid -1 is out of range"),
        ([header(gid=b"\x80" + b"\xff" * 7)], "gid .* is out of range"),
        ([header(kind=b"3", major=b"7777777")], "major .* is out of range"),
        ([header()[:148] + b"0000000\0" + header()[156:]], "invalid header"),
        ([b"x" * 512], "invalid header"),
        ([pax(b"99 path=a\n"), header()], "malformed PAX"),
        ([pax(b"0 path=a\n"), header()], "malformed PAX"),
        ([pax(b"8 path=a\n"), header()], "malformed PAX"),
        ([pax(b"x path=a\n"), header()], "malformed PAX"),
        ([pax(b"5 =a\n"), header()], "malformed PAX"),
        ([pax(b"12 path=a\0b\n"), header()], "holds a NUL"),
        ([pax(b"16 linkpath=a\0b\n"), header(b"l", b"2")], "holds a NUL"),
        ([pax(b"11 size=-1\n"), header()], "is not a number"),
        ([pax(b"12 mtime=1x\n"), header()], "is not a time"),
        ([pax(b"29 size=99999999999999999999\n"), header()], "unexpected EOF|more than"),
    ],
)  # fmt: skip
def test_hostile_entry_is_refused_by_name(parts: list[bytes], message: str) -> None:
    with pytest.raises((UnsafeArchive, LimitExceeded), match=message):
        layer(*parts)


def test_extended_header_of_gigabytes_is_not_read() -> None:
    with pytest.raises(LimitExceeded, match="extended header of 1073741824 bytes"):
        layer(header(b"x", b"x", b"%o" % (1 << 30)))


@pytest.mark.parametrize("cut", [1, 511, 513, 700, 1023, 1025, 1300, 1535])
def test_tar_that_breaks_off_is_an_error(cut: int) -> None:
    whole = header(b"a", size=b"%o" % 600) + b"x" * 1024
    with pytest.raises(UnsafeArchive, match="unexpected EOF"):
        layer(whole[:cut], end=b"")


def test_number_of_entries_and_of_bytes_is_limited() -> None:
    many = b"".join(header(b"f%d" % n) for n in range(11)) + _END
    with pytest.raises(LimitExceeded, match="more than 10 entries"):
        list(read_layer(io.BytesIO(many), Limits(entries=10)))
    large = header(size=b"%o" % 5000) + bytes(5120) + _END
    with pytest.raises(LimitExceeded, match="more than 4096 bytes"):
        list(read_layer(io.BytesIO(large), Limits(total_bytes=4096)))


def test_deletions_and_opaque_marks_are_read_and_names_of_aufs_passed_over() -> None:
    got = layer(
        header(b"d/", b"5"), header(b"d/.wh.gone"), header(b"d/.wh..wh..opq"), header(b".wh..wh..opq"),
        header(b".wh..wh.plnk/", b"5"), header(b".wh..wh.plnk/9.1"), header(b".wh..wh.aufs"),
    )  # fmt: skip
    assert [(e.kind, e.path) for e in got] == [("d", "d"), ("w", "d/gone"), ("o", "d"), ("o", "")]


@pytest.mark.parametrize("name", [b"/a/b", b"./a/b", b"a//b", b"a/./b", b"//a/b/"])
def test_names_are_cleaned(name: bytes) -> None:
    assert [e.path for e in layer(header(name))] == ["a/b"]


def test_file_whose_name_ends_in_a_slash_is_a_directory() -> None:
    assert [(e.kind, e.path) for e in layer(header(b"a/"), header(b"b", b"7"), header(b"c", b"\0"))] == [
        ("d", "a"), ("f", "b"), ("f", "c")
    ]  # fmt: skip


def test_gnu_numbers_and_long_names_are_read() -> None:
    long = b"n" * 200 + b"/" + b"m" * 99
    got = layer(
        header(b"././@LongLink", b"L", b"%o" % 301), (long + b"\0").ljust(512, b"\0"),
        header(b"cut", uid=b"\x80" + (3_000_000).to_bytes(7, "big"), mtime=b"\xff" + b"\xff" * 11),
    )  # fmt: skip
    assert [(e.path, e.uid, e.mtime_ns) for e in got] == [(long.decode(), 3_000_000, -1_000_000_000)]


def test_global_header_does_not_name_what_follows() -> None:
    assert [e.path for e in layer(pax(b"10 path=x\n", b"g"), header(b"real"))] == ["real"]


def test_one_bad_bit_in_a_header_is_found() -> None:
    head = bytearray(header(b"name"))
    head[2] ^= 1
    with pytest.raises(UnsafeArchive, match="invalid header"):
        layer(bytes(head))


def test_archive_for_add_keeps_odd_names_and_stays_below_its_root() -> None:
    parts = header(b"../../a/../x") + header(b".wh.y") + header(b"h", b"1", link=b"../../etc/passwd") + _END
    got = [(e.kind, e.path, e.link) for e, _ in read_archive(io.BytesIO(parts))]
    assert got == [("f", "x", ""), ("f", ".wh.y", ""), ("h", "h", "etc/passwd")]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tar_is_told_by_its_first_block(form: int) -> None:
    block = tarfile.TarInfo("a").tobuf(format=form)
    assert is_tar(block)
    assert not is_tar(bytes(512))
    assert not is_tar(block[:511])
    assert not is_tar(b"#!/bin/sh\n".ljust(512, b"\0"))


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[1:], lambda b: bytes([b[0] ^ 255]) + b[1:]])
def test_any_stream_ends_in_entries_or_in_one_of_our_errors(damage: Callable[[bytes], bytes]) -> None:
    whole = header(b"a", size=b"3") + b"abc".ljust(512, b"\0") + header(b"b", b"2", link=b"a") + b"x" * 200
    with pytest.raises(ImagesmithError):
        layer(damage(whole), end=b"")
