"""Sparse files in archives: whole when expanded, and maps that lie are refused."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from imagesmith.errors import UnsafeArchive
from imagesmith.layer.sparse import Pieces
from imagesmith.layer.tarread import read_archive, read_layer
from tests.layer.test_tarread import header, pax
from tests.support import need_program


def holed(folder: Path) -> bytes:
    """A file of forty pieces, with a hole at its end."""
    content = bytearray(50 << 13)
    with (folder / "f").open("wb") as f:
        for n in range(40):
            f.seek(n << 13)
            f.write(b"%d" % n)
            content[n << 13 : (n << 13) + len(b"%d" % n)] = b"%d" % n
        f.truncate(len(content))
    (folder / "next").write_bytes(b"next")
    return bytes(content)


@pytest.mark.parametrize(
    "form", [["--format=gnu"], ["--format=pax"], ["--format=pax", "--sparse-version=0.1"]], ids=" ".join
)
def test_file_is_whole_again(tmp_path: Path, form: list[str]) -> None:
    content = holed(tmp_path)
    archive = tmp_path / "t.tar"
    subprocess.run(
        [need_program("tar"), "-S", *form, "-cf", archive, "-C", tmp_path, "f", "next"], check=True
    )
    with archive.open("rb") as tar, tempfile.TemporaryFile() as whole:
        (e, offset), (after, _) = read_archive(tar, sparse=True)
        assert (e.path, e.size, after.path, after.size) == ("f", len(content), "next", 4)
        assert isinstance(e.content, Pieces)
        e.content.expand(tar.fileno(), offset, whole.fileno(), 0)
        assert os.pread(whole.fileno(), 1 << 20, 0) == content


def test_layers_and_other_archives_refuse_it(tmp_path: Path) -> None:
    holed(tmp_path)
    archive = tmp_path / "t.tar"
    subprocess.run([need_program("tar"), "-Scf", archive, "-C", tmp_path, "f"], check=True)
    for read in (read_layer, read_archive):
        with archive.open("rb") as tar, pytest.raises(UnsafeArchive, match="sparse files are not supported"):
            list(read(tar))


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (b"0,4,2,4", "overlap"),
        (b"0,4,8", "does not fit"),
        (b"0,9", "does not fit"),
        (b"99,8", "does not fit"),
        (b"0,-8", "is not a number"),
        (b"", "is not a number"),
    ],
)
def test_map_that_lies_is_refused(tmp_path: Path, places: bytes, message: str) -> None:
    records = b""
    for key, value in ((b"size", b"16"), (b"map", places)):
        record = b" GNU.sparse." + key + b"=" + value + b"\n"
        records += b"%d" % (len(record) + 2) + record
    (tmp_path / "t").write_bytes(
        pax(records) + header(size=b"10") + b"8 bytes.".ljust(512, b"\0") + bytes(1024)
    )
    with (tmp_path / "t").open("rb") as tar, pytest.raises(UnsafeArchive, match=message):
        list(read_archive(tar, sparse=True))
