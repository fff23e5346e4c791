"""A copy of a folder is what the folder is, and opens nothing but files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from imagesmith.worker.sandbox.initcopy import copy_tree, remove_folder, same_node
from tests.support import chain_of_folders, need_root


def facts(root: Path) -> dict[str, tuple[object, ...]]:
    """What can be told of all below a folder."""
    out = {}
    for path in sorted([root, *root.rglob("*")]):
        st = path.lstat()
        text = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        xattrs = [] if path.is_symlink() else os.listxattr(path)
        times = st.st_mtime_ns, st.st_nlink if not path.is_dir() else 0
        out[str(path.relative_to(root))] = (
            stat.filemode(st.st_mode), st.st_uid, st.st_gid, *times, st.st_rdev, text, xattrs,
        )  # fmt: skip
    return out


def tree(root: Path) -> None:
    """One of everything."""
    (root / "d" / "closed").mkdir(parents=True)
    (root / "d" / "f").write_bytes(b"x" * 3_000_000)
    os.setxattr(root / "d" / "f", "user.note", b"1")
    os.link(root / "d" / "f", root / "hard")
    (root / "l").symlink_to("/nowhere")
    os.link(root / "l", root / "m", follow_symlinks=False)
    os.mkfifo(root / "fifo")
    os.mknod(root / "null", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    os.mknod(root / "disk", stat.S_IFBLK | 0o600, os.makedev(7, 250))
    for name in ("d/f", "l", "fifo", "null", "d"):
        os.chown(root / name, 7, 8, follow_symlinks=False)
    (root / "d" / "f").chmod(0o6755)
    (root / "d" / "closed").chmod(0)
    (root / "d").chmod(0o3775)
    for path in sorted(root.rglob("*"), reverse=True):
        os.utime(path, ns=(5, 10**18 + 7), follow_symlinks=False)


def test_a_copy_has_everything_and_reads_no_device(tmp_path: Path) -> None:
    need_root()
    tree(tmp_path / "a")
    os.chown(tmp_path, -1, 50)
    tmp_path.chmod(0o2755)  # what the copy lies in hands nothing down
    copy_tree(str(tmp_path / "a"), str(tmp_path / "b"))
    assert facts(tmp_path / "b") == facts(tmp_path / "a")


def test_of_what_comes_back_only_the_devices_that_were_there_are_made(tmp_path: Path) -> None:
    need_root()
    tree(tmp_path / "a")
    copy_tree(str(tmp_path / "a"), str(tmp_path / "step"))
    os.rename(tmp_path / "step" / "disk", tmp_path / "step" / "moved")
    os.mknod(tmp_path / "step" / "d" / "null", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    (tmp_path / "step" / "hard").unlink()
    (tmp_path / "step" / "hard").symlink_to("/etc/shadow")
    copy_tree(str(tmp_path / "step"), str(tmp_path / "back"), same_node(str(tmp_path / "a")))
    made = {str(p.relative_to(tmp_path / "back")) for p in (tmp_path / "back").rglob("*")}
    assert made == {"d", "d/closed", "d/f", "hard", "l", "m", "fifo", "null"}
    assert (tmp_path / "back" / "hard").is_symlink()


def test_a_single_file_is_copied_and_a_link_is_one(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("text")
    (tmp_path / "l").symlink_to("f")
    copy_tree(str(tmp_path / "f"), str(tmp_path / "g"))
    copy_tree(str(tmp_path / "l"), str(tmp_path / "m"))
    assert (tmp_path / "g").read_text() == "text"
    assert (tmp_path / "m").readlink() == Path("f")


def test_folders_may_be_ten_thousand_deep(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    at = chain_of_folders(tmp_path / "a", 10_000)
    with os.fdopen(os.open("f", os.O_WRONLY | os.O_CREAT, dir_fd=at), "w") as f:
        f.write("deep")
    os.link("f", "g", src_dir_fd=at, dst_dir_fd=at)
    os.close(at)
    copy_tree(str(tmp_path / "a"), str(tmp_path / "b"))
    at = os.open(tmp_path / "b", os.O_RDONLY)
    for _ in range(10_000):
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    with os.fdopen(os.open("g", os.O_RDONLY, dir_fd=at)) as f:
        assert (f.read(), os.fstat(f.fileno()).st_nlink) == ("deep", 2)
    os.close(at)
    above = os.open(tmp_path, os.O_RDONLY)
    for name in ("a", "b"):
        remove_folder(above, name)
    os.close(above)
    assert list(tmp_path.iterdir()) == []
