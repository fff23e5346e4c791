"""A file appears under its name when it is whole, and nothing is left of one that is not."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from imagesmith.fs.atomic import put_whole, whole_file


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_file_has_its_name_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with whole_file(path) as out:
        out.write(b"new")
        out.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_nothing_is_left_of_what_fails(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "file").write_bytes(b"old")

    def fail() -> None:
        with whole_file(tmp_path / "file") as out:
            out.write(b"new")
            raise error

    with pytest.raises(error):
        fail()
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_nothing_is_left_where_the_disk_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, name, refuse)
    with pytest.raises(OSError, match="No space"):
        put_whole(tmp_path / "file", b"new")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_mode_is_that_of_any_new_file_or_the_given_one(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        put_whole(tmp_path / "plain", b"")
        put_whole(tmp_path / "given", b"", mode=0o644)
        (tmp_path / "new").touch()
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "plain") == mode_of(tmp_path / "new") == 0o666 & ~umask
    assert mode_of(tmp_path / "given") == 0o644


def test_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"other")
    (tmp_path / "file").symlink_to("other")
    put_whole(tmp_path / "file", b"new")
    assert (tmp_path / "other").read_bytes() == b"other"
    assert not (tmp_path / "file").is_symlink()


def test_folder_that_is_exchanged_meanwhile_gets_nothing(tmp_path: Path) -> None:
    folder, other = tmp_path / "folder", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    with whole_file(folder / "file") as out:
        out.write(b"new")
        folder.rename(tmp_path / "moved")
        folder.symlink_to(other)
    assert os.listdir(other) == []
    assert (tmp_path / "moved/file").read_bytes() == b"new"


def test_it_may_be_written_in_another_folder(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    with whole_file(tmp_path / "file", inside=tmp_path / "work") as out:
        out.write(b"new")
        assert len(os.listdir(tmp_path / "work")) == 1
    assert sorted(os.listdir(tmp_path)) == ["file", "work"]
    assert os.listdir(tmp_path / "work") == []


def test_name_may_be_as_long_as_names_are(tmp_path: Path) -> None:
    put_whole(tmp_path / ("n" * 255), b"new")


def test_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        put_whole(tmp_path / "none/file", b"new")
    folder = tmp_path / "folder"
    folder.mkdir()

    def take_away() -> None:
        with whole_file(folder / "file"):
            shutil.rmtree(folder)

    with pytest.raises(FileNotFoundError):
        take_away()


def test_a_file_that_must_be_new_replaces_nothing(tmp_path: Path) -> None:
    put_whole(tmp_path / "f", b"one", mode=0o600, new=True)
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("f", "link"):
        with pytest.raises(FileExistsError):
            put_whole(tmp_path / name, b"two", new=True)
    assert (tmp_path / "f").read_bytes() == b"one"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f", "link"]
