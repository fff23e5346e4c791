"""Zip archives by their central directory."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest

from imagesmith.sbom import zips
from imagesmith.sbom.zips import Budget, Zip
from tests.sbom.jars import jar


def opened(data: bytes, budget: Budget | None = None, wanted=lambda _: True) -> Zip:
    return Zip(io.BytesIO(data), len(data), wanted, budget or Budget(1 << 20))


def content(archive: Zip, name: str, limit: int = 1 << 20, budget: Budget | None = None) -> bytes:
    (row,) = (row for row in archive.rows if row.name == name)
    return archive.content(row, limit, budget or Budget(1 << 20))


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("before", [b"", b"#!/bin/sh\nexec java -jar $0\n"])
def test_files_and_what_an_archive_stands_behind(stored, before):
    archive = opened(before + jar({"a": b"1" * 1000, "b": b"2"}, stored=stored, manifest=None))
    assert [row.name for row in archive.rows] == ["a", "b"]
    assert content(archive, "a") == b"1" * 1000
    with archive.inner(archive.rows[1], 10, Budget(10))[0] as file:
        assert file.read() == b"2"


def test_only_what_is_wanted_is_kept():
    archive = opened(
        jar({f"C{n}.class": b"" for n in range(100)} | {"x.jar": b"x"}), wanted=lambda n: n == "x.jar"
    )
    assert [row.name for row in archive.rows] == ["x.jar"]


def test_zip64(monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 0)
    data = jar({"a": b"1" * 1000, "b": b"2" * 50}, manifest=None)
    assert b"PK\x06\x06" in data
    assert content(opened(data), "b") == b"2" * 50


def test_a_comment_behind():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as new:
        new.writestr("a", b"1")
        new.comment = b"c" * 60_000
    assert content(opened(out.getvalue()), "a") == b"1"


def test_what_says_to_be_large_is_not_unpacked():
    archive = opened(jar({"a": bytes(1000)}, manifest=None))
    with pytest.raises(ValueError, match="'a' of 1000 bytes, more than 999"):
        content(archive, "a", 999)


def test_what_lies_about_its_size_is_not_unpacked():
    data = bytearray(jar({"a": bytes(10 << 20)}, manifest=None))
    struct.pack_into("<I", data, data.rindex(b"PK\x01\x02") + 24, 5)
    archive = opened(bytes(data))
    with pytest.raises(ValueError, match="unpacks to more than 100000 bytes"):
        content(archive, "a", 100_000, Budget(1 << 30))


def test_the_budget_is_shared():
    budget = Budget(2500)
    archive = opened(jar({"a": bytes(1000)}, manifest=None), budget)
    content(archive, "a", 1000, budget)
    content(archive, "a", 1000, budget)
    with pytest.raises(ValueError, match="unpack to too much"):
        content(archive, "a", 1000, budget)


def test_the_list_counts_as_well():
    with pytest.raises(ValueError, match="unpack to too much"):
        opened(jar({f"{n}": b"" for n in range(100)}), Budget(1000))


def test_too_many_files(monkeypatch):
    monkeypatch.setattr(zips, "_MOST_WANTED", 10)
    with pytest.raises(ValueError, match="more than 10 files to read"):
        opened(jar({f"{n}": b"" for n in range(11)}, manifest=None))


@pytest.mark.parametrize("cut", [1, 10, 22, 60, 90])
def test_an_archive_that_ends_early(cut):
    with pytest.raises(ValueError, match="archive"):
        opened(jar({"a": b"1"}, manifest=None)[:-cut])


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\x05\x06" + bytes(17), bytes(1000)])
def test_no_archive(data):
    with pytest.raises(ValueError, match="no zip archive"):
        opened(data)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        (42, 1 << 30, "are outside"), (42, 7, "without 'a' where it lists it"), (20, 1 << 20, "are outside"),
        (10, 99, "the method 99"),
    ],
)  # fmt: skip
def test_rows_that_lie(field, value, said):
    data = bytearray(jar({"a": b"1" * 100}, manifest=None))
    at = data.rindex(b"PK\x01\x02") + field
    struct.pack_into("<H" if field == 10 else "<I", data, at, value)
    archive = opened(bytes(data))
    with pytest.raises(ValueError, match=said):
        content(archive, "a")


def test_encrypted_files_are_passed_over():
    data = bytearray(jar({"a": b"1"}, manifest=None))
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    assert opened(bytes(data)).rows == []
