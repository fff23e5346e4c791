"""Below a jail, links lead nowhere else, by the kernel's look-up and by ours."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagesmith.errors import UnsafeArchive
from imagesmith.fs import jail as module
from imagesmith.fs.jail import Jail, remove_tree
from tests.support import chain_of_folders


@pytest.fixture(params=["openat2", "by-component"])
def root(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    if request.param == "by-component":
        monkeypatch.setattr(module, "_openat2", lambda: None)
    (tmp_path / "secret").write_text("outside")
    root = tmp_path / "root"
    (root / "d" / "e").mkdir(parents=True)
    (root / "secret").write_text("inside")
    (root / "d" / "x").write_text("x")
    return root


def read(root: Path, path: str) -> str:
    with Jail(root) as jail:
        fd = jail.open(path, os.O_RDONLY)
        with os.fdopen(fd) as f:
            return f.read()


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/secret", "link"), ("../secret", "link"), ("../../../../secret", "link"), ("..", "link/secret"),
        ("/", "link/secret"), ("/..", "link/secret"), ("d/../../secret", "link"),
        ("/d/e/../../../..", "link/secret"),
    ],
)  # fmt: skip
def test_links_stay_inside(root: Path, target: str, path: str) -> None:
    (root / "link").symlink_to(target)
    assert read(root, path) == "inside"


def test_dots_in_a_path_stay_inside(root: Path) -> None:
    assert read(root, "../../secret") == "inside"
    assert read(root, "d/../../secret") == "inside"


def test_links_through_links_are_followed(root: Path) -> None:
    (root / "one").symlink_to("two/x")
    (root / "two").symlink_to("d/e/..")
    assert read(root, "one") == "x"


def test_circle_of_links_is_an_error(root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    with pytest.raises((OSError, UnsafeArchive)):
        read(root, "a")


def test_what_is_missing_is_told_as_missing(root: Path) -> None:
    (root / "dangling").symlink_to("nowhere")
    for path in ("nothing", "d/nothing", "dangling", "nothing/below"):
        with pytest.raises(FileNotFoundError):
            read(root, path)
    with pytest.raises(NotADirectoryError):
        read(root, "secret/below")


def test_links_of_proc_are_not_followed(root: Path) -> None:
    """They are no text: the kernel would jump to what they stand for."""
    with (
        Jail(Path("/proc/self")) as jail,
        pytest.raises(OSError, match=r"symbolic link|No such|not permitted"),
    ):
        os.close(jail.open("root/etc", os.O_RDONLY))


def test_removal_does_not_follow_links(root: Path) -> None:
    (root / "d" / "out").symlink_to("../../")
    (root / "top").symlink_to("..")
    with Jail(root) as jail:
        jail.remove("d")
        jail.remove("top")
        jail.remove("never-there")
    assert sorted(p.name for p in root.iterdir()) == ["secret"]
    assert (root.parent / "secret").read_text() == "outside"


def test_folder_that_was_removed_is_not_found_by_its_old_descriptor(root: Path) -> None:
    with Jail(root) as jail:
        jail.folder("d/e")
        jail.remove("d")
        (root / "d" / "e").mkdir(parents=True)
        (root / "d" / "e" / "new").touch()
        assert os.listdir(jail.folder("d/e")) == ["new"]


def test_no_descriptor_is_left_open(root: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with Jail(root) as jail:
        for path in ("d", "d/e", "d", "", "d/e"):
            jail.folder(path)
        with pytest.raises(FileNotFoundError):
            jail.folder("d/nothing")
        jail.remove("d")
    assert len(os.listdir("/proc/self/fd")) == before


def test_closed_folders_are_removed(tmp_path: Path) -> None:
    deep = tmp_path / "t" / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "x").touch()
    for folder, mode in ((deep, 0), (deep.parent, 0o500), (tmp_path / "t", 0o100)):
        folder.chmod(mode)
    remove_tree(tmp_path / "t")
    remove_tree(tmp_path / "t")
    assert list(tmp_path.iterdir()) == []


def test_tree_deeper_than_the_interpreters_stack_is_removed(tmp_path: Path) -> None:
    os.close(chain_of_folders(tmp_path, 3000))
    remove_tree(tmp_path / "d")
    assert list(tmp_path.iterdir()) == []
