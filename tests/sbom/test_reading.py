"""Readers: what they may ask of an image, and what becomes of their faults."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imagesmith.errors import LimitExceeded, MissingSource
from imagesmith.sbom import reading
from imagesmith.sbom.package import Package
from imagesmith.sbom.reading import READERS, Files, packages_in, readers
from tests.sbom.trees import RELEASE, Told, view


def test_every_reader_of_the_table_is_one() -> None:
    assert all(callable(r.wants) and callable(r.read) for r in readers())
    assert list(READERS) == [name.rpartition(".")[2] for name in READERS.values()]
    assert [r.wants(path) for r in readers() for path in ("", "usr/share/doc/x.txt")].count(True) == 0


def test_files_are_read_through_links_and_end_where_they_end(tmp_path: Path) -> None:
    image = Files(view({"a/b": b"0123456789", "l": "/a", "c": "../../a/b", "round": "round"}), tmp_path)
    assert image.read("l/b", 10) == b"0123456789"
    assert image.read("c", 10) == b"0123456789"
    with image.open("l/b") as f:
        assert (f.seek(-3, io.SEEK_END), f.read()) == (7, b"789")
        assert (f.seek(2), f.read(3), f.tell(), f.seek(20), f.read()) == (2, b"234", 5, 20, b"")
    with image.on_disk("l/b", limit_bytes=10) as folder:
        assert (folder / "b").read_bytes() == b"0123456789"
    assert list(tmp_path.iterdir()) == []
    assert image.list("l") == ["b"]
    assert (image.list("a/b"), image.list("no"), image.list("round")) == ([], [], [])
    assert (image.exists("l/b"), image.exists("l/no"), image.exists("round")) == (True, False, False)


def test_what_is_too_large_or_missing_is_refused() -> None:
    image = Files(view({"a": b"0123456789", "d/e": b""}))
    with pytest.raises(LimitExceeded):
        image.read("a", 9)
    for path in ("no", "d", "a/b"):
        with pytest.raises(MissingSource):
            image.read(path, 9)
        with pytest.raises(MissingSource):
            image.open(path)
    assert image.read("d/e", 0) == b""


def test_all_that_is_read_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_ALL_BYTES", 25)
    image = Files(view({"a": b"0123456789"}))
    image.read("a", 10)
    image.read("a", 10)
    with pytest.raises(LimitExceeded):
        image.read("a", 10)


def test_what_is_too_large_to_be_read_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a sparse file that costs nothing would hide all packages that are told of after it."""
    monkeypatch.setattr(reading, "_ALL_BYTES", 25)
    image = Files(view({"a": b"0123456789", "huge": b"x" * 100}))
    for _ in range(3):
        with pytest.raises(LimitExceeded):
            image.read("huge", 20)
    assert image.read("a", 10) == b"0123456789"


def test_release_is_read_from_either_place() -> None:
    assert Files(view({"etc/os-release": RELEASE})).release["VERSION_ID"] == "12"
    linked = {"etc/os-release": "../usr/lib/os-release", "usr/lib/os-release": b"ID='x'\n#NO=1\nBAD\n"}
    assert Files(view(linked)).release == {"ID": "x"}
    assert Files(view({"etc/os-release": "../gone"})).release == {}


def _reader(read: Any) -> SimpleNamespace:
    return SimpleNamespace(wants=lambda path: path.startswith("db"), read=read)


def test_fault_of_a_reader_is_a_warning_and_costs_what_comes_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read(path: str, image: Files) -> Iterator[Package]:
        yield Package(kind="gem", name=path, version="1", path=path)
        yield Package(kind="gem", name="", version="1", path=path)
        raise KeyError("x\x1b")

    monkeypatch.setattr(reading, "readers", lambda: [_reader(read)])
    told = Told()
    found = packages_in(Files(view({"db1": b"", "db2": b"", "other": b""}), None, told.append))
    assert [p.name for p in found] == ["db1", "db2"]
    assert len(told) == 4
    assert told[1] == "/db1: cannot be read as a list of packages: KeyError: 'x\\x1b'"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (ValueError("no archive"), "no archive"),
        (RecursionError("maximum recursion depth exceeded"), "nested too deeply"),
        (LimitExceeded("'db1': a file of 9 bytes, more than 5"), "a file of 9 bytes, more than 5"),
    ],
)
def test_warnings_are_told_in_plain_words(
    fault: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(path: str, image: Files) -> Iterator[Package]:
        raise fault
        yield

    monkeypatch.setattr(reading, "readers", lambda: [_reader(read)])
    told = Told()
    packages_in(Files(view({"db1": b""}), None, told.append))
    assert told == [f"/db1: cannot be read as a list of packages: {said}"]


def test_many_warnings_are_not_all_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    image = Files(view({}), None, told.append)
    for n in range(1000):
        image.warn(f"{n}\x1b", "broken")
    assert len(told) == 101
    assert told[0] == "/0?: broken"


def test_one_file_leaves_room_for_warnings_of_others() -> None:
    told = Told()
    image = Files(view({}), None, told.append)
    for n in range(1000):
        image.warn("opt/a.jar", f"{n} in it cannot be read")
    image.warn("var/lib/dpkg/status", "broken")
    assert told[3:] == [
        "/opt/a.jar: 3 in it cannot be read",
        "/opt/a.jar: more of it cannot be read",
        "/var/lib/dpkg/status: broken",
    ]


def test_packages_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: str, image: Files) -> Iterator[Package]:
        for n in range(6):
            yield Package(kind="gem", name=f"{path}{n}", version="1", path=path)

    monkeypatch.setattr(reading, "readers", lambda: [_reader(read)])
    monkeypatch.setattr(reading, "MOST_PACKAGES", 10)
    with pytest.raises(LimitExceeded):
        packages_in(Files(view({"db1": b"", "db2": b""})))


def test_files_of_packages_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: str, image: Files) -> Iterator[Package]:
        yield Package(kind="deb", name=path, version="1", path=path, files=("a", "b", "c"))

    monkeypatch.setattr(reading, "readers", lambda: [_reader(read)])
    monkeypatch.setattr(reading, "_ALL_FILES", 4)
    assert [len(p.files) for p in packages_in(Files(view({"db1": b"", "db2": b""})))] == [3, 0]
