"""ADD of an archive: what lands where, and what of it is refused."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
from collections.abc import Callable
from typing import Any

import pytest

from imagesmith.errors import ContextError
from imagesmith.fs.entry import BytesContent
from imagesmith.ops import unpack
from imagesmith.ops.unpack import is_archive
from tests.kitchen import OLD_S, Kitchen, tar_of


def members(*rows: tuple[str, bytes, dict[str, Any]]) -> bytes:
    """A tar with fields of each member."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, fields in rows:
            info = tarfile.TarInfo(name)
            info.type, info.mtime = kind, OLD_S
            for field, value in fields.items():
                setattr(info, field, value)
            tar.addfile(info)
    return out.getvalue()


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
def test_an_archive_is_unpacked_whatever_its_name(kitchen: Kitchen, pack: Callable[[bytes], bytes]) -> None:
    kitchen.write({"thing": pack(tar_of({"a/": b"", "a/b": b"text", "a/c": "=> a/b", "l": "-> a"}, uid=3))})
    tar = kitchen.layer(kitchen.build("FROM scratch\nADD thing /x\n"))
    assert tar.getnames() == ["x", "x/a", "x/a/b", "x/a/c", "x/l"]
    assert (tar.getmember("x/a/b").uid, tar.getmember("x/a/c").linkname) == (3, "x/a/b")


def test_a_hostile_archive_stays_below_its_destination(kitchen: Kitchen) -> None:
    kitchen.write({"t": tar_of({"../../evil": b"x", "/abs": b"x", "l": "-> /..", "l/in": b"x"})})
    names = kitchen.names(kitchen.build("FROM scratch\nADD t /x\n"))
    assert all(name == "x" or name.startswith("x/") for name in names)
    assert {"x/evil", "x/abs", "x/in"} <= set(names)


def test_a_truncated_archive_is_an_error(kitchen: Kitchen) -> None:
    kitchen.write({"t": tar_of({"a": bytes(9000)})[:5000]})
    with pytest.raises(ContextError, match="cannot unpack t"):
        kitchen.build("FROM scratch\nADD t /x\n")


def test_archive_that_puts_a_file_where_a_folder_was_deletes_nothing_below_it(kitchen: Kitchen) -> None:
    kitchen.write({"d/x": "1", "d/s/y": "2"})
    (kitchen.context / "t.tar").write_bytes(tar_of({"d": b"file"}))
    built = kitchen.build("FROM scratch\nCOPY d /d\nADD t.tar /\n")
    assert kitchen.names(built) == ["d"]


@pytest.mark.parametrize(
    ("data", "size", "is_one"),
    [
        (tar_of({"a": b"x"}), None, True),
        (gzip.compress(tar_of({"a": b"x"}), mtime=0), None, True),
        (tar_of({"a": b"x"}), 0, False),
        (tar_of({"a": b"x"}), 511, False),
        (gzip.compress(b"no tar", mtime=0), None, False),
        (b"\x1f\x8b, and no gzip after it", None, False),
        (b"text" * 200, None, False),
        (bytes(10240), None, False),
    ],
    ids=["tar", "gzip", "empty", "cut", "gzip of text", "broken gzip", "text", "zeroes"],
)
def test_archive_is_told_by_its_first_header(data: bytes, size: int | None, is_one: bool) -> None:
    assert is_archive(BytesContent(data), len(data) if size is None else size) is is_one


def test_what_has_no_content_is_no_archive() -> None:
    assert not is_archive(None, 512)


@pytest.mark.parametrize("data", [b"", b"text", gzip.compress(b"no tar", mtime=0), b"\x1f\x8b broken"])
def test_what_is_no_archive_is_copied_as_it_is(kitchen: Kitchen, data: bytes) -> None:
    kitchen.write({"x.tar.gz": data})
    built = kitchen.build("FROM scratch\nADD x.tar.gz /x\n")
    member = kitchen.layer(built).getmember("x")
    assert (member.isreg(), member.size) == (True, len(data))


def test_whiteouts_of_an_archive_are_files_like_any_other(kitchen: Kitchen) -> None:
    kitchen.write({"d/f": "f", "t": tar_of({"d/.wh.f": b"", "d/.wh..wh..opq": b"12"})})
    tar = kitchen.layer(kitchen.build("FROM scratch\nCOPY d /d\nADD t /\n"))
    assert {m.name: m.size for m in tar.getmembers() if m.isreg()} == {"d/.wh..wh..opq": 2, "d/.wh.f": 0}


def test_folder_that_is_there_takes_the_archive_s_mode_owner_and_time(kitchen: Kitchen) -> None:
    kitchen.write({
        "d/f": "f",
        "t": members(
            ("d", tarfile.DIRTYPE, {"mode": 0o1700, "uid": 5, "gid": 6, "mtime": 77}),
            ("d/g", tarfile.REGTYPE, {"mode": 0o4711}),
        ),
    })  # fmt: skip
    tar = kitchen.layer(kitchen.build("FROM scratch\nCOPY d /d\nADD t /\n"))
    d, g = tar.getmember("d"), tar.getmember("d/g")
    assert (d.mode, d.uid, d.gid, d.mtime) == (0o1700, 5, 6, 77)
    assert g.mode == 0o4711
    assert tar.getnames() == ["d", "d/g"]  # what was in it stays


