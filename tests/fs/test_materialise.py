"""Extraction stays below its folder, whatever the entries say, and makes what they say."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import struct
from pathlib import Path
from typing import Literal

import pytest

from imagesmith.errors import UnsafeArchive
from imagesmith.fs import jail
from imagesmith.fs.entry import Entry
from imagesmith.fs.folders import DEFAULT_ACL
from imagesmith.fs.materialise import materialise

pytestmark = pytest.mark.everyone

#: The id of an ACL's entry that has none.
_NOBODY = (0xFFFF, 0xFFFF)


class Bytes:
    """Content in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def open(self) -> io.BytesIO:
        return io.BytesIO(self.data)


def d(path: str, mode: int = 0o755) -> Entry:
    return Entry(path, "d", mode, mtime_ns=10**18)


def f(path: str, data: bytes = b"new", mode: int = 0o644) -> Entry:
    return Entry(path, "f", mode, size=len(data), mtime_ns=10**18, content=Bytes(data))


def link(path: str, target: str) -> Entry:
    return Entry(path, "l", 0o777, link=target)


@pytest.fixture(params=["openat2", "by-component"])
def root(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with a canary beside it, which nothing may touch; with the kernel's look-up and with ours."""
    if request.param == "by-component":
        monkeypatch.setattr(jail, "_openat2", lambda: None)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "canary").write_text("alive")
    (tmp_path / "outside").chmod(0o751)
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def extract(root: Path, *entries: Entry, form: Literal["merged", "overlay"] = "merged") -> None:
    materialise(entries, root, form=form, owners=False)


def is_alive(root: Path) -> bool:
    outside = root.parent / "outside"
    return (
        [p.name for p in outside.iterdir()] == ["canary"]
        and (outside / "canary").read_text() == "alive"
        and (outside / "canary").stat().st_nlink == 1
        and stat.S_IMODE(outside.stat().st_mode) == 0o751
    )


OUT = "../outside"


@pytest.mark.parametrize("target", [OUT, "{outside}"], ids=["relative", "absolute"])
@pytest.mark.parametrize("form", ["merged", "overlay"])
@pytest.mark.parametrize(
    "entries",
    [
        [link("a", OUT), f("a/canary")],
        [link("a", OUT), d("a"), f("a/canary")],
        [link("a", OUT), d("a/sub", 0o700), f("a/sub/x")],
        [link("a", OUT), Entry("a/canary", "w")],
        [link("a", OUT), Entry("a", "o")],
        [link("a", f"{OUT}/canary"), f("a")],
        [link("a", f"{OUT}/made"), f("a")],
        [d("a", 0o700), link("a", OUT)],
        [d("a", 0o700), d("a/b", 0o700), link("a", OUT)],
        [d("a"), link("a/b", f"../{OUT}"), f("a/b/canary")],
        [link("a", OUT), link("b", "a"), f("b/canary")],
        [link("a", OUT), Entry("a/pipe", "p", 0o600)],
        [link("a", OUT), link("a/canary", "/")],
    ],
    ids=lambda entries: " ".join(f"{e.kind}:{e.path}" for e in entries),
)
def test_links_never_lead_out(
    root: Path, entries: list[Entry], form: Literal["merged", "overlay"], target: str
) -> None:
    if form == "overlay" and any(e.kind in "wo" for e in entries) and os.geteuid() != 0:
        pytest.skip("only root makes overlayfs's marks")
    told = [
        link(e.path, e.link.replace(OUT, target.format(outside=root.parent / "outside")))
        if e.kind == "l"
        else e
        for e in entries
    ]
    materialise(told, root, form=form, owners=False)
    assert is_alive(root)


@pytest.mark.parametrize("name", ["a/canary", "outside/canary", "a"])
def test_hard_links_reach_nothing_outside(root: Path, name: str) -> None:
    with pytest.raises(UnsafeArchive, match=r"not there|directory"):
        extract(root, link("a", OUT), d("sub"), Entry("x", "h", link=name if name != "a" else "sub"))
    assert is_alive(root)


def test_hard_link_to_a_link_is_the_link_itself(root: Path) -> None:
    extract(root, link("a", f"{OUT}/canary"), Entry("b", "h", link="a"))
    assert (root / "b").readlink() == Path(OUT) / "canary"
    assert is_alive(root)


def test_modes_are_exact_under_any_umask_and_the_umask_stays(root: Path) -> None:
    old = os.umask(0o077)
    try:
        modes = [0o644, 0o777, 0o4755, 0o2755, 0o600, 0o000, 0o1644]
        entries = [f(f"f{mode:o}", mode=mode) for mode in modes]
        extract(root, d("t", 0o1777), *entries, Entry("p", "p", 0o622))
        assert {p.name: stat.S_IMODE(p.lstat().st_mode) for p in root.iterdir()} == {
            "t": 0o1777, "p": 0o622, **{f"f{mode:o}": mode for mode in modes}
        }  # fmt: skip
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(old)


