"""Owners and devices kept beside files follow them, and change as the kernel would change them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagesmith.fs.entry import Entry
from imagesmith.fs.view import LayerIndex, View
from imagesmith.worker.snapshot.ownership import XATTR, Owners, as_shown, keep_beside, table_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    try:
        os.setxattr(root, "user.test", b"")
    except OSError:
        pytest.skip("this file system holds no xattrs")
    return root


@pytest.fixture
def owners(root: Path) -> Owners:
    return Owners(table_of(root))


def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW)
    yield fd
    os.close(fd)


def chown(owners: Owners, root: Path, name: str, uid: int, gid: int) -> None:
    for fd in opened(root / name):
        owners.chown(fd, name, uid, gid)


def seen(root: Path, name: str, below: View | None = None) -> Entry:
    """The entry that a scan by another process makes."""
    path = root / name
    e = Entry.from_stat(name, path.lstat(), os.readlink(path) if path.is_symlink() else "")
    assert e is not None
    for fd in opened(path.parent):
        Owners(table_of(root), below).apply(fd, path.name, e)
    return e


def owner(root: Path, name: str, below: View | None = None) -> tuple[int, int]:
    e = seen(root, name, below)
    return e.uid, e.gid


def make(root: Path, name: str) -> None:
    """A file, folder, link or fifo, by its name."""
    match name:
        case "folder":
            (root / name).mkdir()
        case "link":
            (root / name).symlink_to("target")
        case "pipe":
            os.mkfifo(root / name)
        case _:
            (root / name).write_bytes(b"x")


@pytest.mark.parametrize("name", ["file", "folder", "link", "pipe"])
def test_owner_is_kept_for_every_kind_and_follows_a_rename(root: Path, owners: Owners, name: str) -> None:
    make(root, name)
    assert owner(root, name) == (0, 0)
    chown(owners, root, name, 7, 2_500_000_000)
    assert owner(root, name) == (7, 2_500_000_000)
    (root / name).rename(root / "moved")
    assert owner(root, "moved") == (7, 2_500_000_000)
    for fd in opened(root / "moved"):
        assert owners.stat(fd, "moved") == (7, 2_500_000_000)


@pytest.mark.parametrize("name", ["file", "folder", "link", "pipe"])
def test_minus_one_leaves_an_id_as_it_is(root: Path, owners: Owners, name: str) -> None:
    make(root, name)
    chown(owners, root, name, 7, 8)
    chown(owners, root, name, -1, 9)
    assert owner(root, name) == (7, 9)
    chown(owners, root, name, 0xFFFFFFFF, -1)
    assert owner(root, name) == (7, 9)
    chown(owners, root, name, 3 - (1 << 32), -1)
    assert owner(root, name) == (3, 9)
    chown(owners, root, name, 0, 0)
    assert owner(root, name) == (0, 0)


@pytest.mark.parametrize("name", ["file", "link", "pipe"])
def test_file_made_anew_under_the_name_has_no_old_owner(root: Path, owners: Owners, name: str) -> None:
    make(root, name)
    chown(owners, root, name, 7, 8)
    os.utime(root / name, ns=(5, 5), follow_symlinks=False)
    (root / "other").touch()  # so that the inode number is not taken at once
    (root / name).unlink()
    (root / "takes-the-inode").touch()
    make(root, name)
    assert owner(root, name) == (0, 0)


def test_owner_of_a_link_outlives_a_change_of_its_time(root: Path, owners: Owners) -> None:
    make(root, "link")
    chown(owners, root, "link", 7, 8)
    os.utime(root / "link", ns=(5, 5), follow_symlinks=False)
    assert owner(root, "link") == (7, 8)


def test_chown_clears_set_id_bits_of_files_and_not_of_folders(root: Path, owners: Owners) -> None:
    make(root, "file")
    make(root, "folder")
    (root / "file").chmod(0o6755)
    (root / "folder").chmod(0o2755)
    chown(owners, root, "file", 1, 1)
    chown(owners, root, "folder", 1, 1)
    assert stat.S_IMODE((root / "file").stat().st_mode) == 0o755
    assert stat.S_IMODE((root / "folder").stat().st_mode) == 0o2755


def test_device_is_an_empty_file_to_the_disk_only(root: Path, owners: Owners) -> None:
    for fd in opened(root):
        owners.make_device(fd, "null", "c", 0o666, 1, 3)
        with pytest.raises(FileExistsError):
            owners.make_device(fd, "null", "b", 0o666, 1, 3)
    e = seen(root, "null")
    assert (e.kind, e.mode, e.rdev, e.uid) == ("c", 0o666, (1, 3), 0)
    chown(owners, root, "null", 5, 6)
    (root / "null").chmod(0o600)
    e = seen(root, "null")
    assert (e.kind, e.mode, e.rdev, e.uid, e.gid) == ("c", 0o600, (1, 3), 5, 6)


def test_file_that_was_written_over_a_device_is_a_file(root: Path, owners: Owners) -> None:
    for fd in opened(root):
        owners.make_device(fd, "null", "c", 0o666, 1, 3)
    (root / "null").write_bytes(b"data")
    assert seen(root, "null").kind == "f"


def test_links_of_layers_below_keep_their_owners_also_when_they_were_moved(root: Path) -> None:
    e = Entry("old/link", "l", 0o777, 7, 8, mtime_ns=10**18, link="target")
    below = View([LayerIndex([Entry("old", "d", 0o755), e])])
    make(root, "link")
    os.utime(root / "link", ns=(10**18, 10**18), follow_symlinks=False)
    assert owner(root, "link", below) == (7, 8)
    os.utime(root / "link", ns=(1, 1), follow_symlinks=False)
    assert owner(root, "link", below) == (0, 0)


@pytest.mark.parametrize(
    "value", [b"", b"x", b"1", b"-1:0:0644", b"1:99999999999:0644", b"1:2:0644:char-x-1"]
)
def test_xattr_that_makes_no_sense_is_passed_over(root: Path, value: bytes) -> None:
    make(root, "file")
    os.setxattr(root / "file", XATTR, value)
    assert owner(root, "file") == (0, 0)


def test_form_of_the_xattr_is_that_of_podman(root: Path) -> None:
    make(root, "file")
    for fd in opened(root):
        keep_beside(fd, "file", Entry("file", "f", 0o4755, 10, 20))
        assert os.getxattr(root / "file", XATTR) == b"10:20:04755"
        keep_beside(fd, "file", Entry("file", "b", 0o660, 0, 6, rdev=(8, 1)))
        assert os.getxattr(root / "file", XATTR) == b"0:6:0660:block-8-1"


# --- lent ids ----------------------------------------------------------------------------------


@pytest.fixture
def lent(root: Path, monkeypatch: pytest.MonkeyPatch) -> Owners:
    """Owners where all ids below 50000 and 60000 are on the disk."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    monkeypatch.setattr("imagesmith.worker.snapshot.ownership.held", lambda: (50_000, 60_000))
    return Owners(table_of(root), real=True)