def test_owner_that_is_asked_for_is_that_of_every_entry(kitchen: Kitchen) -> None:
    kitchen.write({"t": tar_of({"a/": b"", "a/b": b"b", "i/j/k": b"k", "l": "-> a"}, uid=3, gid=4)})
    tar = kitchen.layer(kitchen.build("FROM scratch\nADD --chown=8:9 t /x/\n"))
    owners = {m.name: (m.uid, m.gid) for m in tar.getmembers()}
    assert {owners[n] for n in ("x", "x/a", "x/a/b", "x/i/j/k", "x/l")} == {(8, 9)}


def test_folders_that_an_archive_implies_are_root_s_and_made_where_links_lead(kitchen: Kitchen) -> None:
    kitchen.write({"t": tar_of({"l": "-> /real/deep", "l/in": b"x", "i/j/k": b"k"}, uid=3)})
    tar = kitchen.layer(kitchen.build("FROM scratch\nADD t /x/\n"))
    found = {m.name: (m.uid, m.isdir()) for m in tar.getmembers()}
    assert found["x/real"] == found["x/real/deep"] == found["x/i"] == found["x/i/j"] == (0, True)
    assert found["x/real/deep/in"] == found["x/i/j/k"] == (3, False)


def test_folders_that_an_archive_implies_are_counted(
    kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch
) -> None:
    kitchen.write({"t": tar_of({"abc/def/f": b"", "abc/ghi/f": b""})})
    implied = sum(map(len, ("x/abc", "x/abc/def", "x/abc/ghi")))
    monkeypatch.setattr(unpack, "IMPLIED_BYTES", implied)
    kitchen.build("FROM scratch\nADD t /x/\n")
    monkeypatch.setattr(unpack, "IMPLIED_BYTES", implied - 1)
    with pytest.raises(ContextError, match=r"cannot unpack t: .*abc/ghi/f"):
        kitchen.build("FROM scratch\nADD --chown=1 t /x/\n")


@pytest.mark.parametrize(("mtime", "then"), [(-5, 0), (7, 7), (1 << 33, 1 << 33), (1 << 34, 0)])
def test_times_that_docker_does_not_set_become_1970(kitchen: Kitchen, mtime: int, then: int) -> None:
    fields = {"mtime": mtime, "mode": 0o755}
    kitchen.write({"t": members(("d", tarfile.DIRTYPE, fields), ("d/f", tarfile.REGTYPE, fields))})
    tar = kitchen.layer(kitchen.build("FROM scratch\nADD t /\n"))
    assert {m.mtime for m in tar.getmembers()} == {then}


def test_folder_has_its_own_time_after_what_came_into_it(kitchen: Kitchen) -> None:
    folder = ("d", tarfile.DIRTYPE, {"mtime": 9, "mode": 0o755})
    kitchen.write({"t": members(folder, ("d/f", tarfile.REGTYPE, {}))})
    assert kitchen.layer(kitchen.build("FROM scratch\nADD t /\n")).getmember("d").mtime == 9


def test_hard_link_to_what_is_not_there_is_refused(kitchen: Kitchen) -> None:
    kitchen.write({"t": tar_of({"a": "=> gone"})})
    with pytest.raises(ContextError, match="the hard link a names gone, which is not there"):
        kitchen.build("FROM scratch\nADD t /\n")


def test_hard_link_to_a_file_of_an_earlier_layer_has_its_content(kitchen: Kitchen) -> None:
    kitchen.write({"f": "text", "t": tar_of({"g": "=> f"})})
    tar = kitchen.layer(kitchen.build("FROM scratch\nCOPY f /f\nADD t /\n"))
    content = tar.extractfile("g")
    assert tar.getnames() == ["g"]
    assert (tar.getmember("g").isreg(), content and content.read()) == (True, b"text")


def test_what_is_in_the_way_is_replaced_and_links_are_not_followed_at_the_end(kitchen: Kitchen) -> None:
    kitchen.write({"f": "f", "d/x": "x", "l": "-> f", "t": tar_of({"f/": b"", "d": b"file", "l": b"own"})})
    tar = kitchen.layer(kitchen.build("FROM scratch\nCOPY f d l /in/\nCOPY d /in/d\nADD t /in/\n"))
    kinds = {m.name: (m.isdir(), m.isreg()) for m in tar.getmembers()}
    assert (kinds["in/f"], kinds["in/d"], kinds["in/l"]) == ((True, False), (False, True), (False, True))


def test_mode_of_a_symbolic_link_is_what_the_kernel_makes_of_it(kitchen: Kitchen) -> None:
    kitchen.write({"t": members(("l", tarfile.SYMTYPE, {"linkname": "x", "mode": 0o600}))})
    assert kitchen.layer(kitchen.build("FROM scratch\nADD t /\n")).getmember("l").mode == 0o777


def test_archive_cannot_be_unpacked_into_a_file(kitchen: Kitchen) -> None:
    kitchen.write({"f": "f", "t": tar_of({"a": b"x"})})
    with pytest.raises(ContextError):
        kitchen.build("FROM scratch\nCOPY f /x\nADD t /x\n")
