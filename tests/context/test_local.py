from __future__ import annotations

import hashlib
import os
import socket
import time
from pathlib import Path

import pytest

from imagesmith.context.digests import FileDigests
from imagesmith.context.local import LocalTree
from imagesmith.context.patterns import Matcher
from imagesmith.context.sources import select
from imagesmith.errors import ContextError
from imagesmith.fs.jail import remove_tree
from imagesmith.layer.tarwrite import write_layer
from imagesmith.store.store import Store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a few files."""
    root = tmp_path / "context"
    (root / "d").mkdir(parents=True)
    (root / "d/f").write_text("text")
    (root / "l").symlink_to("/d")
    os.link(root / "d/f", root / "h")
    return root


def test_entries_come_in_byte_order_and_belong_to_root(folder: Path) -> None:
    (folder / "ü").write_text("")
    (folder / "Z").write_text("")
    entries = list(LocalTree(folder).walk())
    assert [(e.path, e.kind) for e in entries] == [
        ("Z", "f"), ("d", "d"), ("d/f", "f"), ("h", "h"), ("l", "l"), ("ü", "f"),
    ]  # fmt: skip
    assert {(e.uid, e.gid) for e in entries} == {(0, 0)}


def test_socket_is_an_empty_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)  # an address holds 107 bytes only
    with socket.socket(socket.AF_UNIX) as s:
        s.bind("socket")
    os.chmod("socket", 0o600)
    e = LocalTree(folder).get("socket")
    assert e is not None
    assert (e.kind, e.mode, e.size, e.content) == ("f", 0o600, 0, None)


def test_links_are_followed_inside_the_folder_only(folder: Path) -> None:
    tree = LocalTree(folder)
    assert tree.resolve("l/f") == "d/f"
    (folder / "up").symlink_to("../../../d")
    assert tree.resolve("up/f") == "d/f"


def test_a_folder_that_becomes_a_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/f").write_text("secret")
    tree = LocalTree(folder)
    (entry,) = [e for e in tree.walk() if e.path == "d/f"]
    (folder / "d").rename(folder / "old")
    (folder / "d").symlink_to(tmp_path / "secret")
    assert entry.content is not None
    with pytest.raises(ContextError, match="cannot read /d/f of the context"):
        entry.content.open()


def test_a_file_that_becomes_a_pipe_is_not_waited_for(folder: Path) -> None:
    tree = LocalTree(folder)
    (entry,) = [e for e in tree.walk() if e.path == "d/f"]
    (folder / "d/f").unlink()
    os.mkfifo(folder / "d/f")
    assert entry.content is not None
    with pytest.raises(ContextError, match="changed while it was read"):
        entry.content.open()


def test_ignored_folder_is_shown_for_what_is_taken_back(folder: Path) -> None:
    tree = LocalTree(folder, Matcher(["d", "!d/f"]))
    assert [e.path for e in tree.walk()] == ["d", "d/f", "h", "l"]
    assert tree.get("d") is not None
    assert LocalTree(folder, Matcher(["d"])).get("d") is None


def test_digest_is_remembered_only_for_files_that_have_settled(folder: Path, tmp_path: Path) -> None:
    with Store(tmp_path / "store") as store:
        for age_ns, remembered in ((0, False), (10**11, True)):
            digests = FileDigests(store.cache, time.time_ns() + age_ns)
            (entry,) = [e for e in LocalTree(folder).walk() if e.path == "d/f"]
            assert digests(entry) == "982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1"
            digests.flush()
            assert entry.content is not None
            assert bool(store.cache.file_digest(entry.content.stamp)) is remembered  # type: ignore[attr-defined]  # LocalContent


def test_a_file_that_became_shorter_is_told(folder: Path, tmp_path: Path) -> None:
    (entry,) = [e for e in LocalTree(folder).walk() if e.path == "d/f"]
    (folder / "d/f").write_text("t")
    with Store(tmp_path / "store") as store, pytest.raises(ContextError, match="changed while it was read"):
        FileDigests(store.cache, 0)(entry)


def test_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ContextError, match="unable to prepare context"):
        LocalTree(tmp_path / "no")


@pytest.mark.parametrize("text", ["TEXT", "t", "text and more"])
def test_a_file_that_is_written_meanwhile_is_told(folder: Path, text: str) -> None:
    (entry,) = [e for e in LocalTree(folder).walk() if e.path == "d/f"]
    (folder / "d/f").chmod(0o600)  # that is nothing
    os.link(folder / "d/f", folder / "another")
    assert entry.content is not None
    entry.content.open().close()
    (folder / "d/f").write_text(text)
    os.utime(folder / "d/f", (1, 1))
    with pytest.raises(ContextError, match="/d/f of the context changed while it was read"):
        entry.content.open()


def test_a_layer_takes_no_file_that_was_changed_since_and_learns_no_digest_of_it(folder: Path) -> None:
    (folder / "w").write_text("was")
    os.utime(folder / "w", (10**9, 10**9))
    learnt: list[str] = []
    tree = LocalTree(folder)
    e = tree.get("w")
    assert e is not None
    write_layer([e], lambda _data: None, digests=True, on_offset=lambda e, _at: learnt.append(e.digest))
    assert learnt == [hashlib.sha256(b"was").hexdigest()]
    e.digest = ""
    (folder / "w").write_text("now")
    with pytest.raises(ContextError, match="/w of the context changed while it was read"):
        write_layer([e], lambda _data: None, digests=True, on_offset=lambda e, _at: learnt.append(e.digest))
    assert len(learnt) == 1


@pytest.mark.parametrize("size", [3, 70_000, 3 << 20])
def test_a_file_that_is_written_while_it_is_read_is_in_no_layer(
    folder: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of what it was, and half of what it is, is what it never was."""
    path = folder / "w"
    path.write_bytes(b"a" * size)
    os.utime(path, (10**9, 10**9))
    e, learnt = LocalTree(folder).get("w"), list[str]()
    assert e is not None
    fstat, left = os.fstat, iter(range(1))

    def written_then(fd: int) -> os.stat_result:
        st = fstat(fd)
        if next(left, None) is not None:  # when it was found to be what it was
            path.write_bytes(b"b" * size)
        return st

    monkeypatch.setattr(os, "fstat", written_then)
    with pytest.raises(ContextError, match="/w of the context changed while it was read"):
        write_layer([e], lambda _data: None, digests=True, on_offset=lambda e, _at: learnt.append(e.digest))
    assert not learnt