def _on_disk(path: Path) -> tuple[int, int]:
    st = path.lstat()
    return st.st_uid, st.st_gid


@pytest.mark.parametrize(("owner", "disk"), [
    ((5, 6), (5, 6)), ((70_000, 6), (50_000, 6)), ((5, 70_000), (5, 60_000)),
    ((50_000, 60_000), (50_000, 60_000)),
    ((3_000_000, 2_500_000_000), (50_000, 60_000)),
])  # fmt: skip
@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_last_lent_ids_stand_for_those_above(
    root: Path, lent: Owners, kind: str, owner: tuple[int, int], disk: tuple[int, int]
) -> None:
    path = root / "x"
    {"file": path.touch, "folder": path.mkdir, "link": lambda: path.symlink_to("y")}[kind]()
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW)
    parent = os.open(root, os.O_RDONLY)
    try:
        lent.chown(fd, "/x", *owner)
        assert _on_disk(path) == disk
        assert lent.stat(fd, "/x") == owner
        os.chown(path, 7, -1, follow_symlinks=False)  # by the kernel alone
        assert lent.stat(fd, "/x") == (7, owner[1])
        e = Entry(
            "x", kind[0] if kind != "folder" else "d", 0, *_on_disk(path), link="y" if kind == "link" else ""
        )
        lent.apply(parent, "x", e)
        assert (e.uid, e.gid) == (7, owner[1])
    finally:
        os.close(fd)
        os.close(parent)


def test_an_id_that_a_file_shows_is_no_new_one(root: Path, lent: Owners) -> None:
    os.chown(root, 50_000, 3)
    assert as_shown(root.stat(), (50_000, 60_000)) == (-1, 60_000)
    assert as_shown(root.stat(), (49_999, 3)) == (49_999, 3)
