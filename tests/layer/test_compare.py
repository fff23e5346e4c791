from __future__ import annotations

import io
import tarfile

import pytest

from imagesmith.errors import UnsafeArchive
from imagesmith.layer.compare import compare_tars
from tests.kitchen import tar_of


def _told(there: bytes, here: bytes) -> list[tuple[str, str, str, str]]:
    return [(d.path, d.field, d.there, d.here) for d in compare_tars(io.BytesIO(there), io.BytesIO(here))]


BASE: dict[str, bytes | str] = {"d/": b"", "d/f": b"0123456789", "d/l": "-> f"}


def test_equal_tars_do_not_differ() -> None:
    assert _told(tar_of(BASE), tar_of(BASE)) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"d/f": b"01234X6789"}, [("/d/f", "bytes, at 5", "'56789'", "'X6789'")]),
        ({"d/f": b"0123"}, [("/d/f", "size", "10", "4")]),
        ({"d/l": "-> g"}, [("/d/l", "link", "f", "g")]),
        ({"d/l": b""}, [("/d/l", "type", "symbolic link", "file")]),
        ({"d/.wh.x": b""}, [("/d/.wh.x", "entry", "missing", "file")]),
    ],
)
def test_a_difference_is_told_down_to_the_field(
    change: dict[str, bytes | str], told: list[tuple[str, ...]]
) -> None:
    assert _told(tar_of(BASE), tar_of(BASE | change)) == told


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("mode", 0o4700, ("mode", "0644", "4700")),
        ("uid", 7, ("owner", "0:0", "7:0")),
        ("gid", 3_000_000, ("owner", "0:0", "0:3000000")),
        ("mtime", 5, ("time", "1000000000", "5")),
        ("pax_headers", {"SCHILY.xattr.security.capability": "ab"}, ("capability", "none", "6162")),
    ],
)
def test_a_field_of_the_header_is_named(field: str, value: object, told: tuple[str, str, str]) -> None:
    assert _told(tar_of({"f": b""}), tar_of({"f": b""}, **{field: value})) == [("/f", *told)]


def test_only_the_order_differs() -> None:
    assert _told(tar_of({"a": b"", "b": b""}), tar_of({"b": b"", "a": b""})) == [("/a", "order", "/a", "/b")]


def test_only_the_headers_bytes_differ() -> None:
    ((path, field, _, _),) = _told(tar_of({"a": b""}), tar_of({"a": b""}, uname="somebody"))
    assert (path, field[:24]) == ("/", "encoding of the tar, at ")


def test_large_files_are_compared_in_pieces() -> None:
    one = bytes(200_000)
    two = one[:150_000] + b"x" + one[150_001:]
    assert [t[1] for t in _told(tar_of({"f": one}), tar_of({"f": two}))] == ["bytes, at 150000"]


def test_a_damaged_tar_is_refused() -> None:
    with pytest.raises(UnsafeArchive):
        _told(tar_of(BASE)[:700], tar_of(BASE))


def test_entries_of_one_name_count_once_the_last_of_them() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for content in (b"old", b"new"):
            info = tarfile.TarInfo("f")
            info.size, info.mode = 3, 0o644
            tar.addfile(info, io.BytesIO(content))
    assert [t[1] for t in _told(out.getvalue(), tar_of({"f": b"new"}, mtime=0))] != []
    assert all(t[0] == "/" for t in _told(out.getvalue(), tar_of({"f": b"new"}, mtime=0)))