def test_digest_of_what_may_change_within_the_clocks_tick_is_not_kept(folder: Path, tmp_path: Path) -> None:
    path = folder / "w"
    path.write_bytes(b"one")
    before = path.stat()
    with Store(tmp_path / "store") as store:
        for since_ns, kept in ((-5_000_000, False), (5_000_000, False), (10**9, True)):
            digests = FileDigests(store.cache, max(before.st_mtime_ns, before.st_ctime_ns) + since_ns)
            e, again = LocalTree(folder).get("w"), LocalTree(folder).get("w")
            assert e is not None
            assert again is not None
            write_layer([e], lambda _data: None, digests=True)
            digests.learn(e)
            read = list[int]()
            digests._reading.read = read.append  # type: ignore[method-assign]
            digests.fill([again])
            assert again.digest == hashlib.sha256(b"one").hexdigest()
            assert bool(read) is not kept


def test_a_hidden_folder_comes_once_before_what_is_shown_in_it(folder: Path) -> None:
    for name in ("k/a/x", "k/a/b/show", "k/a/y/show", "k/z", "k/show", "i/none"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    tree = LocalTree(folder, Matcher(["k", "i", "!**/show"]))
    found = [e.path for e in tree.walk("k")]
    assert found == ["k/a", "k/a/b", "k/a/b/show", "k/a/y", "k/a/y/show", "k/show"]
    assert "i" not in [e.path for e in tree.walk()]


def test_folders_of_any_depth_are_no_recursion(folder: Path) -> None:
    top = os.open(folder, os.O_RDONLY)
    deep = os.dup(top)
    for _ in range(1500):  # deeper than Python's stack, with a path that the kernel still takes
        os.mkdir("e", dir_fd=deep)
        below = os.open("e", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = below
    os.close(deep)
    os.close(top)
    try:
        found = [e.path.count("/") for e in LocalTree(folder, Matcher(["x", "!**/y"])).walk("e")]
        taken = select(LocalTree(folder), "e", excludes=["nothing", "!x"], parents=False)
        count = sum(1 for _ in taken[0].entries(LocalTree(folder)))
    finally:
        remove_tree(folder / "e")  # pytest cannot
    assert (max(found), count) == (1499, 1499)