def test_a_folder_hands_nothing_down(root: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    os.chown(root, -1, 50)
    root.chmod(0o2777)
    with contextlib.suppress(OSError):  # a file system without ACLs
        os.setxattr(
            root, DEFAULT_ACL, struct.pack("<I12H", 2, *(1, 7, *_NOBODY, 4, 7, *_NOBODY, 32, 0, *_NOBODY))
        )
    made = [
        d("d"),
        d("d/e", 0o2755),
        f("d/e/x"),
        d("d/e/f"),
        f("f", mode=0o4755),
        link("l", "f"),
        Entry("p", "p", 0o644),
    ]
    materialise(made, root)
    materialise([f("d/e/y"), d("d/e/g"), Entry("d/e/q", "p", 0o600), link("d/e/l", "x")], root)
    modes = {str(p.relative_to(root)): stat.S_IMODE(p.lstat().st_mode) for p in root.rglob("*")}
    assert modes == {
        "d": 0o755, "d/e": 0o2755, "d/e/x": 0o644, "d/e/f": 0o755, "f": 0o4755, "l": 0o777, "p": 0o644,
        "d/e/y": 0o644, "d/e/g": 0o755, "d/e/q": 0o600, "d/e/l": 0o777,
    }  # fmt: skip
    assert {p.lstat().st_gid for p in root.rglob("*")} == {0}


@pytest.mark.parametrize("mode", [0o755, 0o3777, 0o6711])
def test_a_folder_that_is_there_becomes_what_its_new_entry_says(root: Path, mode: int) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    old = Entry("g", "d", 0o2770, 7, 50, mtime_ns=1)
    materialise([old, f("g/x")], root)
    os.setxattr(root / "g", "user.containers.override_stat", b"7:50:02770")
    materialise([Entry("g", "d", mode, mtime_ns=10**18), f("g/y")], root)
    st = (root / "g").stat()
    assert (stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid, st.st_mtime_ns) == (mode, 0, 0, 10**18)
    assert os.listxattr(root / "g") == []
    assert {p.stat().st_gid for p in (root / "g").iterdir()} == {0}


def test_times_of_everything_are_the_entries(root: Path) -> None:
    extract(
        root,
        d("t"),
        f("t/a"),
        link("t/l", "a"),
        Entry("t/p", "p", 0o600),
        Entry("old", "f", mtime_ns=-5 * 10**9),
    )
    shown = {str(p.relative_to(root)): p.lstat().st_mtime_ns for p in root.rglob("*")}
    assert shown == {"t": 10**18, "t/a": 10**18, "t/l": 0, "t/p": 0, "old": -5 * 10**9}


def test_merged_layers_delete_and_hide(root: Path) -> None:
    extract(root, d("a"), f("a/x"), f("a/y"), d("b"), d("b/c"), f("b/c/x"), f("z"))
    extract(root, Entry("a/x", "w"), f("b/c/new"), Entry("b", "o"), Entry("z", "w"), f("z", b"again"))
    assert sorted(str(p.relative_to(root)) for p in root.rglob("*")) == [
        "a", "a/y", "b", "b/c", "b/c/new", "z",
    ]  # fmt: skip
    assert (root / "z").read_bytes() == b"again"


def test_deletion_does_not_touch_what_the_same_layer_made(root: Path) -> None:
    extract(root, f("x"), Entry("x", "w"), d("y"), f("y/in"), Entry("y", "w"))
    assert sorted(p.name for p in root.rglob("*")) == ["in", "x", "y"]


def test_kinds_replace_each_other(root: Path) -> None:
    extract(root, d("a"), f("a/x"), f("b"), link("c", "b"), f("e", b"one"), f("e", b"two"))
    extract(root, f("a"), d("b"), f("b/y"), d("c"))
    assert (root / "a").is_file()
    assert [p.name for p in (root / "b").iterdir()] == ["y"]
    assert not (root / "c").is_symlink()
    assert (root / "e").read_bytes() == b"two"


def test_content_that_ends_early_is_an_error(root: Path) -> None:
    e = f("a", b"123")
    e.size = 4
    with pytest.raises(UnsafeArchive, match="ends early"):
        extract(root, e)


def test_devices_and_owners_are_made_by_root(root: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    entries = [Entry("null", "c", 0o666, 3, 4, rdev=(1, 3)), Entry("disk", "b", 0o660, rdev=(8, 700))]
    materialise([*entries, Entry("l", "l", 0o777, 5, 6, link="x")], root)
    st = (root / "null").lstat()
    assert (st.st_uid, st.st_gid, st.st_rdev, stat.filemode(st.st_mode)) == (
        3,
        4,
        os.makedev(1, 3),
        "crw-rw-rw-",
    )
    assert (root / "disk").lstat().st_rdev == os.makedev(8, 700)
    assert ((root / "l").lstat().st_uid, (root / "l").lstat().st_gid) == (5, 6)


@pytest.mark.slow
def test_deep_trees_need_no_more_descriptors(root: Path) -> None:
    path = "/".join(["d"] * (1500 if jail._openat2() else 300))
    before = len(os.listdir("/proc/self/fd"))
    extract(root, f(f"{path}/x"))
    extract(root, Entry("d", "w"))
    assert list(root.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == before
