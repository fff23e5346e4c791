"""rpm's databases: three forms of the same headers, real ones of rpm and Berkeley DB, and damage."""

from __future__ import annotations

import gzip
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from imagesmith.errors import InvalidDocument
from imagesmith.sbom import rpmdatabases
from imagesmith.sbom.reading import Files
from imagesmith.sbom.rpmdatabases import headers
from tests.sbom import rpms
from tests.sbom.trees import packages, view
from tests.support import PROJECT


def read(files: dict[str, bytes], folder: Path) -> list[bytes]:
    return list(headers(next(iter(files)), Files(view(files), folder)))


@pytest.mark.parametrize("log", [False, True])
def test_sqlite(log: bool, tmp_path: Path) -> None:
    files = rpms.sqlite(tmp_path / "db", log=log)
    assert bool(files["rpmdb.sqlite-wal"]) == log
    assert read(files, tmp_path / "store") == rpms.HEADERS
    assert list((tmp_path / "store").iterdir()) == []


def test_ndb(tmp_path: Path) -> None:
    assert read({"Packages.db": rpms.ndb()}, tmp_path) == rpms.HEADERS


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("page", [512, 4096])
def test_berkeley(order: str, page: int, tmp_path: Path) -> None:
    assert read({"Packages": rpms.berkeley(order=order, page=page)}, tmp_path) == rpms.HEADERS


@pytest.mark.parametrize("order", ["little", "big"])
def test_what_berkeley_db_itself_wrote(order: str) -> None:
    """Made by `db5.3_load -t hash` (with `-c db_lorder=4321`) of headers that rpm 4.18 had written."""
    raw = gzip.decompress((PROJECT / f"fixtures/sbom/Packages-{order}.gz").read_bytes())
    found = packages({"var/lib/rpm/Packages": raw})
    assert [(p.name, p.version_info, len(p.files)) for p in found] == [
        ("many", "2.0~rc1-1", 303),
        ("pkg1", "1.1-1.el9", 2),
        ("pkg2", "7:1.2-2.el9", 2),
        ("pkg3", "1.3-3.el9", 2),
    ]


@pytest.mark.parametrize(
    ("make", "name"), [(rpms.ndb, "Packages.db"), (rpms.berkeley, "Packages")], ids=["ndb", "bdb"]
)
def test_every_damaged_byte_ends_or_is_passed(
    make: Callable[[], bytes], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rpmdatabases, "_ALL_BYTES", 1 << 20)
    whole = make()
    for at in range(0, min(len(whole), 8192), 7):
        damaged = bytearray(whole)
        damaged[at] ^= 0xFF
        try:
            found = read({name: bytes(damaged)}, tmp_path)
        except (InvalidDocument, struct.error):
            continue
        assert sum(map(len, found)) <= 1 << 20
    for end in range(0, len(whole), 97):
        with pytest.raises((InvalidDocument, struct.error)):
            list(read({name: whole[:end]}, tmp_path))


def test_chain_of_pages_in_a_circle_ends(tmp_path: Path) -> None:
    raw = bytearray(rpms.berkeley(page=512))
    first = next(at for at in range(512, len(raw), 512) if raw[at + 25] == 7)
    struct.pack_into("<I", raw, first + 16, first // 512)  # a page that follows itself
    struct.pack_into("<H", raw, first + 22, 1)
    places = struct.unpack_from("<8H", raw, 512 + 26)
    struct.pack_into("<I", raw, 512 + places[1] + 8, 60 << 20)
    with pytest.raises(InvalidDocument, match="no part of a value"):
        read({"Packages": bytes(raw)}, tmp_path)


def hostile(path: Path, *statements: str) -> dict[str, bytes]:
    db = sqlite3.connect(path)
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()
    return {"rpmdb.sqlite": path.read_bytes()}


ENDLESS = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n, x'00' AS blob FROM r"


@pytest.mark.parametrize(
    "statements",
    [
        [f"CREATE VIEW Packages AS {ENDLESS}"],
        ["CREATE TABLE other (blob)"],
        ["CREATE TABLE Packages (hnum, other)"],
        ["CREATE TABLE Packages (n, blob AS (zeroblob(1000000000)))", "INSERT INTO Packages (n) VALUES (1)"],
    ],
)
def test_database_that_is_a_program_is_refused(statements: list[str], tmp_path: Path) -> None:
    with pytest.raises(InvalidDocument):
        read(hostile(tmp_path / "db", *statements), tmp_path / "store")


@pytest.mark.parametrize("raw", [b"", b"SQLite format 3\0", b"x" * 10_000])
def test_what_is_no_database_is_refused(raw: bytes, tmp_path: Path) -> None:
    for name in ("rpmdb.sqlite", "Packages.db", "Packages"):
        with pytest.raises((InvalidDocument, struct.error)):
            read({name: raw}, tmp_path)
